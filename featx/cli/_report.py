"""``featx report``."""

from pathlib import Path

import click

from featx.cli._output import plain
from featx.errors import printable

__all__ = ["report"]


@click.command(short_help="Show what is known of a run; draw its figures.")
@click.argument("run")
@click.option(
    "--figures",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write its learning curves there instead, as PNG and SVG.",
)
def report(run: str, figures: Path | None) -> None:
    """Print the page that RUN keeps of itself: what was fitted on what, all figures, every epoch.

    \b
    Examples:
      featx report runs/photos-mlp-1a2b3c4d
      featx report runs/photos-mlp-1a2b3c4d --figures pictures/
    """
    from featx.fitting import Run
    from featx.plots import learning_curves, save_figures

    found = Run.load(run)
    if figures is None:
        for line in found.report().removesuffix("\n").split("\n"):
            click.echo(printable(line))
        return
    for path in save_figures({"learning-curves": learning_curves(found.history)}, figures):
        click.echo(plain(path))
