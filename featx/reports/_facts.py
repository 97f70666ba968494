"""What a run is, in words: its head, its features, its rows, and what all of it took."""

from collections.abc import Iterable, Mapping
from typing import Any

from featx.fitting import Run
from featx.reports._origin import Origin
from featx.spec import ExtractionSpec
from featx.store import FeatureStore

__all__ = ["creation_facts", "head_facts", "refusal", "spec_facts", "store_facts", "version_facts"]

Facts = list[tuple[str, str]]


def head_facts(run: Run) -> Facts:
    """Return what was fitted, and on which rows."""
    settings = run.settings
    facts = [
        ("task", run.task),
        ("head", str(settings["head"])),
        ("parameters", _pairs(settings["params"]) or "the defaults"),
        ("seed", str(settings["seed"])),
        ("targets" if run.task == "regression" else "classes", f"{len(run.classes):,}"),
        ("features", f"{settings['n_features']:,}"),
    ]
    for part, words in settings["rows"].items():
        count = f"{len(run.keys[part]):,} samples: " if part in run.keys else ""
        facts.append((part, f"{count}{words}"))
    if "calibrate" in settings:
        facts.append(("calibrated by", str(settings["calibrate"])))
    if "sweep" in settings:
        sweep = settings["sweep"]
        facts.append(("chosen among", f"{sweep['tried']:,} settings of the sweep {sweep['name']}"))
    if "continues" in settings:
        facts.append(("goes on from", str(settings["continues"])))
    if "tuning" in settings:
        tuning = settings["tuning"]
        facts.append(("parameters trained", f"{tuning['trainable']:,}, with {tuning['frozen']:,} frozen"))
    seconds = [epoch["seconds"] for epoch in run.history if "seconds" in epoch]
    if seconds:
        facts.append(("fitting", f"{len(seconds):,} epochs in {_seconds(sum(seconds))}"))
    return facts


def spec_facts(spec: ExtractionSpec) -> Facts:
    """Return what decided the features."""
    images = spec.preprocessing
    size, aim = _size(images.crop_size), _size(images.resize_size)
    how = {"crop": f"the middle of {aim}", "pad": f"padded from {aim}", "squash": f"squashed to {aim}"}[images.resize]
    facts = [
        ("backbone", spec.backbone),
        ("weights", f"SHA-256 {spec.weights[:12]}…"),
        ("layer", spec.layer + ("" if spec.pool == "none" else f", pooled by {spec.pool}")),
        ("images", f"{size} pixels, {how}, {images.interpolation}"),
        ("mean, std", f"{_numbers(images.mean)}; {_numbers(images.std)}"),
        ("arithmetic", f"{spec.precision}, stored as {spec.dtype}"),
    ]
    if images.decode != "exact":
        facts.append(("decoding", images.decode))
    if spec.views > 1:
        facts.append(("views", f"{spec.views}, drawn by {spec.augment}, seed {spec.augment_seed}"))
    return facts


def store_facts(run: Run, origins: Iterable[Origin]) -> list[tuple[str, Facts]]:
    """Return name and facts of each store: its spec, which the run keeps, and what the file tells, if it is there."""
    found = []
    for known, spec, origin in zip(run.settings["stores"], run.specs, origins, strict=True):
        own = [("file", f"{origin.store.path}" if origin.store else origin.problem), ("rows", f"{known['rows']:,}")]
        made = [] if origin.store is None else creation_facts(origin.store)
        found.append((str(known["name"]), [*own, *spec_facts(spec), *made]))
    return found


def version_facts(run: Run) -> Facts:
    """Return the versions of the packages that fitted the head."""
    return [(name, version) for name, version in run.versions.items()]


def refusal(settings: Mapping[str, Any]) -> str:
    """Return what a run refuses, as a sentence; nothing for one that answers everything."""
    if "reject" not in settings:
        return ""
    reject = settings["reject"]
    return (
        f"Answers below {reject['threshold']:.4f} are refused: {100 * reject['coverage'][0]:.1f} % are given, and"
        f" {100 * reject['precision'][0]:.1f} % of these are right ({100 * reject['wanted']:g} % were wanted)."
    )


def creation_facts(store: FeatureStore) -> Facts:
    """Return how a store was made, and what that took."""
    made = store.creation
    facts = [("source", str(store.source.get("identity", "not known")))]
    if "computed" in made:
        rate = f" ({made['computed'] / made['seconds']:.1f} a second)" if made["computed"] and made["seconds"] else ""
        facts.append(
            ("extraction", f"{made['computed']:,} images in {_seconds(made['seconds'])}{rate}, {made['time']}")
        )
        facts.append(("by", "{engine} on {device}, batches of {batch_size}, {workers} threads".format_map(made)))
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in made.get("stages", {}).items())
        if stages:
            facts.append(("seconds of work", stages))
    for how in ("imported", "merged"):
        if how in made:
            what = made[how] if isinstance(made[how], str) else ", ".join(made[how])
            facts.append((f"{how} from", what))
    versions = [f"{name} {made[name]}" for name in ("featx", "torch", "onnxruntime") if made.get(name)]
    return [*facts, ("extracted with", ", ".join(versions))] if versions else facts


def _pairs(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in params.items())


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
