"""``featx export-onnx``."""

import json

import numpy as np
import onnxruntime
import pytest

import featx as library
from featx.cli._export_onnx import export_onnx
from featx.extraction import load_pixels
from featx.heads import LinearClassifier
from tests.prediction.helpers import make_run
from tests.tiny import write_folder

BACKBONE = "tests.extraction.networks:Small"


@pytest.fixture
def run(here):
    photos = write_folder(here / "photos", per_class=3)
    store = library.extract(photos, BACKBONE, layer="conv2")
    X = store.features[:].astype(np.float64)
    coef = np.random.default_rng(0).standard_normal((3, X.shape[1])) / X.std(axis=0)
    run = make_run(LinearClassifier(coef, -coef @ X.mean(axis=0), range(3), link="softmax"), [store])
    run.save("runs/mine")
    return run


def test_it_writes_a_file_that_answers_as_predict_does(featx, run, here):
    answer = featx("export-onnx", "mine")
    path = here / f"{run.name}.onnx"
    assert answer.out.splitlines()[0] == path.name
    assert answer.err == ""
    session = onnxruntime.InferenceSession(path)
    files = sorted((here / "photos").glob("*/*.png"))
    pixels = np.stack([load_pixels(file.read_bytes(), run.specs[0].preprocessing) for file in files])
    label, probabilities = session.run(["label", "probabilities"], {"images": pixels})
    names = json.loads(session.get_modelmeta().custom_metadata_map["featx.classes"])
    expected = library.load("mine").predict(files)
    assert [names[index] for index in label] == [one.label for one in expected]
    table = [[one.scores[name] for name in names] for one in expected]
    np.testing.assert_allclose(probabilities, table, atol=1e-4)


def test_a_file_that_is_there_is_kept_unless_told(featx, run, here):
    (here / "mine.onnx").write_text("precious")
    assert featx.fails("export-onnx", "mine", "--out", "mine.onnx") == (
        "featx: out 'mine.onnx' is there: choose another file, or add --overwrite"
    )
    assert (here / "mine.onnx").read_text() == "precious"
    facts = json.loads(featx("export-onnx", "mine", "--out", "mine.onnx", "--overwrite", "--json").out)
    assert facts == {"path": "mine.onnx", "run": run.name, "bytes": (here / "mine.onnx").stat().st_size}
    onnxruntime.InferenceSession(here / "mine.onnx")


def test_runs_that_are_none_or_damaged(featx, run, here):
    assert "'nothing' is no run" in featx.fails("export-onnx", "nothing")
    (here / "runs" / "mine" / "head.safetensors").write_bytes(b"")
    assert "has another head.safetensors than it was saved with" in featx.fails("export-onnx", "mine")
    assert list(here.glob("*.onnx")) == []


def test_the_help_says_what_goes_in_and_comes_out():
    text = export_onnx.help
    for name in ("images", "features", "probabilities", "scores", "label", "accepted", "labels", "values"):
        assert f" {name} " in text.replace(",", " "), name
