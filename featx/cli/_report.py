"""``featx report``."""

from pathlib import Path
from typing import Any

import click

from featx.cli._options import OutputFile, cache_option
from featx.cli._output import plain
from featx.errors import printable

__all__ = ["report"]

_MAX_BYTES = 200
"""Of a run's name in a file's, which may have 255 with all else."""


@click.command(short_help="Write a page about a run, or about runs side by side.")
@click.argument("targets", nargs=-1, required=True, metavar="RUN...")
@click.option("--compare", is_flag=True, help="Put the runs that are named side by side, each against the first.")
@click.option("--out", type=OutputFile(".html"), help="Write it here; by default report-NAME.html in this folder.")
@click.option(
    "--figures",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write its figures there, as PNG and SVG.",
)
@click.option("--title", metavar="TEXT", help="By default the name of the run.")
@click.option("--no-images", is_flag=True, help="Leave images out.")
@click.option("--text", is_flag=True, help="Print the report.md of a run instead.")
@cache_option
def report(
    targets: tuple[str, ...],
    compare: bool,
    out: str | None,
    figures: Path | None,
    title: str | None,
    no_images: bool,
    text: bool,
    cache: str | None,
) -> None:
    """Write what is known of RUN into one HTML file that needs no network.

    That is figures with intervals, curves, who is taken for whom, mistakes and suspected labels with their images, and
    the commands that make the run again. Nothing is fitted: all is from the answers that the run keeps.

    With --compare, several runs side by side, and each against the first by the samples that both have answered.

    \b
    Examples:
      featx report runs/photos-mlp-1a2b3c4d
      featx report runs/photos-mlp-1a2b3c4d --out mlp.html --figures pictures/
      featx report --compare runs/photos-logistic-5e6f7a8b runs/photos-mlp-1a2b3c4d
      featx report runs/photos-mlp-1a2b3c4d --text
    """
    from featx.fitting import Run, find_run
    from featx.plots import save_figures
    from featx.reports import compare_report, run_report, write_page

    if compare and (text or len(targets) < 2):
        raise click.UsageError("--compare takes two runs or more, and goes without --text")
    if not compare and len(targets) > 1:
        raise click.UsageError(f"one run is reported at a time; got {len(targets)}: with --compare side by side")
    first = targets[0]
    if text:
        for line in Run.load(first).report().removesuffix("\n").split("\n"):
            click.echo(printable(line))
        return
    options: dict[str, Any] = {"title": title, "images": not no_images, "cache": cache}
    made = compare_report(targets, **options) if compare else run_report(first, **options)
    name = "comparison" if compare else find_run(first).resolve().name
    click.echo(plain(write_page(made.page, out or _file_name(name))))
    if figures is not None:
        for path in save_figures(made.figures, figures):
            click.echo(plain(path))


def _file_name(name: str) -> str:
    short = name.encode("utf-8", "surrogateescape")[:_MAX_BYTES].decode("utf-8", "ignore")
    return f"report-{short}.html"
