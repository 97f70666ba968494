import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.errors import FeatxError, HeadError, ParameterError, RunError
from featx.fitting import Run, _run, fit_head, runs_folder
from featx.heads import head_scores
from tests.fitting.helpers import clouds, write


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATX_RUNS", raising=False)


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / "photos.h5", *clouds(90), splits=["train", "train", "test", "train", "test"] * 18)


@pytest.fixture
def run(store):
    return fit_head(store)


FILES = ["answers-val.safetensors", "head.safetensors", "keys.json", "report.md", "run.json"]


def edit(folder, **changes):
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "head",
    ["logistic", "ridge", "nearest_centroid", "linear_svm", "knn", "mlp", "sklearn.ensemble.RandomForestClassifier"],
)
def test_a_run_comes_back_as_it_was(store, head):
    run = fit_head(store, head, {"n_estimators": 5} if "Forest" in head else None, cv=3)
    back = Run.load(run.save())
    assert back.to_dict() == run.to_dict()
    assert back.specs == run.specs
    assert back.metrics == run.metrics
    assert back.keys == run.keys
    assert list(back.answers) == list(run.answers) == ["cv"]
    for part, answers in run.answers.items():
        assert back.answers[part].keys == answers.keys
        assert np.array_equal(back.answers[part].truth, answers.truth)
        assert np.array_equal(back.answers[part].scores, answers.scores)
        assert back.answers[part].is_probability == answers.is_probability
    X, _ = clouds(50, seed=4)
    for ours, theirs in zip(head_scores(back.head, X), head_scores(run.head, X), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_folder_and_its_name(run, store):
    folder = run.save()
    assert folder == Path("runs") / run.name
    assert sorted(os.listdir(folder)) == FILES
    assert os.listdir("runs") == [run.name]
    assert Run.load(run.name).name == run.name
    values = json.loads((folder / "run.json").read_text())
    assert (values["format"], values["version"], values["name"]) == ("featx-run", 2, run.name)
    assert values["specs"] == [json.loads(store.spec.to_json())]
    assert fit_head(store).name == run.name
    assert fit_head(store, seed=1).name != run.name
    assert fit_head(store, params={"C": 2}).name != run.name


def test_the_name_depends_on_contents_and_not_on_paths(run, store, tmp_path):
    (tmp_path / "deep").mkdir()
    moved = shutil.copy(store.path, tmp_path / "deep" / "photos.h5")
    assert fit_head(moved).name == run.name


def test_runs_go_where_the_environment_says(run, monkeypatch, tmp_path):
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "elsewhere"))
    assert runs_folder() == tmp_path / "elsewhere"
    assert run.save().parent == tmp_path / "elsewhere"
    assert Run.load(run.name).name == run.name


def test_a_name_of_any_length_and_script_is_a_folders(run):
    stores = [{**run.settings["stores"][0], "name": "ü/\udcff" * 200}]
    long = replace(run, settings={**run.settings, "stores": stores})
    assert len(os.fsencode(long.name)) < 140
    assert Run.load(long.save()).name == long.name


def test_a_run_is_replaced_whole(run, store, tmp_path):
    folder = fit_head(store, "knn", cv=3, val=0.2).save(tmp_path / "mine")
    before = sorted(os.listdir(folder))
    assert before != FILES
    run.save(folder)
    assert sorted(os.listdir(folder)) == FILES
    assert Run.load(folder).name == run.name


def test_a_run_that_cannot_be_saved_leaves_the_old_one(run, store, tmp_path, monkeypatch):
    folder = run.save(tmp_path / "mine")

    def fail(values):
        raise OSError("disk full")

    monkeypatch.setattr(_run, "report_text", fail)
    with pytest.raises(OSError, match="disk full"):
        fit_head(store, "knn").save(folder)
    assert Run.load(folder).name == run.name
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


def test_a_run_that_cannot_be_put_in_place_leaves_the_old_one(run, store, tmp_path, monkeypatch):
    folder = run.save(tmp_path / "mine")
    rename = Path.rename

    def fail(self, target):
        if self.name == "new":
            raise PermissionError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(PermissionError):
        fit_head(store, "knn").save(folder)
    assert Run.load(folder).name == run.name


def test_a_link_to_a_run_stays_a_link(run, store, tmp_path):
    folder = run.save(tmp_path / "mine")
    (tmp_path / "link").symlink_to(folder)
    knn = fit_head(store, "knn")
    assert knn.save(tmp_path / "link") == tmp_path / "link"
    assert (tmp_path / "link").is_symlink()
    assert Run.load(folder).name == knn.name


def test_foreign_folders_and_files_are_refused(run, tmp_path):
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.tex").write_text("years of work")
    with pytest.raises(ParameterError, match="thesis' is there and is no run"):
        run.save(foreign)
    with pytest.raises(ParameterError, match="is no run"):
        run.save(foreign / "chapter.tex")
    assert os.listdir(foreign) == ["chapter.tex"]
    (tmp_path / "empty").mkdir()
    assert Run.load(run.save(tmp_path / "empty")).name == run.name


def test_what_is_no_run(tmp_path, run):
    with pytest.raises(RunError, match=r"'nowhere' is no run \(run\.json: no such file or directory\)"):
        Run.load("nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="not a directory"):
        Run.load(tmp_path / "file")
    folder = run.save(tmp_path / "r")
    for text in ("{", "", "[" * 100_000, "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")):
        (folder / "run.json").write_text(text)
        with pytest.raises(RunError, match="is damaged"):
            Run.load(folder)
    for value in ("[]", "{}", "3", '{"format": "other"}'):
        (folder / "run.json").write_text(value)
        with pytest.raises(RunError, match="is no run of featx"):
            Run.load(folder)


def test_a_newer_run_says_upgrade(run, tmp_path):
    folder = run.save(tmp_path / "r")
    edit(folder, version=3, metrics="of a kind unknown today")
    with pytest.raises(RunError, match="format version 3: upgrade featx"):
        Run.load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "1"},
        {"classes": ["cat"]},
        {"classes": None},
        {"specs": []},
        {"specs": [{}]},
        {"backbones": []},
        {"backbones": [3]},
        {"settings": {}},
        {"metrics": {"val": {}}},
        {"metrics": []},
        {"files": []},
        {"files": {"nowhere": ""}},
        {"files": {"../r/head.safetensors/": ""}},
        {"history": None},
        {"evaluations": 3},
        {"notes": None},
    ],
)
def test_a_damaged_run_says_so(run, tmp_path, changes):
    folder = run.save(tmp_path / "r")
    edit(folder, **changes)
    with pytest.raises(RunError, match=r"damaged|than it was saved with"):
        Run.load(folder)


@pytest.mark.parametrize(
    "key", ["version", "classes", "specs", "backbones", "settings", "metrics", "cv", "notes", "files"]
)
def test_a_run_without_a_part_is_damaged(run, tmp_path, key):
    folder = run.save(tmp_path / "r")
    values = json.loads((folder / "run.json").read_text())
    del values[key]
    (folder / "run.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match="damaged"):
        Run.load(folder)


def test_a_head_that_was_changed_or_swapped_is_refused(run, store, tmp_path):
    folder = run.save(tmp_path / "r")
    head = folder / "head.safetensors"
    good = head.read_bytes()
    other = fit_head(store, params={"C": 0.01}).save(tmp_path / "other")
    for data in (good[:-8] + b"\0" * 8, good[:-1], b"", (other / "head.safetensors").read_bytes()):
        head.write_bytes(data)
        with pytest.raises(RunError, match=r"another head\.safetensors than it was saved with"):
            Run.load(folder)
    head.unlink()
    with pytest.raises((RunError, HeadError)):
        Run.load(folder)
    head.write_bytes(good)
    assert Run.load(folder).name == run.name


def test_parts_that_do_not_fit_each_other_are_no_run(run):
    with pytest.raises(ParameterError, match="indices of 1 classes"):
        replace(run, classes=("cat",))
    with pytest.raises(ParameterError, match="for 5 features"):
        replace(run, settings={**run.settings, "n_features": 5})
    with pytest.raises(ParameterError, match="equally many"):
        replace(run, specs=run.specs * 2)


def test_a_run_is_itself(run):
    assert Run.load(run) is run
    assert "head" not in repr(run).split("settings")[0]


def test_every_error_is_featx(run, tmp_path):
    with pytest.raises(FeatxError):
        Run.load("a\0b")


def test_answers_or_keys_that_were_changed_are_refused(run, store, tmp_path):
    folder = run.save(tmp_path / "r")
    for name in ("answers-val.safetensors", "keys.json"):
        good = (folder / name).read_bytes()
        (folder / name).write_bytes(good[:-1] + b" ")
        with pytest.raises(RunError, match=f"another {name} than it was saved with"):
            Run.load(folder)
        (folder / name).write_bytes(good)
    assert Run.load(folder).name == run.name


def test_runs_of_version_1_are_read(store):
    """Written by featx 0.1 of November 2026, before there were keys and answers."""
    back = Run.load(Path(__file__).parents[1] / "data" / "runs" / "v1")
    assert back.task == "classification"
    assert (back.keys, back.answers, back.history, back.evaluations) == ({}, {}, (), ())
    assert back.metrics["test"].n == 36
    X, y = clouds(90)
    test = np.arange(90) % 5 % 2 == 0
    test &= np.arange(90) % 5 != 0
    scores, _ = head_scores(back.head, X[test])
    assert back.metrics["test"].accuracy == np.mean(scores.argmax(axis=1) == y[test])
