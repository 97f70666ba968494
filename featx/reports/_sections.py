"""The sections of a store's page that show samples: of each class, on the map, there twice, standing apart."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from featx import plots
from featx._words import counted
from featx.labels import label_words
from featx.reports._counts import Counts, target_rows
from featx.reports._drawings import Drawing
from featx.reports._duplicates import Group
from featx.reports._map import MAP_LIMITS, MapMethod, map_points, map_spots
from featx.reports._roll import Roll
from featx.reports._survey import Apart, Survey, class_members
from featx.reports._vectors import Rows, spread
from featx.store import FeatureStore

__all__ = ["classes_section", "duplicates_section", "map_section", "near_section", "outliers_section"]

_SPOTS, _SPOT_SIDE = 2_000, 64
"""Samples that a map can name, and pixels of their images: about 5 MB of a page."""

_CLASSES, _SAMPLES, _SAMPLES_OF_CLASS = 48, 144, 12
"""Classes of which samples are shown, samples in all, and of one class."""

_GROUPS, _GROUP_SAMPLES, _LISTED = 24, 8, 1_000
"""Groups of duplicates that are shown, samples of one, and samples of all that are listed."""

_FEW = 30
"""Classes up to which their table is shown unfolded."""

_METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def classes_section(store: FeatureStore, counts: Counts, roll: Roll) -> dict[str, Any]:
    """Return what there is of each class: counts, and some samples."""
    title, caption = "Classes", "Samples of each class"
    if store.targets is not None:
        (head, rows), title, caption = target_rows(store), "Values", "Values to be predicted"
        words, samples = _by_value(store, roll)
    elif store.classes:
        head, rows = counts.rows()
        words, samples = _by_class(store, roll)
    else:
        head, rows, title = [], [], "Samples"
        words, samples = (
            "Spread evenly over the store.",
            [("", _plain(roll, spread(len(store), _SAMPLES_OF_CLASS * 2)))],
        )
    return {
        "title": title,
        "head": head,
        "rows": rows,
        "caption": caption,
        "folded": len(rows) > _FEW,
        "words": words,
        "samples": samples,
    }


def map_section(
    store: FeatureStore, roll: Roll, survey: Survey, listed: Iterable[int], method: MapMethod, seed: int
) -> tuple[Drawing, dict[str, Any]]:
    """Return the map of the features, and the samples that it can name: first those `listed`, then others, spread."""
    on_map = spread(len(survey.rows), MAP_LIMITS.get(method, len(survey.rows)))
    rows = survey.rows[on_map]
    points = map_points(survey.sketch, method, rows=on_map, seed=seed)
    kinds, names = _kinds(store, rows)
    apart = [row for row, _ in survey.outliers]
    figure = plots.feature_map(points, kinds, names, highlighted=np.flatnonzero(np.isin(rows, apart)))
    place = {row: i for i, row in enumerate(rows.tolist())}
    known = np.array([place[row] for row in dict.fromkeys(listed) if row in place][:_SPOTS], dtype=np.int64)
    others = np.setdiff1d(np.arange(len(rows)), known)
    spots = np.union1d(known, others[spread(len(others), _SPOTS - len(known))])
    shown = rows[spots].tolist()
    captions = [roll.lines(row) for row in shown]
    named = map_spots(plots.axes_box(figure), points[spots], captions, roll.small(shown, _SPOT_SIDE))
    words = _map_words(survey, method, len(rows), len(store))
    drawing = Drawing("map", "Map", figure, words)
    some = (
        f"{len(spots):,} of {len(rows):,} samples can be named, spread evenly, with those that are shown below"
        if len(spots) < len(rows)
        else "Every sample can be named"
    )
    remark = f"{some}: point at them, or go from one to the next with the arrow keys. Rings are the outliers below."
    return drawing, {"svg": drawing.svg, "words": words, "remark": remark, "spots": named}


def duplicates_section(store: FeatureStore, roll: Roll, groups: Sequence[Group]) -> dict[str, Any]:
    """Return the samples of equal bytes."""
    extra = sum(len(group.rows) - 1 for group in groups)
    words = (
        f"{counted(len(groups), 'image is', 'images are')} there more than once, byte for byte:"
        f" {counted(extra, 'sample')} too many{_shown(groups)}."
        if groups
        else "None: no two samples have the same bytes."
    )
    return _grouped(store, roll, groups, words, lambda group: f"{len(group.rows):,} times.")


def near_section(store: FeatureStore, roll: Roll, survey: Survey) -> dict[str, Any]:
    """Return the samples that are nearly the same."""
    rule = (
        f"a cosine distance below {survey.threshold:.3g}, a quarter of what is usual between a sample and"
        f" the farthest of its {survey.neighbors} nearest others here"
    )
    words = (
        f"{counted(len(survey.near), 'group')} of samples that look nearly the same{_shown(survey.near)}: they hang"
        f" together by pairs at {rule}."
        if survey.near
        else f"None: no two different images are at {rule}."
    )
    return _grouped(
        store,
        roll,
        survey.near,
        words,
        lambda group: f"{len(group.rows):,} times, up to {group.distance:.3g} apart.",
    )


def outliers_section(roll: Roll, survey: Survey) -> dict[str, Any]:
    """Return the samples that stand apart, in all and of each class."""
    return {
        "words": (
            f"The samples that are farthest from their {survey.neighbors} nearest others, by the mean of their cosine"
            " distances (Angiulli and Pizzuti, 2002): odd images, and odd ones out."
        ),
        "items": _apart(roll, survey.outliers),
        "class_words": "The same among the samples of each class alone: those that look least like the others.",
        "by_class": [(name, _apart(roll, found)) for name, found in survey.by_class],
    }


def _by_class(store: FeatureStore, roll: Roll) -> tuple[str, list[tuple[str, list[dict[str, Any]]]]]:
    members = [(name, rows) for name, rows in class_members(store) if len(rows)]
    chosen = [members[i] for i in spread(len(members), _CLASSES).tolist()]
    each = max(3, min(_SAMPLES_OF_CLASS, _SAMPLES // max(1, len(chosen))))
    some = f"Of {len(chosen)} of the {len(members):,} classes " if len(chosen) < len(members) else "Of each class "
    words = f"{some}up to {each} samples, spread evenly over all it has."
    return words, [(name, _plain(roll, rows[spread(len(rows), each)])) for name, rows in chosen]


def _by_value(store: FeatureStore, roll: Roll) -> tuple[str, list[tuple[str, list[dict[str, Any]]]]]:
    assert store.targets is not None
    known = np.flatnonzero(store.labelled)
    found = []
    for name, column in list(zip(store.target_names, store.targets.T, strict=True))[:_CLASSES]:
        order = known[np.argsort(column[known], kind="stable")]
        found.append((f"{name}, from the least to the greatest", _plain(roll, order[spread(len(order), 12)])))
    return "Spread evenly over the samples in the order of their values.", found


def _plain(roll: Roll, rows: Rows) -> list[dict[str, Any]]:
    return roll.items((row, roll.lines(row)) for row in rows.tolist())


def _apart(roll: Roll, found: Apart) -> list[dict[str, Any]]:
    return roll.items((row, [f"distance {distance:.3g}", *roll.lines(row)]) for row, distance in found)


def _kinds(store: FeatureStore, rows: Rows) -> tuple[Any, tuple[str, ...]]:
    """Return what a map colours samples by, and what that is called."""
    if store.targets is not None:
        return store.targets[rows, 0], store.target_names[:1]
    if store.multilabels is None:
        return store.labels[rows], store.classes
    labels = store.multilabels[rows]
    count, several = labels.sum(axis=1), len(store.classes)
    kinds = np.select([~store.labelled[rows], count == 0, count > 1], [-1, several + 1, several], labels.argmax(axis=1))
    return kinds, (*store.classes, "several of them", "none of them")


def _map_words(survey: Survey, method: MapMethod, on_map: int, n: int) -> str:
    what = f"{on_map:,} samples" if on_map == n else f"{on_map:,} of {n:,} samples, spread evenly,"
    words = f"Map of {what} by {_METHODS[method]} of their features"
    if method == "pca" and survey.sketch.variance > 0:
        first, second, *_ = [*survey.sketch.variances / survey.sketch.variance, 0.0]
        words += f": the two directions in which they vary most, with {first:.1%} and {second:.1%} of the variance"
    elif method != "pca":
        words += ": what is close stays close, while distances and the sizes of clouds mean little"
    if survey.alike is None:
        return f"{words}."
    return f"{words}. In the full features, {survey.alike:.1%} of the samples have a nearest other of their own class."


def _grouped(store: FeatureStore, roll: Roll, groups: Sequence[Group], words: str, describe: Any) -> dict[str, Any]:
    rows: list[list[Any]] = []
    for number, group in enumerate(groups, start=1):
        leak = ", ".join(map(" / ".join, group.leaks))
        for row in group.rows:
            label = roll.labels[row]
            rows.append([number, store.keys[row], "" if label is None else label_words(label), store.splits[row], leak])
    cut = f" (the first {_LISTED:,})" if len(rows) > _LISTED else ""
    return {
        "words": words,
        "groups": [_group(roll, group, describe(group)) for group in groups[:_GROUPS]],
        "rows": rows[:_LISTED],
        "caption": f"All {len(rows):,} of them as a list{cut}",
    }


def _group(roll: Roll, group: Group, words: str) -> dict[str, Any]:
    some = [group.rows[i] for i in spread(len(group.rows), _GROUP_SAMPLES).tolist()]
    more = f" {len(some)} of them are shown." if len(some) < len(group.rows) else ""
    return {
        "leaks": [" / ".join(leak) for leak in group.leaks],
        "conflict": group.conflict,
        "words": f"{words}{more}",
        "items": roll.items((row, roll.lines(row)) for row in some),
    }


def _shown(groups: Sequence[Group]) -> str:
    return f", of which {_GROUPS} are shown" if len(groups) > _GROUPS else ""
