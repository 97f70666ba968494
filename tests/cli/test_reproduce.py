"""The commands that a run's page shows make that run again."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import featx as library
from featx.fitting import commands_of
from featx.store import open_store
from tests.fitting.helpers import clouds, write
from tests.tiny import BACKBONE, write_folder
from tests.tuning.nets import STAGED


@pytest.fixture
def photos(here):
    return write_folder(here / "my photos", splits=("train", "test"), per_class=8)


def facts(folder):
    values = json.loads((Path(folder) / "run.json").read_text())
    for record in values["evaluations"]:
        del record["when"]
    for store in [*values["settings"]["stores"], *(store for one in values["evaluations"] for store in one["stores"])]:
        del store["checksum"]  # which knows when it was made
    for epoch in values["history"]:
        epoch.pop("seconds", None)
    return {name: value for name, value in values.items() if name not in ("files", "name")}


def again(featx, folder, *, without=()):
    """Run the commands of a run with nothing left of it and of its stores, and compare what they make."""
    run = library.Run.load(folder)
    stores = [open_store(store["path"]) for store in run.settings["stores"]]
    commands = [line for _, line in commands_of(run, stores, folder)]
    before = facts(folder)
    Path("gone").mkdir()
    for path in {Path(folder), *(store.path for store in stores)}:
        path.rename(Path("gone", path.name))
    for line in commands:
        first, name, *words = shlex.split(line)
        assert first == "featx"
        if name != "evaluate" or before["evaluations"]:  # else it is a proposal
            featx(name, *("my photos" if word == "IMAGES" else word for word in words))
    after = facts(folder)
    for name in without:
        before["settings"].pop(name)
    assert after.keys() == before.keys()
    for name in before.keys() - ({"notes"} if without else set()):
        assert after[name] == before[name], name
    return commands


def test_a_head_on_a_folder(featx, here):
    photos = write_folder(here / "my photos", per_class=16)
    words = ["--backbone", BACKBONE, "--layer", "conv2", "--pool", "max", "--image-size", "24", "--resize", "pad"]
    words += [
        "--mean",
        "0.5,0.4,0.3",
        "--dtype",
        "float16",
        "--views",
        "2",
        "--augment",
        "hflip",
        "--augment-seed",
        "3",
    ]
    words += ["--val-fraction", "0.25", "--split-seed", "7", "--max-per-class", "14", "--name", "pets", "--limit", "40"]
    featx("extract", photos, *words)
    words = ["--set", "C=0.5", "--set", "class_weight=balanced", "--cv", "3", "--calibrate", "temperature"]
    folder = json.loads(featx("fit-head", "pets", *words, "--precision", "0.5", "--seed", "5", "--json").out)["path"]
    featx("evaluate", folder, "pets", "--split", "val")
    extract, fit, *judge, ask = again(featx, folder)
    assert "--out" not in extract
    assert "--cache" not in extract
    assert "--calibrate temperature --precision 0.5 --seed 5" in fit
    path = library.find_store("pets").path.resolve()
    assert judge == [f"featx evaluate {folder} {path} --split val"]
    assert ask == f"featx predict {folder} IMAGES"


def test_rows_by_name_and_lot_elsewhere(featx, here, photos):
    out = here / "elsewhere.h5"
    featx("extract", photos, "--backbone", BACKBONE, "--weights", "random:4", "--out", out, "--cache", here / "c")
    words = ["--head", "mlp", "--set", "layers=dense(4) relu dense", "--set", "max_epochs=2", "--seed", "3"]
    featx("fit-head", out, "--train", "test", "--val", "0.3", "--test", "train", *words, "--out", "a run")
    extract, fit, judge, _ = again(featx, "a run")
    assert f"--out {out}" in extract
    assert "--weights random:4" in extract
    assert "--train test --val 0.3 --test train" in fit
    assert judge == "featx evaluate 'a run'"


def test_several_stores(featx, here, photos):
    for layer in ("conv2", "fc.input"):
        featx("extract", photos, "--backbone", BACKBONE, "--layer", layer)
    stores = [str(path) for path in sorted((here / "cache").glob("*.h5"))]
    folder = json.loads(featx("fit-head", *stores, "--head", "ridge", "--val", "none", "--json").out)["path"]
    *extract, fit, _, _ = again(featx, folder)
    assert len(extract) == 2
    assert "--set standardize=True" in fit
    assert "--val none" in fit


def test_the_winner_of_a_sweep(featx, here, photos):
    featx("extract", photos, "--backbone", BACKBONE)
    words = ["--head", "knn", "--grid", "n_neighbors=1,3", "--cv", "3", "--json"]
    folder = json.loads(featx("sweep", "my_photos", *words).out)["run"]["path"]
    _, fit, *_ = again(featx, folder, without=["sweep"])
    assert "--head knn --set n_neighbors=" in fit


def test_a_net_that_went_on(featx, here, photos):
    featx("extract", photos, "--backbone", BACKBONE)
    words = ["--head", "mlp", "--set", "max_epochs=2", "--set", "warm_start=true", "--json"]
    base = json.loads(featx("fit-head", "my_photos", *words).out)["path"]
    folder = json.loads(featx("continue", base, "--set", "max_epochs=3", "--json").out)["path"]
    _, fit, *_ = again(featx, folder)
    assert fit.startswith(f"featx continue {base} ")
    assert "--set max_epochs=3" in fit


@pytest.mark.parametrize("words", [["--init-head", "runs/base"], ["--fresh-head", "--backbone", STAGED]])
def test_a_tuned_network(featx, here, photos, words):
    featx("extract", photos, "--backbone", STAGED, "--layer", "fc.input")
    featx("fit-head", "my_photos", "--head", "mlp", "--set", "max_epochs=2")
    words = [str(next((here / "runs").iterdir())) if word == "runs/base" else word for word in words]
    if "--fresh-head" in words:
        words += ["--layer", "fc.input", "--image-size", "24", "--val", "0.2", "--head-layers", "dense(3) relu dense"]
    words += ["--from", "stage2", "--lr", "1e-3", "--epochs", "2", "--optimizer", "sgd", "--seed", "2"]
    folder = json.loads(featx("fine-tune", photos, *words, "--json").out)["path"]
    tune, *_ = again(featx, folder)
    assert "--from stage2" in tune


def test_what_was_in_memory_or_is_gone_is_named_so(here):
    store = write(here / "a.h5", *clouds(30), source={"name": "a", "identity": "arrays:0123"}, backbone={"name": "net"})
    run = library.fit_head(store)
    assert [what for what, _ in commands_of(run, [None])] == ["Fit the head", "Ask it about other images"]
    assert [what for what, _ in commands_of(run, [store])] == ["Fit the head", "Ask it about other images"]
    made = write(
        here / "b.h5",
        *clouds(30),
        source={"name": "a", "identity": "arrays:0123"},
        backbone={"name": "net"},
        creation={"computed": 30},
    )
    (extract, *_) = commands_of(library.fit_head(made), [made])
    assert extract[1].startswith("featx extract SOURCE ")
    assert "--backbone BACKBONE --layer" in extract[1]


@pytest.mark.parametrize("value", [1, 0.1, 1e-5, True, None, "balanced", "none", "1", "[a", "a b", [1, 2], {"a": None}])
def test_parameters_come_back(here, value):
    from dataclasses import replace

    from featx.heads import parse_params

    run = library.fit_head(write(here / "a.h5", *clouds(30)))
    run = replace(run, settings={**run.settings, "params": {"C": value}})
    (_, line), *_ = commands_of(run, [None])
    words = shlex.split(line)
    assert parse_params([words[words.index("--set") + 1]]) == {"C": value}
    assert np.isscalar(value) or value is None or isinstance(value, (list, dict))
