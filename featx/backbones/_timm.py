"""All networks of timm."""

import socket
from math import floor
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from torch import nn

from featx.backbones._registry import Architecture, provider
from featx.errors import MissingDependencyError, WeightsError, did_you_mean
from featx.spec import Preprocessing

__all__ = ["TimmProvider", "import_timm", "timm_classifier"]


def import_timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise MissingDependencyError(
            "the backbone needs the package timm, which is not installed: run `pip install timm`"
        ) from error
    return timm


def _preprocessing(config: dict[str, Any]) -> Preprocessing:
    """Return what ``timm.data.create_transform`` does for evaluation with this pretrained config."""
    data = import_timm().data.resolve_data_config({}, pretrained_cfg=config)
    height, width = data["input_size"][1:]
    modes: dict[str, Any] = {"center": "crop", "squash": "squash", "border": "pad"}
    interpolation: Any = "bilinear" if data["interpolation"] == "random" else data["interpolation"]
    return Preprocessing(
        crop_size=(height, width),
        resize_size=(floor(height / data["crop_pct"]), floor(width / data["crop_pct"])),
        resize=modes[data["crop_mode"]],
        interpolation=interpolation,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
    )


def _hub_folder() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _require_hub(config: dict[str, Any]) -> None:
    """Raise OSError at once if the weights are on a hub that has no address here.

    The hub's own client tries for most of a minute before it says so.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    repository = config.get("hf_hub_id")
    files = filter(None, (config.get("hf_hub_filename"), "model.safetensors", "pytorch_model.bin"))
    if not repository or any(isinstance(try_to_load_from_cache(repository, file), str) for file in files):
        return
    url = urlsplit(constants.ENDPOINT)
    if not getproxies().get(url.scheme):
        socket.getaddrinfo(url.hostname, url.port or 443)


def timm_classifier(network: nn.Module) -> str | None:
    """Return the name of timm's classifier module; None if the network has none."""
    classifier = network.get_classifier()  # type: ignore[operator]
    if isinstance(classifier, (nn.Identity, nn.ModuleList)):
        return None
    return next((name for name, module in network.named_modules() if module is classifier), None)


def _trim(network: nn.Module) -> None:
    """Take the classifier off a network where no one module is given the features; its output then is they.

    Those are networks with several classifiers, and attention poolings that classify every token.
    """
    layers = import_timm().layers
    classifier = network.get_classifier()  # type: ignore[operator]
    kinds = (layers.AttentionPool2d, layers.RotAttentionPool2d)
    poolings: list[Any] = [module for module in network.modules() if isinstance(module, kinds)]
    if isinstance(classifier, (tuple, list, nn.ModuleList)) or any(each.proj is classifier for each in poolings):
        network.reset_classifier(0)  # type: ignore[operator]


def _prefix_tokens(network: nn.Module) -> int:
    """Return the number of timm's prefix tokens; networks that do not say have one if they have a class token."""
    own = getattr(network, "num_prefix_tokens", None)
    has_class_token = any(name.startswith("cls_token") for name, _ in network.named_parameters())
    return int(has_class_token if own is None else own)


@provider("timm")
class TimmProvider:
    """Names as ``timm.list_models`` has them; ``NAME.TAG`` names the weights with the network.

    The default features are those that timm gives with ``num_classes=0``: what the classifier is given. A
    network with several classifiers loses them, and its output is the default layer: the mean of class and
    distillation token in distilled networks, both branches' class tokens in CrossViT.
    """

    def names(self) -> list[str]:
        names: list[str] = import_timm().list_models()
        return names

    def has(self, name: str) -> bool:
        return bool(import_timm().is_model(name))

    def tags(self, name: str) -> list[str]:
        timm = import_timm()
        name = name.partition(".")[0]
        config = timm.get_pretrained_cfg(name)
        default = config.tag if config is not None else ""
        known = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
        return sorted(filter(None, known), key=lambda tag: (tag != default, tag))

    def architecture(self, name: str, tag: str | None, image_size: int | None) -> Architecture:
        timm = import_timm()
        name, _, own_tag = name.partition(".")
        tag = tag or own_tag or None
        tags = self.tags(name)
        if tag is not None and tag not in tags:
            raise WeightsError(
                f"weights {tag!r} are unknown for timm:{name}{did_you_mean(tag, tags)};"
                f" known: {', '.join([*tags, 'a file', 'random:SEED'])}"
            )
        tag = tag or (tags[0] if tags else None)
        full_name = f"{name}.{tag}" if tag else name
        found = timm.get_pretrained_cfg(full_name)
        config: dict[str, Any] = found.to_dict() if found is not None else {}
        preprocessing = _preprocessing(config)

        def build(pretrained: bool, num_classes: int | None) -> nn.Module:
            options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
            if config.get("fixed_input_size") and image_size not in (None, preprocessing.crop_size[0]):
                options["img_size"] = image_size  # position embeddings are resampled by timm
            if pretrained:
                _require_hub(config)
            network: nn.Module = timm.create_model(full_name, pretrained=pretrained, **options)
            return network

        hub, url = config.get("hf_hub_id"), config.get("url")

        return Architecture(
            name=f"timm:{name}",
            tag=tag,
            preprocessing=preprocessing,
            build=build,
            location=(
                f"model.safetensors of huggingface.co/{hub} is looked for in {_hub_folder()}"
                if hub
                else f"{url or 'no file is known, it'} is looked for in {torch.hub.get_dir()}"
            ),
            classifier=timm_classifier,
            prefix_tokens=_prefix_tokens,
            trim=_trim,
        )
