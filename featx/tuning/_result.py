"""What fine-tuning is about to do, and what came of it: a run that holds its network."""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from featx.backbones import NETWORK_FILE, Backbone, network_bytes
from featx.caching import Extraction
from featx.extraction import Output, plan_outputs
from featx.fitting import Rows, Run, Table, concluded, join_stores, rows_by_key, runs_folder, tuned_name
from featx.heads import FitReport
from featx.heads.nets import NetClassifier, NetRegressor
from featx.spec import ExtractionSpec

__all__ = ["FineTuned", "TuningPlan", "conclude"]


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """What is about to be trained.

    Attributes
    ----------
    trainable, frozen : int
        Parameters of the head and of what it is given.
    statistics : int
        Numbers beside them: means and variances of batch norms, and of the features where the head standardises them.
    cut : str or None
        The layer whose activations are cached; None where images go through the network in every epoch.
    shape : tuple of int
        Of the activations of a sample; of its pixels without a cut.
    path : str
        Of the store that holds them; without a cut, of the features that the head has been given so far.
    bytes : int
        Size of what that holds.
    hit : bool
        Whether it was there already.
    train, val : int
        Samples.
    """

    trainable: int
    frozen: int
    statistics: int
    cut: str | None
    shape: tuple[int, ...]
    path: str
    bytes: int
    hit: bool
    train: int
    val: int


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A run that holds its network, and how it came about.

    Attributes
    ----------
    run : Run
        As it is in its folder.
    folder : Path
    plan : TuningPlan
    history : list of dict
        The epochs of this training; first, of a head that was not trained in epochs, what it answered before.
    best_epoch : int
        The one whose parameters were kept; one before these epochs if none of them was better.
    seconds : float
        Of an epoch, on average.
    """

    run: Run
    folder: Path
    plan: TuningPlan
    history: list[dict[str, Any]]
    best_epoch: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON can hold it."""
        return {
            "path": str(self.folder),
            "plan": asdict(self.plan),
            "best_epoch": self.best_epoch,
            "seconds_per_epoch": self.seconds,
            **self.run.to_dict(),
        }


def conclude(
    net: NetClassifier | NetRegressor,
    backbone: Backbone,
    output: Output,
    settings: Mapping[str, Any],
    *,
    store: str,
    table: Table,
    rows: Rows,
    out: str | os.PathLike[str] | None,
    extract: Callable[[Backbone, ExtractionSpec], Extraction],
) -> tuple[Run, Path]:
    """Extract features of a tuned network, ask its head, and save both as a run.

    Parameters
    ----------
    net : NetClassifier or NetRegressor
    backbone : Backbone
        With the parameters that were trained.
    output : Output
        The layer that the head is given.
    settings : mapping
        ``head``, ``params``, ``seed`` and ``tuning``.
    store : str
        Name of the stores of the source.
    table, rows
        What was trained on, and what judged the epochs.
    out : path, optional
        By default ``runs/NAME``.
    extract : callable
        Extracts a spec's layer of the source by a backbone.

    Returns
    -------
    run : Run
        As it is in its folder.
    folder : Path
    """
    spec = output.spec
    tuned = replace(backbone, network=backbone.network.requires_grad_(False).eval())
    (planned,) = plan_outputs(tuned, layers=[spec.layer], pool=spec.pool, precision=spec.precision, dtype=spec.dtype)
    folder = runs_folder() / tuned_name(store, settings, planned.spec) if out is None else Path(out)
    tuned = replace(tuned, origin=os.path.join(os.path.realpath(folder), NETWORK_FILE))
    found = extract(tuned, planned.spec).store
    features = join_stores([found])
    parts = {"train": rows.train, **rows.held_out}
    keys = {part: [table.keys[row] for row in chosen.tolist()] for part, chosen in parts.items()}
    report = FitReport(
        n_samples=len(rows.train),
        n_features=net.n_features_in_,
        classes=[int(label) for label in getattr(net, "classes_", ())],
        seconds=sum(entry["seconds"] for entry in net.history_ if "seconds" in entry),
        warnings=[],
        task=table.task,
        history=tuple(net.history_),
    )
    run = concluded(net, [found], features, rows_by_key(features, keys, rows.origin), report, settings, answers={})
    return Run.load(replace(run, network=network_bytes(tuned)).save(folder)), folder
