"""A run's figures as Markdown, for ``report.md``."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

__all__ = ["report_text"]


def _text(value: object) -> str:
    """Return `value` as one line that Markdown takes for text."""
    line = str(value).replace("\r", " ").replace("\n", "\\n")
    for mark in "\\`*_{}[]<>#|~":
        line = line.replace(mark, f"\\{mark}") if mark != "<" else line.replace("<", "&lt;")
    return line


def _number(figure: Mapping[str, float] | None) -> str:
    return "–" if figure is None else f"{figure['value']:.4f}"


def _with_interval(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "–"
    return f"{figure['value']:.4f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    """Return a table of all figures, a column for each part, from evaluations as dicts."""
    names = list(dict.fromkeys(name for values in metrics.values() for name in values["figures"]))
    rows = [["samples", *(str(values["n"]) for values in metrics.values())]]
    for name in names:
        cells = [_with_interval(values["figures"].get(name)) for values in metrics.values()]
        rows.append([name.replace("_", " "), *cells])
    return _table(["", *map(_text, metrics)], rows)


def _classes(part: str, values: Mapping[str, Any]) -> list[str]:
    """Return the tables of one part's classes: figures, and who is taken for whom."""
    if not values["per_class"]:
        return []
    shown = [name for name in dict.fromkeys(chain(*values["per_class"])) if name not in ("name", "support")]
    rows = [
        [_text(row["name"]), *(_number(row.get(name)) for name in shown), str(row["support"])]
        for row in values["per_class"]
    ]
    title = "Targets" if values["task"] == "regression" else "Classes"
    lines = ["", f"## {title}, {_text(part)}", ""]
    lines += _table(["", *(name.replace("_", " ") for name in shown), "n"], rows)
    names = [_text(name) for name in values["classes"]]
    if values["confusion"] is not None and len(names) <= 30:
        lines += ["", "Rows are the true class, columns the predicted one.", ""]
        rows = [[name, *map(str, row)] for name, row in zip(names, values["confusion"], strict=True)]
        lines += _table(["", *names], rows)
    return lines


def _epochs(history: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for epoch in history for name in epoch))
    rows = [[_cell(epoch.get(name)) for name in names] for epoch in history]
    return _table([name.replace("_", " ") for name in names], rows)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _text("–" if value is None else value)


def report_text(run: Mapping[str, Any]) -> str:
    """Return the figures of a run, given as ``Run.to_dict()`` gives it, as a Markdown page."""
    settings = run["settings"]
    lines = [f"# {_text(run['name'])}", "", f"Head **{_text(settings['head'])}**, seed {settings['seed']}, on:", ""]
    for store, spec in zip(settings["stores"], run["specs"], strict=True):
        lines.append(
            f"- {_text(store['name'])}: {store['rows']} rows, {_text(spec['backbone'])}, layer"
            f" {_text(spec['layer'])}, pooling {spec['pool']}"
        )
    lines += ["", f"Parameters: {_text(settings['params'] or 'none but the defaults')}", ""]
    lines += [f"- {part}: {_text(origin)}" for part, origin in settings["rows"].items()]
    lines += ["", "## Figures, with 95 % intervals", "", *_figures(run["metrics"])]
    if run["cv"] is not None:
        cv = run["cv"]
        lines += [
            "",
            f"Cross-validation over {cv['folds']} folds of the training rows: {cv['figure'].replace('_', ' ')}"
            f" {cv['mean']:.4f} ± {cv['std']:.4f}.",
        ]
    if "reject" in settings:
        reject = settings["reject"]
        lines += [
            "",
            f"Answers below {reject['threshold']:.4f} are refused: {100 * reject['coverage'][0]:.1f} % are given, and"
            f" {100 * reject['precision'][0]:.1f} % of these are right ({100 * reject['wanted']:g} % were wanted).",
        ]
    if run["history"]:
        lines += ["", "## Epochs", "", *_epochs(run["history"])]
    for part in ("val", "cv"):
        if part in run["metrics"]:
            lines += _classes(part, run["metrics"][part])
    for record in run["evaluations"]:
        stores = ", ".join(_text(store["name"]) for store in record["stores"])
        lines += ["", f"## Evaluated {record['when']} on {_text(record['part'])} of {stores}", ""]
        lines += _figures({record["part"]: record["evaluation"]})
        lines += ["", *(f"- {_text(note)}" for note in record["notes"])]
        lines += _classes(record["part"], record["evaluation"])
    if not run["evaluations"] and "test" in settings["rows"]:
        lines += ["", "The test split has not been touched: `featx evaluate` judges it, once."]
    if run["notes"]:
        lines += ["", "## Notes", "", *(f"- {_text(note)}" for note in run["notes"])]
    return "\n".join([*lines, ""])
