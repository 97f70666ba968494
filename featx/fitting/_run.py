"""A run: one fitted head with what it was fitted on, its settings and its figures."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featx.errors import ParameterError, RunError
from featx.evaluation import Evaluation
from featx.fitting._report import report_text
from featx.heads import load_head, save_head
from featx.spec import ExtractionSpec, digest_of

__all__ = ["RUN_VERSION", "Run", "runs_folder"]

RUN_VERSION = 1
_FILE = "run.json"
_MAX_BYTES = 120


def runs_folder() -> Path:
    """Return where runs are kept: the environment's FEATX_RUNS, else ``runs`` under the current folder."""
    return Path(os.environ.get("FEATX_RUNS") or "runs")


@dataclass(frozen=True, eq=False)
class Run:
    """One fitted head with what it was fitted on.

    Parameters
    ----------
    head : estimator
        Fitted; answers with indices into `classes`.
    classes : tuple of str
    specs : tuple of ExtractionSpec
        Of the stores it was fitted on, in the order of their columns.
    backbones : tuple of dict
        For each of them ``name`` and ``weights``, as :func:`featx.load_backbone` takes them.
    settings : dict
        Name and parameters of the head, seed, stores, rows.
    metrics : dict of str to Evaluation
        For ``train`` and, where there are such rows, ``val`` and ``test``.
    cv : dict or None
        With cross-validation: ``folds``, and mean and standard deviation of accuracy and macro F1 over them.
    notes : tuple of str
        What a reader should know: warnings of the solver, samples left out.
    """

    head: Any = field(repr=False)
    classes: tuple[str, ...]
    specs: tuple[ExtractionSpec, ...] = field(repr=False)
    backbones: tuple[dict[str, Any], ...] = field(repr=False)
    settings: dict[str, Any]
    metrics: dict[str, Evaluation]
    cv: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise ParameterError unless the head is one for these classes, specs and settings."""
        labels, features = np.asarray(self.head.classes_), self.settings["n_features"]
        if not 0 <= labels.min() <= labels.max() < len(self.classes) or self.head.n_features_in_ != features:
            raise ParameterError(
                f"head must answer with indices of {len(self.classes)} classes for {features} features"
            )
        counts = {len(self.specs), len(self.backbones), len(self.settings["stores"])}
        if len(counts) > 1:
            raise ParameterError(f"specs, backbones and stores must be equally many; got {sorted(counts)}")

    @property
    def name(self) -> str:
        """Stores, head, and a digest of the settings and of the stores' contents."""
        stores = "+".join(store["name"] for store in self.settings["stores"])
        head = self.settings["head"].rpartition(".")[2]
        contents = [store["checksum"] for store in self.settings["stores"]]  # whatever their files are called
        key = digest_of({**self.settings, "stores": contents})[:8]
        words = re.sub(r"[^\w+\-]+", "_", f"{stores}-{head}").strip("-_").encode()[:_MAX_BYTES]
        return f"{words.decode(errors='ignore')}-{key}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the head itself, as JSON can hold it."""
        return {
            "format": "featx-run",
            "version": RUN_VERSION,
            "name": self.name,
            "classes": list(self.classes),
            "specs": [json.loads(spec.to_json()) for spec in self.specs],
            "backbones": list(self.backbones),
            "settings": self.settings,
            "metrics": {part: figures.to_dict() for part, figures in self.metrics.items()},
            "cv": self.cv,
            "notes": list(self.notes),
        }

    def save(self, folder: str | os.PathLike[str] | None = None) -> Path:
        """Write the run: ``run.json``, ``report.md`` and the head without pickle.

        Parameters
        ----------
        folder : path, optional
            By default ``runs/NAME``. A run that is there is replaced, another folder never.

        Returns
        -------
        Path
            The folder.
        """
        target = runs_folder() / self.name if folder is None else Path(folder)
        if target.exists() and not (target / _FILE).is_file() and (not target.is_dir() or any(target.iterdir())):
            raise ParameterError(f"out {str(target)!r} is there and is no run: choose another folder, or delete it")
        with _replacing(Path(os.path.realpath(target))) as made:
            name = save_head(self.head, made)
            values = {**self.to_dict(), "head": {"file": name, "sha256": _file_digest(made / name)}}
            (made / _FILE).write_text(json.dumps(values, indent=1) + "\n", encoding="ascii")
            (made / "report.md").write_text(report_text(values), encoding="utf-8", errors="backslashreplace")
        return target

    @classmethod
    def load(cls, folder: "str | os.PathLike[str] | Run") -> "Run":
        """Read a run; nothing in it is executed.

        Parameters
        ----------
        folder : path or str
            A run's folder, or its name in ``runs``.

        Raises
        ------
        RunError
            If the folder is no run, is damaged, or was written by a newer featx.
        """
        if isinstance(folder, Run):
            return folder
        path = Path(folder)
        if not path.exists() and (runs_folder() / path).is_dir():
            path = runs_folder() / path
        values = _read(path)
        try:
            if values["version"] > RUN_VERSION:
                raise RunError(f"run {str(path)!r} has format version {values['version']}: upgrade featx")
            head = values["head"]
            if _file_digest(path / os.path.basename(head["file"])) != head["sha256"]:
                raise RunError(f"run {str(path)!r} has another head than it was saved with: fit the head again")
            return cls(
                head=load_head(path),
                classes=tuple(values["classes"]),
                specs=tuple(ExtractionSpec.from_json(json.dumps(spec)) for spec in values["specs"]),
                backbones=tuple(dict(backbone) for backbone in values["backbones"]),
                settings=dict(values["settings"]),
                metrics={part: Evaluation.from_dict(figures) for part, figures in values["metrics"].items()},
                cv=values["cv"],
                notes=tuple(values["notes"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise RunError(f"run {str(path)!r} is damaged ({error!r}): fit the head again") from error


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Yield a new folder that, complete at the end of the block, takes the place of `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".featx-", dir=target.parent) as scratch:
        made, old = Path(scratch, "new"), Path(scratch, "old")
        made.mkdir()
        yield made
        if target.exists():
            target.rename(old)
        try:
            made.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads((path / _FILE).read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunError(f"{str(path)!r} is no run ({_FILE}: {reason}): give the folder that fit-head printed") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"run {str(path)!r} is damaged ({_FILE}: {error}): fit the head again") from error
    if not isinstance(values, dict) or values.get("format") != "featx-run":
        raise RunError(f"{str(path)!r} is no run of featx: give the folder that fit-head printed")
    return values
