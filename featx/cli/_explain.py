"""``featx explain`` and ``featx plan``: what an extraction would find, and what it would cost."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from featx._words import size
from featx.cli._options import cache_option, json_option, network_options, source_options
from featx.cli._output import plain, print_json, print_table

if TYPE_CHECKING:
    from featx.caching import Explanation
    from featx.sources import Source

__all__ = ["explain", "plan"]

_SHOWN = 5


def _show(explanation: "Explanation") -> None:
    click.echo(plain(explanation.path))
    if explanation.hit:
        click.echo(f"  a hit: all {explanation.unchanged} samples are as they were")
        return
    if explanation.nearest is not None and explanation.differences:
        click.echo(f"  a miss; the nearest store is {plain(explanation.nearest)}, which differs in")
        for line in explanation.differences:
            click.echo(f"    {plain(line)} (asked for against there)")
        if explanation.shared_views:
            what = (
                "the plain images are"
                if explanation.shared_views == 1
                else f"the first {explanation.shared_views} views are"
            )
            click.echo(f"    {what} taken from there")
    elif explanation.nearest is not None:
        click.echo(f"  a miss; the same spec, of another source, is in {plain(explanation.nearest)}:")
        click.echo("    equal images are copied from there")
    elif explanation.unchanged or explanation.changed or explanation.removed:
        click.echo(f"  not as it was; {explanation.unchanged} samples are unchanged")
    else:
        click.echo("  a miss; there is no store of this source or spec")
    for what in ("new", "changed", "removed", "relabelled"):
        keys = getattr(explanation, what)
        if keys:
            more = f", ... {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
            click.echo(plain(f"  {len(keys)} {what}: {', '.join(keys[:_SHOWN])}{more}"))


@click.command(short_help="Say whether extract would find all in the cache, or why not.")
@click.argument("source")
@source_options
@network_options
@click.option("--name", metavar="NAME", help="What the store is called.")
@click.option("--out", metavar="FILE", help="The store's file, if it is not in the cache.")
@cache_option
@json_option
def explain(source: "Source", backbone: str | None, as_json: bool, **options: Any) -> None:
    """Say whether an extraction would be a hit and, if not, which fields or samples differ.

    Nothing is computed and no image is opened: a sample counts as changed if its size, time of change or inode
    is another. Exit code 0 for a hit, 1 for a miss.

    \b
    Example:
      featx explain photos/ --backbone resnet50 --pool gem
    """
    from featx.caching import explain as find_out
    from featx.spec import DEFAULT_BACKBONE

    explanations = find_out(source, backbone or DEFAULT_BACKBONE, **options)
    if as_json:
        print_json(
            [
                {**asdict(one), "path": str(one.path), "nearest": one.nearest and str(one.nearest)}
                for one in explanations
            ]
        )
    else:
        for explanation in explanations:
            _show(explanation)
    if not all(explanation.hit for explanation in explanations):
        raise click.exceptions.Exit(1)


def _duration(seconds: float) -> str:
    for length, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


@click.command(short_help="Say what extract would cost, after a short try.")
@click.argument("source")
@source_options
@network_options
@click.option("--probe", type=click.IntRange(min=1), default=64, show_default=True, help="Images to try it with.")
@cache_option
@json_option
def plan(source: "Source", backbone: str | None, as_json: bool, **options: Any) -> None:
    """Say how many rows, bytes and minutes an extraction would take, after a try with a few images.

    \b
    Example:
      featx plan photos/ --backbone resnet50
    """
    from featx.caching import plan as find_out
    from featx.spec import DEFAULT_BACKBONE

    found = find_out(source, backbone or DEFAULT_BACKBONE, **options)
    if as_json:
        print_json(asdict(found))
        return
    click.echo(f"{found.rows} rows, {found.unchanged} of them in the cache as they are, {found.to_read} to work on")
    click.echo(f"{size(found.bytes)} of features; the work takes up to {size(found.needed_bytes)}", nl=False)
    click.echo(f" of {size(found.free_bytes)} free{'' if found.needed_bytes < found.free_bytes else ': too little'}")
    if not found.tried:
        click.echo("nothing to compute")
        return
    how = f"{found.workers} workers, engine {found.engine} and batches of {found.batch_size}"
    click.echo(f"about {_duration(found.seconds)}, with {how}\n")
    total = sum(found.stages.values())
    print_table(
        ["stage", "ms an image", "share"],
        [(stage, f"{1000 * each:.2f}", f"{each / total:.0%}") for stage, each in found.stages.items()],
        right=["ms an image", "share"],
    )
