"""Log losses and their residuals on a block of rows, for many problems at once, in place.

A block's scores are laid out as (columns of scores, rows): numbers of one score lie together, so that all loops run
over rows. The residual is the derivative of the loss by the score. Loss and residual are formed from the differences to
the true class's score, never as ``1 - p``, so that they keep their relative precision where a row is all but certain.
"""

from __future__ import annotations

from typing import Any

__all__ = ["sigmoid_residuals", "softmax_residuals"]


def softmax_residuals(xp: Any, scores: Any, where: Any, weights: Any, float64: Any) -> tuple[Any, Any]:
    """Turn scores of p problems of k classes into weighted residuals, and return losses and curvatures.

    Parameters
    ----------
    xp : module
        numpy or torch.
    scores : array of shape (p, k, b)
        Overwritten by the residuals, times the weights.
    where : array of shape (b,), integer
        Position of each row's true class in ``scores[i]`` when that is flattened: ``class * b + row``.
    weights : array of shape (p, b)
        Weight of each row in each problem; 0 leaves it out.
    float64 : dtype
        xp's name for it.

    Returns
    -------
    losses : array of shape (p,), float64
        Weighted sums of the rows' log losses.
    curvatures : array of shape (p,), float64
        Weighted sums of ``p (1 - p)`` over rows and classes (exact if a problem's weights are 0 or all the same).
    """
    p, k, b = scores.shape
    flat = scores.reshape(p, k * b)
    scores -= flat[:, where][:, None]
    highest = xp.amax(scores, 1)
    scores -= highest[:, None]
    xp.exp(scores, out=scores)
    flat[:, where] = 0
    others = xp.sum(scores, 1)
    losses = xp.sum((highest + xp.log1p(others + xp.expm1(-highest))) * weights, 1, dtype=float64)
    factors = weights / (others + xp.exp(-highest))
    scores *= factors[:, None]
    wrong = others * factors
    flat[:, where] = -wrong
    # sum of p (1 - p) = sum of |r| (1 - |r|), as a residual is p or p - 1, and those of a row add up to 0
    return losses, 2 * xp.sum(wrong, 1, dtype=float64) - _squares(xp, scores, weights, float64)


def sigmoid_residuals(xp: Any, scores: Any, signs: Any, weights: Any, float64: Any) -> tuple[Any, Any]:
    """Turn scores of p problems of two classes into weighted residuals, and return losses and curvatures.

    Parameters
    ----------
    xp : module
        numpy or torch.
    scores : array of shape (p, b)
        Overwritten by the residuals, times the weights.
    signs : array of shape (p, b)
        1 where a row is of the second class, and -1 where it is not.
    weights : array of shape (p, b)
        As for :func:`softmax_residuals`.
    float64 : dtype
        xp's name for it.

    Returns
    -------
    losses, curvatures : array of shape (p,), float64
        As for :func:`softmax_residuals`; ``p (1 - p)`` of one class.
    """
    scores *= signs
    small = xp.exp(-xp.abs(scores))
    losses = xp.sum((xp.log1p(small) - xp.minimum(scores, scores * 0)) * weights, 1, dtype=float64)
    larger = weights / (1 + small)
    smaller = small * larger
    scores[:] = -signs * xp.where(scores > 0, smaller, larger)
    return losses, xp.sum(smaller / (1 + small), 1, dtype=float64)


def _squares(xp: Any, residuals: Any, weights: Any, float64: Any) -> Any:
    """Return the sums of the squared residuals with weight w, not w squared."""
    flat = residuals.reshape(residuals.shape[0], -1)
    sums = xp.sum(flat * flat, 1, dtype=float64)
    total, squared = xp.sum(weights, 1, dtype=float64), xp.sum(weights * weights, 1, dtype=float64)
    return sums * total / xp.where(squared > 0, squared, 1)
