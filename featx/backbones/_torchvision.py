"""All classification networks of torchvision."""

from pathlib import Path
from typing import Any

from torch import nn

from featx.backbones._registry import Architecture, provider
from featx.errors import WeightsError, did_you_mean
from featx.spec import Preprocessing

__all__ = ["TorchvisionProvider"]

AUXILIARY_HEADS = ("AuxLogits", "aux1", "aux2")


def _models() -> Any:
    import torchvision

    return torchvision.models


@provider("torchvision")
class TorchvisionProvider:
    """Names and weights as ``torchvision.models.list_models`` and ``get_model_weights`` have them."""

    def names(self) -> list[str]:
        models = _models()
        return sorted(models.list_models(module=models))

    def has(self, name: str) -> bool:
        return name in self.names()

    def tags(self, name: str) -> list[str]:
        weights = _models().get_model_weights(name)
        default = weights.DEFAULT.name
        return [default, *(tag for tag in weights.__members__ if tag not in (default, "DEFAULT"))]

    def architecture(self, name: str, tag: str | None, image_size: int | None) -> Architecture:
        models = _models()
        tags = self.tags(name)
        if tag is not None and tag not in [*tags, "DEFAULT"]:
            raise WeightsError(
                f"weights {tag!r} are unknown for torchvision:{name}{did_you_mean(tag, tags)};"
                f" known: {', '.join(tags)}, a file, random:SEED"
            )
        weights = models.get_model_weights(name)[tag or "DEFAULT"]
        preset = weights.transforms()

        def build(pretrained: bool, num_classes: int | None) -> nn.Module:
            options: dict[str, Any] = {}
            if not pretrained:  # what get_model does by itself with pretrained weights
                if name in ("googlenet", "inception_v3"):
                    # They rescale their input from ImageNet's mean and std to the -1..1 they were trained with.
                    options = {"transform_input": True, "init_weights": True}
                if name.startswith("vit_"):
                    options = {"image_size": preset.crop_size[0]}
            if num_classes is not None:
                options["num_classes"] = num_classes
            network: nn.Module = models.get_model(name, weights=weights if pretrained else None, **options)
            for auxiliary in AUXILIARY_HEADS:
                if hasattr(network, auxiliary):
                    setattr(network, auxiliary, None)
                    network.aux_logits = False  # type: ignore[assignment]
            return network

        return Architecture(
            name=f"torchvision:{name}",
            tag=weights.name,
            preprocessing=Preprocessing(
                crop_size=(preset.crop_size[0],) * 2,
                resize_size=(preset.resize_size[0],) * 2,
                interpolation=preset.interpolation.value,
                mean=tuple(preset.mean),
                std=tuple(preset.std),
            ),
            build=build,
            location=f"{weights.url} is looked for in {_hub_folder()}",
            classifier=_last_classifier,
            prefix_tokens=lambda network: int(isinstance(network, models.VisionTransformer)),
            training_only=AUXILIARY_HEADS,
        )


def _hub_folder() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _last_classifier(network: nn.Module) -> str | None:
    """Return the last linear layer, or the last convolution in a network that has none (SqueezeNet)."""
    for kind in (nn.Linear, nn.Conv2d):
        names = [str(name) for name, module in network.named_modules() if isinstance(module, kind)]
        if names:
            return names[-1]
    return None
