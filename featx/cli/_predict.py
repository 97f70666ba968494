"""``featx predict``."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from featx.cli._gallery import SIDE, gallery_type, most_pictures, write_gallery
from featx.cli._options import OutputFile
from featx.cli._output import plain, tell, write_csv, write_json
from featx.labels import label_words

if TYPE_CHECKING:
    from featx.fitting import Run
    from featx.prediction import Prediction
    from featx.reports import Picture
    from featx.sources import Source

__all__ = ["predict", "prediction_line"]


def prediction_line(prediction: "Prediction", top: int) -> str:
    """Return an answer as people read it: ``cat.jpg: 99% cat, 1% dog``."""
    return plain(f"{prediction.key}: {prediction.text(top)}")


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
@click.option(
    "--csv", "csv_file", type=OutputFile(".csv", or_stdout=True), help="Write all scores as CSV; - for standard output."
)
@click.option(
    "--json",
    "json_file",
    type=OutputFile(".json", or_stdout=True),
    help="Write all scores as JSON; - for standard output.",
)
@click.option(
    "--gallery",
    "gallery_file",
    type=gallery_type(),
    help="Draw the images, titled with their answers: .png, .svg, .pdf, or .html for a page.",
)
@click.option("--weights", metavar="FILE", help="Of the backbone, if that file has moved since.")
@click.option("--device", metavar="auto|cpu|cuda|cuda:N", default="auto", help="Where the network runs.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Images at a time.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Decoding threads.")
def predict(
    run: str,
    images: tuple[str, ...],
    top: int,
    csv_file: str | None,
    json_file: str | None,
    gallery_file: str | None,
    **options: Any,
) -> None:
    """Classify IMAGES (files, folders, archives, URLs) with the head of RUN.

    Of a run that was given a precision, an answer below its threshold is `unsure`. Where the images have labels, a
    gallery says what is true, too.

    \b
    Examples:
      featx predict runs/photos-logistic-1a2b3c4d new.jpg
      featx predict runs/photos-logistic-1a2b3c4d inbox/ --csv answers.csv
      featx predict runs/photos-logistic-1a2b3c4d photos/val --gallery answers.html
    """
    from featx.prediction import load
    from featx.sources import open_images

    predictor = load(run, **options)
    source = open_images(list(images))
    answers = predictor.predict(source)
    columns, classes = _columns(predictor.run), predictor.classes
    if csv_file is not None:
        rows = [_csv_row(answer, columns, classes) for answer in answers]
        write_csv([*columns, *classes, "error"], rows, csv_file)
    if json_file is not None:
        write_json([_json_object(answer, columns, predictor.run.task) for answer in answers], json_file)
    for answer in answers:
        if answer.error is not None:
            tell(prediction_line(answer, top))
        elif csv_file is None and json_file is None:
            click.echo(prediction_line(answer, top))
    if all(answer.error is not None for answer in answers):
        raise click.exceptions.Exit(1)
    if gallery_file is not None:
        _draw(predictor.run, source, answers, top, gallery_file)


def _draw(run: "Run", source: "Source", answers: "Sequence[Prediction]", top: int, path: str) -> None:
    """Write a gallery of the images that have an answer; of some that are spread over them if they are many."""
    answered = [row for row, answer in enumerate(answers) if answer.error is None]
    count = min(len(answered), most_pictures(path))
    shown = [answered[i * len(answered) // count] for i in range(count)]
    pictures = [_picture(source, row, answers[row], top) for row in shown]
    notes = [f"{plain(path)} shows {count} of {len(answered)} images"] if count < len(answered) else []
    write_gallery(path, [("", pictures)], f"Answers of {run.name}", notes=notes)


def _picture(source: "Source", row: int, answer: "Prediction", top: int) -> "Picture":
    """Return an image with its answer and, on a line of its own, what is true, as far as that is known."""
    from featx.reports import Picture, small_image

    lines, right = [answer.text(top)], None
    label = source.samples[row].label
    if label is not None:
        lines.append(f"true: {label_words(label)}")
        if answer.accepted and not answer.values:
            right = label == (tuple(sorted(answer.labels)) if answer.label is None else answer.label)
    return Picture(lambda: small_image(source.read(row), SIDE), lines, answer.key, right)
