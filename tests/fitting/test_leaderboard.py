import json
import os
import shutil
from pathlib import Path

import pytest

from featx.errors import ParameterError
from featx.fitting import evaluate, fit_head, leaderboard, sweep
from tests.fitting.helpers import clouds, write

KNN = "sklearn.neighbors.KNeighborsClassifier"
OLD = Path(__file__).parents[1] / "data" / "runs" / "v1"
SPLITS = ["train", "train", "train", "val", "test"] * 30


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / "photos.h5", *clouds(150), splits=SPLITS)


@pytest.fixture
def two(store, runs):
    """A good run, and a bad one; the bad one is the later."""
    found = {}
    for name, n_neighbors in (("good", 3), ("bad", 59)):
        run = fit_head(store, KNN, {"n_neighbors": n_neighbors}, cv=3)
        run.save(runs / name)
        os.utime(runs / name / "run.json", (1e9, 1e9 + (name == "bad")))
        found[name] = run
    return found


def names(entries):
    return [entry.name for entry in entries]


def test_nothing_yet(runs):
    assert leaderboard() == []


def test_figures_are_those_of_the_runs(two, runs):
    good, bad = leaderboard()
    assert (good.name, bad.name) == ("good", "bad")
    assert good.path == runs / "good"
    assert (good.kind, good.task, good.head, good.stores, good.n) == ("run", "classification", KNN, ("photos",), 90)
    assert good.params == "n_neighbors=3"
    assert good.when == "2001-09-09T01:46:40+00:00"
    for part in ("val", "cv"):
        assert good.figures[part] == two["good"].metrics[part].figures
        assert good.figure(part) == two["good"].metrics[part].headline[1]
    assert good.figure("test") is None


def test_test_figures_are_those_of_evaluate(two, runs):
    found = evaluate(runs / "bad")
    entries = {entry.name: entry for entry in leaderboard()}
    assert entries["bad"].figures["test"] == found.figures
    assert entries["good"].figure("test") is None
    assert names(leaderboard(sort="test")) == ["bad", "good"]  # what has none comes last


def test_order(two, runs):
    assert names(leaderboard(sort="date")) == ["bad", "good"]
    assert names(leaderboard(sort="cv")) == ["good", "bad"]
    assert names(leaderboard(sort="val.macro_f1")) == ["good", "bad"]
    losses = {name: run.metrics["val"].figures["brier"].value for name, run in two.items()}
    assert names(leaderboard(sort="brier")) == sorted(losses, key=losses.get)  # less is better
    assert names(leaderboard(limit=1)) == ["good"]
    for wrong in ("acuracy", "train.accuracy", "best"):
        with pytest.raises(ParameterError, match="sort must be"):
            leaderboard(sort=wrong)
    with pytest.raises(ParameterError, match="did you mean 'accuracy'"):
        leaderboard(sort="acuracy")


def test_folders_in_folders_and_runs_of_older_versions(two, runs):
    shutil.copytree(OLD, runs / "earlier" / "first")
    shutil.copytree(OLD, runs / ".featx-scratch" / "new")  # one that is just being written
    entries = {entry.name: entry for entry in leaderboard()}
    assert entries.keys() == {"good", "bad", "first"}
    values = json.loads((OLD / "run.json").read_text())
    old = entries["first"]
    assert (old.status, old.head, old.n) == ("ok", "logistic", values["metrics"]["train"]["n"])
    for part in ("val", "test"):
        assert old.figure(part).value == pytest.approx(values["metrics"][part]["accuracy"])
        assert [old.figure(part).low, old.figure(part).high] == pytest.approx(
            values["metrics"][part]["accuracy_interval"]
        )


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", "damaged: JSONDecodeError"),
        ("[]", "damaged: TypeError"),
        ("{}", "damaged: KeyError: 'version'"),
        ('{"version": 99}', "format version 99: upgrade featx"),
        ("[" * 100_000, "damaged: RecursionError"),
    ],
)
def test_damaged_runs_are_listed_as_such(two, runs, text, status):
    (runs / "good" / "run.json").write_text(text)
    found = leaderboard(sort="val")
    assert names(found) == ["bad", "good"]
    assert found[1].status.startswith(status)
    assert found[1].figures == {}


def test_sweeps_show_their_best_trial(store, runs):
    found = sweep(store, KNN, {"n_neighbors": [3, 55]}, cv=3, seeds=[0, 1])
    (runs / "sweeps" / "broken").mkdir()
    (runs / "sweeps" / "broken" / "trials.jsonl").write_text("{")
    best, broken = leaderboard()
    assert (best.kind, best.name, best.path) == ("sweep", found.name, found.folder)
    assert (best.head, best.params, best.stores, best.n) == (KNN, "n_neighbors=3", ("photos",), 90)
    assert best.figures == {"cv": {"accuracy": found.best.score}}
    assert (broken.name, broken.status) == ("broken", "damaged: no finished trial")


def test_entries_as_json(two):
    values = json.loads(json.dumps([entry.to_dict() for entry in leaderboard()]))
    figure = two["good"].metrics["val"].figures["accuracy"]
    assert values[0]["figures"]["val"]["accuracy"] == {"value": figure.value, "low": figure.low, "high": figure.high}


def test_a_run_of_infinitely_many_rows_is_damaged(two, runs):
    path = next(iter(runs.glob("*/run.json")))
    values = json.loads(path.read_text())
    values["metrics"]["train"]["n"] = float("inf")
    path.write_text(json.dumps(values))
    (status,) = (entry.status for entry in leaderboard() if entry.path == path.parent)
    assert status == "damaged: OverflowError: cannot convert float infinity to integer"
