"""What is to come out of a backbone: which layers, pooled how, and the spec of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from featx.backbones import Backbone, Node, pooled_shape, resolve_pool
from featx.errors import ParameterError
from featx.extraction._augment import augmentation_for
from featx.spec import ExtractionSpec

__all__ = ["Output", "plan_outputs"]


@dataclass(frozen=True, slots=True)
class Output:
    """One layer's features of an image.

    Parameters
    ----------
    node : Node
        Where in the network they are taken.
    spec : ExtractionSpec
        Everything that decides their numbers.
    shape : tuple of int
        Shape of the features of one image, which is one view.
    axes : str
        Meaning of the axes of the features of a batch of images, such as ``"NC"``.
    """

    node: Node
    spec: ExtractionSpec
    shape: tuple[int, ...]
    axes: str


def plan_outputs(
    backbone: Backbone,
    *,
    layers: Sequence[str] = (),
    pool: str | None = None,
    precision: str = "fp32",
    dtype: str = "float32",
    views: int = 1,
    augment: str | None = None,
    augment_seed: int = 0,
) -> tuple[Output, ...]:
    """Return what a pass through `backbone` will give for each of `layers`.

    Parameters
    ----------
    backbone : Backbone
    layers : sequence of str
        Names of nodes; empty for the default: what the classifier is given or, where a pooling is asked for,
        the last feature map.
    pool : {"avg", "max", "gem", "cls", "flatten", "none"}, optional
        For all of them; None for each layer's default.
    precision : {"fp32", "bf16", "fp16"}
    dtype : {"float32", "float16"}
    views : int
        Views of each image.
    augment : str, optional
        What those beyond the plain image are drawn with (see :meth:`Augmentation.parse`).
    augment_seed : int
        And with which random numbers.

    Raises
    ------
    NodeError
        If a node does not exist or cannot be pooled so.
    ParameterError
        If a layer is named twice, or there are no such views.
    """
    augmentation = augmentation_for(views, augment, augment_seed)
    if augmentation is not None:
        augmentation.require_fit(backbone.preprocessing)
    outputs = []
    for layer in layers or (None,):
        node = backbone.node(layer, pool)
        resolved = resolve_pool(node, pool)
        shape, axes = pooled_shape(node, resolved)
        spec = ExtractionSpec(
            backbone=backbone.name,
            weights=backbone.weights,
            layer=node.name,
            pool=resolved,  # type: ignore[arg-type]  # the spec checks it
            preprocessing=backbone.preprocessing,
            precision=precision,  # type: ignore[arg-type]
            dtype=dtype,  # type: ignore[arg-type]
            views=views,
            augment="" if augmentation is None else str(augmentation),
            augment_seed=augment_seed,
        )
        outputs.append(Output(node, spec, shape, axes))
    names = [output.node.name for output in outputs]
    if len(set(names)) < len(names):
        raise ParameterError(f"layers must all be different; got {', '.join(names)}")
    return tuple(outputs)
