"""Paired comparisons against scipy's tests, each side's own figures, and simulation."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from featx.errors import ParameterError
from featx.evaluation import (
    Evaluation,
    compare_folds,
    compare_predictions,
    evaluate_multilabel,
    evaluate_predictions,
    evaluate_regression,
    mcnemar_test,
)


def heads(n, seed=0, better=0.5):
    """Return classes and the probabilities of two heads that see much the same; the second a little more."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, n)
    common, found = generator.normal(size=(n, 3)), []
    for gain in (1.5, 1.5 + better):
        scores = common + 0.5 * generator.normal(size=(n, 3))
        scores[np.arange(n), y] += gain
        found.append(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))
    return y, *found


def judged(task, y, scores) -> Evaluation:
    if task == "classification":
        return evaluate_predictions(y, scores, classes=["a", "b", "c"], head_classes=[0, 1, 2], is_probability=True)
    if task == "multilabel":
        return evaluate_multilabel(y, scores, classes=["a", "b", "c"], is_probability=True)
    return evaluate_regression(y, scores, names=["a", "b", "c"])


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_every_figure_of_both_is_compared(task):
    y, a, b = heads(120)
    truth = {"classification": y, "multilabel": np.eye(3)[y] > 0, "regression": np.eye(3)[y]}[task]
    found = compare_predictions(task, truth, a, b)
    mine, theirs = judged(task, truth, a), judged(task, truth, b)
    assert set(found.differences) == set(mine.figures)
    assert found.headline == (mine.headline[0], found.differences[mine.headline[0]])
    for name, one in found.differences.items():
        assert one.a == pytest.approx(mine.figures[name].value, abs=1e-12)
        assert one.b == pytest.approx(theirs.figures[name].value, abs=1e-12)
        assert one.value == pytest.approx(one.b - one.a)
        assert one.low <= one.value <= one.high
        # what is hard for both falls out: narrower than if the two had been judged on rows of their own
        apart = np.hypot(*(figure.high - figure.low for figure in (mine.figures[name], theirs.figures[name])))
        assert one.high - one.low < apart
    assert json.loads(json.dumps(found.to_dict()))["n"] == 120


def test_only_what_both_have_is_compared():
    y, a, b = heads(60)
    found = compare_predictions("classification", y, a, np.log(b), b_is_probability=False)
    assert "log_loss" not in found.differences
    assert {"accuracy", "macro_f1", "roc_auc"} <= set(found.differences)


def test_a_head_and_itself():
    y, a, _ = heads(60)
    found = compare_predictions("classification", y, a, a)
    assert (found.only_a, found.only_b, found.p_value) == (0, 0, 1.0)
    assert all(one.value == 0 and one.low <= 0 <= one.high for one in found.differences.values())
    # no row tells the two apart, which does not make their accuracies equal for certain
    assert found.differences["accuracy"].low < 0 < found.differences["accuracy"].high


def test_discordant_rows_are_counted():
    y, a, b = heads(200)
    right_a, right_b = a.argmax(axis=1) == y, b.argmax(axis=1) == y
    found = compare_predictions("classification", y, a, b)
    assert found.only_a == (right_a & ~right_b).sum()
    assert found.only_b == (right_b & ~right_a).sum()
    assert found.p_value == pytest.approx(stats.binomtest(found.only_a, found.only_a + found.only_b).pvalue)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_the_binomial_test(only_a, only_b):
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_test(only_a, only_b) == pytest.approx(expected, rel=1e-7, abs=1e-300)


def test_intervals_of_differences_cover_the_truth():
    y, a, b = heads(40_000, seed=1)
    truth = compare_predictions("classification", y, a, b).differences
    covered = dict.fromkeys(truth, 0)
    generator = np.random.default_rng(2)
    for trial in range(80):
        rows = generator.integers(0, y.size, 150)
        for name, one in compare_predictions(
            "classification", y[rows], a[rows], b[rows], seed=trial
        ).differences.items():
            covered[name] += one.low <= truth[name].value <= one.high
    assert min(covered.values()) > 66, covered
    assert sum(covered.values()) / len(covered) > 72, covered


def test_corrected_t_test_is_nadeau_and_bengios():
    a, b = [0.80, 0.82, 0.79, 0.85, 0.81], [0.83, 0.84, 0.80, 0.86, 0.86]
    found = compare_folds(a, b)
    d = np.subtract(b, a)
    error = np.sqrt((1 / 5 + 1 / 4) * d.var(ddof=1))
    low, high = stats.t.interval(0.95, 4, d.mean(), error)
    assert (found.folds, found.value) == (5, pytest.approx(d.mean()))
    np.testing.assert_allclose([found.low, found.high], [low, high])
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(d.mean()) / error, 4))
    plain = compare_folds(a, b, ratio=0.0)  # uncorrected, it is the paired t-test
    assert plain.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert plain.p_value < found.p_value


def test_folds_without_spread():
    assert compare_folds([0.5, 0.5], [0.5, 0.5]).p_value == 1.0
    always = compare_folds([0.5, 0.5], [0.75, 0.75])
    assert (always.value, always.p_value) == (0.25, 0.0)


@pytest.mark.parametrize(("a", "b"), [([0.5], [0.5]), ([0.5, 0.6], [0.5]), ([], [])])
def test_bad_folds(a, b):
    with pytest.raises(ParameterError, match="folds must be two or more, and as many of a as of b"):
        compare_folds(a, b)


@pytest.mark.parametrize(
    ("task", "y", "a", "b", "words"),
    [
        ("guessing", [0], [[1.0]], [[1.0]], "task must be classification, multilabel or regression; got 'guessing'"),
        ("classification", [0, 1], np.eye(2), np.eye(2)[:1], "scores must have a row for each of 2 labels"),
        ("classification", [0, 1], np.eye(2), np.eye(3)[:2], "a and b must have scores of the same classes"),
        ("multilabel", [[0, 1]], [[0.5, 0.5]], [[0.5]], "a column for each of 2 classes"),
        ("regression", [0.0, 1.0], [0.0, 1.0], [0.0], "y_pred must be of y_true's shape"),
    ],
)
def test_refused(task, y, a, b, words):
    with pytest.raises(ParameterError, match=words):
        compare_predictions(task, y, a, b)
