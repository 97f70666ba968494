"""The report of several runs: side by side, and each against the first, sample by sample."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from featx import plots
from featx.errors import ParameterError
from featx.evaluation import Difference, Evaluation
from featx.fitting import Answers, Run, RunComparison, common_answers, compare, find_run
from featx.reports._drawings import Drawing, number
from featx.reports._facts import head_facts, spec_facts
from featx.reports._looks import PICTURES, look
from featx.reports._origin import Pictures, origins_of
from featx.reports._page import Page, Report
from featx.reports._run import figure_table, headline_cell, parts_of
from featx.reports._samples import contrasted, disagreements

__all__ = ["compare_report"]

_PARTS = ("test", "val", "cv")
"""What is compared: the first that both have answers to in common."""

RunLike = Run | str | os.PathLike[str]


def compare_report(
    runs: Sequence[RunLike],
    *,
    title: str | None = None,
    images: bool = True,
    cache: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Report:
    """Return the report of several runs: their figures side by side, and each run against the first.

    Those that have answered the same samples are compared by these, with the intervals of the differences: test
    samples if both have been evaluated on them, else validation samples, else those of cross-validation.

    Parameters
    ----------
    runs : sequence of Run, str or path
        Or the folders or names of them, two or more.
    title : str, optional
    images : bool
        Whether the samples that they disagree about are shown.
    cache : path, optional
        Where stores are looked for that are not where they were.
    seed : int
        Of the resamples.

    Returns
    -------
    Report

    Raises
    ------
    ParameterError
        There are fewer than two runs.
    RunError
        One of them is no run, or is damaged.
    """
    if len(runs) < 2:
        raise ParameterError(f"runs to be compared must be at least two; got {len(runs)}: name another")
    loaded = [Run.load(run) for run in runs]
    names = _names(runs, loaded)
    pictures = Pictures([origin for run in loaded for origin in origins_of(run, cache)], images=images)
    pairs = [_pair(i, (names[0], names[i]), loaded[0], loaded[i], pictures, seed=seed) for i in range(1, len(loaded))]
    values = {
        "summary": f"{len(loaded)} runs; the others are compared with {names[0]}.",
        "overview": _overview(names, loaded),
        "figures": _figures(names, loaded),
        "pairs": pairs,
        "pictures_problem": pictures.problem,
        "settings": _settings(names, loaded),
    }
    drawings = [pair["drawing"] for pair in pairs if pair["drawing"] is not None]
    page = Page("compare.html", title or f"Comparison of {len(loaded)} runs", values)
    return Report(page, {drawing.name: drawing.figure for drawing in drawings})


def _names(runs: Sequence[RunLike], loaded: Sequence[Run]) -> list[str]:
    """Return what to call the runs: their folders' names, or more of their paths where these are the same."""
    folders = [None if isinstance(run, Run) else find_run(run) for run in runs]
    names = [run.name if folder is None else folder.resolve().name for run, folder in zip(loaded, folders, strict=True)]
    count = Counter(names)
    return [
        name if count[name] == 1 else str(folder) if folder is not None else f"{name} ({i})"
        for i, (name, folder) in enumerate(zip(names, folders, strict=True), 1)
    ]


def _overview(names: Sequence[str], runs: Sequence[Run]) -> dict[str, Any]:
    """Return a row for each run, with the headline of each part that some run was judged by."""
    judged = [_judged(run) for run in runs]
    parts = [part for part in _PARTS if any(part in mine for mine in judged)]
    rows = []
    for name, run, mine in zip(names, runs, judged, strict=True):
        settings = run.settings
        stores = "+".join(store["name"] for store in settings["stores"])
        params = ", ".join(f"{key} {value}" for key, value in settings["params"].items())
        figure = next(iter(mine.values())).headline[0].replace("_", " ") if mine else "–"
        cells = [headline_cell(mine.get(part)) for part in parts]
        rows.append([name, f"{settings['head']} {params}".strip(), stores, figure, *cells])
    return {"head": ["run", "head", "features", "figure", *parts], "rows": rows}


def _judged(run: Run) -> dict[str, Evaluation]:
    return {part.anchor: part.evaluation for part in parts_of(run) if part.anchor in _PARTS}


def _figures(names: Sequence[str], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return a table of all figures for each part, a column for each run that was judged by it."""
    judged = [_judged(run) for run in runs]
    tables = []
    for part in _PARTS:
        columns = [(name, mine[part]) for name, mine in zip(names, judged, strict=True) if part in mine]
        if columns:
            tables.append({"caption": f"All figures, {part}, with 95 % intervals", **figure_table(columns)})
    return tables


def _pair(i: int, names: tuple[str, str], a: Run, b: Run, pictures: Pictures, *, seed: int) -> dict[str, Any]:
    """Return the section of one run against the first."""
    pair: dict[str, Any] = {"anchor": f"pair-{i}", "a": names[0], "b": names[1], "drawing": None, "looks": []}
    found = _compared(a, b, seed)
    if isinstance(found, str):
        return {**pair, "words": f"There is no paired difference: {found}.", "notes": (), "table": None}
    answers = common_answers(a, b, found.part)
    return {
        **pair,
        "words": f"By {found.part} samples, {found.sentence}.",
        "notes": _notes(found),
        "drawing": _drawing(i, found),
        "table": _difference_table(found.comparison.differences),
        "looks": _looks(i, answers, a.classes, found, pictures),
    }


def _compared(a: Run, b: Run, seed: int) -> RunComparison | str:
    """Return the comparison by the first part that both have answers to in common, or why there is none."""
    problem = "they have no answers to the same part (test, val, cv)"
    for part in _PARTS:
        if part in a.answers and part in b.answers:
            try:
                return compare(a, b, part, seed=seed)
            except ParameterError as error:
                problem = str(error)
    return problem


def _notes(found: RunComparison) -> list[str]:
    notes = []
    if found.left_out:
        notes.append(f"{found.left_out:,} samples were answered by one of the two alone and are left out")
    if found.folds is not None:
        folds = found.folds
        notes.append(
            f"over {folds.folds} folds b - a is {folds.value:+.3f} ({folds.low:+.3f} to {folds.high:+.3f}),"
            f" p = {folds.p_value:.2g} by the corrected resampled t-test"
        )
    return notes


def _drawing(i: int, found: RunComparison) -> Drawing:
    words = "; ".join(
        f"{name.replace('_', ' ')} {one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
        for name, one in found.comparison.differences.items()
    )
    figure = plots.score_differences(found.comparison.differences)
    return Drawing(f"differences-{i}", "Differences, b - a", figure, f"Differences b - a with 95 % intervals: {words}.")


def _difference_table(differences: Mapping[str, Difference]) -> dict[str, Any]:
    rows = [
        [
            name.replace("_", " "),
            {"text": number(one.a), "value": one.a},
            {"text": number(one.b), "value": one.b},
            {"text": f"{one.value:+.3f}", "value": one.value},
            f"{one.low:+.3f} to {one.high:+.3f}",
        ]
        for name, one in differences.items()
    ]
    return {"head": ["figure", "a", "b", "b - a", "95 % interval"], "rows": rows}


def _looks(
    i: int, answers: tuple[Answers, Answers], classes: Sequence[str], found: RunComparison, pictures: Pictures
) -> list[dict[str, Any]]:
    """Return the samples that one of the two answers better, both ways."""
    a, b = answers
    title = "Only {} is right" if a.task == "classification" else "{} is closer"
    sections = []
    for name, rows in (("a", disagreements(a, b)), ("b", disagreements(b, a))):
        shown = f"; the {PICTURES} of most difference are shown" if len(rows) > PICTURES else ""
        words = f"{len(rows):,} of {len(a):,} {found.part} samples{shown}."
        samples = contrasted(a, b, classes, rows[:PICTURES].tolist())
        sections.append(look(f"pair-{i}-{name}", title.format(name), words, samples, pictures))
    return sections


def _settings(names: Sequence[str], runs: Sequence[Run]) -> dict[str, Any]:
    """Return what is not the same in all runs."""
    facts = [_facts(run) for run in runs]
    keys = dict.fromkeys(key for mine in facts for key in mine)
    rows = [[key, *(mine.get(key, "–") for mine in facts)] for key in keys]
    return {"head": ["setting", *names], "rows": [row for row in rows if len(set(row[1:])) > 1]}


def _facts(run: Run) -> dict[str, str]:
    facts = {key: value for key, value in head_facts(run) if key != "parameters"}
    facts |= {f"parameter {key}": str(value) for key, value in run.settings["params"].items()}
    for i, (store, spec) in enumerate(zip(run.settings["stores"], run.specs, strict=True), 1):
        of = f" (store {i})" if len(run.specs) > 1 else ""
        facts |= {f"store{of}": str(store["name"]), f"contents{of}": f"SHA-256 {store['checksum'][:12]}…"}
        facts |= {f"{key}{of}": value for key, value in spec_facts(spec)}
    return facts
