"""The report of a run: what its head is worth, where it fails, and how it came about."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from featx import plots
from featx.evaluation import Evaluation, Figure
from featx.fitting import Answers, Run, commands_of, find_run, parameter_paths
from featx.reports._drawings import Drawing, drawings_of, number, with_interval
from featx.reports._facts import head_facts, refusal, store_facts, version_facts
from featx.reports._looks import looks_of
from featx.reports._origin import Pictures, origins_of
from featx.reports._page import Page, Report

__all__ = ["figure_table", "headline_cell", "parts_of", "run_report"]

_FEW = 30
"""Classes up to which their table is shown unfolded."""

_CONFUSED = 20
"""Most pairs of classes that are listed."""


@dataclass(frozen=True)
class Part:
    """Some judged samples of a run.

    Attributes
    ----------
    anchor : str
        Of its section in the page.
    name : str
        Short.
    title : str
    remark : str
        What samples these are.
    evaluation : Evaluation
    answers : Answers or None
        If they were kept.
    notes : tuple of str
    """

    anchor: str
    name: str
    title: str
    remark: str
    evaluation: Evaluation
    answers: Answers | None
    notes: tuple[str, ...] = ()


def run_report(
    run: Run | str | os.PathLike[str],
    *,
    title: str | None = None,
    images: bool = True,
    cache: str | os.PathLike[str] | None = None,
) -> Report:
    """Return the report of a run: figures with intervals, curves, mistakes with their images, and how to do it again.

    Nothing is fitted or computed by a network: all of it is from the answers that the run keeps.

    Parameters
    ----------
    run : Run, str or path
        Or the folder or name of one.
    title : str, optional
        By default the run's name.
    images : bool
        Whether images are shown; they are taken from where they were when their features were extracted.
    cache : path, optional
        Where stores are looked for that are not where they were.

    Returns
    -------
    Report
        For :func:`write_page`, and :func:`featx.plots.save_figures`.

    Raises
    ------
    RunError
        If the folder is no run, or is damaged.
    """
    folder = None if isinstance(run, Run) else find_run(run)
    run = Run.load(run)
    origins = origins_of(run, cache)
    pictures = Pictures(origins, images=images)
    parts = parts_of(run)
    learned = _learned(run, folder)
    sections = [(part, drawings_of(part.evaluation, part.answers)) for part in parts]
    drawings = {drawing.name: drawing for drawing in learned}
    drawings |= {f"{drawing.name}-{part.anchor}": drawing for part, found in sections for drawing in found}
    name = run.name if folder is None else folder.resolve().name
    values = {
        "summary": _summary(run),
        "headlines": [_headline(part) for part in parts],
        "untouched": "test" in run.keys and not any(record["is_test"] for record in run.evaluations),
        "refusal": refusal(run.settings),
        "notes": run.notes,
        "figures": figure_table([*((part.name, part.evaluation) for part in parts), *_train(run)]),
        "learned": learned,
        "sections": [_section(part, found) for part, found in sections],
        "looks": looks_of(run, pictures),
        "pictures_problem": pictures.problem,
        "head": head_facts(run),
        "stores": store_facts(run, origins),
        "versions": version_facts(run),
        "commands": commands_of(run, [origin.store for origin in origins], folder),
    }
    page = Page("run.html", name if title is None else title, values)
    return Report(page, {name: drawing.figure for name, drawing in drawings.items()})


def parts_of(run: Run) -> list[Part]:
    """Return what a run was judged by, the most trusted first."""
    tests = [record for record in run.evaluations if record["is_test"]]
    others = [_other(i, record) for i, record in enumerate(run.evaluations, 1) if not record["is_test"]]
    held_out = (
        ("val", "Validation", "Samples that were held out from the fit."),
        ("cv", "Cross-validation", _folds(run)),
    )
    own = [
        Part(part, part, title, remark, run.metrics[part], run.answers.get(part))
        for part, title, remark in held_out
        if part in run.metrics
    ]
    return [
        *([_test(tests, run.answers.get("test"))] if tests else []),
        *(part for part in others if not part.notes),
        *own,
        *(part for part in others if part.notes),  # which say that these were trained on, or may have been
    ]


def _other(i: int, record: Mapping[str, Any]) -> Part:
    stores = ", ".join(store["name"] for store in record["stores"])
    name = stores if record["part"] == "all" else f"{record['part']} of {stores}"
    remark = f"Labelled samples of {name}, judged on {_when(record)}."
    evaluation = Evaluation.from_dict(record["evaluation"])
    return Part(f"other-{i}", name, f"Evaluated on {name}", remark, evaluation, None, tuple(record["notes"]))


def _test(records: Sequence[Mapping[str, Any]], answers: Answers | None) -> Part:
    last = records[-1]
    times = "once" if len(records) == 1 else f"{len(records)} times, last"
    remark = f"Samples that no choice was made by, judged {times} on {_when(last)}."
    return Part("test", "test", "Test", remark, Evaluation.from_dict(last["evaluation"]), answers, tuple(last["notes"]))


def _when(record: Mapping[str, Any]) -> str:
    return datetime.fromisoformat(record["when"]).astimezone(UTC).strftime("%Y-%m-%d, %H:%M UTC")


def _folds(run: Run) -> str:
    what = "Training samples, each judged by a head that was fitted without it."
    if run.cv is None or "figure" not in run.cv:
        return what
    cv = run.cv
    figure = cv["figure"].replace("_", " ")
    return f"{what} {figure.capitalize()} over {cv['folds']} folds: {cv['mean']:.4f} ± {cv['std']:.4f}."


def _summary(run: Run) -> str:
    stores = ", ".join(f"{store['name']} ({store['rows']:,} rows)" for store in run.settings["stores"])
    networks = ", ".join(dict.fromkeys(spec.backbone for spec in run.specs))
    return f"{run.settings['head']} on features of {stores} by {networks}"


def _headline(part: Part) -> dict[str, str]:
    name, figure = part.evaluation.headline
    return {
        "anchor": part.anchor,
        "value": number(figure.value),
        "interval": f"{number(figure.low)} to {number(figure.high)}",
        "what": f"{name.replace('_', ' ')}, {part.name}, {part.evaluation.n:,} samples",
    }


def _train(run: Run) -> list[tuple[str, Evaluation]]:
    return [("train", run.metrics["train"])] if "train" in run.metrics else []


def figure_table(columns: Sequence[tuple[str, Evaluation]]) -> dict[str, Any]:
    """Return a row for each figure and a column for each part."""
    names = dict.fromkeys(name for _, evaluation in columns for name in evaluation.figures)
    rows: list[list[Any]] = [
        ["samples", *({"text": f"{evaluation.n:,}", "value": evaluation.n} for _, evaluation in columns)]
    ]
    for name in names:
        rows.append([name.replace("_", " "), *(_cell(evaluation.figures.get(name)) for _, evaluation in columns)])
    return {"head": ["figure", *(title for title, _ in columns)], "rows": rows}


def _learned(run: Run, folder: Any) -> list[Drawing]:
    """Return how the head came about: epoch by epoch, or along what its sweep has varied."""
    found = []
    if any({"loss", "accuracy"} & epoch.keys() for epoch in run.history):
        last = ", ".join(
            f"{name.replace('_', ' ')} {value:.4g}"
            for name, value in run.history[-1].items()
            if name in ("loss", "accuracy", "val_loss", "val_accuracy")
        )
        alt = f"Loss and accuracy over {len(run.history)} epochs; at the end {last}."
        found.append(Drawing("learning-curves", "Learning curves", plots.learning_curves(run.history), alt))
    for path in parameter_paths(run, folder):
        if min(path.values) <= 0:
            continue
        figure = plots.regularisation_path(
            path.values,
            [score.value for score in path.scores],
            chosen=path.chosen,
            parameter=path.parameter,
            figure=path.figure,
            spread=[(score.low, score.high) for score in path.scores],
        )
        pairs = zip(path.values, path.scores, strict=True)
        words = ", ".join(f"{value:g}: {with_interval(score)}" for value, score in pairs)
        what = path.figure.replace("_", " ")
        alt = f"{what.capitalize()} in cross-validation by {path.parameter}; {words}. Chosen: {path.chosen:g}."
        found.append(Drawing(f"path-{path.parameter}", f"{what.capitalize()} by {path.parameter}", figure, alt))
    return found


def _section(part: Part, drawings: Iterable[Drawing]) -> dict[str, Any]:
    return {
        "anchor": part.anchor,
        "title": part.title,
        "remark": part.remark,
        "notes": part.notes,
        "drawings": drawings,
        "tables": [*_class_table(part.evaluation), *_confused(part.evaluation)],
    }


def _class_table(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return figures of each class, the worst first; of a regression those of each of several targets."""
    rows = evaluation.per_class
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    what = "target" if evaluation.task == "regression" else "class"
    if what == "class":
        rows = tuple(sorted(rows, key=lambda row: (not row.support, row.f1.value)))
    return [
        {
            "caption": f"{len(rows):,} {'targets' if what == 'target' else 'classes, the worst F1 first'}",
            "head": [what, *(name.replace("_", " ") for name in names), "samples"],
            "rows": [[row.name, *(_cell(row.figures.get(name)) for name in names), row.support] for row in rows],
            "folded": len(rows) > _FEW,
        }
    ]


def headline_cell(evaluation: Evaluation | None) -> dict[str, Any]:
    """Return the cell of a table that holds an evaluation's headline; a dash where there is none."""
    return _cell(None if evaluation is None else evaluation.headline[1])


def _cell(figure: Figure | None) -> dict[str, Any]:
    return {"text": "–", "value": -1} if figure is None else {"text": with_interval(figure), "value": figure.value}


def _confused(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the pairs of classes of which one is most often taken for the other, where there are several pairs."""
    if evaluation.confusion is None or len(evaluation.classes) < 3:
        return []
    cells = enumerate(evaluation.confusion)
    pairs = [(count, i, j) for i, row in cells for j, count in enumerate(row) if count and i != j]
    pairs.sort(key=lambda pair: -pair[0])
    rows: list[list[Any]] = []
    for count, i, j in pairs[:_CONFUSED]:
        share = count / evaluation.per_class[i].support
        rows.append([evaluation.classes[i], evaluation.classes[j], count, {"text": f"{share:.0%}", "value": share}])
    if not rows:
        return []
    caption = "Who is taken for whom" + (
        f", the {len(rows)} commonest of {len(pairs):,}" if len(pairs) > len(rows) else ""
    )
    return [
        {"caption": caption, "head": ["true", "answered", "samples", "of the class"], "rows": rows, "folded": False}
    ]
