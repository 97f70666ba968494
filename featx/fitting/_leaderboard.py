"""A leaderboard of everything that was ever fitted: runs and sweeps, from what they wrote about themselves."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from featx.errors import ParameterError, did_you_mean, first_line
from featx.evaluation import LOWER_IS_BETTER, Evaluation, Figure
from featx.fitting._run import RUN_VERSION, runs_folder
from featx.fitting._sweep import SWEEPS, TRIALS
from featx.fitting._trials import Setting, Trial, fold_figure, read_trials

__all__ = ["PARTS", "Entry", "leaderboard"]

PARTS = ("val", "cv", "test")
"""What a head is judged on besides its training rows."""

_FILE = "run.json"


@dataclass(frozen=True)
class Entry:
    """A run, or the best setting of a sweep.

    Attributes
    ----------
    kind : {"run", "sweep"}
    name : str
        Of the folder.
    path : Path
        The folder.
    when : str
        Date and time of the last change, in ISO 8601 (UTC).
    task, head, params : str
    stores : tuple of str
    n : int
        Training rows.
    headline : str
        Name of the figure to go by.
    figures : dict of str to dict of str to Figure
        By part (see :data:`PARTS`) and name. Of the test split only what ``featx evaluate`` found.
    status : str
        ``ok``, or what is wrong with the folder; there are no figures then.
    """

    kind: str
    name: str
    path: Path
    when: str
    task: str = ""
    head: str = ""
    params: str = ""
    stores: tuple[str, ...] = ()
    n: int = 0
    headline: str = ""
    figures: dict[str, dict[str, Figure]] = field(default_factory=dict)
    status: str = "ok"

    def figure(self, part: str, name: str | None = None) -> Figure | None:
        """Return a figure of a part, by default the headline; None if there is no such."""
        return self.figures.get(part, {}).get(name or self.headline)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON can hold it."""
        figures = {part: {name: vars(figure) for name, figure in found.items()} for part, found in self.figures.items()}
        return {**vars(self), "path": str(self.path), "stores": list(self.stores), "figures": figures}


def leaderboard(
    folder: str | os.PathLike[str] | None = None, *, sort: str | None = None, limit: int | None = None
) -> list[Entry]:
    """Return runs and sweeps, the best first.

    Parameters
    ----------
    folder : path, optional
        By default where runs are kept. Folders in it are searched, too.
    sort : str, optional
        ``val``, ``cv`` or ``test`` for the headline figure of that part; the name of a figure, such as ``macro_f1``,
        or both, ``test.log_loss``; or ``date``, the latest first. Without a part, that of the validation rows, or of
        cross-validation where there are none. Figures of which less is better are sorted so.
    limit : int, optional
        Only so many.

    Returns
    -------
    list of Entry
        Those without the figure come last, and after them the damaged ones.

    Raises
    ------
    ParameterError
        If no run has such a figure.

    Notes
    -----
    Only what runs say of themselves is read (``run.json``, ``trials.jsonl``); no head is loaded.
    """
    root = runs_folder() if folder is None else Path(folder)
    entries = [*map(_run_entry, _run_files(root)), *_sweep_entries(root / SWEEPS)]
    entries.sort(key=lambda entry: entry.when, reverse=True)
    if sort != "date":
        part, figure = sort_key(sort, entries)
        entries.sort(key=lambda entry: _rank(entry, part, figure))
    return entries[:limit]


def sort_key(sort: str | None, entries: Sequence[Entry]) -> tuple[str | None, str | None]:
    """Return the part and the name of the figure that `sort` says; None for those it leaves open."""
    if sort is None or sort in (*PARTS, "date"):
        return (sort if sort in PARTS else None), None
    part, _, figure = sort.rpartition(".")
    known = {name for entry in entries for found in entry.figures.values() for name in found}
    if (part and part not in PARTS) or (figure not in known and entries):
        raise ParameterError(
            f"sort must be a part ({', '.join(PARTS)}), a figure that some run has, both (val.accuracy), or date; got"
            f" {sort!r}{did_you_mean(figure, known)}"
        )
    return part or None, figure


def _rank(entry: Entry, part: str | None, name: str | None) -> tuple[bool, bool, float]:
    found = entry.figure(part, name) if part else entry.figure("val", name) or entry.figure("cv", name)
    if found is None:
        return entry.status != "ok", True, 0.0
    return False, False, found.value if (name or entry.headline) in LOWER_IS_BETTER else -found.value


def _run_files(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))  # what is being written
        if _FILE in files:
            names.clear()
            yield Path(folder, _FILE)


def _run_entry(path: Path) -> Entry:
    facts: dict[str, Any] = {"kind": "run", "name": path.parent.name, "path": path.parent, "when": _when(path)}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["version"] > RUN_VERSION:
            return Entry(**facts, status=f"format version {values['version']}: upgrade featx")
        settings = values["settings"]
        evaluations = {part: Evaluation.from_dict(found) for part, found in values["metrics"].items()}
        for record in values.get("evaluations", ()):
            if record["is_test"]:
                evaluations["test"] = Evaluation.from_dict(record["evaluation"])
        figures = {part: dict(evaluations[part].figures) for part in PARTS if part in evaluations}
        if values["cv"] is not None and "cv" not in figures:
            figures["cv"] = _old_folds(values["cv"])
        return Entry(
            **facts,
            task=str(settings.get("task", "classification")),
            head=str(settings["head"]),
            params=Setting("", settings["params"]).text,
            stores=tuple(str(store["name"]) for store in settings["stores"]),
            n=evaluations["train"].n,
            headline=evaluations["train"].headline[0],
            figures=figures,
        )
    except (
        OSError,
        KeyError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        IndexError,
        RecursionError,
    ) as error:
        return Entry(**facts, status=f"damaged: {type(error).__name__}: {first_line(error)}")


def _old_folds(cv: Mapping[str, Any]) -> dict[str, Figure]:
    """Return the figures of folds as version 1 of the format has them."""
    names = ("accuracy", "macro_f1")
    return {name: fold_figure(cv[name], len(cv[name]), name) for name in names if name in cv}


def _sweep_entries(root: Path) -> Iterator[Entry]:
    for path in sorted(root.glob(f"*/{TRIALS}")):
        facts: dict[str, Any] = {"kind": "sweep", "name": path.parent.name, "path": path.parent, "when": _when(path)}
        settings: dict[tuple[str, ...], list[Trial]] = {}
        try:
            for trial in read_trials(path):
                params = json.dumps(trial.params, sort_keys=True)
                same = (*trial.stores, trial.head, params, trial.figure, str(len(trial.values)), str(trial.n))
                settings.setdefault(same, []).append(trial)
        except OSError as error:
            yield Entry(**facts, status=f"damaged: {first_line(error)}")
            continue
        scored = [
            (fold_figure(_values(trials), len(trials[0].values), trials[0].figure), trials)
            for trials in settings.values()
        ]
        if not scored:
            yield Entry(**facts, status="damaged: no finished trial")
            continue
        score, (best, *_) = max(scored, key=lambda pair: pair[0].value)
        yield Entry(
            **facts,
            head=best.head,
            params=Setting(best.head, best.params).text,
            stores=best.stores,
            n=best.n,
            headline=best.figure,
            figures={"cv": {best.figure: score}},
        )


def _values(trials: Sequence[Trial]) -> list[float]:
    return [value for trial in trials for value in trial.values]


def _when(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
