"""Calibration against scikit-learn's own, on heads with probabilities and on heads with scores alone."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import brier_score_loss
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, LinearSVC

from featx.errors import HeadError, ParameterError
from featx.heads import (
    CalibratedHead,
    LinearClassifier,
    calibrate_head,
    fit_head,
    head_scores,
    load_head,
    make_head,
    save_head,
)
from featx.heads._folding import as_linear


def data(k=3, n=400, d=5, seed=0, spread=0.8):
    generator = np.random.default_rng(seed)
    y = np.arange(n) % k
    centres = np.random.default_rng(9).normal(size=(k, d)) * spread
    return generator.normal(size=(n, d)) + centres[y], y


def calibrated(head, X, y, method):
    return calibrate_head(head, head_scores(head, X)[0], y, method=method)


HEADS = {
    "forest": RandomForestClassifier(20, random_state=0, max_depth=4),
    "knn": KNeighborsClassifier(7),
    "logistic": LogisticRegression(C=100.0),
    "naive bayes": GaussianNB(),
    "ridge": RidgeClassifier(),
    "svc": SVC(C=3.0),
    "linear svm": LinearSVC(),
}


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("name", HEADS)
def test_equals_scikit_learn(name, k, method):
    X, y = data(k)
    held_out, truth = data(k, seed=1)
    new, _ = data(k, seed=2)
    head = HEADS[name].fit(X, y)
    asked = head
    if name == "logistic" and method == "isotonic":
        # between its knots the function depends on what it is of, and featx's heads answer with probabilities
        asked = OnlyProbabilities(head)
    reference = CalibratedClassifierCV(FrozenEstimator(asked), method=method).fit(held_out, truth)
    ours = calibrated(head, held_out, truth, method)
    linear = method == "temperature" and name in ("logistic", "ridge", "linear svm")
    assert type(ours) is (LinearClassifier if linear else CalibratedHead)
    theirs = reference.predict_proba(new)
    # scikit-learn looks for the logarithm of the temperature to 64 ulps, but the loss is flat around its minimum
    np.testing.assert_allclose(ours.predict_proba(new), theirs, atol=1e-12 if method == "isotonic" else 1e-6)
    scores, is_probability = head_scores(ours, new)
    assert is_probability
    np.testing.assert_allclose(scores, theirs, atol=1e-6)
    np.testing.assert_array_equal(ours.predict(new), reference.predict(new))


class OnlyProbabilities(ClassifierMixin, BaseEstimator):
    """A fitted classifier without its decision function."""

    def __init__(self, head):
        self.head, self.classes_ = head, head.classes_

    def fit(self, X, y):
        raise NotImplementedError

    def predict(self, X):
        return self.head.predict(X)

    def predict_proba(self, X):
        return self.head.predict_proba(X)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
@pytest.mark.parametrize("name", ["linear_svm", "nearest_centroid", "ridge"])
@pytest.mark.parametrize("k", [2, 3])
def test_scores_become_probabilities_whatever_their_scale(name, method, k):
    X, y = data(k, n=600)
    held_out, truth = data(k, n=600, seed=1)
    new, answer = data(k, n=600, seed=2)
    head = make_head(name)
    fit_head(head, X, y)
    assert not hasattr(head, "predict_proba")
    probabilities, is_probability = head_scores(calibrated(head, held_out, truth, method), new)
    assert is_probability
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    model = LogisticRegression().fit(X, y).predict_proba(new)
    assert brier_score_loss(answer, probabilities) < brier_score_loss(answer, model) * 1.15
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == answer
    for part in (sure < np.median(sure), sure >= np.median(sure)):
        assert abs(sure[part].mean() - right[part].mean()) < 0.06
    linear = load_linear(head)
    for scale in (1e-9, 1e9):
        scaled = LinearClassifier(linear.coef_ * scale, linear.intercept_ * scale, linear.classes_)
        again = calibrated(scaled, held_out, truth, method)
        np.testing.assert_allclose(again.predict_proba(new), probabilities, atol=1e-6)
        if method == "temperature":
            np.testing.assert_array_equal(again.predict(new), head.predict(new))


def load_linear(head):
    linear = as_linear(head)
    assert linear.link == "none"
    return linear


def test_the_temperature_of_a_linear_head_is_in_its_coefficients():
    X, y = data(3)
    held_out, truth = data(3, seed=1)
    head = make_head("linear_svm")
    fit_head(head, X, y)
    ours = calibrated(head, held_out, truth, "temperature")
    scores = head.decision_function(X)
    ratio = ours.decision_function(X) / scores
    np.testing.assert_allclose(ratio, ratio[0, 0])
    assert ours.link == "softmax"


def test_overconfidence_is_a_temperature_above_one():
    X, y = data(3, n=60, d=30, spread=0.2)
    held_out, truth = data(3, n=600, d=30, seed=1, spread=0.2)
    head = LogisticRegression(C=100.0, max_iter=5000).fit(X, y)
    sharp = LinearClassifier(head.coef_, head.intercept_, [0, 1, 2], link="softmax")
    cool = calibrated(sharp, held_out, truth, "temperature")
    slope = cool.coef_ / sharp.coef_
    np.testing.assert_allclose(slope, slope[0, 0])
    assert 0 < slope[0, 0] < 0.5
    again = calibrated(cool, held_out, truth, "temperature")
    np.testing.assert_allclose(again.coef_, cool.coef_, rtol=1e-5)


def test_labels_keep_their_names():
    X, y = data(3)
    labels = np.array([1, 4, 7])[y]
    for method in ("temperature", "isotonic"):
        head = KNeighborsClassifier(7).fit(X, labels)
        ours = calibrated(head, X, labels, method)
        assert ours.classes_.tolist() == [1, 4, 7]
        reference = calibrated(KNeighborsClassifier(7).fit(X, y), X, y, method)
        np.testing.assert_array_equal(ours.predict_proba(X), reference.predict_proba(X))
        assert set(ours.predict(X)) <= {1, 4, 7}


def test_a_temperature_needs_no_rows_of_every_class():
    X, y = data(4)
    head = GaussianNB().fit(X, y)
    scores = head_scores(head, X)[0]
    some = y < 3
    ours = calibrate_head(head, scores[some], y[some])
    assert ours.predict_proba(X).shape == (400, 4)

    def loss(temperature):
        powers = scores[some] ** (1 / temperature)
        return -np.log((powers / powers.sum(axis=1, keepdims=True))[np.arange(some.sum()), y[some]]).mean()

    value = ours.calibration.value
    assert loss(value) <= min(loss(value * 0.99), loss(value * 1.01))


def test_views_are_averaged_before_the_calibration():
    X, y = data(3)
    views = np.stack([X, X + 0.3], axis=1)
    head = GaussianNB().fit(X, y)
    ours = calibrate_head(head, head_scores(head, views, views=True)[0], y)
    mean = (head.predict_proba(X) + head.predict_proba(X + 0.3)) / 2
    np.testing.assert_allclose(head_scores(ours, views, views=True)[0], ours.calibration(mean, True))


def test_a_class_that_no_function_gives_a_chance():
    X, y = data(3, n=60, spread=30.0)
    head = GaussianNB().fit(X, y)
    ours = calibrated(head, X, y, "isotonic")
    np.testing.assert_array_equal(ours.calibration(np.zeros((2, 3)), True), np.full((2, 3), 1 / 3))


X, Y = data(3)


@pytest.mark.parametrize(
    ("scores", "y", "method", "words"),
    [
        (np.ones((5, 2)), np.zeros(5, int), "temperature", "a column for each of the head's 3 classes"),
        (np.ones(5), np.zeros(5, int), "temperature", r"got float64 of shape \(5,\)"),
        (np.ones((5, 3), int), np.zeros(5, int), "temperature", "float matrix"),
        (np.ones((5, 3)), np.zeros(4, int), "temperature", "an integer for each of the 5 rows"),
        (np.ones((5, 3)), np.zeros(5), "temperature", "an integer for each of the 5 rows"),
        (np.full((3, 3), np.nan), np.arange(3), "temperature", "must be finite"),
        (np.ones((3, 3)), np.array([0, 1, 5]), "temperature", "classes of the head; got 5"),
        (np.ones((3, 3)), np.zeros(3, int), "temperature", "two classes or more; got 1 in 3 rows"),
        (np.ones((0, 3)), np.zeros(0, int), "temperature", "two classes or more; got 0 in 0 rows"),
        (np.ones((3, 3)), np.array([0, 0, 2]), "isotonic", "none are of 1: take more rows, or method=temperature"),
    ],
)
def test_what_cannot_be_calibrated_by(scores, y, method, words):
    with pytest.raises(HeadError, match=words):
        calibrate_head(GaussianNB().fit(X, Y), scores, y, method=method)


def test_what_cannot_be_calibrated():
    head = GaussianNB().fit(X, Y)
    scores = head.predict_proba(X)
    with pytest.raises(ParameterError, match="method must be one of temperature, isotonic; got 'sigmoid'"):
        calibrate_head(head, scores, Y, method="sigmoid")
    with pytest.raises(HeadError, match="must not be calibrated again"):
        calibrate_head(calibrate_head(head, scores, Y), scores, Y)
    ridge = make_head("ridge", task="regression")
    fit_head(ridge, X, X[:, 0])
    labels = make_head("ridge", task="multilabel")
    fit_head(labels, X, np.stack([Y == 0, Y == 1], axis=1))
    for other in (ridge, labels, GaussianNB()):
        with pytest.raises(HeadError, match="must answer with one class for each row"):
            calibrate_head(other, scores, Y)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
@pytest.mark.parametrize("k", [2, 3])
def test_what_comes_back_answers_as_before(tmp_path, k, method):
    X, y = data(k)
    for head in (GaussianNB(), make_head("ridge"), make_head("gaussian_nb")):
        fit_head(head, X, y)
        ours = calibrated(head, X, y, method)
        file = save_head(ours, tmp_path)
        files = {path.name for path in tmp_path.iterdir()}
        assert files == ({file, "calibration.safetensors"} if isinstance(ours, CalibratedHead) else {file})
        loaded = load_head(tmp_path)
        assert type(loaded) is type(ours)
        assert repr(loaded).startswith(type(ours).__name__)
        np.testing.assert_allclose(loaded.predict_proba(X), ours.predict_proba(X), atol=1e-9)
        np.testing.assert_array_equal(loaded.predict(X), ours.predict(X))
        assert (loaded.n_features_in_, loaded.classes_.tolist()) == (5, list(range(k)))


def test_a_calibrated_linear_head_loads_without_scikit_learn(tmp_path):
    X, y = data(3)
    head = make_head("ridge")
    fit_head(head, X, y)
    save_head(calibrated(head, X, y, "isotonic"), tmp_path)
    code = (
        "import sys, numpy, pathlib, featx.heads as h\n"
        f"head = h.load_head(pathlib.Path({str(tmp_path)!r}))\n"
        "assert h.head_scores(head, numpy.zeros((2, 5)))[1]\n"
        "print([m for m in ('sklearn', 'scipy', 'skops', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_another_head_takes_the_calibration_along(tmp_path):
    X, y = data(3)
    head = GaussianNB().fit(X, y)
    save_head(calibrated(head, X, y, "isotonic"), tmp_path)
    save_head(head, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["head.skops"]


def test_a_calibration_of_another_head_is_refused(tmp_path):
    X, y = data(3)
    save_head(calibrated(GaussianNB().fit(X, y), X, y, "isotonic"), tmp_path)
    save_head(GaussianNB(var_smoothing=1e-3).fit(X, y), tmp_path / "other")
    os.replace(tmp_path / "other" / "head.skops", tmp_path / "head.skops")
    with pytest.raises(HeadError, match="belongs to another head than the one beside it"):
        load_head(tmp_path)


def isotonic(**changed):
    good = {
        "offset": np.array([0, 2, 4, 5]),
        "x": np.array([0.0, 1.0, 0.2, 0.6, 0.5]),
        "y": np.array([0.0, 1.0, 0.1, 0.1, 0.3]),
    }
    return "isotonic", {key: value for key, value in {**good, **changed}.items() if value is not None}


@pytest.mark.parametrize(
    ("method", "arrays", "words"),
    [
        (*isotonic(x=None), "is damaged"),
        (*isotonic(more=np.zeros(2)), "3 functions"),
        (*isotonic(offset=np.array([0, 2, 5])), "3 functions"),
        (*isotonic(offset=np.array([0, 2, 2, 5])), "3 functions"),
        (*isotonic(offset=np.array([1, 2, 4, 5])), "3 functions"),
        (*isotonic(offset=np.array([0, 2, 4, 6])), "3 functions"),
        (*isotonic(offset=np.array([0.0, 2, 4, 5])), "3 functions"),
        (*isotonic(offset=np.array([0, 2, 4, 5], np.int32)), "3 functions"),
        (*isotonic(x=np.array([0.0, 1, 0.2, 0.6])), "3 functions"),
        (*isotonic(x=np.array([0.0, 1, 0.2, 0.6, 0.5], np.float32)), "3 functions"),
        (*isotonic(y=np.zeros((5, 1))), "3 functions"),
        (*isotonic(y=np.array([0.0, 1.1, 0.1, 0.1, 0.3])), "3 functions"),
        (*isotonic(y=np.array([1.0, 0.0, 0.1, 0.1, 0.3])), "must be increasing"),
        (*isotonic(x=np.array([0.0, 0.0, 0.2, 0.6, 0.5])), "must be increasing"),
        (*isotonic(x=np.array([0.0, np.nan, 0.2, 0.6, 0.5])), "must be finite"),
        ("temperature", {"temperature": np.array([0.0])}, "above 0"),
        ("temperature", {"temperature": np.array([1.0, 2.0])}, "is damaged"),
        ("temperature", {"temperature": np.array([np.inf])}, "must be finite"),
        ("temperature", {"temperature": np.array([1.0]), "x": np.zeros(2)}, "one temperature"),
        ("temperature", {}, "is damaged"),
        ("sigmoid", {"temperature": np.array([1.0])}, "is damaged"),
        (["isotonic"], {"temperature": np.array([1.0])}, "is damaged"),
    ],
)
def test_malformed_calibrations_are_refused(tmp_path, method, arrays, words):
    X, y = data(3)
    save_head(calibrated(GaussianNB().fit(X, y), X, y, "isotonic"), tmp_path)
    file = tmp_path / "calibration.safetensors"
    with safetensors.safe_open(file, "numpy") as opened:
        facts = {**json.loads(opened.metadata()["featx"]), "method": method}
    safetensors.numpy.save_file(arrays, file, metadata={"featx": json.dumps(facts)})
    with pytest.raises(HeadError, match=words) as caught:
        load_head(tmp_path)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_crafted_calibration_would_be_read_if_it_were_sound(tmp_path):
    X, y = data(3)
    save_head(calibrated(GaussianNB().fit(X, y), X, y, "isotonic"), tmp_path)
    file = tmp_path / "calibration.safetensors"
    with safetensors.safe_open(file, "numpy") as opened:
        facts = opened.metadata()
    safetensors.numpy.save_file(isotonic()[1], file, metadata=facts)
    assert [x.tolist() for x, _ in load_head(tmp_path).calibration.knots] == [[0.0, 1.0], [0.2, 0.6], [0.5]]
    safetensors.numpy.save_file(
        isotonic()[1], file, metadata={"featx": facts["featx"].replace('"format_version": 1', '"format_version": 2')}
    )
    with pytest.raises(HeadError, match="upgrade featx"):
        load_head(tmp_path)
