import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import featx
from featx.errors import BackboneError, ParameterError, SampleError, SourceError, SpecMismatchError, WeightsError
from featx.fitting import fit_head
from featx.heads import LinearClassifier, LinearRegressor, head_scores
from featx.prediction import Prediction, load
from tests.prediction.helpers import make_run
from tests.tiny import BACKBONE, COLOURS, TinyNet, tiny_net, write_folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), splits=("train", "test"), per_class=8)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def store(photos, cache):
    return featx.extract(photos, BACKBONE, cache=cache)


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    return fit_head(store).save(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def predictor(folder):
    return load(folder)


def as_rows(predictions, classes):
    return np.array([[answer.scores[name] for name in classes] for answer in predictions])


def expected_of(store, photos, files, predictor):
    """Return the head's scores for the stored features of some files."""
    rows = [store.keys.index(str(file.relative_to(photos))) for file in files]
    return head_scores(predictor.run.head, store.features[rows])[0]


def test_answers_are_the_heads_for_the_extracted_features(photos, store, predictor):
    files = sorted(photos.glob("test/*/*.png"))
    answers = predictor.predict(files)
    expected = expected_of(store, photos, files, predictor)
    np.testing.assert_allclose(as_rows(answers, predictor.classes), expected, rtol=1e-3, atol=1e-5)
    assert [answer.key for answer in answers] == [str(file) for file in files]
    assert [answer.label for answer in answers] == [predictor.classes[i] for i in expected.argmax(axis=1)]
    assert np.mean([answer.label == file.parent.name for answer, file in zip(answers, files, strict=True)]) > 0.9
    for answer in answers:
        assert answer.is_probability
        assert answer.accepted
        assert answer.error is None
        assert (answer.labels, answer.values) == ((), {})
        assert list(answer.scores.values()) == sorted(answer.scores.values(), reverse=True)
        assert next(iter(answer.scores)) == answer.label
        assert sum(answer.scores.values()) == pytest.approx(1)


def test_images_may_be_given_in_any_way(photos, predictor, tmp_path):
    files = sorted(photos.glob("test/*/*.png"))
    expected = as_rows(predictor.predict(files), predictor.classes)
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in files:
            target.write(file, file.relative_to(photos))
    images = [Image.open(file) for file in files]
    ways = [
        photos / "test",
        archive,
        featx.open_source(photos / "test"),
        images,
        [np.asarray(image) for image in images],
        np.stack([np.asarray(image) for image in images]),
        [str(file) for file in files],
    ]
    for way in ways:
        np.testing.assert_allclose(as_rows(predictor.predict(way), predictor.classes), expected, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(predictor.predict_proba(way), expected, rtol=1e-3, atol=1e-5)
    (one,) = predictor.predict(files[3])
    assert one.label == predictor.predict(files)[3].label
    mixed = predictor.predict([files[0], images[1], np.asarray(images[2]), files[0]])
    np.testing.assert_allclose(as_rows(mixed, predictor.classes), expected[[0, 1, 2, 0]], rtol=1e-3, atol=1e-5)
    assert [answer.key for answer in mixed] == [str(files[0]), "image[1]", "image[2]", f"{files[0]} (2)"]


def test_a_bad_image_among_good_ones_has_an_error_and_shifts_nothing(photos, predictor, tmp_path):
    files = sorted(photos.glob("test/*/*.png"))[:5]
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    answers = predictor.predict([*files[:2], bad, *files[2:]])
    good = predictor.predict(files)
    assert answers[2] == Prediction(str(bad), None, {}, True, answers[2].error, accepted=False)
    assert answers[2].error
    for answer, expected in zip([*answers[:2], *answers[3:]], good, strict=True):
        assert (answer.key, answer.label) == (expected.key, expected.label)
        assert answer.scores == pytest.approx(expected.scores, rel=1e-3, abs=1e-5)
    with pytest.raises(SampleError, match=r"bad\.jpg' cannot be used \(.+\): leave it out, or use predict"):
        predictor.predict_proba([files[0], bad])


def test_only_bad_images(predictor, tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    answers = predictor.predict(tmp_path)
    assert [answer.label for answer in answers] == [None, None]
    assert all(answer.error for answer in answers)


def test_images_that_are_not_there(predictor, tmp_path):
    with pytest.raises(SourceError, match=r"there is no file or folder '.*nix\.jpg'"):
        predictor.predict(tmp_path / "nix.jpg")
    with pytest.raises(ParameterError, match="got none"):
        predictor.predict([])


def test_heads_without_probabilities(store, photos):
    predictor = load(fit_head(store, "ridge"))
    files = sorted(photos.glob("test/*/*.png"))
    answers = predictor.predict(files)
    assert not answers[0].is_probability
    expected = expected_of(store, photos, files, predictor)
    np.testing.assert_allclose(as_rows(answers, predictor.classes), expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(ParameterError, match="head 'ridge' gives no probabilities: use predict"):
        predictor.predict_proba(files)


def test_classes_without_training_rows_have_probability_0(photos, cache, tmp_path):
    store = featx.extract(photos, BACKBONE, cache=cache)
    run = fit_head(store)
    run = replace(run, classes=("blue", "green", "red", "violet"))
    probabilities = load(run).predict_proba(photos / "test")
    assert probabilities.shape == (24, 4)
    assert (probabilities[:, 3] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


@pytest.fixture(scope="module")
def scores(store):
    """Three columns of a few units, and what makes them of the features."""
    X = store.features[:].astype(np.float64)
    coef = np.random.default_rng(0).standard_normal((3, X.shape[1])) / X.std(axis=0)
    intercept = -coef @ X.mean(axis=0)
    return X @ coef.T + intercept, (coef, intercept)


class TestTasks:
    """Heads that are made here, on the features of the same photographs."""

    def images(self, photos, store):
        return [photos / key for key in store.keys]

    @pytest.mark.parametrize(("link", "present"), [("sigmoid", 0.5), ("none", 0.0)])
    def test_several_labels_a_sample(self, photos, store, scores, link, present):
        head = LinearClassifier(*scores[1], range(3), link=link, multilabel=True)
        predictor = load(make_run(head, [store], task="multilabel"))
        answers = predictor.predict(self.images(photos, store))
        expected = 1 / (1 + np.exp(-scores[0])) if link == "sigmoid" else scores[0]
        np.testing.assert_allclose(as_rows(answers, predictor.classes), expected, rtol=1e-3, atol=1e-3)
        for answer, row in zip(answers, expected, strict=True):
            assert answer.label is None
            assert answer.is_probability == (link == "sigmoid")
            assert set(answer.labels) == {name for name, score in zip(COLOURS, row, strict=True) if score > present}
            assert list(answer.labels) == [name for name in answer.scores if name in answer.labels]
        assert {len(answer.labels) for answer in answers} > {1, 2}
        if link == "sigmoid":
            got = predictor.predict_proba(self.images(photos, store))
            np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)

    def test_values(self, photos, store, scores):
        predictor = load(make_run(LinearRegressor(*scores[1]), [store], task="regression", classes=("a", "b", "c")))
        answers = predictor.predict(self.images(photos, store))
        assert list(answers[0].values) == ["a", "b", "c"]
        got = [list(answer.values.values()) for answer in answers]
        np.testing.assert_allclose(got, scores[0], rtol=1e-3, atol=1e-3)
        assert {(answer.label, answer.labels, answer.is_probability) for answer in answers} == {(None, (), False)}
        with pytest.raises(ParameterError, match="head 'LinearRegressor' gives no probabilities: use predict"):
            predictor.predict_proba(photos / "test")

    def test_a_threshold(self, photos, store, scores, tmp_path):
        head = LinearClassifier(*scores[1], range(3), link="softmax")
        (tmp_path / "bad.jpg").touch()
        images = [*self.images(photos, store), tmp_path / "bad.jpg"]
        free = load(make_run(head, [store])).predict(images)
        assert all(answer.accepted for answer in free[:-1])
        threshold = float(np.median([max(answer.scores.values()) for answer in free[:-1]])) + 1e-4
        answers = load(make_run(head, [store], reject={"threshold": threshold, "precision": [0.9]})).predict(images)
        assert [answer.label for answer in answers] == [answer.label for answer in free]
        assert [answer.accepted for answer in answers[:-1]] == [max(a.scores.values()) >= threshold for a in free[:-1]]
        assert {answer.accepted for answer in answers[:-1]} == {True, False}
        assert not answers[-1].accepted


def test_layers_of_one_backbone_load_it_once(photos, cache, monkeypatch):
    from featx import backbones

    stores = [featx.extract(photos, BACKBONE, layer=layer, cache=cache) for layer in ("conv2", "output")]
    loads, whole = [], backbones.load_backbone
    monkeypatch.setattr(backbones, "load_backbone", lambda *a, **k: loads.append(a) or whole(*a, **k))
    load(fit_head(stores)).predict(photos / "test")
    assert len(loads) == 1


def test_two_backbones(photos, cache):
    stores = [featx.extract(photos, BACKBONE, layer=layer, cache=cache) for layer in ("conv2", "output")]
    predictor = load(fit_head(stores))
    files = sorted(photos.glob("test/*/*.png"))
    rows = [stores[0].keys.index(str(file.relative_to(photos))) for file in files]
    both = np.hstack([store.features[rows] for store in stores])
    expected = head_scores(predictor.run.head, both)[0]
    np.testing.assert_allclose(as_rows(predictor.predict(files), predictor.classes), expected, rtol=1e-3, atol=1e-5)
    with pytest.raises(ParameterError, match="this one is on 2"):
        load(predictor.run, weights="random:0")


def test_an_image_that_fails_in_one_of_two_backbones(photos, cache, monkeypatch):
    stores = [featx.extract(photos, BACKBONE, layer=layer, cache=cache) for layer in ("conv2", "output")]
    predictor = load(fit_head(stores))
    files = sorted(photos.glob("test/*/*.png"))[:6]
    good = as_rows(predictor.predict(files), predictor.classes)
    engine, _ = predictor._engines[1]

    start = engine.start

    def poisoned(images, submit):
        (features,) = start(images, submit)()
        features[4] = np.nan
        return lambda: (features,)

    monkeypatch.setattr(engine, "start", poisoned)
    answers = predictor.predict(files)
    assert [answer.error for answer in answers] == [None] * 4 + ["its features are not finite", None]
    rest = [0, 1, 2, 3, 5]
    got = as_rows([answers[i] for i in rest], predictor.classes)
    np.testing.assert_allclose(got, good[rest], rtol=1e-3, atol=1e-5)


def test_the_backbone_is_loaded_once_and_late(folder, photos, monkeypatch):
    from featx import backbones

    loads = []
    whole = backbones.load_backbone
    monkeypatch.setattr(backbones, "load_backbone", lambda *a, **k: loads.append(a) or whole(*a, **k))
    predictor = load(folder)
    assert loads == []
    predictor.predict(photos / "test")
    predictor.predict(photos / "test")
    assert len(loads) == 1


class TestWeights:
    @pytest.fixture
    def weights(self, tmp_path):
        network = tiny_net()
        with torch.no_grad():
            network.fc.weight.add_(0.5)
        path = tmp_path / "mine.pth"
        torch.save(network.state_dict(), path)
        return path

    @pytest.fixture
    def run(self, photos, tmp_path, weights):
        return fit_head(featx.extract(photos, BACKBONE, weights=weights, cache=tmp_path))

    def test_the_file_is_found_again(self, run, photos, weights, monkeypatch, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert run.backbones[0]["weights"] == str(weights)
        assert load(run).predict(photos / "test")[0].label == "blue"

    def test_a_file_that_has_moved_is_named_and_can_be_given(self, run, photos, weights, tmp_path):
        expected = load(run).predict(photos / "test")
        moved = weights.rename(tmp_path / "moved.pth")
        with pytest.raises(WeightsError, match=r"mine\.pth': there is no such file"):
            load(run).predict(photos / "test")
        assert load(run, weights=moved).predict(photos / "test") == expected

    def test_other_weights_are_refused(self, run, photos, tmp_path):
        torch.save(tiny_net().state_dict(), tmp_path / "other.pth")
        with pytest.raises(SpecMismatchError, match="weights: '") as caught:
            load(run, weights=tmp_path / "other.pth").predict(photos / "test")
        assert "layer:" not in str(caught.value)
        torch.save({"nothing": torch.zeros(1)}, tmp_path / "foreign.pth")
        with pytest.raises(WeightsError, match="do not fit"):
            load(run, weights=tmp_path / "foreign.pth").predict(photos / "test")

    def test_a_network_instead_of_the_file(self, photos, tmp_path, weights):
        run = fit_head(featx.extract(photos, "tests.tiny:TinyNet", weights=weights, cache=tmp_path / "c"))
        network = tiny_net()
        network.load_state_dict(torch.load(weights))
        weights.unlink()
        assert load(run, backbone=network).predict(photos / "test")[0].label == "blue"


class TestNetworkAsAnObject:
    @pytest.fixture
    def given(self, photos, tmp_path):
        return fit_head(featx.extract(photos, tiny_net(), cache=tmp_path)).save(tmp_path / "run")

    def test_it_cannot_be_loaded_again_and_the_message_says_what_to_do(self, given, photos):
        message = r"backbone tests\.tiny:TinyNet was given as a network.*featx\.load\(run, backbone=network\)"
        with pytest.raises(BackboneError, match=message):
            load(given).predict(photos / "test")

    def test_it_can_be_given_again(self, given, photos, predictor):
        answers = load(given, backbone=tiny_net()).predict(photos / "test")
        expected = predictor.predict(photos / "test")
        assert [answer.label for answer in answers] == [answer.label for answer in expected]
        np.testing.assert_allclose(
            as_rows(answers, predictor.classes), as_rows(expected, predictor.classes), rtol=1e-4, atol=1e-6
        )

    def test_another_is_refused(self, given, photos):
        torch.manual_seed(5)
        with pytest.raises(SpecMismatchError, match="differs from what the head was trained on in weights: '"):
            load(given, backbone=TinyNet()).predict(photos / "test")


def test_preprocessing_is_the_stores(photos, tmp_path):
    options = {"image_size": 24, "resize": "pad", "mean": (0.1, 0.2, 0.3), "pool": "max", "dtype": "float16"}
    store = featx.extract(photos, BACKBONE, layer="conv2", cache=tmp_path, **options)
    predictor = load(fit_head(store))
    files = sorted(photos.glob("test/*/*.png"))
    expected = expected_of(store, photos, files, predictor)
    np.testing.assert_allclose(as_rows(predictor.predict(files), predictor.classes), expected, rtol=1e-2, atol=1e-3)


def test_batches_and_threads_change_nothing(folder, photos, predictor):
    expected = predictor.predict_proba(photos / "test")
    got = load(folder, batch_size=5, workers=1, device="cpu").predict_proba(photos / "test")
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_a_run_by_name(folder, photos, monkeypatch):
    monkeypatch.setenv("FEATX_RUNS", str(folder.parent))
    assert load(folder.name).run.name == load(Path(folder)).run.name
