"""``featx runs``: the leaderboard of everything that was ever fitted."""

import time
from datetime import datetime
from typing import TYPE_CHECKING

import click

from featx._words import age
from featx.cli._options import json_option
from featx.cli._output import print_json, print_table, tell, with_interval

if TYPE_CHECKING:
    from featx.fitting import Entry

__all__ = ["runs"]


@click.command(short_help="List all runs and sweeps, the best first.")
@click.argument("folder", required=False)
@click.option(
    "--sort",
    metavar="METRIC",
    help="val, cv, test, a figure (macro_f1), both (test.log_loss), or date; by default val, else cv.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only so many.")
@json_option
def runs(folder: str | None, sort: str | None, limit: int | None, as_json: bool) -> None:
    """List what was fitted, in FOLDER ($FEATX_RUNS, else ./runs), the best first.

    Figures of val, cv and test are shown with their 95 % intervals; test ones are those that `featx evaluate` found.

    \b
    Examples:
      featx runs
      featx runs --sort test.macro_f1 --limit 10
    """
    from featx.fitting import leaderboard, runs_folder

    found = leaderboard(folder, sort=sort, limit=limit)
    if as_json:
        print_json([entry.to_dict() for entry in found])
        return
    if not found:
        tell(f"no runs in {folder or runs_folder()}: `featx fit-head STORE` makes one")
        return
    _show([entry for entry in found if entry.status == "ok"], _figure_of(sort))
    for entry in found:
        if entry.status != "ok":
            tell(f"{entry.path}: {entry.status}")


def _figure_of(sort: str | None) -> str | None:
    """Return the figure that is sorted by, if it is not each run's own headline."""
    from featx.fitting import PARTS

    return None if sort is None or sort in (*PARTS, "date") else sort.rpartition(".")[2]


def _show(entries: "list[Entry]", name: str | None) -> None:
    from featx.fitting import PARTS

    now = time.time()
    rows = []
    for entry in entries:
        figures = [entry.figure(part, name) for part in PARTS]
        rows.append(
            [
                entry.name if entry.kind == "run" else f"{entry.name} (sweep)",
                " ".join([entry.head, *entry.params.split()]),
                "+".join(entry.stores),
                entry.n,
                (name or entry.headline).replace("_", " "),
                *("–" if found is None else with_interval(found) for found in figures),
                age(now - datetime.fromisoformat(entry.when).timestamp()),
            ]
        )
    print_table(["run", "head", "stores", "n", "figure", *PARTS, "age"], rows, right=["n", "age"])
