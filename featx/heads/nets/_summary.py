"""The table of a net's layers."""

from torch import nn

from featx.heads.nets._layers import output_shape

__all__ = ["summarize"]


def summarize(module: nn.Sequential, shape: tuple[int, ...]) -> str:
    """Return a table of the layers of `module` for rows of `shape`: output shapes, parameters, and their sums."""
    lines = [("layer", "output shape", "parameters")]
    trained = frozen = 0
    for name, layer in module.named_children():
        shape = output_shape(layer, shape)
        sizes = [p.numel() for p in layer.parameters()]
        held = [b.numel() for b in layer.buffers() if b.ndim]
        trained, frozen = trained + sum(sizes), frozen + sum(held)
        lines.append((name, str(shape), f"{sum(sizes) + sum(held):,}"))
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    table = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in lines]
    total = f"{trained + frozen:,} parameters: {trained:,} trained, {frozen:,} frozen"
    return "\n".join([table[0], "-" * len(table[0]), *table[1:], "-" * len(table[0]), total])
