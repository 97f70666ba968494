import io
import json
import sys

import numpy as np
import pytest

from featx.fitting import sweep
from tests.fitting.conftest import one_thread  # noqa: F401
from tests.fitting.helpers import clouds, write
from tests.test_house import COMMAND, loaded_by

KNN = "sklearn.neighbors.KNeighborsClassifier"
SPLITS = ["train", "train", "train", "val", "test"] * 30


@pytest.fixture
def photos(here):
    """A store of photos in the cache of the current folder."""
    return write(here / "cache" / "photos.toy.000000000000.h5", *clouds(150), splits=SPLITS)


def test_a_sweep_prints_its_table_and_fits_the_best(featx, photos, here):
    words = ["sweep", "photos", "--head", KNN, "--grid", "n_neighbors=1,40", "--cv", "3"]
    answer = featx(*words, "--out", "runs/best")
    table = [line.split() for line in answer.out.split("\n\n")[0].splitlines()]
    found = sweep("photos", KNN, {"n_neighbors": [1, 40]}, cv=3)
    assert [row[1] for row in table[2:4]] == [result.setting.text for result in found.results]
    assert [row[2] for row in table[2:4]] == [f"{result.score.value:.3f}" for result in found.results]
    assert "runs/best" in answer.out.splitlines()[-1]
    assert "1/2 " in answer.err
    assert "2/2 " in answer.err
    assert "chosen among 2 settings" in answer.err
    assert "30 samples of the test split are untouched" in answer.err
    again = featx(*words, "--out", "runs/again")
    assert "1/2 " not in again.err
    assert "2 trials from earlier" in again.err
    assert (here / "runs" / "again" / "run.json").is_file()


def test_the_same_as_json(featx, photos, here):
    answer = featx("sweep", "photos", "--head", KNN, "--grid", f"{KNN}.n_neighbors=1,40", "--seeds", "0,1", "--json")
    values = json.loads(answer.out)
    found = sweep("photos", KNN, {"n_neighbors": [1, 40]}, seeds=[0, 1])
    assert values["results"] == json.loads(json.dumps(found.to_dict()))["results"]
    assert values["figure"] == "accuracy"
    assert (here / values["run"]["path"] / "run.json").is_file()
    assert values["run"]["settings"]["sweep"] == {"name": found.name, "tried": 2}


def test_on_a_terminal_the_table_changes(featx, photos, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    featx("sweep", "photos", "--head", KNN, "--grid", "n_neighbors=1,40", "--cv", "3")
    found = sweep("photos", KNN, {"n_neighbors": [1, 40]}, cv=3)
    shown = terminal.getvalue()
    assert "2 of 2 trials" in shown
    assert "1/2 " not in shown
    last = shown[shown.rindex("2 of 2 trials") :]
    places = [last.index(result.setting.text) for result in found.results]
    assert places == sorted(places)  # the best first
    assert all(f"{result.score.value:.3f}" in last for result in found.results)


def test_steps_of_a_selection_are_told(featx, here):
    X, y = clouds(150)
    write(here / "cache" / "a.toy.000000000000.h5", X, y)
    noise = np.random.default_rng(5).standard_normal((150, 3)).astype(np.float32)
    write(here / "cache" / "b.toy.000000000001.h5", noise, y, spec={"layer": "other"})
    answer = featx("sweep", "a", "b", "--head", "nearest_centroid", "--cv", "3", "--stores", "auto")
    steps = [line for line in answer.err.splitlines() if line.startswith(("taken ", "left "))]
    assert [step.partition(":")[0] for step in steps] == ["taken a", "left  b", "left  a + b"]


def test_failures_are_told(featx, photos):
    answer = featx("sweep", "photos", "--head", KNN, "--grid", "n_neighbors=1,100", "--cv", "3")
    assert f"failed: {KNN} n_neighbors=100: " in answer.err
    assert "n_neighbors=100" not in answer.out


def test_few_shot(featx, photos):
    words = ["sweep", "photos", "--head", KNN, "--grid", "n_neighbors=1", "--shots", "1,4", "--repeats", "3"]
    answer = featx(*words)
    table = [line.split() for line in answer.out.splitlines()]
    assert [row[:3] for row in table[2:]] == [[KNN, "n_neighbors=1", "1"], [KNN, "n_neighbors=1", "4"]]
    assert "mean of 3 draws, judged on 30 samples (split val)" in answer.err
    values = json.loads(featx(*words, "--json").out)
    assert [result["shots"] for result in values["results"]] == [1, 4]
    assert all(len(result["values"]) == 3 for result in values["results"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0,x"], "must be whole numbers"),
        (["--shots", "1", "--cv", "3"], "--cv is of the search"),
        (["--shots", "1", "--stores", "each"], "--stores is of the search"),
        (["--shots", "1", "--seeds", "0,1"], "--shots takes one of --seeds"),
        (["--search", "random"], "Invalid value"),
    ],
)
def test_wrong_usage(featx, photos, words, message):
    assert message in featx.fails("sweep", "photos", *words, code=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--grid", "C"], "KEY=V1,V2"),
        (["--head", "logistc"], "did you mean 'logistic'"),
        (["--grid", "knn.C=1"], "grid must be of the heads that are tried"),
        (["--cv", "31"], "at most 30"),
    ],
)
def test_errors_are_one_line(featx, photos, words, message):
    assert message in featx.fails("sweep", "photos", *words)


def test_runs_are_listed_the_best_first(featx, photos, here):
    assert "no runs in runs" in featx("runs").err
    for name, neighbours in (("bad", 59), ("good", 5)):
        featx("fit-head", "photos", "--head", KNN, "--set", f"n_neighbors={neighbours}", "--out", f"runs/{name}")
    featx("sweep", "photos", "--head", KNN, "--grid", "n_neighbors=5", "--cv", "3", "--out", "runs/best")
    featx("evaluate", "runs/good")
    (here / "runs" / "broken").mkdir()
    (here / "runs" / "broken" / "run.json").write_text("{")
    answer = featx("runs", "--sort", "val")
    rows = [line.split() for line in answer.out.splitlines()[2:]]
    assert {row[0] for row in rows[:2]} == {"good", "best"}
    assert rows[2][0] == "bad"
    assert rows[3][1] == "(sweep)"
    assert "runs/broken: damaged" in answer.err
    by_test = featx("runs", "--sort", "test.macro_f1", "--limit", "1").out.splitlines()[2:]
    assert [line.split()[0] for line in by_test] == ["good"]
    assert "macro f1" in by_test[0]
    values = json.loads(featx("runs", "--json").out)
    assert {entry["name"]: entry["kind"] for entry in values}["good"] == "run"
    assert [entry["status"] == "ok" for entry in values] == [True] * 4 + [False]
    assert "sort must be" in featx.fails("runs", "--sort", "acc")


def test_a_leaderboard_loads_no_head(featx, photos, here):
    featx("fit-head", "photos", "--head", KNN, "--out", "runs/mine")
    featx("sweep", "photos", "--head", KNN, "--grid", "n_neighbors=5", "--cv", "3")
    assert loaded_by(COMMAND, "runs", cwd=here).isdisjoint({"sklearn", "torch", "matplotlib"})
