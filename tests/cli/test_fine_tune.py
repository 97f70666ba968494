"""``featx fine-tune`` from the terminal."""

import json

import pytest

from tests.tiny import write_folder
from tests.tuning.nets import STAGED


@pytest.fixture
def head(featx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos", splits=("train", "val", "test"), per_class=4)
    featx("extract", "photos", "--backbone", STAGED, "--layer", "fc.input")
    return json.loads(featx("fit-head", "photos", "--json").out)["path"]


def test_from_head_to_answers(featx, head):
    words = ["fine-tune", "photos", "--init-head", head, "--from", "stage2", "--lr", "1e-3", "--epochs", "2"]
    answer = featx(*words, "--out", "runs/tuned")
    told = answer.err.splitlines()
    assert told[0] == "635 parameters are trained, 636 frozen; 44 means and variances beside them"
    assert told[1].startswith("cut at act_1: 18.4 KB of activations, 4x4x8 each, are cached (cache/photos.staged.")
    assert told[2] == "12 samples to train on, 12 to judge each epoch by"
    assert [line.split(":")[0] for line in told[3:6]] == ["epoch 0", "epoch 1", "epoch 2"]
    assert "the head as it was" in told[3]
    assert told[-1].startswith(("epoch 2 was the best, and is kept", "no epoch was better", "epoch 1 was the best"))
    assert answer.out.splitlines()[-1] == "runs/tuned"
    values = json.loads(featx(*words, "--json", "--out", "runs/tuned").out)
    assert (values["plan"]["trainable"], values["plan"]["cut"], values["plan"]["hit"]) == (635, "act_1", True)
    assert [epoch["epoch"] for epoch in values["history"]] == [0, 1, 2]
    featx("evaluate", "runs/tuned")
    assert featx("predict", "runs/tuned", "photos/test/red/000.png").code == 0
    assert "nothing to compute" in featx("extract", "photos", "--backbone", "runs/tuned", "--layer", "fc.input").out
    assert "stage2" in featx("layers", "runs/tuned").out
    assert "tuned" in featx("runs").out
    assert "fine-tune" in featx("report", "runs/tuned", "--text").out
    featx("compare", head, "runs/tuned")
    featx("export-onnx", "runs/tuned", "--out", "tuned.onnx")


def test_what_is_refused_is_told_in_a_line(featx, head):
    assert "train a head first" in featx.fails("fine-tune", "photos", "--backbone", STAGED, "--from", "stage2")
    assert "neither" in featx.fails("fine-tune", "photos", "--init-head", head)
    assert "both" in featx.fails("fine-tune", "photos", "--init-head", head, "--from", "act", "--train", "stage1")
    words = ["fine-tune", "photos", "--init-head", head, "--train", "stage1, stage2", "--epochs", "1"]
    assert json.loads(featx(*words, "--json").out)["plan"]["cut"] == "act"
