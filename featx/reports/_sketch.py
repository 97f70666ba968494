"""Features in a few coordinates: principal components, and directions that stay near where they were near."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.reports._vectors import Array, over_blocks

__all__ = ["Sketch", "sketch_of"]

Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_WIDTH = 80
"""Coordinates that are kept."""

_SWEEPS = 4
"""After which the first components are those of an exact decomposition to float32's digits: what is wrong about
component i falls in each sweep by the ratio of variance 81 to variance i."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """What :func:`sketch_of` makes of n features of width d.

    Attributes
    ----------
    mean : ndarray of shape (d,), float64
    axes : ndarray of shape (d, k), float32
        Orthonormal, by falling variance; the largest number of each is positive.
    scores : ndarray of shape (n, k), float32
        The features along the axes, from the mean.
    variances : ndarray of shape (k,), float64
        Along each axis.
    variance : float
        Along all d of them.
    lengths : ndarray of shape (n,), float64
        Of the features themselves.
    along : ndarray of shape (n,), float64
        Their products with the mean.
    """

    mean: Floats
    axes: Singles
    scores: Singles
    variances: Floats
    variance: float
    lengths: Floats
    along: Floats

    def directions(self) -> Singles:
        """Return coordinates of the directions of the features, of shape (n, k + 1).

        The Euclidean distance between two of them is at most that between the features, scaled to length 1: the last
        coordinate is how far each is from the space of the axes, and two are at least as far apart as these differ.
        """
        lengths = np.where(self.lengths > 0, self.lengths, 1.0)
        square = float(self.mean @ self.mean)
        middle = float((self.along / lengths).mean()) / square if square > 0 else 0.0  # of the directions, by the mean
        base = self.mean @ self.axes
        points = (self.scores + base) / lengths[:, None] - middle * base
        whole = (self.lengths > 0) - 2 * middle * self.along / lengths + middle**2 * square
        rest = np.sqrt(np.maximum(whole - np.square(points).sum(axis=1), 0.0))
        return np.column_stack([points, rest]).astype(np.float32)


def sketch_of(values: Array) -> Sketch:
    """Return the principal components of features by randomised subspace iteration, reading them block by block.

    Parameters
    ----------
    values : ndarray of shape (n, d), float
        In memory or mapped.

    Returns
    -------
    Sketch
        Of min(d, 80) components; exact if d or n is no more than that.

    Notes
    -----
    N. Halko, P.-G. Martinsson, J. A. Tropp: Finding structure with randomness, SIAM Review 53 (2011), algorithm 4.4.
    """
    n, d = values.shape
    sums = over_blocks(values, lambda where, block: block.sum(axis=0, dtype=np.float64))
    centre = (sum(sums, np.zeros(d)) / n).astype(np.float32)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((d, min(d, _WIDTH))))[0].astype(np.float32)
    for _ in range(_SWEEPS if d > _WIDTH else 0):
        basis = np.linalg.qr(_image(values, centre, basis))[0]
    scores = np.empty((n, basis.shape[1]), dtype=np.float32)
    lengths, along = np.empty(n), np.empty(n)

    def measure(where: slice, block: Singles) -> float:
        lengths[where] = np.sqrt(np.vecdot(block, block))
        along[where] = block @ centre
        block -= centre
        scores[where] = block @ basis
        return float(np.vecdot(block, block).sum(dtype=np.float64))

    total = sum(over_blocks(values, measure))
    variances, turn = np.linalg.eigh(scores.T.astype(np.float64) @ scores.astype(np.float64))
    turn = turn[:, ::-1].astype(np.float32)
    axes = basis @ turn
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    freedom = max(1, n - 1)
    return Sketch(
        centre.astype(np.float64),
        axes * signs,
        scores @ turn * signs,
        np.maximum(variances[::-1], 0.0) / freedom,
        total / freedom,
        lengths,
        along,
    )


def _image(values: Array, centre: Singles, basis: Singles) -> Singles:
    """Return the product of the features' scatter about a centre and a basis."""

    def part(where: slice, block: Singles) -> Singles:
        block -= centre
        product: Singles = block.T @ (block @ basis)
        return product

    return sum(over_blocks(values, part), np.zeros_like(basis))
