"""The commands that make a run again, written out so that they can be pasted."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featx.errors import ParameterError
from featx.fitting._commands import command, network_words, option_words, source_words
from featx.fitting._run import Run, runs_folder
from featx.heads import parse_params
from featx.store import FeatureStore, store_path

__all__ = ["commands_of", "extraction_command"]

Steps = tuple[tuple[str, str], ...]

_FRACTION = re.compile(r"(\S+) of .*, stratified, seed (\d+)", re.DOTALL)
_TUNING = {"start": "from", "blocks": "train", "learning_rate": "lr"}
"""What options of ``featx fine-tune`` are called that have another name in Python."""


def commands_of(run: Run, stores: Sequence[FeatureStore | None], folder: str | os.PathLike[str] | None = None) -> Steps:
    """Return the commands that make a run again, in their order.

    Parameters
    ----------
    run : Run
    stores : sequence of FeatureStore or None
        Those that the run was fitted on, in the order of its settings; None for one that is not there any more, or is
        not what it was: how it was extracted is then not told.
    folder : path, optional
        Where the run is; by default where :meth:`Run.save` puts it.

    Returns
    -------
    tuple of (str, str)
        What each is for, and the command. ``SOURCE`` stands for images that were in memory, ``BACKBONE`` for a
        network that was.
    """
    place = str(runs_folder() / run.name if folder is None else folder)
    if run.network is not None:
        steps = [("Tune network and head", _fine_tune(run, stores[0], place))]
    else:
        commands = [extraction_command(store) if store else "" for store in stores]
        named = zip(run.settings["stores"], commands, strict=True)
        steps = [(f"Extract {facts['name']}", words) for facts, words in named if words]
        steps.append(("Fit the head", _continue(run, place) if "continues" in run.settings else _fit(run, place)))
    steps += [(f"Judge it on {record['part']}", _evaluate(run, record, place)) for record in run.evaluations]
    if "test" in run.keys and not any(record["is_test"] for record in run.evaluations):
        steps.append(("Judge it on the test split, once", command("evaluate", place)))
    steps.append(("Ask it about other images", command("predict", place, "IMAGES")))
    return tuple(dict.fromkeys(steps))


def extraction_command(store: FeatureStore) -> str:
    """Return the command that extracts a store; none for one that was imported or merged."""
    if "computed" not in store.creation:
        return ""
    layer = ["--layer", store.spec.layer, *(["--pool", store.spec.pool] if _is_pooled(store) else [])]
    return command("extract", *source_words(store), *network_words(store), *layer, *_name_words(store))


def _is_pooled(store: FeatureStore) -> bool:
    """Whether the pooling has to be named: a vector has none, and a map that is kept as it is has ``none``."""
    return store.spec.pool != "none" or store.axes not in ("NC", "NVC")


def _name_words(store: FeatureStore) -> list[str]:
    """Return what gives the store its file name, if that is not its source's."""
    identity, spec = str(store.source.get("identity", "")), store.spec
    for name, words in ((str(store.source.get("name", "")), []), (store.name, ["--name", store.name])):
        if store_path(Path(os.devnull), name=name, identity=identity, spec=spec).name == store.path.name:
            return words
    return ["--out", str(store.path)]


def _fit(run: Run, place: str) -> str:
    settings = run.settings
    options: dict[str, Any] = {**_row_options(settings["rows"])}
    if run.cv is not None:
        options["cv"] = run.cv["folds"] if "folds" in run.cv else len(run.cv["accuracy"])
    options["calibrate"] = settings.get("calibrate")
    options["precision"] = settings["reject"]["wanted"] if "reject" in settings else None
    options["seed"] = settings["seed"] or None
    head = ["--head", settings["head"], *_set_words(settings["params"])]
    return command("fit-head", *_paths(run), *head, *option_words(options), "--out", place)


def _continue(run: Run, place: str) -> str:
    base = runs_folder() / run.settings["continues"]
    return command("continue", base, *_paths(run), *_set_words(run.settings["params"]), "--out", place)


def _fine_tune(run: Run, store: FeatureStore | None, place: str) -> str:
    settings, tuning = run.settings, run.settings["tuning"]
    options = {_TUNING.get(name, name): value for name, value in settings["params"].items()}
    options |= {"batch_norm": tuning["batch_norm"], "augment_seed": tuning["augment_seed"] or None}
    options["seed"] = settings["seed"] or None
    begin = ["--init-head", str(runs_folder() / tuning["init_head"])] if tuning["init_head"] else _fresh_head(run)
    rows = _row_options(settings["rows"], seed=settings["seed"])
    if "train" in rows:
        rows["train_split"] = rows.pop("train")
    source = ["SOURCE"] if store is None else source_words(store)
    return command("fine-tune", *source, *begin, *option_words(options), *option_words(rows), "--out", place)


def _fresh_head(run: Run) -> list[str]:
    """Return the options of a head that was not trained before, and of the network that it was trained with."""
    spec, backbone, net = run.specs[0], run.settings["tuning"]["backbone"], run.head
    images = spec.preprocessing
    options = {
        "fresh_head": True,
        "head_layers": net.layers,
        "loss": net.loss if getattr(net, "loss", "auto") != "auto" else None,
        "backbone": backbone["name"],
        "weights": backbone["weights"],
        "layer": spec.layer,
        "pool": spec.pool if spec.pool != "none" else None,
        "image_size": images.side,
        "resize": images.resize,
        "interpolation": images.interpolation,
        "mean": ",".join(map(str, images.mean)),
        "std": ",".join(map(str, images.std)),
        "decode": images.decode if images.decode != "exact" else None,
    }
    return option_words(options)


def _evaluate(run: Run, record: Mapping[str, Any], place: str) -> str:
    if record["is_test"]:
        return command("evaluate", place)
    own = {store["checksum"]: store["path"] for store in run.settings["stores"]}
    stores = [own.get(store["checksum"], store["name"]) for store in record["stores"]]
    split = [] if record["part"] == "all" else ["--split", record["part"]]
    return command("evaluate", place, *stores, *split)


def _row_options(rows: Mapping[str, str], *, seed: int | None = None) -> dict[str, str]:
    """Return the options that choose rows as the words of a run say they were chosen.

    With a `seed`, none if the rows for validation were drawn with another: they are those of the run that this one
    began with, and are taken from there.
    """
    options = {part: rows[part].removeprefix("split ") for part in rows if rows[part].startswith("split ")}
    drawn = _FRACTION.fullmatch(rows.get("val", ""))
    if drawn and seed not in (None, int(drawn[2])):
        return {}
    if "val" not in options:
        options["val"] = drawn[1] if drawn else "none"
    return {part: options[part] for part in ("train", "val", "test") if options.get(part, part) != part}


def _set_words(params: Mapping[str, Any]) -> list[str]:
    return [word for name, value in params.items() for word in ("--set", f"{name}={_literal(name, value)}")]


def _literal(name: str, value: Any) -> str:
    """Return a parameter's value as ``--set`` takes it."""
    text = str(value)
    try:
        is_read = parse_params([f"{name}={text}"]) == {name: value}
    except ParameterError:  # a text that begins like a list
        is_read = False
    return text if is_read else repr(value)


def _paths(run: Run) -> list[str]:
    return [store["path"] for store in run.settings["stores"]]
