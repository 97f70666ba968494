"""The report of a store: what is in it, where its samples lie, what is there twice, and what stands apart."""

from collections.abc import Sequence
from typing import Any

from featx._words import counted, size
from featx.fitting import extraction_command
from featx.reports._counts import Counts, counts_of
from featx.reports._duplicates import Group, exact_groups
from featx.reports._facts import creation_facts, spec_facts
from featx.reports._map import MapMethod, check_method
from featx.reports._page import Page, Report
from featx.reports._roll import Roll
from featx.reports._sections import classes_section, duplicates_section, map_section, near_section, outliers_section
from featx.reports._survey import Survey, survey_of
from featx.sources import Source
from featx.store import FeatureStore

__all__ = ["store_report"]

_LISTED = 1_000
"""Samples that could not be used, of which the page says why."""


def store_report(
    store: FeatureStore,
    *,
    method: MapMethod = "pca",
    images: bool = True,
    seed: int = 0,
    title: str | None = None,
    source: Source | None = None,
) -> Report:
    """Return the report of a store.

    It has class counts, samples of each class, a map of the features on which samples can be pointed at, duplicates
    and near-duplicates, outliers, and what could not be used. No network runs. Of more than 100,000 samples, features
    of so many are looked at; 50,000 of width 2,048 take less than half a minute.

    Parameters
    ----------
    store : FeatureStore
        Of any task, or without labels. Maps are averaged over their positions, of views the plain image is taken.
    method : {"pca", "tsne", "umap"}
        How the map is made: at once, or in a minute or so; UMAP takes ``featx[umap]``.
    images : bool
        Whether images are shown.
    seed : int
        Of UMAP; t-SNE starts from the principal components.
    title : str, optional
        By default the store's name.
    source : Source, optional
        Where the images are, if not where they were.

    Returns
    -------
    Report
        For :func:`write_page`, and :func:`featx.plots.save_figures`.

    Raises
    ------
    ParameterError
        If there is no such method, or it needs more samples.
    MissingDependencyError
        If UMAP is asked for and not installed.
    """
    check_method(method, len(store))
    roll = Roll(store, images=images, source=source)
    counts, exact, survey = counts_of(store), exact_groups(store, roll.labels), survey_of(store, roll.labels)
    drawings = [counts.drawing()] if counts.totals.any() else []
    values: dict[str, Any] = {
        "summary": _summary(store),
        "headlines": _headlines(store, counts, exact, survey),
        "problem": roll.problem,
        "notes": _notes(store, counts, exact, survey),
        "drawing": drawings[0] if drawings else None,
        "classes": classes_section(store, counts, roll),
        "duplicates": duplicates_section(store, roll, exact),
        "failures": _failures(store),
        "facts": _facts(store),
        "command": extraction_command(store),
        **dict.fromkeys(("map", "near", "outliers")),
    }
    if survey is not None:
        apart = [survey.outliers, *(found for _, found in survey.by_class)]
        listed = [row for found in apart for row, _ in found]
        listed += [row for group in (*exact, *survey.near) for row in group.rows]
        drawing, values["map"] = map_section(store, roll, survey, listed, method, seed)
        values |= {"near": near_section(store, roll, survey), "outliers": outliers_section(roll, survey)}
        drawings.append(drawing)
    figures = {drawing.name: drawing.figure for drawing in drawings}
    return Report(Page("store.html", title or store.name, values), figures)


def _summary(store: FeatureStore) -> str:
    kinds = {
        "classification": f"{len(store.classes):,} classes",
        "multilabel": f"{len(store.classes):,} classes, several a sample",
        "regression": f"numbers to be predicted: {', '.join(store.target_names)}",
    }
    what = kinds[store.task] if store.labelled.any() else "no labels"
    return f"Features of {store.source.get('identity', 'a source that is not known')}; {what}."


def _headlines(
    store: FeatureStore, counts: Counts, exact: Sequence[Group], survey: Survey | None
) -> list[dict[str, str]]:
    splits = counts.by_split(counts.samples) if counts.splits != ("",) else ""
    found = [_headline(len(store), splits, "samples")]
    if store.classes:
        least, most = int(counts.totals.min()), int(counts.totals.max())
        each = f"{least:,} each" if least == most else f"{least:,} to {most:,} each"
        found.append(_headline(len(store.classes), each, "classes"))
    found.append(_headline(len(exact), _leaking(exact), "duplicated images"))
    if survey is not None:
        found.append(_headline(len(survey.near), _leaking(survey.near), "near-duplicates"))
    return [*found, _headline(len(store.failures), "", "bad images")]


def _headline(value: int, interval: str, what: str) -> dict[str, str]:
    return {"value": f"{value:,}", "interval": interval, "what": what}


def _leaking(groups: Sequence[Group]) -> str:
    count = sum(bool(group.leaks) for group in groups)
    return f"{count:,} across splits" if count else ""


def _notes(store: FeatureStore, counts: Counts, exact: Sequence[Group], survey: Survey | None) -> list[str]:
    """Return what is wrong, or may be, the worst first."""
    found = []
    for groups, how in ((exact, "byte for byte"), (survey.near if survey else [], "nearly the same")):
        for pair, count in _leaks(groups).items():
            images = counted(count, "image is", "images are")
            found.append(f"{images} in both {pair[0]} and {pair[1]}, {how}: figures there are too good.")
    conflicts = sum(group.conflict for group in exact)
    if conflicts:
        images = counted(conflicts, "image is", "images are")
        found.append(f"{images} labelled differently in different places, though the bytes are equal.")
    torn = _torn(store)
    if torn:
        found.append(f"{counted(torn, 'group')} of samples in more than one split: what these have in common leaks.")
    found += counts.notes()
    if store.failures:
        found.append(f"{counted(len(store.failures), 'sample')} could not be used: see bad images.")
    if survey is None:
        return [*found, "No features could be looked at."]
    if len(survey.odd):
        found.append(f"Left out are features that are not finite, or beyond all reason: {_keys(store, survey.odd)}.")
    if len(survey.zero):
        found.append(f"There are features that are all 0: {_keys(store, survey.zero)}.")
    if len(survey.rows) + len(survey.odd) < len(store):
        found.append(
            f"Map, near-duplicates and outliers are of {len(survey.rows):,} samples, spread evenly over the"
            f" {len(store):,}."
        )
    return found


def _leaks(groups: Sequence[Group]) -> dict[tuple[str, str], int]:
    """Return how many groups are in both of two splits."""
    found: dict[tuple[str, str], int] = {}
    for group in groups:
        for leak in group.leaks:
            found[leak] = found.get(leak, 0) + 1
    return found


def _torn(store: FeatureStore) -> int:
    """Return how many of the groups that the source declares are in more than one split."""
    found: dict[str, set[str]] = {}
    for group, split in zip(store.groups, store.splits, strict=True):
        if group and split:
            found.setdefault(group, set()).add(split)
    return sum(len(splits) > 1 for splits in found.values())


def _keys(store: FeatureStore, rows: Any) -> str:
    shown = ", ".join(store.keys[row] for row in rows[:5].tolist())
    return shown if len(rows) <= 5 else f"{len(rows):,} samples ({shown}, …)"


def _failures(store: FeatureStore) -> dict[str, Any]:
    rows = [list(failure) for failure in store.failures[:_LISTED]]
    cut = f" (the first {_LISTED:,})" if len(store.failures) > len(rows) else ""
    return {
        "words": f"{counted(len(store.failures), 'sample has', 'samples have')} no features, and no part in all above.",
        "caption": f"Samples that could not be used{cut}",
        "rows": rows,
    }


def _facts(store: FeatureStore) -> list[tuple[str, str]]:
    shape = " x ".join(f"{n:,}" for n in store.features.shape)
    return [
        ("file", str(store.path)),
        ("size", size(store.path.stat().st_size)),
        ("features", f"{shape} {store.features.dtype.name}"),
        *spec_facts(store.spec),
        *creation_facts(store),
        ("spec digest", store.spec.digest),
    ]
