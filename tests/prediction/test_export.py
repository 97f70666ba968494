"""One ONNX file of backbone and head answers as the predictor does."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import featx
from featx import heads
from featx.errors import BackboneError, EngineError, HeadError, ParameterError
from featx.extraction import load_pixels
from featx.heads import LinearClassifier, LinearRegressor, calibrate_head, head_scores
from featx.prediction import load
from tests.extraction.networks import Small
from tests.prediction.helpers import make_run
from tests.tiny import write_folder

BACKBONE = "tests.extraction.networks:Small"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), per_class=8)


@pytest.fixture(scope="module")
def store(photos, tmp_path_factory):
    return featx.extract(photos, BACKBONE, layer="conv2", cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def maps(photos, tmp_path_factory):
    return featx.extract(photos, BACKBONE, layer="conv2", pool="none", cache=tmp_path_factory.mktemp("cache"))


def linear(store, k, link="none", *, seed=0, **options):
    """Return a linear classifier whose scores are a few units and differ from class to class."""
    generator = np.random.default_rng(seed)
    rows = 1 if k == 2 and not options.get("multilabel") else k
    X = store.features[:].astype(np.float64)
    coef = generator.standard_normal((rows, X.shape[1])) / X.std(axis=0) / 2
    return LinearClassifier(coef, -coef @ X.mean(axis=0), np.arange(k), link=link, **options)


def pixels_of(photos, spec):
    files = sorted(photos.glob("*/*.png"))
    return np.stack([load_pixels(file.read_bytes(), spec.preprocessing) for file in files])


def answers_of(path, pixels):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    metadata = session.get_modelmeta().custom_metadata_map
    return dict(zip(names, session.run(None, {"images": pixels}), strict=True)), metadata


def compare(run, photos, path, *, close=1e-4):
    """Export a run and hold the file's answers against the predictor's; return the answers and the metadata."""
    predictor = load(run)
    assert predictor.export_onnx(path) == path
    answers, metadata = answers_of(path, pixels_of(photos, run.specs[0]))
    expected = predictor.predict(photos)
    names = json.loads(metadata["featx.classes"])
    kind = "values" if run.task == "regression" else "probabilities" if expected[0].is_probability else "scores"
    of = [answer.values if run.task == "regression" else answer.scores for answer in expected]
    table = np.array([[row[name] for name in names] for row in of])
    assert np.ptp(table, axis=0).min() > 1e-3  # the images are told apart
    np.testing.assert_allclose(answers[kind], table, rtol=close, atol=close)
    assert answers[kind].dtype == np.float32
    if run.task == "classification":
        assert [names[label] for label in answers["label"]] == [answer.label for answer in expected]
    if run.task == "multilabel":
        found = [{name for name, there in zip(names, row, strict=True) if there} for row in answers["labels"]]
        assert found == [set(answer.labels) for answer in expected]
    return answers, metadata


@pytest.mark.parametrize(("k", "link"), [(2, "none"), (3, "softmax")])
def test_classes(store, photos, tmp_path, k, link):
    run = make_run(linear(store, k, link), [store], classes=["blue", "green", "red"][:k])
    answers, _ = compare(run, photos, tmp_path / "a.onnx")
    assert list(answers) == ["features", "scores" if link == "none" else "probabilities", "label"]
    assert len(np.unique(answers["label"])) > 1
    np.testing.assert_allclose(answers["features"], store.features, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("link", ["sigmoid", pytest.param("none", marks=pytest.mark.slow)])
def test_several_labels_a_sample(store, photos, tmp_path, link):
    head = linear(store, 3, link, multilabel=True)
    answers, _ = compare(make_run(head, [store], task="multilabel"), photos, tmp_path / "a.onnx")
    assert answers["labels"].dtype == bool
    assert set(answers["labels"].ravel()) == {True, False}


@pytest.mark.slow
def test_values(store, photos, tmp_path):
    of = linear(store, 3)
    run = make_run(LinearRegressor(of.coef_, of.intercept_), [store], task="regression", classes=("a", "b", "c"))
    answers, metadata = compare(run, photos, tmp_path / "a.onnx")
    assert list(answers) == ["features", "values"]
    assert json.loads(metadata["featx.classes"]) == ["a", "b", "c"]


@pytest.mark.slow
def test_a_class_without_training_rows_has_no_column_and_a_threshold_accepts(store, photos, tmp_path):
    of = linear(store, 3, "softmax")
    head = LinearClassifier(of.coef_, of.intercept_, [0, 2, 3], link="softmax")
    classes, reject = ("blue", "green", "red", "violet"), {"threshold": 0.6, "wanted": 0.9}
    run = make_run(head, [store], classes=classes, reject=reject)
    answers, metadata = compare(run, photos, tmp_path / "a.onnx")
    assert json.loads(metadata["featx.classes"]) == ["blue", "red", "violet"]
    assert json.loads(metadata["featx.reject"]) == reject
    expected = [answer.accepted for answer in load(run).predict(photos)]
    assert answers["accepted"].tolist() == expected
    assert set(expected) == {True, False}


@pytest.mark.slow
def test_a_pipeline_of_scikit_learn(store, photos, tmp_path):
    head = make_pipeline(StandardScaler(), LogisticRegression()).fit(store.features, store.labels)
    compare(make_run(head, [store]), photos, tmp_path / "a.onnx")


def test_a_net_on_maps(maps, photos, tmp_path):
    head = heads.NetClassifier("conv(6,2) relu dropout(0.4) gap dense", max_epochs=20, random_state=0)
    run = make_run(head.fit(maps.features, maps.labels), [maps])
    answers, _ = compare(run, photos, tmp_path / "a.onnx")
    assert answers["features"].shape[1:] == maps.features.shape[1:]


def test_a_calibrated_head(store, photos, tmp_path):
    inner = linear(store, 3)
    truth = np.random.default_rng(3).permutation(store.labels)
    head = calibrate_head(inner, head_scores(inner, store.features)[0], truth, method="isotonic")
    compare(make_run(head, [store]), photos, tmp_path / "a.onnx")


@pytest.mark.parametrize("name", [pytest.param("GaussianNBClassifier", marks=pytest.mark.slow), "KNNClassifier"])
def test_other_heads(store, photos, tmp_path, name):
    truth = np.random.default_rng(3).permutation(store.labels)
    head = getattr(heads, name)().fit(store.features, truth)
    compare(make_run(head, [store]), photos, tmp_path / "a.onnx")


@pytest.mark.slow
def test_several_stores(photos, store, tmp_path):
    other = featx.extract(photos, BACKBONE, layer="output", cache=tmp_path)
    of = [linear(each, 3, seed=seed) for seed, each in enumerate((store, other))]
    coef = np.hstack([head.coef_ for head in of])
    head = LinearClassifier(coef, sum(head.intercept_ for head in of), range(3), link="softmax")
    run = make_run(head, [store, other])
    _, metadata = compare(run, photos, tmp_path / "both.onnx")
    assert [spec["layer"] for spec in json.loads(metadata["featx.specs"])] == ["conv2", "output"]


def test_the_file_explains_itself(store, tmp_path):
    run = make_run(linear(store, 3, "softmax"), [store])
    load(run).export_onnx(tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["featx.run"] == run.name
    assert metadata["featx.task"] == "classification"
    assert metadata["featx.head"] == "LinearClassifier"
    assert featx.ExtractionSpec.from_json(json.dumps(json.loads(metadata["featx.specs"])[0])) == store.spec
    assert featx.Preprocessing.from_dict(json.loads(metadata["featx.preprocessing"])) == store.spec.preprocessing
    assert "featx.reject" not in metadata
    assert metadata["featx.input"] == model.doc_string
    words = "just covers 36 x 36 pixels (height x width), keeping its aspect ratio, with Pillow's bilinear filter"
    assert words in model.doc_string
    assert model.doc_string.startswith("images: uint8 of shape (n, 32, 32, 3), RGB.")


def test_less_than_float32_becomes_float32(photos, store, tmp_path):
    spec = replace(store.spec, precision="bf16")
    run = make_run(linear(store, 3, "softmax"), [store])
    low = replace(run, specs=(spec,))
    load(low).export_onnx(tmp_path / "a.onnx")
    got, _ = answers_of(tmp_path / "a.onnx", pixels_of(photos, spec))
    expected = load(run).predict_proba(photos)
    np.testing.assert_allclose(got["probabilities"], expected, atol=1e-4)


def test_heads_that_are_no_graph_say_so(store, tmp_path):
    head = RandomForestClassifier(5).fit(store.features, store.labels)
    message = r"RandomForestClassifier cannot be written as operations of ONNX: fit another head, such as logistic"
    with pytest.raises(HeadError, match=message):
        load(make_run(head, [store])).export_onnx(tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_answers_otherwise_is_not_written(store, tmp_path, monkeypatch):
    from featx.prediction import _export

    right, wrong = linear(store, 3, "softmax"), linear(store, 3, "softmax", seed=1)
    module = _export.head_module
    monkeypatch.setattr(_export, "head_module", lambda head: module(wrong))
    with pytest.raises(EngineError, match=r"the exported graph's probabilities differ from the head's by \d"):
        load(make_run(right, [store])).export_onnx(tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_networks_that_the_run_does_not_hold(photos, tmp_path):
    store = featx.extract(photos, Small(), layer="conv2", cache=tmp_path / "cache")
    run = make_run(linear(store, 3, "softmax"), [store])
    with pytest.raises(BackboneError, match="was given as a network"):
        load(run).export_onnx(tmp_path / "a.onnx")
    load(run, backbone=Small()).export_onnx(tmp_path / "a.onnx")
    got, _ = answers_of(tmp_path / "a.onnx", pixels_of(photos, store.spec))
    np.testing.assert_allclose(got["probabilities"], head_scores(run.head, store.features)[0], atol=1e-4)


def test_backbones_of_other_images_are_refused(photos, store, tmp_path):
    small = featx.extract(photos, BACKBONE, layer="conv2", image_size=24, cache=tmp_path / "cache")
    of = [linear(each, 3) for each in (store, small)]
    head = LinearClassifier(np.hstack([head.coef_ for head in of]), of[0].intercept_, range(3))
    with pytest.raises(ParameterError, match="one ONNX file takes one size of images"):
        load(make_run(head, [store, small])).export_onnx(tmp_path / "a.onnx")
