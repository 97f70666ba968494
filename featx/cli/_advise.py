"""``featx advise``."""

from typing import Any

import click

from featx.cli._options import cache_option, json_option
from featx.cli._output import plain, print_json, print_table, tell, with_interval
from featx.errors import printable

__all__ = ["advise"]


@click.command(short_help="Say whether to train a head, take earlier layers, or fine-tune.")
@click.argument("stores", nargs=-1, required=True, metavar="STORE...")
@click.option("--cv", type=click.IntRange(min=2), default=5, show_default=True, metavar="K", help="Folds.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Of the folds.")
@click.option("--train", metavar="SPLIT", help="Split to judge by; by default train, else all others.")
@click.option("--val", metavar="SPLIT", help="Split to leave out; by default val.")
@click.option("--test", metavar="SPLIT", help="Split to leave out; by default test.")
@cache_option
@json_option
def advise(stores: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Say which way is likely to do best with the images of STORE, from their number and what heads make of them.

    Stores of other layers of the same network are found beside a single STORE.

    \b
    Examples:
      featx advise photos
      featx advise cache/photos.resnet50.0123456789ab.h5 cache/photos.resnet50.cdef01234567.h5
    """
    from featx.fitting import advise as ask

    advice = ask(stores, **options)
    if as_json:
        print_json(advice.to_dict())
        return
    print_table(
        [f"accuracy, {advice.folds} folds", "pooling", "width", "depth", "logistic", "kNN"],
        [
            (
                one.layer,
                one.pool,
                one.width,
                f"{one.depth:.2f}",
                with_interval(one.linear),
                with_interval(one.neighbors),
            )
            for one in advice.layers
        ],
        right=["width", "depth"],
    )
    click.echo(f"\n{plain(advice.situation)}: {plain(advice.way)}")
    for reason in advice.reasons:
        click.echo(f"  - {plain(reason)}")
    click.echo("\nnext:")
    for what, line in advice.steps:
        click.echo(f"  # {plain(what)}\n  {printable(line)}")  # a backslash is the shell's
    for doubt in advice.doubts:
        tell(f"note: {doubt}")
