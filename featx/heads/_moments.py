"""Sufficient statistics: what ridge, the Gaussian heads and nearest centroid need of the features, in one pass.

The rows are read once, in blocks, about a shift near their mean, so that nothing cancels. For many fits at once (the
folds of a cross-validation) the rows fall into parts, all rows of a part belonging to the same fits: each part is read
once, and the statistics of a fit are sums over its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.heads._blocks import Floats, Rows, row_blocks

__all__ = ["Moments", "Scaling", "checked_weights", "moments_of", "product_dtype"]

Targets = Callable[[Any], npt.NDArray[Any]]
"""From an index of b rows to their targets, (b, t)."""

_EXACT_PRODUCTS = 1 << 32
"""Multiplications up to which a Gram matrix of float32 features is computed in float64: it costs a fraction of a second
there, and above it many rows make up for their rounding."""

_GRAM_ROWS = 1 << 10
"""Rows of a float32 product: short ones, added up in float64, lose about a tenth of what a single one would."""

_PARTS_BYTES = 1 << 30
"""Memory for the Gram matrices of parts; fits that need more are computed one after another."""

_SHIFT_ROWS = 256


@dataclass(frozen=True)
class Moments:
    """Weighted sums over some rows x, with targets t and weights w, all about ``shift``.

    Attributes
    ----------
    shift : ndarray of shape (d,), float64
        Subtracted from every row: below, z is ``x - shift``.
    n : float
        Number of rows.
    weight : float
        Sum of w.
    sums, squares : ndarray of shape (d,), float64
        Sums of w z and of w z².
    target_weights : ndarray of shape (t,), float64
        Sum of w t.
    target_sums, target_squares : ndarray of shape (t, d), float64
        Sums of w t z and, where asked for (else of shape (t, 0)), of w t z².
    gram : ndarray of shape (d, d), float64
        Sum of w z zᵀ where asked for (else of shape (0, 0)).
    """

    shift: Floats
    n: float
    weight: float
    sums: Floats
    squares: Floats
    target_weights: Floats
    target_sums: Floats
    target_squares: Floats
    gram: Floats

    @property
    def mean(self) -> Floats:
        """Weighted mean of the rows, (d,)."""
        mean: Floats = self.shift + self.sums / self.weight
        return mean

    @property
    def variance(self) -> Floats:
        """Weighted variance of the features, (d,); never negative."""
        variance: Floats = np.maximum(self.squares / self.weight - (self.sums / self.weight) ** 2, 0.0)
        return variance

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        """Which features do not vary, by scikit-learn's rule and the rounding of what was added up, (d,)."""
        eps = np.finfo(np.float64).eps
        bound = self.n * eps * self.squares / self.weight + (self.n * self.mean * eps) ** 2
        constant: npt.NDArray[np.bool_] = self.variance <= bound
        return constant

    def scatter(self, centre: Floats) -> Floats:
        """Return the Gram matrix about another point, (d, d)."""
        move = centre - self.shift
        cross = np.outer(self.sums, move)
        scatter: Floats = self.gram - cross - cross.T
        scatter += self.weight * np.outer(move, move)
        return scatter


@dataclass(frozen=True)
class Scaling:
    """Mean and deviation of each feature, as :class:`sklearn.preprocessing.StandardScaler` takes them.

    Attributes
    ----------
    mean, scale : ndarray of shape (d,), float64
        A feature that does not vary has scale 1.
    """

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, moments: Moments) -> Scaling:
        """Return the scaling to mean 0 and variance 1 of the rows of `moments`."""
        return cls(moments.mean, np.where(moments.constant, 1.0, np.sqrt(moments.variance)))

    @classmethod
    def none(cls, d: int) -> Scaling:
        """Return the scaling of d features that changes nothing."""
        return cls(np.zeros(d), np.ones(d))


def product_dtype(X: npt.NDArray[Any]) -> np.dtype[Any]:
    """Return the type in which blocks of X are multiplied by matrices of (d, d)."""
    n, d = X.shape
    single = X.dtype != np.float64 and n * d * d > _EXACT_PRODUCTS
    return np.dtype(np.float32 if single else np.float64)


def checked_weights(sample_weight: Any, X: npt.NDArray[Any]) -> Floats | None:
    """Return the weights as float64, (n,), or None for None.

    Raises
    ------
    ValueError
        They are not one finite number a row, one is negative, or all are 0.
    """
    from sklearn.utils.validation import _check_sample_weight

    if sample_weight is None:
        return None
    weights: Floats = _check_sample_weight(sample_weight, X, dtype=np.float64)
    if weights.min() < 0 or not weights.any():
        raise ValueError("no weight may be negative, and one at least must be above 0: leave such rows out")
    return weights


def moments_of(
    X: npt.NDArray[Any],
    sets: Sequence[Rows | None],
    *,
    weights: Floats | None = None,
    targets: Targets | None = None,
    squares: bool = False,
    gram: bool = False,
) -> Iterator[Moments]:
    """Yield the moments of each of some sets of rows, reading a row once as far as that is possible.

    Parameters
    ----------
    X : ndarray of shape (n, d), float
        Features.
    sets : sequence of (ndarray of int64, or None)
        The rows of each set (a row named twice counts twice); all for None.
    weights : ndarray of shape (n,), float64, optional
        Weights of the rows of X; 1 for all without.
    targets : callable, optional
        From an index of b rows to an array (b, t).
    squares, gram : bool
        Compute ``target_squares``, ``gram``. Without `gram` everything is computed in float64; the Gram matrix of
        many float32 rows is added up in float64 from products in float32.

    Yields
    ------
    Moments
        In the order of `sets`.
    """
    n, d = X.shape
    some = np.arange(n) if sets[0] is None else sets[0]
    shift = np.asarray(X[some[:: max(1, some.size // _SHIFT_ROWS)]], dtype=np.float64).mean(axis=0)
    if X.dtype != np.float64:
        shift = shift.astype(np.float32).astype(np.float64)  # a constant feature then has an exact 0
    dtype = product_dtype(X) if gram else np.dtype(np.float64)

    def of(rows: Rows | None) -> Moments:
        return _add_up(X, rows, shift, dtype, weights, targets or _no_targets, squares=squares, gram=gram)

    if len(sets) == 1:
        yield of(sets[0])
        return
    parts, counts = _partition(n, sets)
    if len(parts) > 2 * len(sets) or (gram and len(parts) * d * d * 8 > _PARTS_BYTES):
        yield from map(of, sets)
        return
    moments = [of(part) for part in parts]
    for row in counts:
        yield _combine(moments, row)


def _no_targets(rows: Any) -> npt.NDArray[Any]:
    return np.empty((0, 0))


def _partition(n: int, sets: Sequence[Rows | None]) -> tuple[list[Rows], npt.NDArray[np.int64]]:
    """Return the rows that occur equally often in every set, and how often each part does, (sets, parts)."""
    counts = np.stack([np.ones(n, np.int64) if rows is None else np.bincount(rows, minlength=n) for rows in sets])
    patterns, part = np.unique(counts, axis=1, return_inverse=True)
    used = np.flatnonzero(patterns.any(axis=0))
    return [np.flatnonzero(part == p) for p in used], patterns[:, used]


def _combine(moments: Sequence[Moments], counts: npt.NDArray[np.int64]) -> Moments:
    totals: dict[str, Any] = {}
    for field in fields(Moments):
        if field.name == "shift":
            continue
        total: Any = 0.0
        for count, part in zip(counts, moments, strict=True):
            if count:
                value = getattr(part, field.name)
                total = total + (value if count == 1 else count * value)
        totals[field.name] = total
    return Moments(shift=moments[0].shift, **totals)


def _add_up(
    X: npt.NDArray[Any],
    rows: Rows | None,
    shift: Floats,
    dtype: np.dtype[Any],
    weights: Floats | None,
    targets: Targets,
    *,
    squares: bool,
    gram: bool,
) -> Moments:
    d = X.shape[1]
    t = targets(np.zeros(1, dtype=np.int64)).shape[1]
    total_weight, target_weights = 0.0, np.zeros(t)
    sums, all_squares = np.zeros((1 + t, d)), np.zeros((1 + t if squares else 1, d))
    products = np.zeros((d, d) if gram else (0, 0))
    values = _GRAM_ROWS * d if dtype == np.float32 else None
    for index, block in row_blocks(X, rows, dtype, values=values):
        block -= shift.astype(dtype)
        # one row of ones for the sums over all, one for each target
        factors = np.empty((1 + t, block.shape[0]), dtype=dtype)
        factors[0] = 1.0
        if t:
            factors[1:] = targets(index).T
        if weights is not None:
            factors *= weights[index]
        total_weight += float(factors[0].sum(dtype=np.float64))
        target_weights += factors[1:].sum(axis=1, dtype=np.float64)
        sums += factors @ block
        if gram:
            if weights is not None:
                block *= np.sqrt(weights[index]).astype(dtype)[:, None]
            products += block.T @ block  # BLAS computes one triangle of such a product
        else:
            np.square(block, out=block)
            all_squares += factors[: all_squares.shape[0]] @ block
    return Moments(
        shift=shift,
        n=float(X.shape[0] if rows is None else rows.size),
        weight=total_weight,
        sums=sums[0],
        squares=np.diagonal(products).copy() if gram else all_squares[0],
        target_weights=target_weights,
        target_sums=sums[1:],
        target_squares=all_squares[1:] if squares and not gram else np.empty((t, 0)),
        gram=products,
    )
