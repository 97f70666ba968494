"""The first page: what there is, and a place to drop images."""

import shlex
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from featx._words import age, size
from featx.evaluation import Figure
from featx.fitting import PARTS, Entry, runs_folder
from featx.reports import Page
from featx.store import cache_folder
from featx.studio._listing import Listing, RunItem, StoreItem

__all__ = ["front_page"]

_NONE = {"text": "–", "value": ""}
_KEY = 6
"""Digits of a store's key that are shown: enough to name it by."""

_STORE_COLUMNS = ("store", "key", "source", "backbone", "layer", "rows", "shape", "size", "age", "status")
_RUN_COLUMNS = ("run", "head", "stores", "n", "figure", *PARTS, "age", "status")


def front_page(listing: Listing, token: str, most_bytes: int) -> Page:
    """Return the page of all stores and runs as they are now.

    Parameters
    ----------
    listing : Listing
    token : str
        What the page's script sends along.
    most_bytes : int
        Of an image that may be sent.
    """
    stores, runs, now = listing.stores(), listing.runs(), time.time()
    return Page(
        "front.html",
        "featx studio",
        {
            "token": token,
            "most_bytes": most_bytes,
            "listings": [
                ("runs", str(listing.runs_folder), _RUN_COLUMNS, [_run_row(item, now) for item in runs]),
                ("stores", str(listing.cache), _STORE_COLUMNS, [_store_row(item, now) for item in stores]),
            ],
            "choices": [_choice(item) for item in runs if item.id is not None and item.entry.status == "ok"],
            "commands": _first_commands(listing, stores),
        },
    )


def _store_row(item: StoreItem, now: float) -> list[Any]:
    spec, source, shape = (item.summary.get(name, {}) for name in ("spec", "source", "shape"))
    name = str(item.summary.get("name", item.path.stem))
    failures = item.summary.get("failures")
    return [
        _linked(name, f"/stores/{item.id}") if item.summary else name,
        item.path.stem.rpartition(".")[2][:_KEY],
        source.get("identity", "–"),
        spec.get("backbone", "–"),
        spec.get("layer", "–"),
        item.summary.get("rows", _NONE),
        "x".join(map(str, shape[1:])) if shape else _NONE,
        {"text": size(item.bytes), "value": item.bytes},
        _aged(now - item.modified),
        f"ok, {failures} bad" if failures else item.status,
    ]


def _run_row(item: RunItem, now: float) -> list[Any]:
    entry = item.entry
    name = entry.name if entry.kind == "run" else f"{entry.name} (sweep)"
    return [
        _linked(name, f"/runs/{item.id}") if item.id is not None and entry.status == "ok" else name,
        " ".join([entry.head, *entry.params.split()]) or "–",
        "+".join(entry.stores) or "–",
        entry.n or _NONE,
        entry.headline.replace("_", " ") or "–",
        *(_figure(entry.figure(part)) for part in PARTS),
        _aged(now - datetime.fromisoformat(entry.when).timestamp()),
        entry.status,
    ]


def _choice(item: RunItem) -> tuple[str | None, str]:
    """Return a run's id, and its name with what it is good for."""
    return item.id, f"{item.entry.name}{_headline(item.entry)}"


def _headline(entry: Entry) -> str:
    for part in ("test", "val", "cv"):
        found = entry.figure(part)
        if found is not None:
            return f": {entry.headline.replace('_', ' ')} {found.value:.3f} ({part})"
    return ""


def _linked(text: str, address: str) -> dict[str, Any]:
    return {"text": text, "value": text, "href": address}


def _figure(found: Figure | None) -> dict[str, Any]:
    if found is None:
        return _NONE
    return {"text": f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})", "value": found.value}


def _aged(seconds: float) -> dict[str, Any]:
    return {"text": age(seconds), "value": round(max(0.0, seconds))}


def _first_commands(listing: Listing, stores: Sequence[StoreItem]) -> list[str]:
    """Return how to come to a run, from what is there."""
    cache = [] if listing.cache == cache_folder().absolute() else ["--cache", str(listing.cache)]
    runs = [] if listing.runs_folder == runs_folder().absolute() else [str(listing.runs_folder / "first")]
    name = next((str(item.summary["name"]) for item in stores if item.summary), None)
    lines = [] if name is not None else [["featx", "extract", "photos/", *cache]]
    lines.append(["featx", "fit-head", name or "photos", *cache, *(["--out", *runs] if runs else [])])
    return [shlex.join(words) for words in lines]
