"""``featx sweep``: the search for a head, and few-shot."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli._fit import show_run
from featx.cli._options import cache_option, json_option
from featx.cli._output import figure, plain, print_json, print_table, tell, with_interval

if TYPE_CHECKING:
    from featx.fitting import FewShot, Progress, Sweep

__all__ = ["sweep"]

_SHOWN = 20
"""Settings in the table of results, and at most in the live one."""


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Whole numbers with commas between them."""

    name = "N,N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        words = str(value).split(",")
        if not all(word.strip().isdecimal() for word in words):
            self.fail(f"{value!r} must be whole numbers, such as 0,1,2", param, ctx)
        return tuple(int(word) for word in words)


@click.command(short_help="Try heads and their parameters, and fit the best.")
@click.argument("stores", nargs=-1, required=True, metavar="STORE...")
@click.option(
    "--head", "heads", multiple=True, default=("logistic",), show_default=True, metavar="NAME", help="May be repeated."
)
@click.option(
    "--grid", "pairs", multiple=True, metavar="[HEAD.]KEY=V1,V2", help="Values of a parameter; may be repeated."
)
@click.option("--seeds", type=Numbers(), default=(0,), metavar="N,N", help="Each draws other folds; by default 0.")
@click.option("--cv", type=click.IntRange(min=2), default=5, show_default=True, metavar="K", help="Folds.")
@click.option("--search", type=click.Choice(["grid", "optuna"]), default="grid", show_default=True, help="What to try.")
@click.option(
    "--trials", type=click.IntRange(min=1), default=30, show_default=True, metavar="N", help="Of Optuna, for each head."
)
@click.option(
    "--stores",
    "join",
    type=click.Choice(["all", "auto", "each"]),
    default="all",
    show_default=True,
    help="Join all stores, those that help, or none.",
)
@click.option("--train", metavar="SPLIT", help="Split to fit on; by default train, else all others.")
@click.option("--val", metavar="SPLIT|FRACTION", help="To leave out of the search; by default val.")
@click.option("--test", metavar="SPLIT", help="To keep for `featx evaluate`; by default test.")
@click.option("--jobs", type=int, metavar="N", help="Workers, -1 for one on each core; by default one, with ray all.")
@click.option("--backend", metavar="NAME", help="Of joblib: loky, threading, ray.")
@click.option("--shots", type=Numbers(), metavar="N,N", help="Few-shot: fit on so many samples of each class.")
@click.option(
    "--repeats", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Few-shot: draws."
)
@click.option("--out", metavar="RUN_DIR", type=click.Path(file_okay=False, path_type=Path), help="Else runs/NAME.")
@cache_option
@json_option
def sweep(
    stores: tuple[str, ...],
    heads: tuple[str, ...],
    pairs: tuple[str, ...],
    shots: tuple[int, ...] | None,
    repeats: int,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Judge heads and their parameters by cross-validation on the training rows of STORE, and fit the best.

    Each finished trial is kept: the same command goes on where it was stopped, and a wider one computes only what is
    new. With --shots, judge heads that are fitted on a few samples of each class instead.

    \b
    Examples:
      featx sweep photos --head logistic --head knn --head ridge
      featx sweep photos --grid C=0.01,0.1,1 --grid class_weight=none,balanced --seeds 0,1,2
      featx sweep photos.resnet50 photos.vit --stores auto
      featx sweep photos --shots 1,5,10 --repeats 20
    """
    from featx.heads import parse_grid

    grid = parse_grid(pairs)
    if shots is not None:
        _show_shots(_few_shot(stores, heads, grid, shots, repeats, out, options), as_json=as_json)
        return
    from featx.fitting import sweep as search

    with _live_table() as watch:
        found = search(stores, heads, grid, watch=watch, **options)
    folder = found.run.save(out)
    if as_json:
        print_json({**found.to_dict(), "run": {"path": str(folder), **found.run.to_dict()}})
        return
    _show_results(found)
    click.echo()
    show_run(found.run, folder)


def _few_shot(
    stores: Sequence[str],
    heads: Sequence[str],
    grid: dict[str, dict[str, list[Any]]],
    shots: Sequence[int],
    repeats: int,
    out: Path | None,
    options: dict[str, Any],
) -> "FewShot":
    from featx.fitting import few_shot

    context = click.get_current_context()
    for name in ("cv", "search", "trials", "join", "jobs", "backend", "out"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "stores" if name == "join" else name
            raise click.UsageError(f"--{option} is of the search, and does not go with --shots")
    if len(options["seeds"]) > 1:
        raise click.UsageError("--shots takes one of --seeds; --repeats says how often samples are drawn")
    kept = {name: options[name] for name in ("train", "val", "test", "cache")}
    return few_shot(stores, heads, grid, shots=shots, repeats=repeats, seed=options["seeds"][0], **kept)


def _show_results(found: "Sweep") -> None:
    for step in found.steps:
        gain = "" if step.gain is None else f", {step.gain.value:+.4f} ({step.gain.low:+.4f} to {step.gain.high:+.4f})"
        tell(f"{'taken' if step.taken else 'left '} {' + '.join(step.stores)}: {with_interval(step.score)}{gain}")
    name = found.best.figure.replace("_", " ")
    several = len({result.stores for result in found.results}) > 1
    print_table(
        [*(["stores"] if several else []), "head", "parameters", f"{name} (95 %)", "std", "seconds"],
        [
            [
                *(["+".join(result.stores)] if several else []),
                result.setting.head,
                result.setting.text,
                with_interval(result.score),
                figure(result.std),
                f"{result.seconds:.1f}",
            ]
            for result in found.results[:_SHOWN]
        ],
        right=["std", "seconds"],
    )
    if len(found.results) > _SHOWN:
        tell(f"and {len(found.results) - _SHOWN} more: --json prints them all")
    for head, params, reason in found.failures:
        tell(f"failed: {head} {params}: {reason}")
    for warning in dict.fromkeys(warning for result in found.results for warning in result.warnings):
        tell(f"note: {plain(warning)}")
    n, folds, seeds = found.best.n, found.folds, len(found.seeds)
    known = f", {found.known} trials from earlier" if found.known else ""
    tell(f"{folds} folds of {n} rows under {seeds} seed{'s' if seeds > 1 else ''}{known}; kept in {found.folder}")


def _show_shots(found: "FewShot", *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
        return
    print_table(
        ["head", "parameters", "shots", "accuracy (95 %)"],
        [
            (result.setting.head, result.setting.text, result.shots, with_interval(result.score))
            for result in found.results
        ],
        right=["shots"],
    )
    for head, params, reason in found.failures:
        tell(f"failed: {head} {params}: {reason}")
    tell(f"mean of {found.repeats} draws, judged on {found.n} samples ({found.rows})")


@contextmanager
def _live_table() -> Iterator[Callable[["Progress"], None]]:
    """Give a function that shows how the trials stand: as a table that changes on a terminal, else line by line."""
    if not sys.stderr.isatty():
        yield _tell_trial
        return
    from rich.console import Console
    from rich.live import Live

    board = _Board()
    with Live(board.table(), console=Console(stderr=True), refresh_per_second=4, transient=True) as live:

        def show(progress: "Progress") -> None:
            board.add(progress)
            live.update(board.table())

        yield show


def _tell_trial(progress: "Progress") -> None:
    trial = progress.trial
    if trial is None:
        tell(f"{progress.done}/{progress.total} failed")
    elif progress.done > progress.known:
        words = " ".join([trial.head, *(f"{key}={value}" for key, value in trial.params.items())])
        tell(f"{progress.done}/{progress.total} {words} seed {trial.seed}: {trial.mean:.4f} ({trial.seconds:.1f} s)")


class _Board:
    """The best trials so far."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, tuple[str, ...]]] = []
        self._figure = ""
        self._title = "sweep"

    def add(self, progress: "Progress") -> None:
        self._title = f"{progress.done} of {progress.total} trials"
        trial = progress.trial
        if trial is not None:
            self._figure = trial.figure.replace("_", " ")
            params = " ".join(f"{key}={value}" for key, value in trial.params.items())
            cells = (trial.head, params, str(trial.seed), figure(trial.mean), f"{trial.seconds:.1f}")
            self._rows = sorted([*self._rows, (-trial.mean, cells)])[:_SHOWN]

    def table(self) -> Any:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, title=self._title, title_justify="left")
        for name in ("head", "parameters", "seed", self._figure, "seconds"):
            table.add_column(name, overflow="fold")
        for _, cells in self._rows:
            table.add_row(*(Text(plain(cell)) for cell in cells))
        return table
