"""ROC-AUC, average precision, their standard errors, and curves, against scikit-learn and DeLong's own formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from featx.errors import ParameterError
from featx.evaluation import precision_recall_curve, roc_curve
from featx.evaluation._intervals import deviation
from featx.evaluation._ranking import rank_by_class


def one_class(positive, scores):
    """Return both figures of one class."""
    means, _ = rank_by_class(np.asarray(positive, bool)[:, None], np.asarray(scores, float)[:, None])
    return means["roc_auc"], means["average_precision"]


@st.composite
def ranked(draw):
    """Rows of two kinds, at least two of each, with few different scores, so that many are equal."""
    positive = draw(st.lists(st.booleans(), min_size=4, max_size=30).filter(lambda y: 2 <= sum(y) <= len(y) - 2))
    scores = draw(st.lists(st.integers(0, 6), min_size=len(positive), max_size=len(positive)))
    return np.array(positive), np.array(scores, float)


def delong(positive, scores):
    """Return the AUC's variance by the formulas of DeLong et al., pair by pair."""
    mine, others = scores[positive], scores[~positive]
    wins = (mine[:, None] > others) + 0.5 * (mine[:, None] == others)
    return wins.mean(axis=1).var(ddof=1) / mine.size + wins.mean(axis=0).var(ddof=1) / others.size


@given(ranked())
def test_values_equal_scikit_learns_and_the_variance_delongs(rows):
    positive, scores = rows
    auc, average = one_class(positive, scores)
    assert auc.value == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-12)
    assert average.value == pytest.approx(metrics.average_precision_score(positive, scores), abs=1e-12)
    assert deviation(auc.influence) ** 2 == pytest.approx(delong(positive, scores), abs=1e-12)
    for figure in (auc.figure(), average.figure()):
        assert 0 <= figure.low <= figure.value <= figure.high <= 1


@settings(max_examples=30)
@given(ranked())
def test_influence_is_the_change_by_a_rows_weight(rows):
    positive, scores = rows
    m, rest = positive.sum(), (~positive).sum()
    unbiased = np.sqrt(np.where(positive, m / (m - 1), rest / (rest - 1)))
    for one, score in zip(
        one_class(positive, scores), (metrics.roc_auc_score, metrics.average_precision_score), strict=True
    ):
        for row in range(positive.size):
            step = np.zeros(positive.size)
            step[row] = 1e-5
            more, less = (score(positive, scores, sample_weight=1 + sign * step) for sign in (1, -1))
            assert one.influence[row] / unbiased[row] == pytest.approx((more - less) / 2e-5, abs=1e-7)


def test_mean_over_classes_is_of_those_with_both_kinds_of_rows():
    generator = np.random.default_rng(0)
    positive = generator.random((50, 70)) < 0.3
    positive[:, 3], positive[:, 66] = False, True
    scores = generator.normal(size=(50, 70))
    means, by_class = rank_by_class(positive, scores)
    kept = [c for c in range(70) if c not in (3, 66)]
    assert [c for c, figures in enumerate(by_class) if figures] == kept
    assert means["roc_auc"].value == pytest.approx(metrics.roc_auc_score(positive[:, kept], scores[:, kept]))
    apart = [one_class(positive[:, c], scores[:, c])[0].influence for c in kept]
    np.testing.assert_allclose(means["roc_auc"].influence, np.mean(apart, axis=0), atol=1e-15)


def test_intervals_of_ranks_cover_the_truth():
    """Binormal scores, of which the AUC is known: 40 positives and 120 others, 400 times."""
    generator = np.random.default_rng(4)
    positive = np.arange(160) < 40
    truth = 0.8413447  # Φ(√2 / √2)
    many = generator.normal(size=400_000) + np.sqrt(2) * (np.arange(400_000) < 100_000)
    precision = metrics.average_precision_score(np.arange(400_000) < 100_000, many)
    covered = np.zeros(2)
    for _ in range(400):
        auc, average = one_class(positive, generator.normal(size=160) + np.sqrt(2) * positive)
        for i, (figure, value) in enumerate(((auc.figure(), truth), (average.figure(), precision))):
            covered[i] += figure.low <= value <= figure.high
    assert (covered / 400 > 0.92).all(), covered / 400
    assert (covered / 400 < 0.98).all(), covered / 400


def test_perfect_order_of_few_rows_is_not_certain():
    auc, average = one_class([1, 1, 1, 0, 0, 0, 0], [7, 6, 5, 4, 3, 2, 1])
    for one in (auc, average):
        assert (one.value, one.figure().high) == (1, 1)
        assert one.figure().low == pytest.approx(3 / (3 + 1.959963984540054**2))
    worst, _ = one_class([0, 0, 1], [3, 2, 1])
    assert (worst.figure().low, worst.figure().value) == (0, 0)
    assert worst.figure().high > 0.5


def test_curves_equal_scikit_learns():
    generator = np.random.default_rng(1)
    positive, scores = generator.random(90) < 0.4, generator.integers(0, 40, 90) / 10
    false, true, thresholds = roc_curve(positive, scores)
    for mine, theirs in zip(
        (false, true, thresholds), metrics.roc_curve(positive, scores, drop_intermediate=False), strict=True
    ):
        np.testing.assert_allclose(mine, theirs)
    precision, recall, thresholds = precision_recall_curve(positive, scores)
    reference = metrics.precision_recall_curve(positive, scores)
    np.testing.assert_allclose(precision[::-1], reference[0])
    np.testing.assert_allclose(recall[::-1], reference[1])
    np.testing.assert_allclose(thresholds[:0:-1], reference[2])


@pytest.mark.parametrize("share", [0.5, 0.002])
def test_thinned_curves_keep_their_shape_and_ends(share):
    generator = np.random.default_rng(2)
    positive = generator.random(20_000) < share
    scores = generator.normal(size=20_000) + positive
    whole, thin = (roc_curve(positive, scores, points=points) for points in (10**6, 200))
    assert len(thin[0]) <= 200
    assert (thin[0][0], thin[1][0], thin[0][-1], thin[1][-1]) == (0, 0, 1, 1)
    assert metrics.auc(*thin[:2]) == pytest.approx(metrics.auc(*whole[:2]), abs=0.01)
    precision, recall, thresholds = precision_recall_curve(positive, scores, points=50)
    assert len(precision) <= 50
    assert (recall[0], precision[0], thresholds[0]) == (0, 1, np.inf)
    assert (recall[-1], precision[-1]) == (1, pytest.approx(positive.mean()))
    known = set(zip(*(curve.tolist() for curve in precision_recall_curve(positive, scores, points=10**6)), strict=True))
    assert set(zip(precision.tolist(), recall.tolist(), thresholds.tolist(), strict=True)) <= known


@pytest.mark.parametrize("curve", [roc_curve, precision_recall_curve])
@pytest.mark.parametrize(
    ("positive", "scores", "more", "words"),
    [
        ([0, 1], [0.1, 0.2], {}, "positive must be a vector of bool"),
        ([True, False], [0.1], {}, "scores one number for each"),
        ([True, False], [0.1, np.nan], {}, "scores must be finite"),
        ([True, True], [0.1, 0.2], {}, "rows of the class and others for a curve; got 2 of 2"),
        ([False], [0.1], {}, "got 0 of 1"),
        ([True, False], [0.1, 0.2], {"points": 1}, "points must be an integer of 2 or more; got 1"),
    ],
)
def test_curves_refuse(curve, positive, scores, more, words):
    with pytest.raises(ParameterError, match=words):
        curve(positive, scores, **more)
