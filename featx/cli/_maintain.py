"""``featx export``, ``featx import``, ``featx merge`` and ``featx prune``."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from featx._words import size
from featx.cli._options import cache_option, json_option, shards_option
from featx.cli._output import plain, print_json, print_table, tell

if TYPE_CHECKING:
    from featx.store import FeatureStore

__all__ = ["export", "import_command", "merge", "prune"]

FORMATS = ("npz", "parquet", "csv", "memmap")
PROJECTOR = "projector"

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class Quantity(click.ParamType):  # type: ignore[type-arg]
    """A number and its unit, such as 30d or 10GB."""

    def __init__(self, name: str, units: dict[str, int], example: str) -> None:
        self.name = name
        self._units = {unit.lower(): factor for unit, factor in units.items()}
        self._rule = f"a number and one of {', '.join(units)}, such as {example}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return value
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)", str(value).strip().lower())
        if match is None or match[2] not in self._units:
            self.fail(f"{value!r} must be {self._rule}", param, ctx)
        return float(match[1]) * self._units[match[2]]


def compress_option(command: Any) -> Any:
    """``--compress``."""
    return click.option("--compress", is_flag=True, help="Make the store smaller and slower to read.")(command)


def overwrite_option(command: Any) -> Any:
    """``--overwrite``."""
    return click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")(command)


@click.command(short_help="Write a store as .npz, Parquet, CSV or .npy, or for TensorBoard's projector.")
@click.argument("store")
@click.option(
    "--to",
    type=click.Choice((*FORMATS, PROJECTOR)),
    required=True,
    help="memmap is an .npy with a .json beside it, projector a folder for TensorBoard, with images.",
)
@click.option("--out", metavar="FILE|DIR", help="By default the store's name, in the current folder.")
@click.option("--split", metavar="SPLIT", help="Only the rows of that split.")
@overwrite_option
@cache_option
@json_option
def export(
    store: str, to: Any, out: str | None, split: str | None, overwrite: bool, cache: str | None, as_json: bool
) -> None:
    """Write the features of STORE, with keys, labels and splits, in a format that needs no HDF5.

    \b
    Examples:
      featx export photos --to parquet
      featx export photos --to csv --split train --out train.csv
      featx export photos --to projector --out logs/
    """
    from featx.store import EXPORT_SUFFIXES, export_store, find_store

    found = find_store(store, cache)
    name = found.path.stem if split is None else f"{found.path.stem}.{split.replace('/', '_')}"
    if to == PROJECTOR:
        _export_projector(found, out or f"{name}.{PROJECTOR}", split, overwrite, as_json)
        return
    path = export_store(found, out or f"{name}{EXPORT_SUFFIXES[to]}", to=to, split=split, overwrite=overwrite)
    facts = {"path": str(path), "to": to, "rows": len(found.select(split)), "bytes": path.stat().st_size}
    if as_json:
        print_json(facts)
    else:
        click.echo(plain(path))
        click.echo(f"  {facts['rows']} rows, {size(path.stat().st_size)}")


def _export_projector(store: "FeatureStore", out: str, split: str | None, overwrite: bool, as_json: bool) -> None:
    from featx.reports import export_projector

    made = export_projector(store, out, split=split, overwrite=overwrite)
    if made.left_out:
        tell(f"{made.left_out} samples are left out: those that are not finite, or beyond the 100,000 that are shown")
    if made.problem is not None:
        tell(f"without images: {made.problem}")
    if as_json:
        print_json({"path": str(made.folder), "to": PROJECTOR, "rows": made.rows, "image_side": made.side})
    else:
        images = "no images" if made.side is None else f"images of {made.side} pixels"
        click.echo(plain(made.folder))
        click.echo(f"  {made.rows} rows, {images}")


def show_store(store: "FeatureStore", as_json: bool) -> None:
    """Print what was made."""
    if as_json:
        print_json({**store.summary(), "failures": [list(failure) for failure in store.failures]})
        return
    shape = "x".join(map(str, store.features.shape[1:]))
    click.echo(plain(store.path))
    click.echo(f"  {len(store)} rows of {shape} {store.features.dtype.name}, {len(store.classes)} classes")


@click.command(name="import", short_help="Make a store of features computed elsewhere.")
@click.argument("file")
@click.option("--labels", metavar="FILE", help="Labels as .npy, .txt, .csv or .json, in the order of the rows.")
@click.option("--name", metavar="NAME", help="What made the features: heads go with stores of the same name.")
@click.option("--out", metavar="FILE", help="Write it here instead of into the cache.")
@compress_option
@shards_option
@overwrite_option
@cache_option
@json_option
def import_command(file: str, as_json: bool, **options: Any) -> None:
    """Make a store of the features in FILE, an .npz or .npy, so that heads can be fitted on them.

    An .npz holds features (or X, embeddings) and, if wanted, labels (or y; multilabels, values), keys, classes, splits
    and groups.

    \b
    Examples:
      featx import clip.npz --name clip-vit-b32
      featx import train.npy --labels train.csv --name clip-vit-b32
    """
    from featx.store import import_features

    show_store(import_features(file, **options), as_json)


@click.command(short_help="Make one store of several of one spec.")
@click.argument("stores", metavar="STORE...", nargs=-1, required=True)
@click.option("--out", metavar="FILE", required=True, help="The new store.")
@click.option("--name", metavar="NAME", help="What its source is called.")
@click.option("--prefix", is_flag=True, help="Put each store's name before its keys: equal keys stay apart.")
@click.option("--virtual", is_flag=True, help="Copy no features: name the stores, which must stay where they are.")
@compress_option
@shards_option
@overwrite_option
@cache_option
@json_option
def merge(stores: Sequence[str], out: str, cache: str | None, as_json: bool, **options: Any) -> None:
    """Make one store of the rows of several STOREs that have the same spec.

    A sample that several have is there once; classes are united by name.

    \b
    Example:
      featx merge photos-2025 photos-2026 --out photos.h5
    """
    from featx.store import find_store, merge_stores

    show_store(merge_stores([find_store(store, cache) for store in stores], out, **options), as_json)


@click.command(short_help="Say what in the cache could go; remove it with --yes.")
@click.option(
    "--older-than", type=Quantity("AGE", _SECONDS, "30d"), metavar="AGE", help="Written longer ago, such as 30d."
)
@click.option(
    "--max-size", type=Quantity("SIZE", _BYTES, "10GB"), metavar="SIZE", help="The oldest, until the rest fits."
)
@click.option("--broken", is_flag=True, help="Stores that cannot be read, and what killed runs left.")
@click.option("--orphaned", is_flag=True, help="Stores whose folder or file is gone (or not mounted).")
@click.option("--yes", is_flag=True, help="Remove it; without this, nothing is.")
@cache_option
@json_option
def prune(
    older_than: float | None,
    max_size: float | None,
    broken: bool,
    orphaned: bool,
    yes: bool,
    cache: str | None,
    as_json: bool,
) -> None:
    """Say what in the cache could go, and why; remove it only with --yes.

    What is in use stays, and so does whatever featx did not write.

    \b
    Examples:
      featx prune --broken --orphaned
      featx prune --older-than 30d --max-size 10GB --yes
    """
    if older_than is None and max_size is None and not broken and not orphaned:
        raise click.UsageError("say what could go: --older-than, --max-size, --broken or --orphaned")
    from featx.store import plan_prune
    from featx.store import prune as remove

    max_bytes = None if max_size is None else int(max_size)
    items = plan_prune(cache, older_than=older_than, max_bytes=max_bytes, broken=broken, orphaned=orphaned)
    gone = remove(items) if yes else []
    total = sum(item.bytes for item in (gone if yes else items))
    if as_json:
        print_json(
            {
                "removed": yes,
                "bytes": total,
                "items": [
                    {"path": str(item.path), "bytes": item.bytes, "reason": item.reason, "removed": item in gone}
                    for item in items
                ],
            }
        )
        return
    if items:
        print_table(
            ["file", "size", "why"], [(item.path, size(item.bytes), item.reason) for item in items], right=["size"]
        )
    if yes:
        tell(f"removed {len(gone)} of {len(items)}: {size(total)}")
    elif items:
        tell(f"nothing is removed yet: {size(total)} would be, with --yes")
    else:
        tell("nothing to remove")
