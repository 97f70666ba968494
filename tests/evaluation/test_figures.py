"""Every figure against scikit-learn or a plain formula."""

import json
from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics

import featx.evaluation
from featx.errors import ParameterError
from featx.evaluation import Evaluation, evaluate_predictions


def names(k):
    return [f"class {i}" for i in range(k)]


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def compare(y, scores, classes, columns, evaluation, is_probability):
    k = len(classes)
    labels = np.arange(k)
    answers = columns[scores.argmax(axis=1)]
    assert evaluation.n == len(y)
    assert evaluation.classes == tuple(classes)
    assert evaluation.accuracy == pytest.approx(metrics.accuracy_score(y, answers), abs=1e-15)
    assert evaluation.macro_f1 == pytest.approx(
        metrics.f1_score(y, answers, average="macro", zero_division=0), abs=1e-12
    )
    np.testing.assert_array_equal(evaluation.confusion, metrics.confusion_matrix(y, answers, labels=labels))
    reference = metrics.precision_recall_fscore_support(y, answers, labels=labels, zero_division=0)
    for row, name, *values in zip(evaluation.per_class, classes, *reference, strict=True):
        assert row.name == name
        np.testing.assert_allclose([row.precision, row.recall, row.f1, row.support], values, atol=1e-12)
    if is_probability:
        whole = np.zeros((len(y), k))
        whole[:, columns] = scores
        if k > 1:
            assert evaluation.log_loss == pytest.approx(metrics.log_loss(y, whole, labels=labels), rel=1e-12, abs=1e-15)
    else:
        assert evaluation.log_loss is None
    low, high = evaluation.accuracy_interval
    assert 0 <= low <= evaluation.accuracy <= high <= 1


@given(
    data=st.data(),
    k=st.integers(2, 6),
    n=st.integers(1, 40),
    is_probability=st.booleans(),
    sharpness=st.sampled_from([1, 5, 200]),
)
def test_equals_scikit_learn(data, k, n, is_probability, sharpness):
    columns = np.array(sorted(data.draw(st.sets(st.integers(0, k - 1), min_size=1))))
    y = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, k - 1)))
    seed = data.draw(st.integers(0, 10**6))
    scores = np.random.default_rng(seed).normal(size=(n, columns.size)) * sharpness
    if is_probability:
        scores = softmax(scores)
    evaluation = evaluate_predictions(y, scores, classes=names(k), head_classes=columns, is_probability=is_probability)
    compare(y, scores, names(k), columns, evaluation, is_probability)
    assert Evaluation.from_dict(json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))) == evaluation


def test_one_class_only():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    evaluation = evaluate_predictions([0, 0, 0], scores, classes=["a", "b"], head_classes=[0, 1], is_probability=True)
    compare(np.zeros(3, int), scores, ["a", "b"], np.arange(2), evaluation, True)
    assert evaluation.accuracy == pytest.approx(2 / 3)
    assert evaluation.per_class[0].f1 == pytest.approx(0.8)
    assert evaluation.per_class[1].support == 0
    alone = evaluate_predictions([0], [[1.0]], classes=["a"], head_classes=[0], is_probability=True)
    assert (alone.accuracy, alone.macro_f1, alone.confusion) == (1.0, 1.0, ((1,),))


def test_a_class_the_head_never_saw():
    scores = np.array([[0.6, 0.4], [0.3, 0.7]])
    evaluation = evaluate_predictions([1, 2], scores, classes=names(3), head_classes=[0, 2], is_probability=True)
    compare(np.array([1, 2]), scores, names(3), np.array([0, 2]), evaluation, True)
    assert evaluation.log_loss == pytest.approx((-np.log(np.finfo(float).eps) - np.log(0.7)) / 2)


def test_certain_and_right():
    evaluation = evaluate_predictions([0, 1], np.eye(2), classes=names(2), head_classes=[0, 1], is_probability=True)
    assert evaluation.log_loss == pytest.approx(metrics.log_loss([0, 1], np.eye(2)), rel=1e-6)
    assert evaluation.accuracy_interval[1] == 1.0


def test_ties_go_to_the_first_class():
    evaluation = evaluate_predictions(
        [0, 1], np.zeros((2, 2)), classes=names(2), head_classes=[0, 1], is_probability=False
    )
    assert evaluation.confusion == ((1, 0), (1, 0))


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # R: prop.test(right, n, correct=FALSE)$conf.int, and Newcombe (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_wilson_interval_equals_published_values(right, n, low, high):
    y = np.zeros(n, int)
    scores = np.stack([np.arange(n) < right, np.arange(n) >= right], axis=1).astype(float)
    evaluation = evaluate_predictions(y, scores, classes=names(2), head_classes=[0, 1], is_probability=False)
    assert evaluation.accuracy == right / n
    np.testing.assert_allclose(evaluation.accuracy_interval, (low, high), atol=5e-5)


@given(n=st.integers(1, 500), data=st.data())
def test_wilson_bounds_solve_the_score_equation(n, data):
    right = data.draw(st.integers(0, n))
    assume(0 < right < n)
    y = np.zeros(n, int)
    scores = np.stack([np.arange(n) < right, np.arange(n) >= right], axis=1).astype(float)
    evaluation = evaluate_predictions(y, scores, classes=names(2), head_classes=[0, 1], is_probability=False)
    for bound in evaluation.accuracy_interval:
        assert abs(right / n - bound) / sqrt(bound * (1 - bound) / n) == pytest.approx(1.959963984540054, rel=1e-9)


GOOD = {"classes": ["a", "b"], "head_classes": [0, 1], "is_probability": False}


@pytest.mark.parametrize(
    ("y", "scores", "changed", "words"),
    [
        ([], np.empty((0, 2)), {}, "a row or more"),
        ([0, 1], np.zeros((2, 3)), {}, r"a column for each of 2 head_classes; got shape \(2, 3\)"),
        ([0, 1], np.zeros((1, 2)), {}, "a row for each of 2 labels"),
        ([0, 1], np.zeros(2), {}, "a row for each"),
        ([0, 2], np.zeros((2, 2)), {}, r"y_true must lead into the 2 classes \(0 to 1\); got 2"),
        ([0, -1], np.zeros((2, 2)), {}, "got -1: leave rows without a label out"),
        ([0.0, 1.0], np.zeros((2, 2)), {}, "y_true must be a vector of integers; got float64"),
        (["a", "b"], np.zeros((2, 2)), {}, "y_true must be a vector of integers"),
        ([[0], [1]], np.zeros((2, 2)), {}, "y_true must be a vector"),
        ([0, 1], np.zeros((2, 2)), {"head_classes": [0, 0]}, "head_classes must be different classes"),
        ([0, 1], np.zeros((2, 0)), {"head_classes": []}, "head_classes must be different classes, one or more"),
        ([0, 1], np.zeros((2, 2)), {"head_classes": [0, 5]}, "head_classes must lead into"),
        ([0, 1], np.array([[0, np.nan], [0, 1]]), {}, "scores must be finite"),
        (
            [0, 1],
            np.array([[2.0, -1.0], [0, 1]]),
            {"is_probability": True},
            "from 0 to 1 if they are probabilities; got -1 to 2",
        ),
    ],
)
def test_refused(y, scores, changed, words):
    with pytest.raises(ParameterError, match=words):
        evaluate_predictions(y, scores, **{**GOOD, **changed})


@pytest.mark.parametrize(
    "change", [{"n": "x"}, {"per_class": [{}]}, {"accuracy_interval": [1]}, {"confusion": 3}, {"log_loss": []}]
)
def test_from_dict_refuses(change):
    values = evaluate_predictions([0, 1], np.eye(2), **GOOD).to_dict()
    with pytest.raises(ParameterError, match=r"Evaluation\.to_dict"):
        Evaluation.from_dict({**values, **change})
    key = next(iter(change))
    with pytest.raises(ParameterError, match=f"KeyError: '{key}'"):
        Evaluation.from_dict({name: value for name, value in values.items() if name != key})


def test_all_is_sorted_and_there():
    assert featx.evaluation.__all__ == sorted(featx.evaluation.__all__)
    assert all(hasattr(featx.evaluation, name) for name in featx.evaluation.__all__)
