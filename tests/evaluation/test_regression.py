"""Every figure of a regression against scikit-learn and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from featx.errors import ParameterError
from featx.evaluation import evaluate_regression
from featx.evaluation._regression import regression_statistics


def pairs(n, t, seed=0):
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(n, t)) * 10.0 ** generator.integers(-2, 4, t) + generator.integers(-1000, 1000, t)
    return truth, truth + generator.normal(size=(n, t)) * truth.std(axis=0)


@settings(max_examples=40)
@given(n=st.integers(2, 40), t=st.integers(1, 3), seed=st.integers(0, 10**6), ties=st.booleans())
def test_equals_scikit_learn_and_scipy(n, t, seed, ties):
    truth, values = pairs(n, t, seed)
    if ties:
        truth, values = np.round(truth / truth.std(axis=0)), np.round(values / values.std(axis=0))
    evaluation = evaluate_regression(truth, values, names=[str(j) for j in range(t)])
    value = {name: figure.value for name, figure in evaluation.figures.items()}
    assert (evaluation.task, evaluation.n, evaluation.confusion) == ("regression", n, None)
    assert value["r2"] == pytest.approx(metrics.r2_score(truth, values), rel=1e-9, abs=1e-9)
    assert value["mae"] == pytest.approx(metrics.mean_absolute_error(truth, values))
    assert value["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, values))
    correlations = [
        stats.spearmanr(truth[:, j], values[:, j]).statistic if np.ptp(truth[:, j]) and np.ptp(values[:, j]) else 0.0
        for j in range(t)
    ]
    assert value["spearman"] == pytest.approx(np.mean(correlations), abs=1e-12)
    assert len(evaluation.per_class) == (t if t > 1 else 0)
    for j, row in enumerate(evaluation.per_class):
        assert (row.name, row.support) == (str(j), n)
        alone = evaluate_regression(truth[:, j], values[:, j], names=["alone"])
        assert row.figures == alone.figures
    for figure in evaluation.figures.values():
        assert figure.low <= figure.value <= figure.high


@pytest.mark.parametrize("level", [0.1, 1e6])
def test_a_constant_target(level):
    truth = np.full(5, level)
    right = evaluate_regression(truth, truth, names=["y"]).figures
    assert (right["r2"].value, right["rmse"].value, right["spearman"].value) == (1, 0, 0)
    wrong = evaluate_regression(truth, truth + np.arange(5), names=["y"]).figures
    assert wrong["r2"].value == metrics.r2_score(truth, truth + np.arange(5)) == 0


def test_a_resample_is_judged_as_if_its_rows_were_there_as_often():
    truth, values = pairs(30, 1, seed=3)
    weights = np.random.default_rng(0).integers(0, 4, 30)
    resampled = regression_statistics(truth, values).resampled(weights[None] * 30.0 / weights.sum())
    rows = np.repeat(np.arange(30), weights)
    assert resampled["r2"][0] == pytest.approx(metrics.r2_score(truth[rows], values[rows]))
    assert resampled["mae"][0] == pytest.approx(metrics.mean_absolute_error(truth[rows], values[rows]))
    assert resampled["rmse"][0] == pytest.approx(metrics.root_mean_squared_error(truth[rows], values[rows]))


def test_influence_on_the_correlation_is_the_change_by_a_rows_weight():
    """One more copy of a row among 400 of each: a four-hundredth of its weight."""
    truth, values = pairs(12, 1, seed=4)
    values = np.round(values / values.std() * 2)
    found = regression_statistics(truth, values).ranked["spearman"]
    copies = np.repeat(np.arange(12), 400)
    for row in range(12):
        more = stats.spearmanr(*(side[np.append(copies, row), 0] for side in (truth, values))).statistic
        change = (more - found.value) * 400
        assert found.influence[row] * np.sqrt(11 / 12) == pytest.approx(change, rel=0.02, abs=1e-3)


def test_a_perfect_correlation_of_few_rows_is_not_certain():
    figure = evaluate_regression([1.0, 2, 3, 4], [1.0, 2, 3, 5], names=["y"]).figures["spearman"]
    assert (figure.value, figure.high) == (1, 1)
    assert figure.low < 0.5


def test_one_row_has_no_r2():
    evaluation = evaluate_regression([1.0], [3.0], names=["y"])
    assert set(evaluation.figures) == {"mae", "rmse"}
    assert evaluation.headline == ("mae", evaluation.figures["mae"])
    assert evaluation.figures["mae"].value == 2


def test_intervals_cover_the_truth():
    truth, values = pairs(50_000, 1, seed=1)
    whole = evaluate_regression(truth, values, names=["y"]).figures
    covered = dict.fromkeys(whole, 0)
    generator = np.random.default_rng(2)
    for trial in range(100):
        rows = generator.integers(0, 50_000, 120)
        for name, figure in evaluate_regression(truth[rows], values[rows], names=["y"], seed=trial).figures.items():
            covered[name] += figure.low <= whole[name].value <= figure.high
    assert min(covered.values()) > 86, covered


@pytest.mark.parametrize(
    ("truth", "values", "names", "words"),
    [
        ([1.0, 2.0], [1.0], ["y"], "y_pred must be of y_true's shape"),
        ([1.0, np.nan], [1.0, 2.0], ["y"], "y_true must be finite; got nan or inf: leave such rows out"),
        ([1.0, 2.0], [1.0, np.inf], ["y"], "y_pred must be finite"),
        ([1.0, 2.0], [1.0, 2.0], ["x", "y"], r"a column for each of 2 names; got shape \(2, 1\)"),
        ([], [], ["y"], "a row or more"),
        (1.0, 1.0, ["y"], "y_true must have a row for each sample"),
    ],
)
def test_refused(truth, values, names, words):
    with pytest.raises(ParameterError, match=words):
        evaluate_regression(truth, values, names=names)
