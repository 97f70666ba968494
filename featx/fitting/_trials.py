"""Trials of a sweep: what was tried, what came of it, and the file in which that outlives a kill."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from featx.errors import ParameterError, first_line
from featx.evaluation import Figure, compare_folds

__all__ = ["Setting", "Trial", "TrialFile", "fold_figure", "mean_figure", "read_trials"]


@dataclass(frozen=True)
class Setting:
    """A head by name and the parameters it is given.

    Parameters
    ----------
    head : str
        As :func:`~featx.heads.make_head` takes it.
    params : dict
        Over the head's defaults.
    """

    head: str
    params: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The parameters as the command line takes them."""
        return " ".join(f"{key}={_text(value)}" for key, value in self.params.items())


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Trial:
    """One setting of a head, judged by cross-validation under one seed.

    Attributes
    ----------
    stores : tuple of str
        Names of the stores whose features were joined.
    head : str
    params : dict
    seed : int
        Of the folds and of the head.
    figure : str
        Name of the figure: the task's headline.
    values : tuple of float
        The figure of each fold.
    n : int
        Rows that were divided into folds.
    seconds : float
        For fitting and judging all folds; of fits made together, their share.
    warnings : tuple of str
        What the fits warned of, each once.
    """

    stores: tuple[str, ...]
    head: str
    params: dict[str, Any]
    seed: int
    figure: str
    values: tuple[float, ...]
    n: int
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        """Mean of the folds' figures."""
        return sum(self.values) / len(self.values)


def fold_figure(values: Sequence[float], folds: int, figure: str) -> Figure:
    """Return the mean of folds' figures with its 95 % interval.

    Parameters
    ----------
    values : sequence of float
        Of all folds under all seeds, two or more.
    folds : int
        Folds under one seed.
    figure : str
        Name of the figure: no interval leaves the range that the figure has.

    Notes
    -----
    The heads of two folds share most of their training rows, so that their figures differ less than those of heads
    on new rows would: the interval is that of the corrected resampled t-test (see
    :func:`~featx.evaluation.compare_folds`).
    """
    return _mean(values, 1 / (folds - 1), figure)


def mean_figure(values: Sequence[float], figure: str) -> Figure:
    """Return the mean of independent draws' figures with Student's 95 % interval; of one draw, the value alone."""
    return _mean(values, 0.0, figure) if len(values) > 1 else Figure(values[0], values[0], values[0])


def _mean(values: Sequence[float], ratio: float, figure: str) -> Figure:
    found = compare_folds([0.0] * len(values), values, ratio=ratio)
    lowest = -math.inf if figure == "r2" else 0.0
    return Figure(found.value, min(max(found.low, lowest), found.value), max(min(found.high, 1.0), found.value))


class TrialFile:
    """The finished trials of a sweep by key, a line of JSON each, in a file that is only ever added to.

    A line is on the disk before :meth:`add` returns. One that a kill has torn is no trial; the next begins a line of
    its own.

    Parameters
    ----------
    path : Path
        Made, with its folders, by the first :meth:`add`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._trials = dict(_read(path))

    def __len__(self) -> int:
        return len(self._trials)

    def get(self, key: str) -> Trial | None:
        """Return the trial of that key, if there is one."""
        return self._trials.get(key)

    def add(self, key: str, trial: Trial) -> None:
        """Remember a trial, for good."""
        line = json.dumps({"key": key, **asdict(trial)}, ensure_ascii=True).encode("ascii") + b"\n"
        is_new = not self.path.exists()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - 1, 0))
                if file.read(1) not in (b"", b"\n"):
                    line = b"\n" + line
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                _fsync_folder(self.path.parent)
        except OSError as error:
            raise ParameterError(
                f"{self.path} cannot be written ({first_line(error)}): free some space, or set FEATX_RUNS to another"
                " folder; the same command then goes on from there"
            ) from error
        self._trials[key] = trial


def _fsync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_trials(path: Path) -> list[Trial]:
    """Return the trials of a file, in the order in which they were finished."""
    return [trial for _, trial in _read(path)]


def _read(path: Path) -> Iterator[tuple[str, Trial]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return
    for line in lines:
        try:
            values = json.loads(line)
            yield str(values["key"]), _trial(values)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # torn, or of another featx: computed anew


def _trial(values: Mapping[str, Any]) -> Trial:
    found = Trial(
        stores=tuple(map(str, values["stores"])),
        head=str(values["head"]),
        params=dict(values["params"]),
        seed=int(values["seed"]),
        figure=str(values["figure"]),
        values=tuple(map(float, values["values"])),
        n=int(values["n"]),
        seconds=float(values["seconds"]),
        warnings=tuple(map(str, values["warnings"])),
    )
    if len(found.values) < 2 or not all(map(math.isfinite, found.values)):
        raise ValueError("a trial must have finite figures of two folds or more")
    return found
