"""Options that several commands have."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import click

from featx.errors import ParameterError
from featx.spec import Decode, Interpolation, Pool, Resize, StoredDtype

__all__ = [
    "BatchSize",
    "OutputFile",
    "Triple",
    "cache_option",
    "cluster_options",
    "json_option",
    "network_options",
    "shards_option",
    "source_options",
]

_ARRANGEMENT = (
    "label_pattern",
    "split_pattern",
    "val_fraction",
    "test_fraction",
    "split_seed",
    "split_hash",
    "max_per_class",
)
"""What :func:`source_options` adds, and :func:`featx.open_source` takes."""

_CLUSTER = ("address", "num_workers", "gpus_per_worker", "parts")
"""What :func:`cluster_options` adds to ``--distributed``, and :class:`featx.RayCluster` takes."""

F = TypeVar("F", bound=Callable[..., Any])


def cache_option(command: F) -> F:
    """``--cache DIR``."""
    text = "Folder of the stores; by default $FEATX_CACHE, else ./cache."
    return click.option("--cache", metavar="DIR", help=text)(command)


def json_option(command: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def shards_option(command: F) -> F:
    """``--shards N|SIZE``."""
    text = "Lay the features in N files, or in files of SIZE, such as 10GB."
    return click.option("--shards", metavar="N|SIZE", help=text)(command)


def network_options(command: F) -> F:
    """Everything that decides the numbers: backbone, weights, layers, pooling, preprocessing, precision."""
    options = (
        click.option("--backbone", metavar="NAME", help="`featx backbones` lists all; MODULE:FUNCTION for your own."),
        click.option("--weights", metavar="TAG|FILE", help="Tag, file of a state dict, or random:SEED."),
        click.option(
            "--layer", "layers", metavar="NODE", multiple=True, help="`featx layers` lists them; may be repeated."
        ),
        click.option("--pool", type=click.Choice(get_args(Pool)), help="How a map or tokens become a row."),
        click.option(
            "--image-size", type=click.IntRange(min=1), metavar="N", help="Side of the network's input in pixels."
        ),
        click.option("--resize", type=click.Choice(get_args(Resize)), help="How an image gets that size."),
        click.option("--interpolation", type=click.Choice(get_args(Interpolation)), help="By which filter."),
        click.option(
            "--decode", type=click.Choice(get_args(Decode)), help="fast: JPEGs of many pixels at a fraction of them."
        ),
        click.option("--mean", type=Triple(), help="Per channel, for values 0..1."),
        click.option("--std", type=Triple(), help="Per channel, for values 0..1."),
        click.option(
            "--dtype", type=click.Choice(get_args(StoredDtype)), default="float32", help="Of the stored features."
        ),
        click.option("--device", metavar="auto|cpu|cuda|cuda:N", default="auto", help="Where the network runs."),
        click.option(
            "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", help="Its arithmetic."
        ),
        click.option(
            "--views",
            type=click.IntRange(min=1),
            default=1,
            metavar="N",
            help="Views of each image, the plain one first.",
        ),
        click.option(
            "--augment", metavar="TEXT", help="What draws the others, such as 'affine(shear=10,scale=0.8:1.2) hflip'."
        ),
        click.option(
            "--augment-seed", type=click.IntRange(min=0), default=0, metavar="N", help="Of their random numbers."
        ),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N samples."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def source_options(command: F) -> F:
    """How the samples of SOURCE are labelled, divided and cut down; the command is given the source opened."""
    fraction = click.FloatRange(0, 1, min_open=True, max_open=True)
    options = (
        click.option("--label-pattern", metavar="REGEX", help="Take labels from keys: its group label, or its first."),
        click.option(
            "--split-pattern",
            type=SplitPattern(),
            multiple=True,
            help="Take splits from keys, such as val='*.9??.jpg'; may be repeated.",
        ),
        click.option("--val-fraction", type=fraction, metavar="F", help="Share of what has no split that becomes val."),
        click.option("--test-fraction", type=fraction, metavar="F", help="Share that becomes test."),
        click.option("--split-seed", type=click.IntRange(min=0), metavar="N", help="Of all that is drawn; else 0."),
        click.option("--split-hash", is_flag=True, help="Draw by key alone: more images move none to another split."),
        click.option(
            "--max-per-class", type=click.IntRange(min=1), metavar="N", help="Keep N of each class in each split."
        ),
    )

    @wraps(command)
    def with_source(source: str, **given: Any) -> Any:
        from featx.sources import open_source

        arrangement = {name: given.pop(name) for name in _ARRANGEMENT}
        return command(source=open_source(source, **arrangement), **given)

    arranged = cast(F, with_source)
    for option in reversed(options):
        arranged = option(arranged)
    return arranged


def cluster_options(command: F) -> F:
    """Where the network runs, if not on this machine alone; the command is given a `cluster`, or None."""
    options = (
        click.option("--distributed", type=click.Choice(["ray"]), help="Run the network on a Ray cluster."),
        click.option(
            "--address", metavar="auto|HOST:PORT", help="Of the cluster; by default one of this machine alone."
        ),
        click.option("--num-workers", type=click.IntRange(min=1), metavar="N", help="Processes that hold the network."),
        click.option(
            "--gpus-per-worker", type=click.FloatRange(0, 1), metavar="G", help="1, part of one, or by default 0."
        ),
        click.option(
            "--parts", metavar="DIR|URL", help="Where workers leave their parts, if they do not see the cache folder."
        ),
    )

    @wraps(command)
    def with_cluster(distributed: str | None, **given: Any) -> Any:
        asked = {name: value for name in _CLUSTER if (value := given.pop(name)) is not None}
        if distributed is None:
            if asked:
                option = f"--{min(asked).replace('_', '-')}"
                raise click.UsageError(f"{option} is for --distributed ray")
            return command(cluster=None, **given)
        from featx.distributed import RayCluster

        return command(cluster=RayCluster(**asked), **given)

    clustered = cast(F, with_cluster)
    for option in reversed(options):
        clustered = option(clustered)
    return clustered


class SplitPattern(click.ParamType):  # type: ignore[type-arg]
    """A split and the pattern of its keys, with an equals sign between them."""

    name = "NAME=GLOB"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        split, _, glob = str(value).partition("=")
        if not split or not glob:
            self.fail(f"{value!r} must be a split and a pattern, such as val='*.9??.jpg'", param, ctx)
        return split, glob


class Triple(click.ParamType):  # type: ignore[type-arg]
    """Three numbers with commas between them, one per colour channel."""

    name = "R,G,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(number) for number in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != 3:
            self.fail(f"{value!r} must be three numbers, such as 0.5,0.5,0.5", param, ctx)
        return numbers


class BatchSize(click.ParamType):  # type: ignore[type-arg]
    """A whole number, or ``auto``, which is None."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "auto":
            return None
        if isinstance(value, int):
            return value
        if not str(value).isdigit() or int(value) < 1:
            self.fail(f"{value!r} must be a whole number of at least 1, or auto", param, ctx)
        return int(value)


class OutputFile(click.ParamType):  # type: ignore[type-arg]
    """A file to write, by its ending, so that an image named by mistake is never overwritten.

    Parameters
    ----------
    *suffixes : str
        The endings it may have.
    or_stdout : bool
        Whether it may be ``-`` instead.
    """

    name = "FILE"

    def __init__(self, *suffixes: str, or_stdout: bool = False) -> None:
        self.suffixes = suffixes
        self.or_stdout = or_stdout

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path = Path(value)
        if self.or_stdout and value == "-":
            return "-"
        if path.suffix.lower() not in self.suffixes:
            ways = f"{value!r} must end in {' or '.join(self.suffixes)}"
            self.fail(f"{ways}, or be - for standard output" if self.or_stdout else ways, param, ctx)
        if not path.absolute().parent.is_dir():
            raise ParameterError(f"{value!r} must be in a folder that is there: make {str(path.parent)!r}")
        return str(value)
