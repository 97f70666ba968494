"""``featx report``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli._options import OutputFile, cache_option
from featx.cli._output import plain
from featx.errors import StoreError, printable

if TYPE_CHECKING:
    from featx.store import FeatureStore

__all__ = ["file_name_of", "report"]

METHODS = ("pca", "tsne", "umap")

_MAX_BYTES = 200
"""Of a run's name in a file's, which may have 255 with all else."""


@click.command(short_help="Write a page about a run or a store, or about runs side by side.")
@click.argument("targets", nargs=-1, required=True, metavar="RUN|STORE...")
@click.option("--compare", is_flag=True, help="Put the runs that are named side by side, each against the first.")
@click.option("--out", type=OutputFile(".html"), help="Write it here; by default report-NAME.html in this folder.")
@click.option(
    "--figures",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write its figures there, as PNG and SVG.",
)
@click.option("--title", metavar="TEXT", help="By default the name of the run or store.")
@click.option("--no-images", is_flag=True, help="Leave images out.")
@click.option("--map", "method", type=click.Choice(METHODS), help="How a store's map is made; by default by pca.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of a map by umap; by default 0.")
@click.option("--text", is_flag=True, help="Print the report.md of a run instead.")
@cache_option
def report(
    targets: tuple[str, ...],
    compare: bool,
    out: str | None,
    figures: Path | None,
    title: str | None,
    no_images: bool,
    method: Any,
    seed: int | None,
    text: bool,
    cache: str | None,
) -> None:
    """Write what is known of a RUN or a STORE into one HTML file that needs no network.

    Of a run: figures with intervals, curves, who is taken for whom, mistakes and suspected labels with their images,
    and the commands that make the run again. Nothing is fitted: all is from the answers that the run keeps.

    Of a store: class counts, samples of each class, a map of the features with an image for each point, duplicates and
    near-duplicates (leaks between splits first), outliers, bad images.

    With --compare, several runs side by side, and each against the first by the samples that both have answered.

    \b
    Examples:
      featx report runs/photos-mlp-1a2b3c4d
      featx report runs/photos-mlp-1a2b3c4d --out mlp.html --figures pictures/
      featx report --compare runs/photos-logistic-5e6f7a8b runs/photos-mlp-1a2b3c4d
      featx report runs/photos-mlp-1a2b3c4d --text
      featx report photos --map umap
    """
    from featx.fitting import Run, find_run, is_run
    from featx.plots import save_figures
    from featx.reports import compare_report, run_report, store_report, write_page

    first = targets[0]
    mapped: dict[str, Any] = {name: value for name, value in (("method", method), ("seed", seed)) if value is not None}
    if compare and (text or len(targets) < 2):
        raise click.UsageError("--compare takes two runs or more, and goes without --text")
    if not compare and len(targets) > 1:
        raise click.UsageError(f"one report is made at a time; got {len(targets)}: with --compare of runs side by side")
    store = None if compare or is_run(first) else _find_store(first, cache)
    if text and store is not None:
        raise click.UsageError("--text is of runs: `featx info STORE` prints what is known of a store")
    if mapped and store is None:
        raise click.UsageError("--map and --seed are of stores")
    if text:
        for line in Run.load(first).report().removesuffix("\n").split("\n"):
            click.echo(printable(line))
        return
    options: dict[str, Any] = {"title": title, "images": not no_images}
    if store is not None:
        made, name = store_report(store, **options, **mapped), store.name
    elif compare:
        made, name = compare_report(targets, **options, cache=cache), "comparison"
    else:
        made, name = run_report(first, **options, cache=cache), find_run(first).resolve().name
    click.echo(plain(write_page(made.page, out or file_name_of(name))))
    if figures is not None:
        for path in save_figures(made.figures, figures):
            click.echo(plain(path))


def _find_store(name: str, cache: str | None) -> "FeatureStore":
    """Open the store of what is no run."""
    from featx.fitting import runs_folder
    from featx.store import find_file, open_store

    try:
        path = find_file(name, cache)
    except StoreError as error:
        raise StoreError(f"{name!r} is no run, in {runs_folder()} or elsewhere; {error}") from error
    return open_store(path)


def file_name_of(name: str) -> str:
    """Return what the report of a run or store is called."""
    short = name.encode("utf-8", "surrogateescape")[:_MAX_BYTES].decode("utf-8", "ignore")
    return f"report-{short}.html"
