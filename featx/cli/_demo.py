"""``featx demo``: the whole way, on images that scikit-learn carries."""

import shlex
import time
from pathlib import Path

import click

from featx.cli._extract import show_extraction
from featx.cli._fit import show_run
from featx.cli._options import cache_option
from featx.cli._output import progress_bar
from featx.cli._predict import prediction_line
from featx.cli._report import file_name_of

__all__ = ["demo", "write_digits"]

_IMAGE_SIZE = 96
_TEST = 0.2


def write_digits(folder: Path) -> None:
    """Write scikit-learn's 1,797 handwritten digits as PNG files into class folders below ``train`` and ``test``.

    The last fifth is for testing: other people wrote those.
    """
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    first_test = round(len(digits.images) * (1 - _TEST))
    for number, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        split = "train" if number < first_test else "test"
        path = folder / split / str(digit) / f"{number:04d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.uint8(image * 255 / 16)).save(path)


def _say(*words: object) -> None:
    click.secho(f"\n$ featx {shlex.join(map(str, words))}", bold=True)


@click.command(short_help="The whole way on 1,797 handwritten digits; no download, about a minute.")
@cache_option
def demo(cache: str | None) -> None:
    """Extract, fit a head, predict and report on 1,797 handwritten digits; needs no download, takes about a minute.

    \b
    Example:
      featx demo
    """
    from featx.caching import extract_layers
    from featx.fitting import fit_head
    from featx.prediction import load
    from featx.reports import run_report, write_page
    from featx.store import cache_folder

    began = time.monotonic()
    folder = cache_folder(cache) / "demo" / "digits"
    click.echo(f"scikit-learn's handwritten digits, as PNG files in {folder}")
    write_digits(folder)
    common = [] if cache is None else ["--cache", cache]

    _say("extract", folder, "--image-size", _IMAGE_SIZE, *common)
    with progress_bar("digits") as progress:
        (extraction,) = extract_layers(folder, image_size=_IMAGE_SIZE, cache=cache, progress=progress)
    show_extraction(extraction)

    _say("fit-head", extraction.store.path)
    run = fit_head(extraction.store)
    path = run.save()
    show_run(run, path)

    images = [str(image) for image in sorted(folder.glob("test/*/*.png"))[::60]]
    _say("predict", path, *images)
    for answer in load(run).predict(images):
        click.echo(prediction_line(answer, 3))

    _say("report", path, *common)
    page = write_page(run_report(path, cache=cache).page, file_name_of(path.name))
    click.echo(page)
    click.echo(f"\nall of it in {time.monotonic() - began:.0f} s; open {page.resolve().as_uri()} in a browser")
