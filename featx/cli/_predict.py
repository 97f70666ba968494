"""``featx predict``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli._output import plain, tell, write_csv, write_json

if TYPE_CHECKING:
    from featx.fitting import Run
    from featx.prediction import Prediction

__all__ = ["predict", "prediction_line"]


def prediction_line(prediction: "Prediction", top: int) -> str:
    """Return an answer as people read it: ``cat.jpg: 99% cat, 1% dog``."""
    if prediction.values:
        return plain(
            f"{prediction.key}: {', '.join(f'{name} {value:.4g}' for name, value in prediction.values.items())}"
        )
    ranked = list(prediction.scores.items())[:top]
    if prediction.is_probability:
        words = ", ".join(f"{100 * score:.0f}% {name}" for name, score in ranked)
    else:
        words = ", ".join(f"{name} ({score:.2f})" for name, score in ranked)
    if prediction.label is None:
        words = f"{', '.join(prediction.labels) or 'none'} ({words})"
    elif not prediction.accepted:
        words = f"unsure ({words})"
    return plain(f"{prediction.key}: {words}")


class _OutputFile(click.ParamType):  # type: ignore[type-arg]
    """A file to write, by its ending, so that an image named by mistake is never overwritten; ``-`` for stdout."""

    name = "FILE"

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value != "-" and Path(value).suffix.lower() != self.suffix:
            self.fail(f"{value!r} must end in {self.suffix}, or be - for standard output", param, ctx)
        return str(value)


_ANSWERS = {"classification": ["label"], "multilabel": ["labels"], "regression": []}
"""By the task, what an answer has besides a number for each class or target."""


def _columns(run: "Run") -> list[str]:
    return ["key", *_ANSWERS[run.task], *(["accepted"] if "reject" in run.settings else [])]


def _csv_row(answer: "Prediction", columns: Sequence[str], classes: Sequence[str]) -> list[object]:
    in_text = json.dumps(answer.labels) if any("|" in name for name in answer.labels) else "|".join(answer.labels)
    cells = {
        "key": answer.key,
        "label": answer.label or "",
        "labels": in_text,  # as manifests have them
        "accepted": str(answer.accepted).lower(),
    }
    numbers = answer.values or answer.scores
    return [*(cells[name] for name in columns), *(numbers.get(name, "") for name in classes), answer.error or ""]


def _json_object(answer: "Prediction", columns: Sequence[str], task: str) -> dict[str, object]:
    scores = "probabilities" if answer.is_probability else "scores"
    numbers = {"values": answer.values} if task == "regression" else {scores: answer.scores}
    return {**{name: getattr(answer, name) for name in columns}, **numbers, "error": answer.error}


@click.command(short_help="Classify images.")
@click.argument("run")
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, metavar="K", help="Classes to print.")
@click.option("--csv", "csv_file", type=_OutputFile(".csv"), help="Write all scores as CSV; - for standard output.")
@click.option("--json", "json_file", type=_OutputFile(".json"), help="Write all scores as JSON; - for standard output.")
@click.option("--weights", metavar="FILE", help="Of the backbone, if that file has moved since.")
@click.option("--device", metavar="auto|cpu|cuda|cuda:N", default="auto", help="Where the network runs.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Images at a time.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Decoding threads.")
def predict(
    run: str, images: tuple[str, ...], top: int, csv_file: str | None, json_file: str | None, **options: Any
) -> None:
    """Classify IMAGES (files, folders, archives) with the head of RUN.

    Of a run that was given a precision, an answer below its threshold is `unsure`.

    \b
    Examples:
      featx predict runs/photos-logistic-1a2b3c4d new.jpg
      featx predict runs/photos-logistic-1a2b3c4d inbox/ --csv answers.csv
    """
    from featx.prediction import load

    predictor = load(run, **options)
    answers = predictor.predict(list(images))
    columns, classes = _columns(predictor.run), predictor.classes
    if csv_file is not None:
        rows = [_csv_row(answer, columns, classes) for answer in answers]
        write_csv([*columns, *classes, "error"], rows, csv_file)
    if json_file is not None:
        write_json([_json_object(answer, columns, predictor.run.task) for answer in answers], json_file)
    for answer in answers:
        if answer.error is not None:
            tell(f"{plain(answer.key)}: cannot be used: {plain(answer.error)}")
        elif csv_file is None and json_file is None:
            click.echo(prediction_line(answer, top))
    if all(answer.error is not None for answer in answers):
        raise click.exceptions.Exit(1)
