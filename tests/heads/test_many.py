"""Many heads at once end as if each had been fitted alone."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning

from featx.errors import HeadError
from featx.heads import fit_head, fit_many, head_scores, head_values, list_heads, make_head
from tests.heads.helpers import as_input, data, named, numbers, several_labels

CASES = [(info.name, task) for info in list_heads() for task in info.tasks]
VARIED = {
    "knn": ("n_neighbors", (3, 5)),
    "linear_svm": ("C", (0.001, 0.01)),
    "logistic": ("C", (0.1, 1.0)),
    "ridge": ("alpha", (1.0, "auto")),
}


def folds(n, count=3):
    part = np.random.default_rng(5).integers(0, count, n)
    return [np.flatnonzero(part != fold) for fold in range(count)]


def targets_of(task, X, y):
    return {"classification": y, "multilabel": several_labels(X, y), "regression": numbers(X)}[task]


def answers(head, X, task):
    return head_values(head, X) if task == "regression" else head_scores(head, X)[0]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_each_ends_as_if_fitted_alone(name, task):
    X, y = data(3, dtype=np.float32 if name != "logistic" else np.float64)
    shown, targets = as_input(name, X), targets_of(task, X, y)
    key, values = VARIED.get(name, ("", (None,)))
    params = [{key: value} if key else {} for value in values for _ in range(3)]
    if name == "logistic":
        params = [{**given, "tol": 1e-9} for given in params]
    rows = folds(120) * len(values)
    together = [named(name, given, task=task, seed=1) for given in params]
    reports = fit_many(together, shown, targets, rows)
    for head, given, mine, report in zip(together, params, rows, reports, strict=True):
        alone = named(name, given, task=task, seed=1)
        expected = fit_head(alone, shown[mine], targets[mine])
        assert (report.n_samples, report.n_features) == (expected.n_samples, expected.n_features)
        assert (report.classes, report.task) == (expected.classes, task)
        assert (report.warnings, report.converged) == (expected.warnings, expected.converged)
        assert len(report.history) == len(expected.history)
        np.testing.assert_allclose(answers(head, shown, task), answers(alone, shown, task), rtol=2e-4, atol=2e-4)


class Joint(ClassifierMixin, BaseEstimator):
    """The most frequent class, counted for all heads of a group in one call."""

    calls: list[int] = []  # noqa: RUF012 - of the class, as the method is

    def __init__(self, warn=False):
        self.warn = warn

    @classmethod
    def fit_many(cls, heads, X, y, rows, sample_weight=None):
        cls.calls.append(len(heads))
        for head, mine in zip(heads, rows, strict=True):
            head.fit(X[mine], y[mine], None if sample_weight is None else sample_weight[mine])
            head.seen_ = (X, y, mine)

    def fit(self, X, y, sample_weight=None):
        if self.warn:
            import warnings

            warnings.warn("did not converge", ConvergenceWarning, stacklevel=1)
        self.classes_, self.counts_ = np.unique(y), np.bincount(y, weights=sample_weight)
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return np.full(len(X), self.counts_.argmax())


@pytest.fixture
def joint():
    Joint.calls.clear()
    return Joint


def test_heads_of_a_class_are_fitted_in_one_call(joint):
    X, y = data(3)
    heads = [joint(), make_head("ridge"), joint(), make_head("sklearn.naive_bayes.GaussianNB"), joint()]
    rows = [np.arange(120), *folds(120), np.arange(60)]
    reports = fit_many(heads, X, y, rows)
    assert joint.calls == [3]
    assert [report.n_samples for report in reports] == [len(mine) for mine in rows]
    assert heads[0].counts_.tolist() == [40, 40, 40]
    assert heads[4].counts_.tolist() == [20, 20, 20]
    seconds = {reports[i].seconds for i in (0, 2, 4)}
    assert len(seconds) == 1  # each an equal share
    assert heads[0].seen_[0] is X  # no copy
    fit_many([joint()], X, y, [np.arange(120)])
    assert joint.calls == [3]  # one alone is fitted alone


def test_weights_reach_every_head(joint):
    X, y = data(3)
    weights = np.where(y == 2, 3.0, 1.0)
    heads = [joint(), joint(), make_head("ridge", {"alpha": 1.0}), make_head("linear_svm", {"tol": 1e-8})]
    rows = [np.arange(0, 120, 2), np.arange(30), np.arange(0, 120, 2), np.arange(0, 120, 2)]
    fit_many(heads, X, y, rows, sample_weight=weights)
    assert heads[0].counts_.tolist() == [20, 20, 60]
    assert heads[1].counts_.tolist() == [10, 10, 30]
    for head, given in ((heads[2], {"alpha": 1.0}), (heads[3], {"tol": 1e-8})):
        alone = make_head("ridge" if "alpha" in given else "linear_svm", given)
        fit_head(alone, X[::2], y[::2], sample_weight=weights[::2])
        np.testing.assert_allclose(head_scores(head, X)[0], head_scores(alone, X)[0], rtol=1e-9)


def test_warnings_are_told(joint):
    X, y = data(3)
    reports = fit_many([joint(warn=True), joint(warn=True)], X, y, folds(120)[:2])
    assert [(report.warnings, report.converged) for report in reports] == [(["did not converge"], False)] * 2
    heads = [joint(warn=True), joint()]
    for head, converged in zip(heads, (False, True), strict=True):
        head.converged_ = converged  # a head that says so is believed
    reports = fit_many(heads, X, y, folds(120)[:2])
    assert [(report.warnings, report.converged) for report in reports] == [(["did not converge"], False), ([], True)]


@pytest.mark.parametrize("name", ["knn", "lda", "logistic", "ridge", "sklearn.naive_bayes.GaussianNB"])
def test_what_stands_in_other_rows_does_not_matter(name):
    X, y = data(3)
    rows = [part[part < 100] for part in folds(120)]
    clean, spoilt, odd = ([make_head(name) for _ in rows] for _ in range(3))
    fit_many(clean, X, y, rows)
    nan, other = X.copy(), y.copy()
    nan[100:], other[100:] = np.nan, -1
    fit_many(odd, X, other, rows)
    fit_many(spoilt, nan, other, rows)
    for head, second, third in zip(clean, odd, spoilt, strict=True):
        expected = head_scores(head, X)[0]
        np.testing.assert_allclose(head_scores(second, X)[0], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(head_scores(third, X)[0], expected, rtol=1e-4, atol=1e-4)
    assert (other[100:] == -1).all()  # what was given is left alone


def test_unknown_numbers_in_other_rows_do_not_matter():
    X, _ = data(3)
    y = numbers(X)
    clean, spoilt = ([make_head("ridge", task="regression") for _ in range(2)] for _ in range(2))
    rows = [np.arange(80), np.arange(20, 100)]
    fit_many(clean, X, y, rows)
    y[100:] = np.nan
    fit_many(spoilt, X, y, rows)
    for head, other in zip(clean, spoilt, strict=True):
        np.testing.assert_allclose(head_values(other, X), head_values(head, X), rtol=1e-8)


def test_features_from_a_memory_map(tmp_path):
    X, y = data(3, dtype=np.float32)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    one, other = ([make_head("ridge") for _ in range(3)] for _ in range(2))
    fit_many(one, X, y, folds(120))
    fit_many(other, mapped, y, folds(120))
    for head, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(second.coef_, head.coef_)


def test_no_heads():
    assert fit_many([], np.eye(3), [0, 1, 2], []) == []


X, Y = data(3)
ALL = np.arange(120)


@pytest.mark.parametrize(
    ("heads", "y", "rows", "words"),
    [
        ([make_head("ridge")], Y, [ALL, ALL], "as many as heads; got 2 and 1"),
        ([make_head("ridge")], Y, [[0, 1, 120]], "rows must be from 0 to 119"),
        ([make_head("ridge")], Y, [[0, 1, -1]], "rows must be from 0 to 119"),
        ([make_head("ridge")], Y, [[0, 1, 1]], "each at most once"),
        ([make_head("ridge")], Y, [[0.0, 1.0]], "must be indices"),
        ([make_head("ridge")], Y, [[[0, 1]]], "must be indices"),
        ([make_head("ridge")], Y, [[]], "two classes or more; got 0 in 0 rows"),
        ([make_head("ridge")], Y, [ALL[Y == 1]], r"only label 1.* in 40 rows"),
        ([make_head("ridge")], Y - 1, [ALL], "labels must be 0 or more; got -1 in row 0"),
        ([make_head("ridge")], Y[1:], [ALL], "one label for each of the 120 rows"),
        ([make_head("ridge"), 3], Y, [ALL, ALL], "must be an estimator of make_head; got int"),
        ([make_head("ridge"), make_head("ridge", task="regression")], Y, [ALL, ALL], "all be classifiers or all"),
        ([make_head("knn", {"n_neighbors": 50}) for _ in range(2)], Y, [ALL, ALL[:40]], "KNNClassifier cannot be"),
    ],
)
def test_what_is_refused(heads, y, rows, words):
    with pytest.raises(HeadError, match=words):
        fit_many(heads, X, y, rows)


def test_rows_that_are_not_finite_are_named_where_they_are_used():
    bad = X.copy()
    bad[[3, 7, 110], 0] = np.nan
    with pytest.raises(HeadError, match=r"nan or inf in 2 of 100 rows \(3, 7\)"):
        fit_many([make_head("ridge")], bad, Y, [ALL[:100]])


def test_bad_weights_where_they_are_used():
    weights = np.ones(120)
    weights[110:] = np.nan
    heads = [make_head("ridge"), make_head("ridge")]
    fit_many(heads, X, Y, [ALL[:100], ALL[:90]], sample_weight=weights)
    with pytest.raises(HeadError, match="must be finite and not negative"):
        fit_many(heads, X, Y, [ALL, ALL[:90]], sample_weight=weights)
    with pytest.raises(HeadError, match="two classes or more with a weight above 0"):
        fit_many(heads, X, Y, [ALL, ALL], sample_weight=(Y == 0).astype(float))
