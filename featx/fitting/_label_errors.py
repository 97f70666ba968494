"""Samples whose label is probably wrong, with what a person needs to decide."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation import find_label_errors
from featx.fitting._fit import cross_validate
from featx.fitting._stores import StoreLike, open_stores
from featx.fitting._table import Table, join_stores, take

__all__ = ["LabelReport", "Neighbor", "SuspectedLabel", "label_errors"]

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Neighbor:
    """A sample that looks like another.

    Attributes
    ----------
    key : str
    label : str or None
        What it is labelled with, as people read it; None where that is not known.
    distance : float
        Of the features, from 0.
    row : int
        Of the store; of the first, if several were joined.
    """

    key: str
    label: str | None
    distance: float
    row: int


@dataclass(frozen=True)
class SuspectedLabel:
    """A sample whose label is probably wrong.

    Attributes
    ----------
    key : str
    given, suggested : str
        The class it was given, and the one that it is confidently of.
    given_probability, suggested_probability : float
        Of both, from a head that was not fitted on the sample.
    neighbors : tuple of Neighbor
        The nearest labelled samples by cosine distance, nearest first.
    """

    key: str
    given: str
    suggested: str
    given_probability: float
    suggested_probability: float
    neighbors: tuple[Neighbor, ...]


@dataclass(frozen=True)
class LabelReport:
    """Labels to look at.

    Attributes
    ----------
    n : int
        Labelled samples.
    accuracy : float
        Share of them that the heads, each fitted without the sample, answer with the given label: how far their
        suspicions can be trusted.
    suspects : tuple of SuspectedLabel
        The likeliest errors first.
    conflicts : tuple of tuple of str
        Keys of samples that are the same image, byte for byte, under different labels: all but one label are wrong.
    """

    n: int
    accuracy: float
    suspects: tuple[SuspectedLabel, ...]
    conflicts: tuple[tuple[str, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as dicts, lists, text and numbers, ready for JSON."""
        return asdict(self)


def label_errors(
    stores: StoreLike | Sequence[StoreLike],
    head: str = "logistic",
    params: Mapping[str, Any] | None = None,
    *,
    cv: int = 5,
    seed: int = 0,
    neighbors: int = 5,
    cache: str | os.PathLike[str] | None = None,
) -> LabelReport:
    """Find samples whose label is probably wrong, by confident learning on cross-validated probabilities.

    Parameters
    ----------
    stores : str, path, FeatureStore or a sequence of them
        As for :func:`featx.fit_head`; all labelled samples take part, whatever their split.
    head : str
        A classifier with probabilities.
    params : mapping, optional
        Its parameters.
    cv : int
        Number of folds. The same image, and the same group, is never in a fold and in what judges it.
    seed : int
        Of the head and the folds.
    neighbors : int
        Neighbours shown for each suspect.
    cache : path, optional
        Where stores are looked for by name.

    Returns
    -------
    LabelReport

    Raises
    ------
    ParameterError
        The store's task is no classification, the head has no probabilities, a class has fewer samples than there
        are folds, or `neighbors` is negative.

    See Also
    --------
    featx.evaluation.find_label_errors : The rule.
    """
    if isinstance(neighbors, bool) or not isinstance(neighbors, int) or neighbors < 0:
        raise ParameterError(f"neighbors must be an integer of 0 or more; got {neighbors!r}")
    table = join_stores(open_stores(stores, cache))
    if table.task != "classification":
        raise ParameterError(f"label errors are found where each sample has one class; the store is for {table.task}")
    rows = np.flatnonzero(table.known)
    answers, figures = cross_validate(head, params or {}, table, rows, folds=cv, seed=seed)
    if not answers.is_probability:
        raise ParameterError(
            f"head must be one with probabilities to find label errors; {head} has none: choose another, such as"
            " logistic"
        )
    found = find_label_errors(answers.truth, answers.scores)
    near = _neighbors(table, rows, found.rows, neighbors)
    suspects = tuple(
        SuspectedLabel(
            key=answers.keys[row],
            given=table.classes[answers.truth[row]],
            suggested=table.classes[suggested],
            given_probability=float(answers.scores[row, answers.truth[row]]),
            suggested_probability=float(answers.scores[row, suggested]),
            neighbors=mine,
        )
        for row, suggested, mine in zip(found.rows.tolist(), found.suggested.tolist(), near, strict=True)
    )
    return LabelReport(len(rows), figures["mean"], suspects, _conflicts(table, rows))


def _neighbors(table: Table, rows: Indices, suspects: Indices, count: int) -> list[tuple[Neighbor, ...]]:
    """Return for each suspect, given by its place among the labelled rows, the nearest of the others."""
    from featx.heads import nearest_rows

    count = min(count, len(rows) - 1)
    if not count or not len(suspects):
        return [()] * len(suspects)
    features = take(table.features, rows)
    if table.views:
        features = features[:, 0]
    vectors = features.reshape(len(rows), -1)
    distances, nearest = nearest_rows(vectors, vectors[suspects], count + 1, "cosine")
    places = rows[nearest]
    return [
        tuple(
            Neighbor(table.keys[place], table.classes[table.targets[place]], distance, int(table.rows[place]))
            for distance, place in zip(away, others, strict=True)
            if place != suspect
        )[:count]
        for suspect, away, others in zip(rows[suspects].tolist(), distances.tolist(), places.tolist(), strict=True)
    ]


def _conflicts(table: Table, rows: Indices) -> tuple[tuple[str, ...], ...]:
    image = np.unique(table.digests[rows], return_inverse=True)[1]
    labels = table.targets[rows]
    least, most = np.full(image.max() + 1, len(table.classes)), np.full(image.max() + 1, -1)
    np.minimum.at(least, image, labels)
    np.maximum.at(most, image, labels)
    return tuple(
        tuple(table.keys[row] for row in rows[image == each].tolist()) for each in np.flatnonzero(least < most).tolist()
    )
