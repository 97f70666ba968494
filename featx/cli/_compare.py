"""``featx compare`` and ``featx label-errors``."""

from collections import Counter
from typing import Any

import click

from featx.cli._options import cache_option, json_option
from featx.cli._output import plain, print_json, print_table, tell, write_csv

__all__ = ["compare", "label_errors"]


@click.command(short_help="Say whether one trained head is better than another.")
@click.argument("run_a", metavar="RUN")
@click.argument("run_b", metavar="RUN")
@click.option(
    "--part",
    type=click.Choice(["val", "cv", "test"]),
    default="val",
    show_default=True,
    help="Which answers; test once both have been evaluated on it.",
)
@json_option
def compare(run_a: str, run_b: str, part: str, as_json: bool) -> None:
    """Compare two runs, a and b, sample by sample, by what neither was trained on.

    \b
    Examples:
      featx compare runs/photos-logistic-1a2b3c4d runs/photos-ridge-5e6f7a8b
      featx compare runs/photos-logistic-1a2b3c4d runs/photos-mlp-9c0d1e2f --part cv
    """
    from featx.fitting import compare as compare_runs

    found = compare_runs(run_a, run_b, part)
    if as_json:
        print_json(found.to_dict())
        return
    click.echo(f"a: {plain(found.a)}\nb: {plain(found.b)}\n")
    print_table(
        [part, "a", "b", "b - a", "95 % interval"],
        [
            (
                name.replace("_", " "),
                f"{one.a:.3f}",
                f"{one.b:.3f}",
                f"{one.value:+.3f}",
                f"{one.low:+.3f} to {one.high:+.3f}",
            )
            for name, one in found.comparison.differences.items()
        ],
        right=["a", "b", "b - a", "95 % interval"],
    )
    if found.folds is not None:
        folds = found.folds
        click.echo(
            f"\nover {folds.folds} folds: b - a = {folds.value:+.3f} ({folds.low:+.3f} to {folds.high:+.3f}),"
            f" p = {folds.p_value:.2g} by the corrected resampled t-test"
        )
    click.echo(f"\n{found.sentence}")
    if found.left_out:
        tell(f"note: {found.left_out} samples were answered by one of the two alone and are left out")


@click.command(name="label-errors", short_help="List samples whose label is probably wrong.")
@click.argument("stores", nargs=-1, required=True, metavar="STORE...")
@click.option("--head", default="logistic", show_default=True, metavar="NAME", help="One with probabilities.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Parameter of the head; may be repeated.")
@click.option("--cv", type=click.IntRange(min=2), default=5, show_default=True, metavar="K", help="Folds.")
@click.option(
    "--neighbors", type=click.IntRange(min=0), default=5, show_default=True, metavar="K", help="Shown for each."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Of the folds.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="Lines printed.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write all of them there; - for standard output.")
@cache_option
@json_option
def label_errors(
    stores: tuple[str, ...],
    head: str,
    pairs: tuple[str, ...],
    limit: int,
    csv_file: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """List the samples of STORE whose label is probably wrong, the likeliest first, with their nearest neighbours.

    Each sample is judged by a head that was trained without it and its copies.

    \b
    Examples:
      featx label-errors photos
      featx label-errors photos --csv suspects.csv
    """
    from featx.fitting import label_errors as find_errors
    from featx.heads import parse_params

    report = find_errors(stores, head, parse_params(pairs), **options)
    if csv_file is not None:
        write_csv(
            [
                *("key", "given", "suggested", "given_probability", "suggested_probability"),
                *(f"neighbor_{i}" for i in range(1, options["neighbors"] + 1)),
            ],
            [
                (
                    one.key,
                    one.given,
                    one.suggested,
                    f"{one.given_probability:.6f}",
                    f"{one.suggested_probability:.6f}",
                    *(neighbor.key for neighbor in one.neighbors),
                )
                for one in report.suspects
            ],
            csv_file,
        )
    if as_json:
        print_json(report.to_dict())
    elif csv_file != "-":
        print_table(
            ["key", "given", "p", "suggested", "p ", "nearest"],
            [
                (
                    one.key,
                    one.given,
                    f"{one.given_probability:.3f}",
                    one.suggested,
                    f"{one.suggested_probability:.3f}",
                    ", ".join(
                        f"{label} {count}"
                        for label, count in Counter(neighbor.label for neighbor in one.neighbors).most_common()
                    ),
                )
                for one in report.suspects[:limit]
            ],
            right=["p", "p "],
        )
    for keys in report.conflicts:
        tell(f"note: the same image has several labels: {', '.join(plain(key) for key in keys)}")
    shown = f", of which {limit} are shown" if not as_json and csv_file != "-" and len(report.suspects) > limit else ""
    tell(
        f"{len(report.suspects)} of {report.n} labels are suspected{shown}; the head agrees with"
        f" {100 * report.accuracy:.1f}% of them"
    )
