"""Resamples, and the intervals made of them, against their definitions."""

import numpy as np
import pytest
from scipy import stats

from featx.evaluation import _intervals
from featx.evaluation._intervals import Figure, Grouped, Ranked, Statistics, differences, figures, wilson, with_spread


def mean_of(values, **more):
    """Return the statistics of a mean."""
    return Statistics(len(values), {}, lambda weights: {"mean": weights @ values / len(values)}, **more)


def test_resamples_are_draws_with_replacement():
    blocks = list(_intervals._resamples(30, 1000, 0))
    counts = np.concatenate(blocks)
    assert counts.shape == (1000, 30)
    assert (counts.sum(axis=1) == 30).all()
    # how often a row is drawn is binomial
    observed = np.bincount(counts.astype(int).ravel(), minlength=6)[:6]
    expected = stats.binom.pmf(np.arange(6), 30, 1 / 30) * counts.size
    np.testing.assert_allclose(observed, expected, rtol=0.1, atol=30)


def test_blocks_do_not_change_what_is_drawn(monkeypatch):
    whole = np.concatenate(list(_intervals._resamples(7, 50, 3)))
    monkeypatch.setattr(_intervals, "_BLOCK", 7 * 8)
    blocks = list(_intervals._resamples(7, 50, 3))
    assert len(blocks) == 7
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_much_work_has_fewer_resamples(monkeypatch):
    seen = []

    def resampled(weights):
        seen.append(len(weights))
        return {"mean": weights.mean(axis=1)}

    def count(width):
        seen.clear()
        figures(Statistics(10, {}, resampled, width=width), seed=0)
        return sum(seen) - 1  # the first is of the rows themselves

    assert count(1) == 1000
    monkeypatch.setattr(_intervals, "_WORK", 5_000)
    assert [count(width) for width in (1, 100)] == [500, 200]


def test_percentile_interval_of_a_mean_is_students():
    values = np.random.default_rng(0).normal(size=400)
    figure = figures(mean_of(values), seed=0)["mean"]
    assert figure.value == pytest.approx(values.mean(), abs=1e-15)
    low, high = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
    np.testing.assert_allclose([figure.low, figure.high], [low, high], atol=0.015)


def test_basic_interval_mirrors_the_percentiles():
    values = np.random.default_rng(1).random(50) ** 3
    plain = figures(mean_of(values), seed=0)["mean"]
    basic = figures(mean_of(values, biased={"mean": 1}), seed=0)["mean"]
    assert basic.low == pytest.approx(2 * plain.value - plain.high)
    assert basic.high == pytest.approx(2 * plain.value - plain.low)
    square = figures(mean_of(values, biased={"mean": 2}), seed=0)["mean"]
    assert square.high == pytest.approx(np.sqrt(2 * plain.value**2 - plain.low**2))
    none = figures(mean_of(np.array([0.0] * 30 + [1.0]), biased={"mean": 1}), seed=0)["mean"]
    assert none.low == 0  # not below


def test_grouped_sums():
    generator = np.random.default_rng(2)
    groups, weights = generator.integers(0, 6, 40), generator.random((3, 40))
    groups[groups == 4] = 0
    expected = np.stack([np.bincount(groups, weights=row, minlength=6) for row in weights])
    np.testing.assert_allclose(Grouped(groups, 6)(weights), expected)
    np.testing.assert_array_equal(Grouped(np.empty(0, int), 2)(np.empty((3, 0))), np.zeros((3, 2)))


def test_a_share_of_no_rows_may_be_anything():
    assert wilson(0, 0) == Figure(0.0, 0.0, 1.0)


def test_figures_without_spread():
    assert with_spread(Figure(1.0, 1.0, 1.0), 10) == wilson(10, 10)
    assert with_spread(Figure(0.0, 0.0, 0.0), 10) == wilson(0, 10)
    assert with_spread(Figure(1.0, 0.9, 1.0), 10) == Figure(1.0, 0.9, 1.0)
    assert with_spread(Figure(0.5, 0.5, 0.5), 10) == Figure(0.5, 0.5, 0.5)


def test_interval_of_a_rank_is_symmetric_in_log_odds():
    figure = Ranked(0.9, np.array([0.03, -0.03]), 5).figure()

    def odds(p):
        return np.log(p / (1 - p))

    assert odds(figure.high) - odds(0.9) == pytest.approx(odds(0.9) - odds(figure.low))
    assert odds(figure.high) - odds(0.9) == pytest.approx(1.959963984540054 * np.sqrt(2) * 0.03 / 0.09)
    assert Ranked(0.999, np.full(4, 100.0), 4).figure() == Figure(0.999, pytest.approx(0), pytest.approx(1))


def test_shares_differ_by_agresti_and_mins_interval():
    """Their example: 144 couples rate two things, 14 against 42 discordant; the formula by hand."""
    a, b = np.zeros(144, bool), np.zeros(144, bool)
    a[:14], b[14:56] = True, True
    found = differences(
        Statistics(144, {"share": a}, lambda weights: {}), Statistics(144, {"share": b}, lambda weights: {}), seed=0
    )
    before, after, difference = found["share"]
    assert (before, after) == (14 / 144, 42 / 144)
    n12, n21, n = 42.5, 14.5, 146
    centre, error = (n12 - n21) / n, np.sqrt((n12 + n21) - (n12 - n21) ** 2 / n) / n
    assert difference.value == pytest.approx(28 / 144)
    assert difference.low == pytest.approx(centre - 1.959963984540054 * error)
    assert difference.high == pytest.approx(centre + 1.959963984540054 * error)
