"""A run's figures as Markdown, for ``report.md``."""

from collections.abc import Mapping
from typing import Any

__all__ = ["report_text"]


def _text(value: object) -> str:
    """Return `value` as one line that Markdown takes for text."""
    line = str(value).replace("\r", " ").replace("\n", "\\n")
    for mark in "\\`*_{}[]<>#|~":
        line = line.replace(mark, f"\\{mark}") if mark != "<" else line.replace("<", "&lt;")
    return line


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]


def report_text(run: Mapping[str, Any]) -> str:
    """Return the figures of a run, given as ``Run.to_dict()`` gives it, as a Markdown page."""
    settings = run["settings"]
    lines = [f"# {_text(run['name'])}", "", f"Head **{_text(settings['head'])}**, seed {settings['seed']}, on:", ""]
    for store, spec in zip(settings["stores"], run["specs"], strict=True):
        lines.append(
            f"- {_text(store['name'])}: {store['rows']} rows, {_text(spec['backbone'])}, layer"
            f" {_text(spec['layer'])}, pooling {spec['pool']}"
        )
    lines += ["", f"Parameters: {_text(settings['params'] or 'none but the defaults')}", "", "## Figures", ""]
    figures = [
        [
            part,
            str(values["n"]),
            _number(values["accuracy"]),
            "–".join(f"{bound:.3f}" for bound in values["accuracy_interval"]),
            _number(values["macro_f1"]),
            _number(values["log_loss"]),
            _text(settings["rows"][part]),
        ]
        for part, values in run["metrics"].items()
    ]
    lines += _table(["part", "n", "accuracy", "95 % interval", "macro F1", "log loss", "rows"], figures)
    if run["cv"] is not None:
        cv = run["cv"]
        lines += [
            "",
            f"Cross-validation over {cv['folds']} folds of the training rows: accuracy {cv['accuracy_mean']:.4f}"
            f" ± {cv['accuracy_std']:.4f}, macro F1 {cv['macro_f1_mean']:.4f} ± {cv['macro_f1_std']:.4f}.",
        ]
    judged = [part for part in ("val", "test") if part in run["metrics"]]
    for part in judged:
        values = run["metrics"][part]
        lines += ["", f"## Classes, {part}", ""]
        lines += _table(
            ["class", "precision", "recall", "F1", "n"],
            [
                [
                    _text(row["name"]),
                    _number(row["precision"]),
                    _number(row["recall"]),
                    _number(row["f1"]),
                    str(row["support"]),
                ]
                for row in values["per_class"]
            ],
        )
        names = [_text(name) for name in values["classes"]]
        if len(names) <= 30:
            lines += ["", "Rows are the true class, columns the predicted one.", ""]
            lines += _table(
                ["", *names],
                [[name, *map(str, row)] for name, row in zip(names, values["confusion"], strict=True)],
            )
    if run["notes"]:
        lines += ["", "## Notes", "", *(f"- {_text(note)}" for note in run["notes"])]
    return "\n".join([*lines, ""])
