"""What there is, whatever state it is in."""

import json
import shutil

import pytest

import featx
from featx.store import list_stores
from featx.studio._front import front_page
from featx.studio._listing import Listing
from tests.fitting.helpers import clouds, write


@pytest.fixture
def copy(home, tmp_path):
    """The same in a place where it may be changed."""
    for name in ("cache", "runs"):
        shutil.copytree(home / name, tmp_path / name)
    return tmp_path


def listings(listing):
    """Return the rows of both tables, cells as they are shown."""
    page = front_page(listing, "token", 1)
    tables = {}
    for name, _, columns, rows in page.values["listings"]:
        shown = [[cell["text"] if isinstance(cell, dict) else cell for cell in row] for row in rows]
        tables[name] = [dict(zip(columns, row, strict=True)) for row in shown]
    return tables["runs"], tables["stores"]


def test_what_is_shown_is_what_the_library_says(home):
    (run,), (store,) = listings(Listing(home / "cache", home / "runs"))
    (entry,), opened = featx.leaderboard(home / "runs"), featx.open_store(*list_stores(home / "cache"))
    figure = entry.figures["val"]["accuracy"]
    assert run["run"] == "mine"
    assert run["head"] == "logistic"
    assert run["n"] == 12
    assert run["val"] == f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})"
    assert run["cv"] == run["test"] == "–"
    assert store["store"] == opened.name
    assert opened.path.name.endswith(f".{store['key']}{opened.path.name[-9:]}")
    assert store["source"] == f"folder:{home / 'photos'}"
    assert (store["rows"], store["shape"], store["status"]) == (24, "5", "ok")


def test_damaged_ones_say_so_and_lead_nowhere(copy):
    (store,) = list_stores(copy / "cache")
    (copy / "cache" / "empty.h5").touch()
    (copy / "cache" / "gone.h5").symlink_to(copy / "nothing")
    (copy / "cache" / "cut.h5").write_bytes(store.read_bytes()[:5000])
    (copy / "runs" / "worse").mkdir()
    (copy / "runs" / "worse" / "run.json").write_text("{")
    (copy / "runs" / "newer").mkdir()
    (copy / "runs" / "newer" / "run.json").write_text(json.dumps({"version": 99}))
    listing = Listing(copy / "cache", copy / "runs")
    runs, stores = listings(listing)
    assert runs[0]["run"] == "mine"
    assert {run["run"]: run["status"].partition(":")[0] for run in runs[1:]} == {
        "worse": "damaged",
        "newer": "format version 99",
    }
    assert [row["store"] for row in stores] == ["cut", "empty", store.name.split(".")[0]]
    assert [row["status"] == "ok" for row in stores] == [False, False, True]
    links = [
        cell["href"]
        for _, _, _, rows in front_page(listing, "token", 1).values["listings"]
        for row in rows
        for cell in row
        if isinstance(cell, dict) and "href" in cell
    ]
    assert len(links) == 2


def test_a_store_that_is_replaced_is_read_again(tmp_path):
    listing = Listing(tmp_path / "cache", tmp_path / "runs")
    assert listing.stores() == listing.runs() == []
    path = tmp_path / "cache" / "photos.toy.000000000000.h5"
    for rows in (30, 60):
        write(path, *clouds(rows))
        (item,) = listing.stores()
        assert item.summary["rows"] == rows
        assert listing.store(item.id) == path
    path.unlink()
    assert listing.store(item.id) is None


def test_sweeps_are_listed_and_have_no_page(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "runs"))
    store = write(tmp_path / "cache" / "photos.toy.000000000000.h5", *clouds(60))
    made = featx.sweep(store, "ridge", {"alpha": [1, 10]}, cv=2)
    listing = Listing(tmp_path / "cache", tmp_path / "runs")
    (item,) = listing.runs()
    assert item.id is None
    ((row,), _) = listings(listing)
    assert row["run"] == f"{made.name} (sweep)"
    assert row["cv"].startswith(f"{made.best.score.value:.3f} (")
    assert front_page(listing, "token", 1).values["choices"] == []


@pytest.mark.parametrize("cache", ["the default", "other"])
def test_commands_to_begin_with(tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATX_CACHE", raising=False)
    monkeypatch.delenv("FEATX_RUNS", raising=False)
    folder = tmp_path / ("cache" if cache == "the default" else "my $(cache)")
    listing = Listing(folder, tmp_path / ("runs" if cache == "the default" else "my runs"))
    more = "" if cache == "the default" else f" --cache '{folder}'"
    out = "" if cache == "the default" else f" --out '{tmp_path}/my runs/first'"
    commands = front_page(listing, "token", 1).values["commands"]
    assert commands == [f"featx extract photos/{more}", f"featx fit-head photos{more}{out}"]
    write(folder / "clouds.toy.000000000000.h5", *clouds(30))
    assert front_page(listing, "token", 1).values["commands"] == [f"featx fit-head clouds{more}{out}"]
