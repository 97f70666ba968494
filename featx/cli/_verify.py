"""``featx verify``."""

from typing import TYPE_CHECKING, Any

import click

from featx._words import size
from featx.cli._options import cache_option, json_option
from featx.cli._output import plain, print_json

if TYPE_CHECKING:
    from featx.caching import RecomputeReport, RowDrift
    from featx.store import VerifyReport

__all__ = ["verify"]


@click.command(short_help="Check a store for damage; embed some of its rows again.")
@click.argument("store")
@click.option(
    "--recompute", type=click.IntRange(min=1), metavar="N", help="Also embed N random rows again, and compare."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="S", help="Chooses those rows.")
@click.option("--device", metavar="auto|cpu|cuda|cuda:N", default="auto", help="Where the network runs for that.")
@cache_option
@json_option
def verify(store: str, recompute: int | None, seed: int, device: str, cache: str | None, as_json: bool) -> None:
    """Check every array of STORE against its digest.

    Exit code 1 means damage, or rows that the network does not give any more. Rows whose images have changed
    since cannot be embedded again, and are skipped.

    \b
    Examples:
      featx verify photos
      featx verify photos --recompute 100
    """
    from featx.store import find_file, open_store, verify_store

    report = verify_store(find_file(store, cache))
    again = None
    if report.ok and recompute is not None:
        from featx.caching import recompute as compute_again

        again = compute_again(open_store(report.path), recompute, seed=seed, device=device)
    if as_json:
        print_json(_facts(report, again))
    else:
        _show(report)
        if again is not None:
            _show_again(again)
        elif recompute is not None:
            click.echo("no rows are computed again: the store is damaged")
    if not report.ok or (again is not None and not again.ok):
        raise click.exceptions.Exit(1)


def _show(report: "VerifyReport") -> None:
    if report.ok:
        click.echo(f"{plain(report.path)}: all as it was written ({report.rows} rows, {size(report.bytes)} checked)")
    for problem in report.problems:
        click.echo(plain(problem))


def _show_again(report: "RecomputeReport") -> None:
    tolerance = report.tolerance
    line = f"{report.checked} rows computed again on {report.device}"
    if report.skipped:
        line += f", {len(report.skipped)} skipped"
    if report.max_absolute is not None:
        line += (
            f": largest difference {report.max_absolute:.2g}, relative {report.max_relative:.2g} (at most"
            f" {tolerance.relative:g}), smallest cosine {report.min_cosine:.7f} (at least {tolerance.cosine:g})"
        )
    click.echo(line)
    for key, reason in report.skipped:
        click.echo(f"skipped {plain(key)}: {plain(reason)}")
    for drift in report.drifted:
        click.echo(f"row {drift.row}, {plain(drift.key)}, is out of tolerance: {_how_far(drift)}")


def _how_far(drift: "RowDrift") -> str:
    if drift.reason is not None:
        return plain(drift.reason)
    return f"difference {drift.absolute:.2g}, relative {drift.relative:.2g}, cosine {drift.cosine:.7f}"


def _facts(report: "VerifyReport", again: "RecomputeReport | None") -> dict[str, Any]:
    facts: dict[str, Any] = {
        "path": str(report.path),
        "ok": report.ok and (again is None or again.ok),
        "rows": report.rows,
        "bytes": report.bytes,
        "problems": list(report.problems),
        "damaged_rows": [list(stretch) for stretch in report.damaged_rows],
        "damaged_keys": list(report.damaged_keys),
        "recomputed": None,
    }
    if again is not None:
        facts["recomputed"] = {
            "device": again.device,
            "rows": again.checked,
            "max_absolute": again.max_absolute,
            "max_relative": again.max_relative,
            "min_cosine": again.min_cosine,
            "tolerance": {"relative": again.tolerance.relative, "cosine": again.tolerance.cosine},
            "skipped": [{"key": key, "reason": reason} for key, reason in again.skipped],
            "drifted": [
                {
                    "row": drift.row,
                    "key": drift.key,
                    "absolute": drift.absolute,
                    "relative": drift.relative,
                    "cosine": drift.cosine,
                    "reason": drift.reason,
                }
                for drift in again.drifted
            ],
        }
    return facts
