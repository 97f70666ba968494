"""``featx list`` and ``featx info``."""

import time
from typing import TYPE_CHECKING, Any

import click

from featx._words import age, size
from featx.cli._options import cache_option, json_option
from featx.cli._output import plain, print_json, print_table, tell
from featx.errors import StoreError

if TYPE_CHECKING:
    from featx.spec import ExtractionSpec

__all__ = ["info", "list_command"]

_KEY = 6
"""Digits of a store's key that are shown: enough to name it by."""


@click.command(name="list", short_help="List the stores in the cache.")
@cache_option
@json_option
def list_command(cache: str | None, as_json: bool) -> None:
    """List the stores in the cache; their name or key is what other commands take for STORE.

    \b
    Example:
      featx list --cache /data/cache
    """
    from featx.store import cache_folder, list_stores, open_store

    summaries: list[dict[str, Any]] = []
    for path in list_stores(cache):
        status = path.stat()
        facts: dict[str, Any] = {"path": str(path), "bytes": status.st_size, "modified": status.st_mtime}
        try:
            summaries.append({**facts, **open_store(path).summary(), "status": "ok"})
        except StoreError as error:
            summaries.append({**facts, "name": path.stem, "status": str(error)})
    if as_json:
        print_json(summaries)
        return
    if not summaries:
        tell(f"no stores in {plain(cache_folder(cache))}: `featx extract SOURCE` makes one")
        return
    rows = []
    for facts in summaries:
        spec = facts.get("spec", {})
        key = facts["path"].removesuffix(".h5").rpartition(".")[2]
        rows.append(
            (
                facts["name"],
                key[:_KEY],
                facts.get("source", {}).get("identity", "–"),
                spec.get("backbone", "–"),
                spec.get("layer", "–"),
                "x".join(map(str, facts["shape"])) if "shape" in facts else "–",
                size(facts["bytes"]),
                age(time.time() - facts["modified"]),
                facts["status"] if facts["status"] != "ok" or not facts["failures"] else f"ok, {facts['failures']} bad",
            )
        )
    columns = ["name", "key", "source", "backbone", "layer", "rows", "size", "age", "status"]
    print_table(columns, rows, right=["rows", "size", "age"])


@click.command(short_help="Say what a store holds and how it was made.")
@click.argument("store")
@cache_option
@json_option
def info(store: str, cache: str | None, as_json: bool) -> None:
    """Say what a STORE holds, how it was made, and which samples could not be used.

    \b
    Example:
      featx info photos
    """
    from featx.store import find_store

    found = find_store(store, cache)
    summary = found.summary()
    if as_json:
        print_json({**summary, "failures": [list(failure) for failure in found.failures]})
        return
    spec, creation = summary["spec"], summary["creation"]
    preprocessing = spec["preprocessing"]
    facts: list[tuple[str, object]] = [
        ("file", found.path),
        ("size", size(summary["bytes"]) + (f", in {summary['shards']} shards" if summary["shards"] else "")),
        ("source", summary["source"].get("identity", "–")),
        ("features", f"{'x'.join(map(str, summary['shape']))} {summary['dtype']} ({summary['axes']})"),
        ("backbone", f"{spec['backbone']}, weights {summary['backbone'].get('weights') or 'its own'}"),
        ("weights digest", spec["weights"]),
        ("layer", f"{spec['layer']}, pooling {spec['pool']}"),
        (
            "preprocessing",
            f"{preprocessing['resize']} {'x'.join(map(str, preprocessing['resize_size']))} to"
            f" {'x'.join(map(str, preprocessing['crop_size']))}, {preprocessing['interpolation']}, mean"
            f" {', '.join(f'{v:g}' for v in preprocessing['mean'])}, std"
            f" {', '.join(f'{v:g}' for v in preprocessing['std'])}",
        ),
        *([("views", _views(found.spec))] if found.spec.views > 1 else []),
        ("precision", spec["precision"]),
        ("splits", ", ".join(f"{name or '(none)'} {count}" for name, count in summary["splits"].items())),
        ("to be learned", _to_be_learned(summary)),
        *([("groups", summary["groups"])] if summary["groups"] else []),
        ("made", ", ".join(f"{name} {value}" for name, value in creation.items())),
        ("spec digest", summary["key"]),
    ]
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{name:<{width}}  {plain(value)}")
    if summary["classes"]:
        click.echo()
        print_table(["class", "n"], summary["classes"].items(), right=["n"])
    if summary["targets"]:
        click.echo()
        rows = [(name, *(f"{value:g}" for value in ranges.values())) for name, ranges in summary["targets"].items()]
        print_table(["target", "least", "mean", "greatest"], rows, right=["least", "mean", "greatest"])
    if found.failures:
        click.echo()
        print_table(["could not be used", "reason"], found.failures)


def _views(spec: "ExtractionSpec") -> str:
    return f"{spec.views}: the plain image, and {spec.augment}, seed {spec.augment_seed}"


def _to_be_learned(summary: dict[str, Any]) -> str:
    """Return in words what a head could learn from a store: classes, one or several a sample, or numbers."""
    if summary["task"] == "regression":
        what = ", ".join(summary["targets"]) or "numbers"
    else:
        several = ", several a sample" if summary["task"] == "multilabel" else ""
        what = f"{len(summary['classes'])} classes{several}"
    return f"{what}; {summary['unlabelled']} samples without a label"
