"""What nets minimise, and how several views of a sample make one answer."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Link", "Loss", "accuracy_of", "averaged"]

Link = Literal["softmax", "sigmoid", "none"]
"""How outputs become probabilities: over classes, each for itself, or not at all (values)."""


class Loss(nn.Module):
    """Weighted mean of cross-entropy from logits, or of squared errors.

    Parameters
    ----------
    link : {"softmax", "sigmoid", "none"}
        Cross-entropy over classes, mean of binary cross-entropies, or mean squared error.
    """

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link

    def forward(self, output: Tensor, truth: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss, a scalar.

        Parameters
        ----------
        output : Tensor of shape (b, k), or (b * v, k) with v views
            Outputs of the net.
        truth : tuple of Tensor
            Targets, int64 (b,) for ``softmax`` and else float32 (b, k), and weights, float32 (b,).
        """
        target, weight = truth
        output = averaged(output, len(target), self.link)
        if self.link == "softmax":
            losses = functional.cross_entropy(output, target, reduction="none")
        elif self.link == "sigmoid":
            losses = functional.binary_cross_entropy_with_logits(output, target, reduction="none").mean(dim=1)
        else:
            losses = functional.mse_loss(output, target, reduction="none").mean(dim=1)
        return (losses * weight).mean()


def averaged(output: Tensor, count: int, link: Link) -> Tensor:
    """Return the outputs whose probabilities (values) are the average of those of each sample's views.

    Parameters
    ----------
    output : Tensor of shape (count * v, k)
        Outputs, the views of a sample one after another.
    count : int
        Samples.
    link : {"softmax", "sigmoid", "none"}
        How outputs become probabilities.

    Returns
    -------
    Tensor of shape (count, k)
        `output` itself if there is one view.
    """
    if len(output) == count:
        return output
    views = output.reshape(count, -1, output.shape[1])
    if link == "softmax":
        return views.log_softmax(dim=2).logsumexp(dim=1)
    if link == "sigmoid":
        yes, no = (functional.logsigmoid(side).logsumexp(dim=1) for side in (views, -views))
        return yes - no
    return views.mean(dim=1)


def accuracy_of(output: Tensor, target: Tensor, link: Link) -> float:
    """Return the share of right answers, of yes-or-no answers for ``sigmoid``; views are averaged."""
    with torch.no_grad():
        output = averaged(output, len(target), link)
        right = output.argmax(dim=1) == target if link == "softmax" else (output > 0) == (target > 0.5)
        return float(right.sum()) / right.numel()
