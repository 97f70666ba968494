"""What commands print: results to standard output, messages and progress to standard error."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.errors import printable

if TYPE_CHECKING:
    from featx.evaluation import Figure

__all__ = [
    "figure",
    "plain",
    "print_json",
    "print_table",
    "progress_bar",
    "tell",
    "with_interval",
    "write_csv",
    "write_json",
]


def plain(text: object) -> str:
    """Return `text` as one printable line: a file name may hold newlines, escape codes, or bytes that are no text.

    What is changed can be told from what is not: a backslash in a name is doubled.
    """
    return printable(str(text).replace("\\", "\\\\"))


def tell(message: str) -> None:
    """Print a message for the person at the terminal, to standard error, as one line."""
    click.echo(printable(message), err=True)


def print_json(value: object) -> None:
    """Print a result as JSON, in ASCII: names of any bytes come back exactly."""
    click.echo(json.dumps(value, indent=1))


def write_json(value: object, path: str) -> None:
    """Write a result as JSON to a file, ``-`` for standard output."""
    if path == "-":
        print_json(value)
    else:
        Path(path).write_text(json.dumps(value, indent=1) + "\n", encoding="ascii")


def write_csv(head: Sequence[str], rows: Iterable[Sequence[object]], path: str) -> None:
    """Write a table as CSV (UTF-8; bytes of names that are none stay as they are), ``-`` for standard output."""
    with click.open_file(path, "wb") as binary:
        stream = TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="")
        writer = csv.writer(stream)
        writer.writerow(head)
        writer.writerows(rows)
        stream.flush()
        stream.detach()


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Print a table; the columns named in `right` are flush right. In a pipe, lines are never cut."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000, emoji=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in head:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def figure(value: float | None, digits: int = 3) -> str:
    """Return a figure for a table; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def with_interval(figure: "Figure") -> str:
    """Return a figure and its 95 % interval for a table."""
    return f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})"


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """Give a function that shows how far the work is, with its rate and the time left; None off a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(plain(label), total=None, rate="")

        def show(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.1f} img/s" if speed else "")

        yield show
