"""Reliability, calibration error and the reject threshold against plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import ParameterError
from featx.evaluation import calibration_error, evaluate_predictions, reject_threshold, reliability
from featx.evaluation._intervals import wilson


def answers(n, k=3, seed=0, sharpness=2.0):
    """Return classes and probabilities that are drawn from these: perfectly calibrated."""
    generator = np.random.default_rng(seed)
    scores = np.exp(generator.normal(size=(n, k)) * sharpness)
    scores /= scores.sum(axis=1, keepdims=True)
    return (scores.cumsum(axis=1) < generator.random((n, 1))).sum(axis=1), scores


def plain_error(y, scores, bins):
    """The definition, a row at a time."""
    sums = [[0, 0.0, 0.0] for _ in range(bins)]
    for label, row in zip(y, scores, strict=True):
        confidence = row.max()
        each = next(i for i in range(bins) if confidence <= (i + 1) / bins or i == bins - 1)
        sums[each][0] += 1
        sums[each][1] += confidence
        sums[each][2] += row.argmax() == label
    return sum(count / len(y) * abs(right / count - sure / count) for count, sure, right in sums if count)


@given(n=st.integers(1, 60), k=st.integers(1, 5), bins=st.integers(1, 20), seed=st.integers(0, 1000))
def test_calibration_error_is_its_definition(n, k, bins, seed):
    y, scores = answers(n, k, seed)
    assert calibration_error(y, scores, bins=bins) == pytest.approx(plain_error(y, scores, bins), abs=1e-12)


def test_a_confidence_on_the_border_belongs_to_the_bin_that_ends_there():
    (one,) = reliability([0], [[0.5, 0.5]], bins=2)
    assert (one.low, one.high, one.count) == (0.0, 0.5, 1)
    (nothing,) = reliability([0], [[0.0, 0.0]], bins=2)
    assert (nothing.low, nothing.confidence) == (0.0, 0.0)


def test_reliability_is_what_each_bin_holds():
    y, scores = answers(500)
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == y
    found = reliability(y, scores)
    assert sum(one.count for one in found) == 500
    for one in found:
        rows = (confidence > one.low) & (confidence <= one.high)
        assert one.count == rows.sum()
        assert one.confidence == pytest.approx(confidence[rows].mean())
        assert one.accuracy == wilson(int(right[rows].sum()), int(rows.sum()))
        assert one.high - one.low == pytest.approx(1 / 15)
    error = sum(one.count / 500 * abs(one.confidence - one.accuracy.value) for one in found)
    assert calibration_error(y, scores) == pytest.approx(error)


def test_the_interval_of_a_calibrated_heads_error_reaches_nearly_zero():
    """Bins of few rows look uncalibrated by chance: percentiles of resamples would not go below that."""
    lows, values = [], []
    for seed in range(20):
        y, scores = answers(300, seed=seed)
        figure = evaluate_predictions(
            y, scores, classes=["a", "b", "c"], head_classes=[0, 1, 2], is_probability=True
        ).figures["expected_calibration_error"]
        assert figure.low <= figure.value <= figure.high
        lows.append(figure.low)
        values.append(figure.value)
    assert np.mean(values) > 0.03
    assert np.mean(lows) < 0.01
    sure = np.where(np.eye(3)[scores.argmax(axis=1)] > 0, 0.99, 0.005)
    wrong = evaluate_predictions(y, sure, classes=["a", "b", "c"], head_classes=[0, 1, 2], is_probability=True)
    assert wrong.figures["expected_calibration_error"].low > 0.05


@given(n=st.integers(1, 40), levels=st.integers(2, 30), precision=st.floats(0.05, 1), seed=st.integers(0, 1000))
def test_reject_threshold_is_the_smallest_that_keeps_its_word(n, levels, precision, seed):
    generator = np.random.default_rng(seed)
    sure = 0.5 + generator.integers(0, levels, n) / levels / 2
    scores = np.stack([sure, 1 - sure], axis=1)
    y = (generator.random(n) > sure).astype(int)
    right = scores.argmax(axis=1) == y
    confidence = scores.max(axis=1)
    good = [t for t in confidence if right[confidence >= t].mean() >= precision]
    if not good:
        with pytest.raises(ParameterError, match=r"is not reached by any of the .* thresholds; the best is"):
            reject_threshold(y, scores, precision=precision)
        return
    found = reject_threshold(y, scores, precision=precision)
    accepted = confidence >= found.threshold
    assert found.threshold == min(good)
    assert found.precision == wilson(int(right[accepted].sum()), int(accepted.sum()))
    assert found.coverage == wilson(int(accepted.sum()), n)


def test_reject_threshold_of_scores_that_are_no_probabilities():
    found = reject_threshold([0, 0, 1, 0], [[3.0, -3], [2, -2], [1, -1], [0.5, -0.5]], precision=0.9)
    assert (found.threshold, found.coverage.value) == (2.0, 0.5)


@pytest.mark.parametrize("precision", [0, 1.1, -0.5, True, "0.9", None, float("nan")])
def test_bad_precision(precision):
    with pytest.raises(ParameterError, match="precision must be a number above 0 and up to 1"):
        reject_threshold([0], [[1.0]], precision=precision)


@pytest.mark.parametrize("judge", [reliability, calibration_error])
@pytest.mark.parametrize(
    ("y", "scores", "more", "words"),
    [
        ([0], [[0.5, 0.5]], {"bins": 0}, "bins must be an integer of 1 or more; got 0"),
        ([0], [[0.5, 0.5]], {"bins": 1.5}, "bins must be"),
        ([0], [[2.0, 0.5]], {}, "scores must be from 0 to 1"),
        ([2], [[0.5, 0.5]], {}, "y_true must lead into the 2 classes"),
        ([0], [0.5], {}, "y_true must lead into"),
        ([], np.empty((0, 2)), {}, "a row or more"),
    ],
)
def test_refused(judge, y, scores, more, words):
    with pytest.raises(ParameterError, match=words):
        judge(y, scores, **more)
