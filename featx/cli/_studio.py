"""``featx studio``."""

import os
import sys
import webbrowser

import click

__all__ = ["studio"]


@click.command(short_help="Look through stores and runs in the browser, and drop images on a run.")
@click.argument("cache", required=False)
@click.option("--runs", metavar="DIR", help="Folder of the runs; else $FEATX_RUNS, else ./runs.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", help="Else 8765, or the next one that is free; 0 for any."
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def studio(cache: str | None, runs: str | None, port: int | None, no_browser: bool) -> int:
    """Serve a page of the stores in CACHE ($FEATX_CACHE, else ./cache) and the runs, on this computer alone.

    Tables to sort and filter, the report of every store and run, and a place to drop images: a run says what they are,
    and the nearest images of its store are shown. Nobody gets in without the address that is printed. Ctrl-C stops it.

    \b
    Examples:
      featx studio
      featx studio /data/cache --runs /data/runs --port 9000 --no-browser
    """
    from featx.studio import Studio

    served = Studio(cache, runs, port=port)
    try:
        click.echo(served.url)
        if not no_browser and _has_browser():
            webbrowser.open(served.ticket())
        served.wait()
    except KeyboardInterrupt:  # which is how it is stopped
        pass
    finally:
        ended = served.close(wait=False)
    if not ended:  # a network, or a report in the making: nothing that could be lost, or be told to stop
        sys.stdout.flush()
        os._exit(0)
    return 0


def _has_browser() -> bool:
    """Return whether a browser would have a window: without, one in the terminal would come up."""
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")))
