"""Answers from features that are there already: a store's, several stores', an array's."""

import numpy as np
import pytest

from featx.errors import HeadError, ParameterError, SpecMismatchError
from featx.fitting import fit_head
from featx.heads import LinearClassifier, LinearRegressor, head_scores
from featx.prediction import load
from tests.fitting.helpers import CLASSES, clouds, write
from tests.prediction.helpers import make_run

D = 6


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write(tmp_path_factory.mktemp("stores") / "a.h5", *clouds(60, D))


def head_of(width, seed=0):
    coef = np.random.default_rng(seed).standard_normal((3, width))
    return LinearClassifier(coef, np.zeros(3), range(3), link="softmax")


@pytest.fixture(scope="module")
def predictor(store):
    return load(make_run(head_of(D), [store], classes=CLASSES))


def as_rows(predictions):
    return np.array([[answer.scores[name] for name in CLASSES] for answer in predictions])


def test_a_store(store, predictor):
    answers = predictor.predict(store)
    expected, _ = head_scores(head_of(D), store.features)
    np.testing.assert_allclose(as_rows(answers), expected, rtol=1e-12)
    assert tuple(answer.key for answer in answers) == store.keys
    assert [answer.label for answer in answers] == [CLASSES[label] for label in expected.argmax(axis=1)]
    np.testing.assert_array_equal(predictor.predict_proba(store), expected)
    assert predictor.predict([store]) == answers


def test_an_array(store, predictor):
    answers = predictor.predict_features(store.features[5:8])
    assert [answer.key for answer in answers] == ["features[0]", "features[1]", "features[2]"]
    assert [answer.scores for answer in answers] == [answer.scores for answer in predictor.predict(store)[5:8]]
    assert predictor.predict_features(store.features[:0]) == []
    assert predictor.predict_features(store.features[5:8].tolist())[0].label == answers[0].label


def test_a_run_that_was_fitted_and_kept(store, tmp_path):
    predictor = load(fit_head(store, "ridge").save(tmp_path / "run"))
    answers = predictor.predict(store)
    expected, _ = head_scores(predictor.run.head, store.features)
    assert not answers[0].is_probability
    np.testing.assert_allclose(as_rows(answers), expected, rtol=1e-6)


def test_a_regression(store):
    head = LinearRegressor(np.eye(2, D), [1.0, 2.0])
    run = make_run(head, [store], task="regression", classes=("width", "height"))
    answers = load(run).predict(store)
    expected = store.features[:, :2] + [1, 2]
    got = [[answer.values["width"], answer.values["height"]] for answer in answers]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_features_of_another_spec_are_refused_and_both_specs_named(predictor, tmp_path):
    other = write(tmp_path / "b.h5", *clouds(60, D), spec={"layer": "another"})
    with pytest.raises(SpecMismatchError, match=r"store b\.h5 differs .* in layer: '.+' against 'another'") as caught:
        predictor.predict(other)
    for spec in (predictor.run.specs[0], other.spec):
        assert spec.digest[:12] in str(caught.value)
    with pytest.raises(SpecMismatchError):
        predictor.predict_proba(other)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((4, D + 1), np.float32), f"features must have {D} columns"),
        (np.zeros(D, np.float32), "features must be a matrix"),
        (np.zeros((4, D), np.uint8), "features must be of a float type; got uint8"),
        (np.full((4, D), np.nan, np.float32), "features must be finite"),
    ],
)
def test_arrays_of_another_kind_are_refused(predictor, features, message):
    with pytest.raises(HeadError, match=message):
        predictor.predict_features(features)


def test_no_array_at_all(predictor):
    with pytest.raises(ParameterError, match=r"features must be an array with a row for each image; got array\(3"):
        predictor.predict_features(3.0)


class TestSeveralStores:
    @pytest.fixture
    def others(self, tmp_path):
        """The same samples under another spec, in another order, two missing and one of another image."""
        X, labels = clouds(60, 4, seed=5)
        keys = [f"{i:04d}.jpg" for i in range(60)]
        digests = [f"{i:064x}" for i in range(60)]
        first = write(tmp_path / "first.h5", *clouds(60, D), digests=digests)
        digests[7] = "f" * 64
        rows = np.random.default_rng(0).permutation(60)
        rows = rows[~np.isin(rows, (3, 50))]
        options = {"spec": {"layer": "another"}, "keys": [keys[i] for i in rows], "digests": [digests[i] for i in rows]}
        return first, write(tmp_path / "second.h5", X[rows], labels[rows], **options), X

    def test_they_are_joined_by_key(self, others):
        first, second, X = others
        head = head_of(D + 4)
        predictor = load(make_run(head, [first, second], classes=CLASSES))
        answers = predictor.predict([first, second])
        assert tuple(answer.key for answer in answers) == first.keys
        failed = {row: answer.error for row, answer in enumerate(answers) if answer.error}
        assert failed == {
            3: "store second.h5 does not hold it",
            7: "store second.h5 holds another image of that name",
            50: "store second.h5 does not hold it",
        }
        rest = [row for row in range(60) if row not in failed]
        expected, _ = head_scores(head, np.hstack([first.features, X]))
        np.testing.assert_allclose(as_rows([answers[row] for row in rest]), expected[rest], rtol=1e-9)

    def test_their_number_and_order_are_the_runs(self, others):
        first, second, _ = others
        predictor = load(make_run(head_of(D + 4), [first, second], classes=CLASSES))
        with pytest.raises(ParameterError, match="stores must be as many as the head was fitted on, 2; got 1"):
            predictor.predict(first)
        with pytest.raises(SpecMismatchError, match=r"store second\.h5 differs"):
            predictor.predict([second, first])
