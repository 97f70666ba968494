"""What is to come out of a backbone: which layers, pooled how, and the spec of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from featx.backbones import Backbone, Node, pooled_shape, resolve_pool
from featx.errors import ParameterError
from featx.spec import ExtractionSpec

__all__ = ["Output", "plan_outputs"]


@dataclass(frozen=True, slots=True)
class Output:
    """One layer's features as they will be stored.

    Parameters
    ----------
    node : Node
        Where in the network they are taken.
    spec : ExtractionSpec
        Everything that decides their numbers.
    shape : tuple of int
        Shape of one row.
    axes : str
        Meaning of the axes of a batch of rows, such as ``"NC"``.
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

    Raises
    ------
    NodeError
        If a node does not exist or cannot be pooled so.
    ParameterError
        If a layer is named twice.
    """
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
        )
        outputs.append(Output(node, spec, shape, axes))
    names = [output.node.name for output in outputs]
    if len(set(names)) < len(names):
        raise ParameterError(f"layers must all be different; got {', '.join(names)}")
    return tuple(outputs)
