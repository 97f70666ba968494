"""Judge a fitted head on samples it was not fitted on, and write down in the run that it was."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, ParameterError
from featx.evaluation import Evaluation
from featx.fitting._answers import ask, judge
from featx.fitting._run import Run, find_run, record_evaluation
from featx.fitting._stores import StoreLike, open_stores
from featx.fitting._table import Table, join_stores
from featx.spec import require_same_spec
from featx.store import FeatureStore

__all__ = ["Judgement", "evaluate", "judge_run", "own_stores"]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What an evaluation found, and what a reader should know of it.

    Parameters
    ----------
    evaluation : Evaluation
    part : str
        What was judged: a split, ``test`` for the run's own test split, or ``all``.
    notes : tuple of str
        That samples were trained on, that the test split has been judged before.
    """

    evaluation: Evaluation
    part: str
    notes: tuple[str, ...]


def evaluate(
    run: Run | str | os.PathLike[str],
    stores: StoreLike | Sequence[StoreLike] | None = None,
    *,
    split: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Judge a fitted head on the labelled samples of its own test split, or of other stores.

    A run that was saved keeps what was found: when, on what, and how often its test split has been judged.

    Parameters
    ----------
    run : Run, str or path
        Or the folder or name of one.
    stores : str, path, FeatureStore or a sequence of them, optional
        As many as the head was fitted on, in the same order, each of the same spec. By default those themselves,
        and of them the split that was kept for testing.
    split : str, optional
        Only samples of that split.
    cache : path, optional
        Where stores are looked for by name.

    Returns
    -------
    Evaluation

    Raises
    ------
    SpecMismatchError
        If the features are not of the spec that the head was trained on, naming each field that differs.
    ParameterError
        If there are no such samples, or a class that the head has never heard of.
    """
    return judge_run(run, stores, split=split, cache=cache).evaluation


def judge_run(
    run: Run | str | os.PathLike[str],
    stores: StoreLike | Sequence[StoreLike] | None = None,
    *,
    split: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Judgement:
    """Do what :func:`evaluate` does, and also return what a reader of the figures should know."""
    folder = None if isinstance(run, Run) else find_run(run)
    run = Run.load(run)
    opened = open_stores(own_stores(run) if stores is None else stores, cache)
    if len(opened) != len(run.specs):
        raise ParameterError(f"stores must be as many as the head was fitted on, {len(run.specs)}; got {len(opened)}")
    for spec, store in zip(run.specs, opened, strict=True):
        require_same_spec(spec, store.spec, what=f"store {store.path.name}")
    table = join_stores(opened)
    is_own = [store.checksum for store in opened] == [store["checksum"] for store in run.settings["stores"]]
    rows, part = _rows(table, run, split, own_test=is_own and stores is None and split is None)
    truth = _in_terms_of(run, table, rows)
    answers = ask(run.head, table, rows, truth=truth, k=len(run.classes))
    evaluation = judge(answers, run.classes, seed=run.settings["seed"])
    is_test = is_own and set(answers.keys) == set(run.keys.get("test", ()))
    notes = _notes(run, table, rows, is_test=is_test)
    if folder is not None:
        record = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "stores": [{"name": store.name, "checksum": store.checksum} for store in opened],
            "part": "test" if is_test else part,
            "is_test": is_test,
            "notes": notes,
            "evaluation": evaluation.to_dict(),
        }
        record_evaluation(folder, record, answers if is_test else None)
    return Judgement(evaluation, part, tuple(notes))


def own_stores(run: Run) -> list[FeatureStore]:
    """Open the stores that a run was fitted on."""
    stores = open_stores([store["path"] for store in run.settings["stores"]])
    for found, known in zip(stores, run.settings["stores"], strict=True):
        if found.checksum != known["checksum"]:
            raise ParameterError(
                f"store {found.path.name} has changed since the head was fitted on it, so its test split may have, too:"
                " name the stores to judge by"
            )
    return stores


def _rows(table: Table, run: Run, split: str | None, *, own_test: bool) -> tuple[npt.NDArray[np.int64], str]:
    known = sorted(set(table.splits.tolist()) - {""})
    if own_test:
        if not run.keys.get("test"):
            raise ParameterError("the run has no test split: name a store, or a split with --split, to judge by")
        return np.flatnonzero(table.known & _among(table, run.keys["test"])), "test"
    if split is not None and split not in known:
        raise ParameterError(f"split must be one of the store's ({', '.join(known) or 'it has none'}); got {split!r}")
    rows = np.flatnonzero(table.known & (True if split is None else table.splits == split))
    if not len(rows):
        raise ParameterError("the store has no labelled samples to judge by: extract them from class folders")
    return rows, split or "all"


def _in_terms_of(run: Run, table: Table, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return the truth of some rows with the run's classes, whatever order the store has them in."""
    if table.task != run.task:
        raise ParameterError(f"the run is a {run.task}; the store has targets for {table.task}: give another store")
    targets = table.targets[rows]
    if table.task == "classification":
        used = {table.classes[label] for label in np.unique(targets)}
    elif table.task == "multilabel":
        used = {table.classes[j] for j in np.flatnonzero(np.any(targets, axis=0))}
    else:
        used = set(table.classes) ^ set(run.classes)  # there must be a value for every target
    unknown = used - (set(run.classes) if run.task != "regression" else set())
    if unknown:
        raise ParameterError(
            f"the store's classes must be among the head's ({', '.join(run.classes[:8])});"
            f" it also has {', '.join(sorted(unknown)[:5])}"
        )
    if table.task == "classification":
        index = {name: label for label, name in enumerate(run.classes)}
        labels = np.array([index.get(name, -1) for name in table.classes], dtype=np.int64)
        return np.take(labels, targets)
    column = {name: j for j, name in enumerate(table.classes)}
    every: npt.NDArray[Any] = np.zeros((len(rows), len(run.classes)), dtype=targets.dtype)
    for j, name in enumerate(run.classes):
        if name in column:
            every[:, j] = targets[:, column[name]]
    return every


def _notes(run: Run, table: Table, rows: npt.NDArray[np.int64], *, is_test: bool) -> list[str]:
    notes = []
    trained = _trained_digests(run)
    if trained is None:
        notes.append("the stores of the training are gone or changed, so nothing tells whether these images are new")
    elif count := int(np.isin(table.digests[rows], trained).sum()):
        notes.append(f"{count} of these {len(rows)} images were trained on, so the figures are better than the truth")
    earlier = sum(record["is_test"] for record in run.evaluations) if is_test else 0
    if earlier:
        notes.append(
            f"the test split has been judged {earlier} time{'s' if earlier > 1 else ''} before: what is chosen by it"
            " is no longer judged by it"
        )
    return notes


def _trained_digests(run: Run) -> npt.NDArray[np.str_] | None:
    """Return the content digests of the training rows, as long as the stores are what they were."""
    if "train" not in run.keys:
        return None
    try:
        store = own_stores(run)[0]  # the others agree with it: joining them would only copy their features
    except (FeatxError, OSError):
        return None
    chosen = set(run.keys["train"])
    pairs = zip(store.keys, store.digests, strict=True)
    return np.array([digest for key, digest in pairs if key in chosen], dtype=np.str_)


def _among(table: Table, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
    chosen = set(keys)
    return np.fromiter((key in chosen for key in table.keys), dtype=bool, count=len(table))
