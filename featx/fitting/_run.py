"""A run: one fitted head with what it was fitted on, its settings, its figures and its answers."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featx.errors import ParameterError, RunError
from featx.evaluation import Evaluation
from featx.fitting._answers import Answers, read_answers, write_answers
from featx.fitting._report import report_text
from featx.heads import load_head, save_head
from featx.spec import ExtractionSpec, digest_of

__all__ = [
    "NETWORK",
    "RUN_VERSION",
    "Run",
    "find_run",
    "is_run",
    "record_evaluation",
    "require_free",
    "runs_folder",
    "tuned_name",
]

RUN_VERSION = 2
"""Version 1 had neither keys nor answers, and one figure without an interval after the other."""

_FILE = "run.json"
_KEYS = "keys.json"
_REPORT = "report.md"
NETWORK = "network.safetensors"
"""As featx.backbones calls a tuned network's file."""
_MAX_BYTES = 120


def runs_folder() -> Path:
    """Return where runs are kept: the environment's FEATX_RUNS, else ``runs`` under the current folder."""
    return Path(os.environ.get("FEATX_RUNS") or "runs")


def find_run(run: str | os.PathLike[str]) -> Path:
    """Return the folder of a run, given as such or by its name in ``runs``."""
    path, named = Path(run), runs_folder() / run
    return named if not path.exists() and named.is_dir() else path


def is_run(run: str | os.PathLike[str]) -> bool:
    """Whether there is a run of that folder or name."""
    return (find_run(run) / _FILE).is_file()


def run_name(words: str, facts: object) -> str:
    """Return the name of a run: words that are safe in a file name, and a digest of the facts."""
    safe = re.sub(r"[^\w+\-]+", "_", words).strip("-_").encode()[:_MAX_BYTES]
    return f"{safe.decode(errors='ignore')}-{digest_of(facts)[:8]}"


def tuned_name(store: str, settings: Mapping[str, Any], spec: ExtractionSpec) -> str:
    """Return the name of a run that holds its network; there need be no features of that yet."""
    facts = [settings[key] for key in ("params", "seed", "tuning")]
    return run_name(f"{store}-{settings['head'].rpartition('.')[2]}-tuned", [*facts, spec.digest])


@dataclass(frozen=True, eq=False)
class Run:
    """One fitted head with what it was fitted on.

    Parameters
    ----------
    head : estimator
        Fitted; answers with indices into `classes`.
    classes : tuple of str
        Names of the classes; of a regression the names of the targets.
    specs : tuple of ExtractionSpec
        Of the stores it was fitted on, in the order of their columns.
    backbones : tuple of dict
        For each of them ``name`` and ``weights``, as :func:`featx.load_backbone` takes them.
    settings : dict
        Task, name and parameters of the head, seed, stores, rows.
    metrics : dict of str to Evaluation
        For ``train`` and, where there are such rows, ``val`` and ``cv`` (each training row judged by a head that was
        fitted without it). Never for the test split: that is what :func:`featx.evaluate` is for.
    cv : dict or None
        With cross-validation: ``folds``, the headline ``figure`` and its ``values``, one for each fold.
    notes : tuple of str
        What a reader should know: warnings of the solver, samples left out, images on both sides of a split.
    keys : dict of str to tuple of str
        The samples of ``train``, ``val`` and ``test``.
    answers : dict of str to Answers
        For ``val``, ``cv`` and, once it has been evaluated, ``test``.
    history : tuple of dict
        One for each epoch of a head that learns in epochs.
    versions : dict of str to str
        Of the packages that fitted it.
    evaluations : tuple of dict
        What :func:`featx.evaluate` was asked for and found, in order.
    network : bytes, path or None
        The file of the network that was trained with the head; None for a head alone. Such a run has one spec.
    """

    head: Any = field(repr=False)
    classes: tuple[str, ...]
    specs: tuple[ExtractionSpec, ...] = field(repr=False)
    backbones: tuple[dict[str, Any], ...] = field(repr=False)
    settings: dict[str, Any]
    metrics: dict[str, Evaluation]
    cv: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    answers: dict[str, Answers] = field(default_factory=dict, repr=False)
    history: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    versions: dict[str, str] = field(default_factory=dict, repr=False)
    evaluations: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    network: bytes | Path | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raise ParameterError unless the head is one for these classes, specs and settings."""
        features, labels = self.settings["n_features"], getattr(self.head, "classes_", (0,))
        if not 0 <= min(labels) <= max(labels) < len(self.classes) or self.head.n_features_in_ != features:
            raise ParameterError(
                f"head must answer with indices of {len(self.classes)} classes for {features} features"
            )
        counts = {len(self.specs), len(self.backbones), len(self.settings["stores"])}
        if len(counts) > 1:
            raise ParameterError(f"specs, backbones and stores must be equally many; got {sorted(counts)}")

    @property
    def task(self) -> str:
        """``classification``, ``multilabel`` or ``regression``."""
        return str(self.settings.get("task", "classification"))

    @property
    def name(self) -> str:
        """Stores, head, and a digest of the settings and of the stores' contents."""
        stores = "+".join(store["name"] for store in self.settings["stores"])
        head = self.settings["head"].rpartition(".")[2]
        if self.network is not None:  # which has the folder's name before there are features of it
            return tuned_name(stores, self.settings, self.specs[0])
        contents = [store["checksum"] for store in self.settings["stores"]]  # whatever their files are called
        return run_name(f"{stores}-{head}", {**self.settings, "stores": contents})

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the head, the keys and the answers, as JSON can hold it."""
        return {
            "format": "featx-run",
            "version": RUN_VERSION,
            "name": self.name,
            "classes": list(self.classes),
            "specs": [json.loads(spec.to_json()) for spec in self.specs],
            "backbones": [self._backbone(dict(backbone)) for backbone in self.backbones],
            "settings": self.settings,
            "metrics": {part: figures.to_dict() for part, figures in self.metrics.items()},
            "cv": self.cv,
            "notes": list(self.notes),
            "history": list(self.history),
            "versions": self.versions,
            "evaluations": list(self.evaluations),
        }

    def report(self) -> str:
        """Return what is known of the run as a Markdown page, as ``report.md`` has it."""
        return report_text(self.to_dict())

    def _backbone(self, backbone: dict[str, Any]) -> dict[str, Any]:
        """Return what is written of a backbone: the run's own network is in its folder, wherever that is."""
        return backbone if self.network is None else {**backbone, "weights": NETWORK}

    def save(self, folder: str | os.PathLike[str] | None = None) -> Path:
        """Write the run: ``run.json``, ``report.md``, keys, answers, and the head (and network) without pickle.

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
        require_free(target)
        with _replacing(Path(os.path.realpath(target))) as made:
            save_head(self.head, made)
            (made / _KEYS).write_text(json.dumps(self.keys), encoding="ascii")
            for part, answers in self.answers.items():
                write_answers(answers, made / _answers_file(part))
            if isinstance(self.network, Path):
                shutil.copyfile(self.network, made / NETWORK)
            elif self.network is not None:
                (made / NETWORK).write_bytes(self.network)
            files = {path.name: _file_digest(path) for path in sorted(made.iterdir())}
            _write({**self.to_dict(), "files": files}, made)
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
        path = find_run(folder)
        values = _read(path)
        try:
            if values["version"] > RUN_VERSION:
                raise RunError(f"run {str(path)!r} has format version {values['version']}: upgrade featx")
            files = _checked_files(values, path)
            keys = _read_keys(path) if _KEYS in files else {}
            classes = tuple(values["classes"])
            network = Path(os.path.realpath(path / NETWORK)) if NETWORK in files else None
            backbones = [dict(backbone) for backbone in values["backbones"]]
            if network is not None:
                backbones[0]["weights"] = str(network)
            return cls(
                head=load_head(path),
                classes=classes,
                specs=tuple(ExtractionSpec.from_json(json.dumps(spec)) for spec in values["specs"]),
                backbones=tuple(backbones),
                settings=dict(values["settings"]),
                metrics={part: Evaluation.from_dict(figures) for part, figures in values["metrics"].items()},
                cv=values["cv"],
                notes=tuple(values["notes"]),
                keys=keys,
                answers={
                    part: read_answers(
                        path / _answers_file(part), keys["train" if part == "cv" else part], len(classes)
                    )
                    for part in ("val", "cv", "test")
                    if _answers_file(part) in files
                },
                history=tuple(values.get("history", ())),
                versions=dict(values.get("versions", {})),
                evaluations=tuple(values.get("evaluations", ())),
                network=network,
            )
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise RunError(f"run {str(path)!r} is damaged ({error!r}): fit the head again") from error


def require_free(target: Path) -> None:
    """Raise ParameterError if a run that is written to `target` would take the place of something else."""
    if target.exists() and not (target / _FILE).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise ParameterError(f"out {str(target)!r} is there and is no run: choose another folder, or delete it")


def record_evaluation(folder: Path, evaluation: Mapping[str, Any], answers: Answers | None) -> None:
    """Add to a saved run what an evaluation found, and the answers to its test split if there are none yet."""
    values = dict(_read(folder))
    name = _answers_file("test")
    if answers is not None and name not in values.get("files", {}):
        write_answers(answers, folder / name)
        values["files"] = {**values["files"], name: _file_digest(folder / name)}
    values["evaluations"] = [*values.get("evaluations", ()), evaluation]
    _write(values, folder)


def _answers_file(part: str) -> str:
    return f"answers-{part}.safetensors"


def _write(values: Mapping[str, Any], folder: Path) -> None:
    """Write what people and featx read of a run, each file at once or not at all."""
    report = report_text(values).encode("utf-8", errors="backslashreplace")
    for name, data in ((_REPORT, report), (_FILE, (json.dumps(values, indent=1) + "\n").encode("ascii"))):
        scratch = folder / f".{name}.new"
        scratch.write_bytes(data)
        scratch.replace(folder / name)


def _checked_files(values: Mapping[str, Any], path: Path) -> set[str]:
    """Return the names of a run's files, each of which is as it was written."""
    files = values["files"] if values["version"] > 1 else {values["head"]["file"]: values["head"]["sha256"]}
    for name, digest in files.items():
        if _file_digest(path / os.path.basename(name)) != digest:
            raise RunError(f"run {str(path)!r} has another {name} than it was saved with: fit the head again")
    return set(files)


def _read_keys(path: Path) -> dict[str, tuple[str, ...]]:
    keys = json.loads((path / _KEYS).read_text(encoding="ascii"))
    return {str(part): tuple(map(str, names)) for part, names in keys.items()}


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
