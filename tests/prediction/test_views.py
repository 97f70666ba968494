"""A head that was fitted on views answers for the same views of new images."""

import numpy as np
import pytest

import featx
from featx.errors import ParameterError, SpecMismatchError
from featx.fitting import fit_head
from featx.heads import head_scores
from featx.prediction import load
from tests.tiny import BACKBONE, write_folder

VIEWS = {"views": 3, "augment": "affine(degrees=20,scale=0.8:1.2) hflip", "augment_seed": 4}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), splits=("train", "test"), per_class=6)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def store(photos, cache):
    return featx.extract(photos, BACKBONE, cache=cache, **VIEWS)


@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_images_are_answered_as_their_stored_views(photos, store, tmp_path, head):
    params = {"layers": "dense(8) relu dense", "max_epochs": 3} if head == "mlp" else {}
    predictor = load(fit_head(store, head, params=params).save(tmp_path / "run"))
    files = sorted(photos.glob("test/*/*.png"))[::-1]
    rows = [store.keys.index(file.relative_to(photos).as_posix()) for file in files]
    each = [head_scores(predictor.run.head, store.features[rows][:, view])[0] for view in range(3)]
    expected = np.mean(each, axis=0)
    assert not np.allclose(each[0], expected, atol=1e-3)
    answers = predictor.predict(files)
    got = np.array([[answer.scores[name] for name in predictor.classes] for answer in answers])
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(predictor.predict_proba(files), expected, rtol=1e-3, atol=1e-5)
    stored = {answer.key: answer.scores for answer in predictor.predict(store)}
    assert stored[store.keys[rows[0]]] == pytest.approx(answers[0].scores, rel=1e-3, abs=1e-5)


def test_a_bad_image_shifts_nothing(photos, store, tmp_path):
    predictor = load(fit_head(store).save(tmp_path / "run"))
    (tmp_path / "bad.png").write_bytes(b"no image")
    files = sorted(photos.glob("test/*/*.png"))
    first, bad, last = predictor.predict([files[0], tmp_path / "bad.png", files[-1]])
    assert bad.label is None
    assert [first.scores, last.scores] == [
        pytest.approx(answer.scores) for answer in predictor.predict([files[0], files[-1]])
    ]


def test_two_layers_side_by_side(photos, cache, store, tmp_path):
    other = featx.extract(photos, BACKBONE, layer="conv2", cache=cache, **VIEWS)
    predictor = load(fit_head([store, other]).save(tmp_path / "run"))
    files = sorted(photos.glob("test/*/*.png"))
    expected = {answer.key: answer.scores for answer in predictor.predict([store, other])}
    for file, answer in zip(files, predictor.predict(files), strict=True):
        assert answer.scores == pytest.approx(expected[file.relative_to(photos).as_posix()], rel=1e-3, abs=1e-5)


def test_other_views_are_refused(photos, cache, store, tmp_path):
    predictor = load(fit_head(store).save(tmp_path / "run"))
    plain = featx.extract(photos, BACKBONE, cache=cache)
    with pytest.raises(SpecMismatchError, match="in views: 3 against 1; augment: 'affine"):
        predictor.predict(plain)


def test_one_file_of_all_is_refused(store, tmp_path):
    predictor = load(fit_head(store).save(tmp_path / "run"))
    with pytest.raises(ParameterError, match="this head averages over 3 views of each, which are drawn from its file"):
        predictor.export_onnx(tmp_path / "run.onnx")
