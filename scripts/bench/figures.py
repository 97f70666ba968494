"""Judging features against a reference, and printing what was measured."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Agreement", "agreement", "median", "spread_of", "table"]

_COSINE = 0.9999
_RELATIVE = 1e-3


@dataclass(frozen=True)
class Agreement:
    """How features agree with the reference; each figure is that of the worst image.

    Parameters
    ----------
    cosine : float
        Of the features.
    centred : float
        Of the features less the reference's mean: of random networks all images' features nearly coincide, and only
        what is left says anything.
    error : float
        Length of the difference, relative to the reference's.
    """

    cosine: float
    centred: float
    error: float

    @property
    def good(self) -> bool:
        """Whether a speed counts.

        Where images differ by no more than rounding does, the centred cosine measures that rounding; a
        relative error of one in a thousand then is as much as can be asked.
        """
        return self.cosine > _COSINE and (self.centred > _COSINE or self.error < _RELATIVE)


def _rows(keys: Sequence[str], features: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the names in their order, and their rows."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return [keys[row] for row in order], np.asarray(features, np.float64)[order]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(rows.dtype).tiny)


def agreement(
    keys: Sequence[str],
    features: np.ndarray,
    reference_keys: Sequence[str],
    reference: np.ndarray,
    *,
    normalised: bool = False,
) -> Agreement:
    """Compare features with the reference's, image by image.

    Parameters
    ----------
    keys, reference_keys : sequence of str of length n
        Names of the images, in any order.
    features, reference : ndarray of shape (n, d)
    normalised : bool
        Whether the rows of `features` have length 1; those of the reference are then brought to it.

    Raises
    ------
    ValueError
        If the images are not the same, or the shapes.
    """
    names, found = _rows(keys, features)
    wanted_names, wanted = _rows(reference_keys, reference)
    if names != wanted_names or found.shape != wanted.shape:
        raise ValueError(
            f"features are of {len(set(names) & set(wanted_names))} of the reference's {len(wanted_names)} images and"
            f" of shape {found.shape}, not {wanted.shape}"
        )
    if normalised:
        wanted = _unit(wanted)
    mean = wanted.mean(axis=0)
    error = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    cosine = (_unit(found) * _unit(wanted)).sum(axis=1)
    centred = (_unit(found - mean) * _unit(wanted - mean)).sum(axis=1)
    return Agreement(float(cosine.min()), float(centred.min()), float(error.max()))


def spread_of(reference: np.ndarray) -> float:
    """Return the median distance of the rows from their mean, relative to its length: how far images differ."""
    rows = np.asarray(reference, np.float64)
    mean = rows.mean(axis=0)
    return float(np.median(np.linalg.norm(rows - mean, axis=1)) / np.linalg.norm(mean))


def median(values: Sequence[float]) -> float:
    """Return the median as a plain float."""
    return float(statistics.median(values))


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows of the same columns as a Markdown table: the first column is text, the others are figures."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [
        f"| {' | '.join(columns)} |",
        "|---|" + "--:|" * (len(columns) - 1),
        *(f"| {' | '.join(row.get(column, '') for column in columns)} |" for row in rows),
    ]
    return "\n".join(lines)
