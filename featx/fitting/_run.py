"""A run: one fitted head with what it was fitted on, its settings and its figures."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featx.errors import ParameterError, RunError
from featx.evaluation import Evaluation
from featx.fitting._report import report_text
from featx.heads import load_head, save_head
from featx.spec import ExtractionSpec, digest_of

__all__ = ["RUN_VERSION", "Run", "runs_folder"]

RUN_VERSION = 1
_FILE = "run.json"


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

    @property
    def name(self) -> str:
        """Stores, head, and a digest of the settings and of the stores' contents."""
        stores = "+".join(store["name"] for store in self.settings["stores"])
        head = self.settings["head"].rpartition(".")[2]
        contents = [store["checksum"] for store in self.settings["stores"]]  # whatever their files are called
        key = digest_of({**self.settings, "stores": contents})[:8]
        return re.sub(r"[^\w+\-]+", "_", f"{stores}-{head}-{key}").strip("-_")

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the head, as JSON can hold it."""
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
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            made.chmod(0o755)
            save_head(self.head, made)
            (made / _FILE).write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")
            (made / "report.md").write_text(report_text(self.to_dict()), encoding="utf-8", errors="backslashreplace")
            if target.exists():
                shutil.rmtree(target)
            made.rename(target)
        finally:
            shutil.rmtree(made, ignore_errors=True)
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
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"run {str(path)!r} is damaged ({error!r}): fit the head again") from error


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads((path / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"run {str(path)!r} is no folder of a fitted head ({error}): give what fit-head printed"
        ) from error
    if not isinstance(values, dict) or values.get("format") != "featx-run":
        raise RunError(f"run {str(path)!r} is no folder of a fitted head: give what fit-head printed")
    return values
