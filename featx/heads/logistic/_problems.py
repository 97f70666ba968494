"""What logistic heads are to be fitted on, as problems for the solver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import compute_class_weight

from featx.errors import ParameterError
from featx.heads._blocks import Floats, Labels, Rows
from featx.heads.logistic._softmax import Problem

__all__ = ["Problems"]


class Problems:
    """Makes the problems of heads out of the labels and weights of all rows.

    The solver counts an array once that many problems share, so that what is equal is made to be one object.

    Parameters
    ----------
    labels : Labels
        Of n rows.
    weights : ndarray of shape (n,), float64
        Weights of the rows.
    sets : sequence of (ndarray of int64, or None)
        All sets of rows that there will be problems of; None for all.

    Attributes
    ----------
    chosen : ndarray of int64, or None
        The rows that are in any of the sets, which the problems are about; None for all.
    """

    def __init__(self, labels: Labels, weights: Floats, sets: Sequence[Rows | None]) -> None:
        self._labels, self._weights = labels, weights
        self._known: dict[tuple[Any, ...], Any] = {}
        given = [rows for rows in sets if rows is not None]
        used = np.unique(np.concatenate(given)) if len(given) == len(sets) else None
        self.chosen = None if used is None or used.size == len(weights) else used

    def of(
        self, rows: Rows | None, class_weight: Any, settings: dict[str, Any]
    ) -> tuple[npt.NDArray[Any], list[Problem | float]]:
        """Return the classes among some rows, and the problems of telling them: one, or one for each label.

        A label that all of the rows have, or none, is no problem: there its log odds stand (with half a row added to
        either side).

        Raises
        ------
        ValueError
            There are fewer than two classes with a weight above 0.
        """
        digest = b"" if rows is None else blake2b(rows.tobytes()).digest()
        present = self._once(("present", digest), lambda: self._labels.present(rows))
        classes = self._labels.classes[present]
        counts = self._once(("counts", digest), lambda: self._counts(rows))
        if not self._labels.multilabel:
            y = self._once(("classes", present.tobytes()), lambda: self._positions(present))
            weights = self._weigh(digest, None, counts, y, classes, class_weight)
            if np.count_nonzero(np.bincount(y, weights)) < 2:
                raise ValueError("weights must leave two classes or more with a weight above 0; they leave one class")
            k = len(classes) if len(classes) > 2 else 1
            return classes, [Problem(k, y, weights, counts, **settings)]
        found: list[Problem | float] = []
        for label in present:
            y = self._once(("label", label), partial(self._has, label))
            weights = self._weigh(digest, label, counts, y, np.arange(2), class_weight)
            without, with_it = np.bincount(y, weights, minlength=2)
            settled = without == 0 or with_it == 0
            odds = float(np.log((with_it + 0.5) / (without + 0.5)))
            found.append(odds if settled else Problem(1, y, weights, counts, **settings))
        return classes, found

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def _among(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the values of the chosen rows."""
        return values if self.chosen is None else values[self.chosen]

    def _positions(self, present: Rows) -> npt.NDArray[np.intp]:
        """Return where each chosen row's class is in `present`; of one that is not there any position will do."""
        position = np.zeros(len(self._labels.classes), dtype=np.intp)
        position[present] = np.arange(len(present))
        positions: npt.NDArray[np.intp] = position[self._among(self._labels.index)]
        return positions

    def _has(self, label: int) -> npt.NDArray[np.int8]:
        """Return 1 for the chosen rows that have a label, and 0 for the others."""
        return self._among(self._labels.index[:, label]).astype(np.int8)

    def _counts(self, rows: Rows | None) -> Floats:
        """Return how much each chosen row weighs in a set: as often as it is there, times its weight."""
        times = 1 if rows is None else np.bincount(rows, minlength=len(self._weights))
        counts: Floats = self._among(self._weights * times)
        return counts

    def _weigh(
        self,
        digest: bytes,
        label: int | None,
        counts: Floats,
        y: npt.NDArray[Any],
        classes: npt.NDArray[Any],
        class_weight: Any,
    ) -> Floats:
        """Return the counts times the weights of the classes."""
        if class_weight is None:
            return counts
        weights: Floats = self._once(
            ("weights", digest, label, repr(class_weight)),
            lambda: counts * _class_weights(class_weight, classes, y, counts)[y],
        )
        return weights


def _class_weights(class_weight: Any, classes: npt.NDArray[Any], y: npt.NDArray[Any], counts: Floats) -> Floats:
    """Return the weight of each class."""
    if isinstance(class_weight, str) and class_weight == "balanced":
        totals = np.bincount(y, counts, minlength=len(classes))
        balanced: Floats = totals.sum() / (len(classes) * np.where(totals > 0, totals, 1))
        return balanced
    if not isinstance(class_weight, Mapping):
        raise ParameterError(f"class_weight must be a dict, 'balanced' or None; got {class_weight!r}")
    weights: Floats = compute_class_weight(dict(class_weight), classes=classes, y=classes)
    return weights
