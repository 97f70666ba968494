"""``featx predict``."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from featx.cli._options import OutputFile
from featx.cli._output import plain, tell, write_csv, write_json
from featx.labels import Label, label_words
from featx.plots import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from featx.fitting import Run
    from featx.prediction import Prediction
    from featx.sources import Source

__all__ = ["predict", "prediction_line"]


def prediction_line(prediction: "Prediction", top: int) -> str:
    """Return an answer as people read it: ``cat.jpg: 99% cat, 1% dog``."""
    return plain(f"{prediction.key}: {prediction.text(top)}")


_MOST = 48
"""Pictures in a gallery."""

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
    type=OutputFile(*PICTURE_SUFFIXES),
    help="Draw the images, titled with their answers: .png, .svg or .pdf.",
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
    """Classify IMAGES (files, folders, archives) with the head of RUN.

    Of a run that was given a precision, an answer below its threshold is `unsure`. Where the images have labels, a
    gallery says what is true, too.

    \b
    Examples:
      featx predict runs/photos-logistic-1a2b3c4d new.jpg
      featx predict runs/photos-logistic-1a2b3c4d inbox/ --csv answers.csv
      featx predict runs/photos-logistic-1a2b3c4d photos/val --gallery answers.png
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
        _draw(source, answers, top, gallery_file)


def _draw(source: "Source", answers: "Sequence[Prediction]", top: int, path: str) -> None:
    """Write a gallery of the images that have an answer; of some that are spread over them if they are many."""
    from featx.plots import gallery, save_figure
    from featx.sources import decode_image

    answered = [row for row, answer in enumerate(answers) if answer.error is None]
    count = min(len(answered), _MOST)
    shown = [answered[i * len(answered) // count] for i in range(count)]
    pictures = (decode_image(source.read(row)) for row in shown)
    save_figure(gallery(pictures, [_title(answers[row], source.samples[row].label, top) for row in shown]), path)
    if count < len(answered):
        tell(f"note: {plain(path)} shows {count} of {len(answered)} images")


def _title(answer: "Prediction", label: Label | None, top: int) -> str:
    """Return an answer and, on a line of its own, what is true, as far as that is known."""
    if label is None:
        return plain(answer.text(top))
    given = tuple(sorted(answer.labels)) if answer.label is None else answer.label
    mark = "" if answer.values or not answer.accepted else " ✓" if label == given else " ✗"
    return f"{plain(answer.text(top))}\ntrue: {plain(label_words(label))}{mark}"
