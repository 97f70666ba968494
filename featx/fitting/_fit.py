"""Fit a head on stores, judge it on what was held out; judge it again on other stores."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, RunError
from featx.evaluation import Evaluation, evaluate_predictions, stratified_folds
from featx.fitting._run import Run
from featx.fitting._split import Rows, choose_rows
from featx.fitting._table import Table, join_stores
from featx.heads import fit_head as fit_estimator
from featx.heads import head_scores, make_head
from featx.spec import require_same_spec
from featx.store import FeatureStore, find_store

__all__ = ["StoreLike", "evaluate", "fit_head"]

StoreLike = str | os.PathLike[str] | FeatureStore


def _opened(stores: StoreLike | Sequence[StoreLike], cache: str | os.PathLike[str] | None) -> list[FeatureStore]:
    if isinstance(stores, (str, os.PathLike, FeatureStore)):
        stores = [stores]
    return [find_store(store, cache) for store in stores]


def _judge(head: Any, table: Table, rows: npt.NDArray[np.int64], classes: Sequence[str]) -> Evaluation:
    scores, is_probability = head_scores(head, table.features[rows])
    return evaluate_predictions(
        table.labels[rows],
        scores,
        classes=classes,
        head_classes=np.asarray(head.classes_),
        is_probability=is_probability,
    )


def _cross_validate(
    head: str, params: Mapping[str, Any], table: Table, rows: npt.NDArray[np.int64], *, folds: int, seed: int
) -> dict[str, Any]:
    """Return mean and standard deviation over the folds; one image is never on both sides."""
    labels = table.labels[rows]
    figures = []
    for train, test in stratified_folds(labels, folds, groups=table.groups[rows], seed=seed):
        estimator = make_head(head, params, seed=seed)
        fit_estimator(estimator, table.features[rows[train]], labels[train])
        figures.append(_judge(estimator, table, rows[test], table.classes))
    accuracy = [figure.accuracy for figure in figures]
    macro_f1 = [figure.macro_f1 for figure in figures]
    return {
        "folds": folds,
        "accuracy": accuracy,
        "accuracy_mean": float(np.mean(accuracy)),
        "accuracy_std": float(np.std(accuracy, ddof=1)),
        "macro_f1_mean": float(np.mean(macro_f1)),
        "macro_f1_std": float(np.std(macro_f1, ddof=1)),
    }


def _leaks(table: Table, rows: Rows) -> list[str]:
    """Return a note for each part that holds images of the training rows, as splits made elsewhere may."""
    trained_on = set(table.groups[rows.train].tolist())
    notes = []
    for part, held_out in rows.held_out.items():
        count = sum(group in trained_on for group in table.groups[held_out].tolist())
        if count:
            notes.append(f"{count} of the {len(held_out)} images of {part} are, byte for byte, in train too")
    return notes


def fit_head(
    stores: StoreLike | Sequence[StoreLike],
    head: str = "logistic",
    params: Mapping[str, Any] | None = None,
    *,
    train: str | None = None,
    val: str | float | None = None,
    test: str | None = None,
    cv: int | None = None,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
) -> Run:
    """Fit a head on the features of one store, or of several stores of the same samples.

    Parameters
    ----------
    stores : str, path, FeatureStore or a sequence of them
        Files, or names of stores in the cache. The features of several are joined by key, side by side.
    head : str
        A name from :func:`featx.list_heads`, or the class path of a scikit-learn classifier.
    params : mapping, optional
        Parameters of the head.
    train : str, optional
        Split to fit on; by default ``train``, else all that is in no other.
    val : str or float, optional
        Split to judge on, or the fraction of the training rows to hold out for that; ``"none"`` for neither.
        By default the split ``val``, else 0.2 of the training rows (with `cv`, none).
    test : str, optional
        Split to judge on at the end; by default ``test``, where there is such.
    cv : int, optional
        Number of folds for cross-validation on the training rows, before the fit on all of them.
    seed : int
        Of the head, the held-out fraction and the folds.
    cache : path, optional
        Where stores are looked for by name.

    Returns
    -------
    Run

    Raises
    ------
    FeatxError
        In one sentence: what, by which rule, and what to do.

    Notes
    -----
    Samples without a label are left out. Images with the same content are never on both sides of a split that
    featx draws.
    """
    params = dict(params or {})
    opened = _opened(stores, cache)
    estimator = make_head(head, params, seed=seed)
    table = join_stores(opened)
    rows = choose_rows(table, train=train, val=val, test=test, seed=seed, need_val=cv is None)
    scores = None
    if cv is not None:
        scores = _cross_validate(head, params, table, rows.train, folds=cv, seed=seed)
    report = fit_estimator(estimator, table.features[rows.train], table.labels[rows.train])
    notes = list(report.warnings)
    if table.left_out:
        notes.append(f"{table.left_out} samples are in some of the stores only and were left out")
    notes += _leaks(table, rows)
    missing = [name for label, name in enumerate(table.classes) if label not in report.classes]
    if missing:
        notes.append(f"{len(missing)} classes have no training rows and are never predicted: {', '.join(missing[:5])}")
    return Run(
        head=estimator,
        classes=table.classes,
        specs=table.specs,
        backbones=tuple(dict(store.backbone) for store in opened),
        settings={
            "head": head,
            "params": params,
            "seed": seed,
            "stores": [
                {"name": store.name, "path": str(store.path.resolve()), "rows": len(store), "checksum": store.checksum}
                for store in opened
            ],
            "rows": rows.origin,
            "n_features": report.n_features,
        },
        metrics={
            part: _judge(estimator, table, chosen, table.classes)
            for part, chosen in {"train": rows.train, **rows.held_out}.items()
        },
        cv=scores,
        notes=tuple(notes),
    )


def evaluate(
    run: Run | str | os.PathLike[str],
    stores: StoreLike | Sequence[StoreLike],
    *,
    split: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Judge a fitted head on the labelled samples of other stores.

    Parameters
    ----------
    run : Run, str or path
        Or the folder or name of one.
    stores : str, path, FeatureStore or a sequence of them
        As many as the head was fitted on, in the same order, each of the same spec.
    split : str, optional
        Only samples of that split.
    cache : path, optional
        Where stores are looked for by name.

    Raises
    ------
    SpecMismatchError
        If the features are not of the spec that the head was trained on, naming each field that differs.
    ParameterError
        If there are no such samples, or a class that the head has never heard of.
    """
    run = Run.load(run)
    opened = _opened(stores, cache)
    if len(opened) != len(run.specs):
        raise ParameterError(f"stores must be as many as the head was fitted on, {len(run.specs)}; got {len(opened)}")
    for spec, store in zip(run.specs, opened, strict=True):
        require_same_spec(spec, store.spec, what=f"store {store.path.name}")
    table = join_stores(opened)
    known = sorted(set(table.splits.tolist()) - {""})
    if split is not None and split not in known:
        raise ParameterError(f"split must be one of the store's ({', '.join(known) or 'it has none'}); got {split!r}")
    rows = np.flatnonzero((table.labels >= 0) & (True if split is None else table.splits == split))
    if not len(rows):
        raise ParameterError("the store has no labelled samples to judge by: extract them from class folders")
    unknown = {table.classes[label] for label in np.unique(table.labels[rows])} - set(run.classes)
    if unknown:
        raise ParameterError(
            f"the store's classes must be among the head's ({', '.join(run.classes[:8])});"
            f" it also has {', '.join(sorted(unknown)[:5])}"
        )
    if table.features.shape[1:] != (run.settings["n_features"],):
        raise RunError(
            f"the head takes {run.settings['n_features']} features, the store has {table.features.shape[1:]}"
        )
    index = {name: label for label, name in enumerate(run.classes)}
    labels = np.array([index.get(name, -1) for name in table.classes], dtype=np.int64)[table.labels[rows]]
    scores, is_probability = head_scores(run.head, table.features[rows])
    return evaluate_predictions(
        labels,
        scores,
        classes=run.classes,
        head_classes=np.asarray(run.head.classes_),
        is_probability=is_probability,
    )
