"""Fit a head on stores and judge it on what was held out."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation import folds_for, headline_value, reject_threshold
from featx.fitting._answers import Answers, ask, judge
from featx.fitting._notes import notes_on
from featx.fitting._run import Run
from featx.fitting._split import Rows, choose_rows
from featx.fitting._stores import StoreLike, joined_defaults, open_stores
from featx.fitting._table import Table, join_stores, take
from featx.heads import FitReport, fit_calibration, fit_many, make_head, with_calibration
from featx.heads import fit_head as fit_estimator
from featx.store import FeatureStore

__all__ = ["Calibration", "concluded", "fit_head", "fit_watched"]

Calibration = Literal["temperature", "isotonic"]
Indices = npt.NDArray[np.int64]

_PACKAGES = ("featx", "numpy", "scikit-learn", "torch", "skorch")


def cross_validate(
    head: str, params: Mapping[str, Any], table: Table, rows: Indices, *, folds: int, seed: int
) -> tuple[Answers, dict[str, Any]]:
    """Return each row's answer of a head fitted without it and its group, and the folds' headline figures."""
    k = len(table.classes)
    parts = folds_for(table.task, table.targets[rows], folds, groups=table.groups[rows], seed=seed)
    heads = [make_head(head, params, seed=seed, task=table.task) for _ in parts]
    _fit(heads, table, [rows[train] for train, _ in parts])
    scores, values, figure, is_probability = np.empty((len(rows), k), np.float32), [], "", False
    for estimator, (_, held_out) in zip(heads, parts, strict=True):
        answers = ask(estimator, table, rows[held_out], truth=table.targets[rows[held_out]], k=k)
        scores[held_out], is_probability = answers.scores, answers.is_probability
        figure, value = headline_value(table.task, answers.truth, answers.scores, is_probability=answers.is_probability)
        values.append(value)
    keys = tuple(table.keys[row] for row in rows.tolist())
    return Answers(table.task, keys, table.targets[rows], scores, is_probability), {
        "folds": folds,
        "figure": figure,
        "values": values,
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)),
    }


def _fit(heads: Sequence[Any], table: Table, rows: Sequence[Indices]) -> list[FitReport]:
    """Fit heads each on some rows: all in the same sweeps over the features, if they can be."""
    if table.views:
        return [
            fit_estimator(head, take(table.features, mine), table.targets[mine], views=True)
            for head, mine in zip(heads, rows, strict=True)
        ]
    return fit_many(heads, table.features, table.targets, rows)


def fit_watched(estimator: Any, table: Table, rows: Rows) -> FitReport:
    """Fit on the training rows; a head that learns in epochs sees how it does on the validation rows meanwhile."""
    if not table.views and hasattr(estimator, "fit_many"):  # it needs no copy of the rows
        return _fit([estimator], table, [rows.train])[0]
    validation = rows.held_out.get("val")
    return fit_estimator(
        estimator,
        take(table.features, rows.train),
        table.targets[rows.train],
        validation=None if validation is None else (take(table.features, validation), table.targets[validation]),
        views=table.views,
    )


def fit_head(
    stores: StoreLike | Sequence[StoreLike],
    head: str = "logistic",
    params: Mapping[str, Any] | None = None,
    *,
    train: str | None = None,
    val: str | float | None = None,
    test: str | None = None,
    cv: int | None = None,
    calibrate: Calibration | None = None,
    precision: float | None = None,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
) -> Run:
    """Fit a head on the features of one store, or of several stores of the same samples.

    Parameters
    ----------
    stores : str, path, FeatureStore or a sequence of them
        Files, or names of stores in the cache. The features of several are joined by key, side by side, and each
        feature is standardised.
    head : str
        A name from :func:`featx.list_heads`, or the class path of a scikit-learn classifier (of a regressor, where
        the store has numbers to be learned).
    params : mapping, optional
        Parameters of the head.
    train : str, optional
        Split to fit on; by default ``train``, else all that is in no other.
    val : str or float, optional
        Split to judge on, or the fraction of the training rows to hold out for that; ``"none"`` for neither.
        By default the split ``val``, else 0.2 of the training rows (with `cv`, none).
    test : str, optional
        Split to keep for the end; by default ``test``, where there is such. It is neither fitted nor judged here,
        but by :func:`evaluate`.
    cv : int, optional
        Number of folds for cross-validation on the training rows, before the fit on all of them.
    calibrate : {"temperature", "isotonic"}, optional
        Make the head's scores probabilities that keep their word, by the answers to the rows it was not fitted on
        (of `cv`, else of the validation rows).
    precision : float, optional
        Share of right answers wanted, between 0 and 1: the head then refuses the answers it is less sure of.
        Chosen on the same rows as `calibrate`.
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
    Samples without a label are left out. Images with the same content, and samples of one group, are never on both
    sides of a split that featx draws.
    """
    opened = open_stores(stores, cache)
    table = join_stores(opened)
    params = {**joined_defaults(head, opened), **(params or {})}
    estimator = make_head(head, params, seed=seed, task=table.task)
    rows = choose_rows(table, train=train, val=val, test=test, seed=seed, need_val=cv is None)
    answers: dict[str, Answers] = {}
    scores = None
    if cv is not None:
        answers["cv"], scores = cross_validate(head, params, table, rows.train, folds=cv, seed=seed)
    return concluded(
        estimator,
        opened,
        table,
        rows,
        fit_watched(estimator, table, rows),
        {"head": head, "params": params, "seed": seed},
        answers=answers,
        cv=scores,
        calibrate=calibrate,
        precision=precision,
    )


def concluded(
    estimator: Any,
    stores: Sequence[FeatureStore],
    table: Table,
    rows: Rows,
    report: FitReport,
    settings: Mapping[str, Any],
    *,
    answers: Mapping[str, Answers],
    cv: dict[str, Any] | None = None,
    calibrate: Calibration | None = None,
    precision: float | None = None,
) -> Run:
    """Return the run of a head that has been fitted: ask it, calibrate it, judge it, and write down what it is."""
    k, seed = len(table.classes), settings["seed"]
    found, validation, notes = dict(answers), rows.held_out.get("val"), notes_on(table, rows, report)
    if validation is not None:
        found["val"] = ask(estimator, table, validation, truth=table.targets[validation], k=k)
    facts: dict[str, Any] = {
        "task": table.task,
        **settings,
        "stores": [
            {"name": store.name, "path": str(store.path.resolve()), "rows": len(store), "checksum": store.checksum}
            for store in stores
        ],
        "rows": rows.origin,
        "n_features": report.n_features,
    }
    if calibrate is not None:
        estimator = _calibrate(estimator, found, table, calibrate)
        facts["calibrate"] = calibrate
        if cv is None:
            notes.append("val was used to calibrate, so its log loss and calibration error are optimistic")
    if precision is not None:
        facts["reject"] = _reject(found, table, precision)
    fitted = ask(estimator, table, rows.train, truth=table.targets[rows.train], k=k)
    return Run(
        head=estimator,
        classes=table.classes,
        specs=table.specs,
        backbones=tuple(dict(store.backbone) for store in stores),
        settings=facts,
        metrics={part: judge(given, table.classes, seed=seed) for part, given in {"train": fitted, **found}.items()},
        cv=cv,
        notes=tuple(notes),
        keys={
            part: tuple(table.keys[row] for row in chosen.tolist())
            for part, chosen in {"train": rows.train, **rows.held_out}.items()
        },
        answers=found,
        history=report.history,
        versions=_versions(),
    )


def _unseen(answers: Mapping[str, Answers], table: Table, option: str) -> Answers:
    """Return the answers to rows that the head which gave them was not fitted on."""
    if table.task != "classification":
        raise ParameterError(f"{option} is for classes, one for each sample; the store has {table.task} targets")
    for part in ("cv", "val"):
        if part in answers:
            return answers[part]
    raise ParameterError(f"{option} needs rows the head was not fitted on, and there are none: set val or cv")


def _calibrate(estimator: Any, answers: dict[str, Answers], table: Table, method: Calibration) -> Any:
    """Return a calibrated head, and put in place of all answers what it would have answered."""
    unseen = _unseen(answers, table, "calibrate")
    columns = np.asarray(estimator.classes_)
    known = np.isin(unseen.truth, columns)
    calibration = fit_calibration(estimator, unseen.scores[known][:, columns], unseen.truth[known], method=method)
    for part, given in answers.items():
        scores = np.zeros_like(given.scores)
        scores[:, columns] = calibration(given.scores[:, columns].astype(np.float64), given.is_probability)
        answers[part] = replace(given, scores=scores, is_probability=True)
    return with_calibration(estimator, calibration)


def _reject(answers: Mapping[str, Answers], table: Table, precision: float) -> dict[str, Any]:
    unseen = _unseen(answers, table, "precision")
    found = reject_threshold(unseen.truth, unseen.scores, precision=precision)
    return {
        "threshold": found.threshold,
        "wanted": precision,
        "precision": [found.precision.value, found.precision.low, found.precision.high],
        "coverage": [found.coverage.value, found.coverage.low, found.coverage.high],
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # as featx itself, run from a checkout
            continue
    return found
