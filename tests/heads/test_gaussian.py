import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from featx.errors import HeadError
from featx.heads import _blocks, _moments
from featx.heads._gaussian import GaussianNBClassifier, LDAClassifier
from tests.heads.clouds import clouds, folds, mapped, quarters


def lsqr(shrinkage, standardize=False, priors=None):
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=priors)
    return make_pipeline(StandardScaler(), theirs) if standardize else theirs


@pytest.mark.parametrize("head", [LDAClassifier(), LDAClassifier(0.5, standardize=True), GaussianNBClassifier()])
def test_contract(head):
    check_estimator(head, on_skip=None)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(
    ("shrinkage", "shape"),
    [
        *((shrinkage, shape) for shape in ((120, 7, 3), (120, 7, 2), (50, 1, 2)) for shrinkage in (None, 0.0)),
        *((shrinkage, shape) for shape in ((120, 7, 3), (30, 60, 2), (30, 60, 4)) for shrinkage in ("auto", 0.3, 1.0)),
    ],
)
def test_lda_is_scikit_learns(shape, shrinkage, standardize):
    _, d, k = shape
    X, y = clouds(*shape)
    if shrinkage == "auto":
        y[y == 1] = 0
        y[5] = 1  # a class of one sample
    for priors in (None, np.arange(1, k + 1) / np.arange(1, k + 1).sum()):
        with pytest.warns(UserWarning, match="Only one sample") if shrinkage == "auto" and d > 1 else nothing():
            theirs = lsqr(shrinkage, standardize, priors).fit(X, y)
        head = LDAClassifier(shrinkage, priors=priors, standardize=standardize).fit(X, y)
        found, expected = head.decision_function(X), theirs.decision_function(X)
        if k > 2:  # a term that all classes share is free
            found, expected = (scores - scores.mean(axis=1, keepdims=True) for scores in (found, expected))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())
        np.testing.assert_allclose(head.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
        np.testing.assert_array_equal(head.predict(X), theirs.predict(X))
        assert head.coef_.shape == (1 if k == 2 else k, d)


class nothing:
    """A context that expects nothing."""

    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


def test_lda_of_a_singular_covariance():
    X, y = clouds(20, 40, 3)
    head, theirs = LDAClassifier(None).fit(X, y), lsqr(None).fit(X, y)
    np.testing.assert_array_equal(head.predict(X), theirs.predict(X))
    doubled, y = clouds(60, 5, 3)
    doubled = np.hstack([doubled, doubled])
    head, theirs = LDAClassifier(None).fit(doubled, y), lsqr(None).fit(doubled, y)
    np.testing.assert_allclose(head.predict_proba(doubled), theirs.predict_proba(doubled), atol=1e-6)


def test_lda_takes_scales_that_leave_scikit_learn_none():
    X, y = clouds(200, 6, 3)
    X[:, 2] += 0.1 * np.random.default_rng(0).normal(size=200)
    scale = 10.0 ** np.array([-6, 4, 0, 6, -3, 2])
    plain = LDAClassifier(None).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(LDAClassifier(None).fit(X * scale, y).predict_proba(X * scale), plain, atol=1e-9)


@settings(max_examples=40)
@given(st.integers(8, 40), st.integers(1, 40), st.integers(2, 4), st.integers(0, 1000))
def test_shrinkage_of_ledoit_and_wolf_is_scikit_learns(n, d, k, seed):
    X, y = clouds(n, d, k, seed=seed)
    head, theirs = LDAClassifier().fit(X, y), lsqr("auto").fit(X, y)
    np.testing.assert_allclose(head.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    assert head.shrinkage_.shape == (k,)


def test_lda_products_in_float32_change_little(monkeypatch):
    X, y = clouds(2000, 20, 4, dtype=np.float32)
    exact = LDAClassifier().fit(X, y)
    monkeypatch.setattr(_moments, "_EXACT_PRODUCTS", 0)
    head = LDAClassifier().fit(X, y)
    assert 0 < np.abs(head.predict_proba(X) - exact.predict_proba(X)).max() < 1e-4
    np.testing.assert_allclose(head.shrinkage_, exact.shrinkage_, rtol=1e-3)


@pytest.mark.parametrize("d", [6, 60])
def test_many_fits_of_lda_are_the_single_ones(d):
    X, y = clouds(90, d, 3)
    sets = [*folds(90), np.flatnonzero(y != 1)]
    weights = quarters(90)
    grid = [(shrinkage, rows) for shrinkage in ("auto", 0.5) for rows in sets]
    heads = [LDAClassifier(shrinkage, standardize=i % 2 == 0) for i, (shrinkage, _) in enumerate(grid)]
    LDAClassifier.fit_many(heads, X, y, [rows for _, rows in grid], weights)
    for head, (shrinkage, rows) in zip(heads, grid, strict=True):
        alone = LDAClassifier(shrinkage, standardize=head.standardize).fit(X[rows], y[rows], weights[rows])
        assert head.classes_.tolist() == alone.classes_.tolist()
        np.testing.assert_allclose(head.shrinkage_, alone.shrinkage_, atol=1e-9)
        np.testing.assert_allclose(head.predict_proba(X), alone.predict_proba(X), atol=1e-8)


@pytest.mark.parametrize("shape", [(120, 7, 3), (120, 7, 2), (30, 60, 4), (50, 1, 2)])
@pytest.mark.parametrize("var_smoothing", [1e-9, 0.1])
def test_naive_bayes_is_scikit_learns(shape, var_smoothing):
    X, y = clouds(*shape)
    y[y == 1] = 0
    y[5] = 1  # a class of one sample: its variances are the smoothing alone
    k = shape[2]
    for priors in (None, np.arange(1, k + 1) / np.arange(1, k + 1).sum()):
        theirs = GaussianNB(priors=priors, var_smoothing=var_smoothing).fit(X, y)
        head = GaussianNBClassifier(priors=priors, var_smoothing=var_smoothing).fit(X, y)
        np.testing.assert_allclose(head.theta_, theirs.theta_, rtol=1e-12)
        np.testing.assert_allclose(head.var_, theirs.var_, rtol=1e-5)
        np.testing.assert_allclose(head.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
        np.testing.assert_array_equal(head.predict(X), theirs.predict(X))


def test_naive_bayes_with_weights_is_that_of_repeated_rows():
    X, y = clouds()
    weights = np.random.default_rng(0).integers(0, 4, y.size)
    head = GaussianNBClassifier().fit(X, y, weights)
    theirs = GaussianNB().fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(head.predict_proba(X), theirs.predict_proba(X), atol=1e-9)


def test_many_fits_of_naive_bayes_are_the_single_ones():
    X, y = clouds()
    sets = [*folds(y.size), np.flatnonzero(y != 1)]
    heads = [GaussianNBClassifier() for _ in sets]
    GaussianNBClassifier.fit_many(heads, X, y, sets)
    for head, rows in zip(heads, sets, strict=True):
        alone = GaussianNBClassifier().fit(X[rows], y[rows])
        assert head.classes_.tolist() == alone.classes_.tolist()
        np.testing.assert_allclose(head.predict_proba(X), alone.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("head", [LDAClassifier(), LDAClassifier(0.1, standardize=True), GaussianNBClassifier()])
def test_features_of_other_types_and_mapped_ones(head, tmp_path, monkeypatch):
    X, y = clouds(dtype=np.float16)
    expected = head.fit(X.astype(np.float64), y).predict_proba(X.astype(np.float64))
    monkeypatch.setattr(_blocks, "BLOCK_VALUES", 200)
    for features in (X, mapped(X, tmp_path), X.astype(np.float32), mapped(X.astype(np.float32), tmp_path)):
        np.testing.assert_allclose(head.fit(features, y).predict_proba(features), expected, atol=1e-8)


def test_wrong_parameters_are_refused():
    X, y = clouds()
    for shrinkage in ("some", -0.1, 1.5, True, [0.5]):
        with pytest.raises(ValueError, match="shrinkage must be auto, none or a number from 0 to 1"):
            LDAClassifier(shrinkage).fit(X, y)
    for priors in ([0.5, 0.5], [0.5, 0.5, 0.5], [0.0, 0.5, 0.5], 1.0):
        for kind in (LDAClassifier, GaussianNBClassifier):
            with pytest.raises(ValueError, match="priors must be 3 numbers above 0 that add up to 1"):
                kind(priors=priors).fit(X, y)
    for smoothing in (-1e-9, "some", True, np.inf):
        with pytest.raises(ValueError, match="var_smoothing must be a number, 0 or more"):
            GaussianNBClassifier(var_smoothing=smoothing).fit(X, y)
    for kind in (LDAClassifier, GaussianNBClassifier):
        with pytest.raises(ValueError, match="every class must have a row with a weight above 0"):
            kind().fit(X, y, (y > 0).astype(float))
        with pytest.raises(ValueError, match="got 1 class"):
            kind().fit(X, np.ones_like(y))
    with pytest.raises(ValueError, match="more than the number of classes"):
        LDAClassifier().fit(X[:3], [0, 1, 2])


def test_state_of_naive_bayes_goes_there_and_back():
    X, y = clouds()
    for priors in (None, [0.2, 0.3, 0.5]):
        head = GaussianNBClassifier(priors=priors, var_smoothing=1e-6).fit(X, y)
        params, arrays = head.head_state()
        again = GaussianNBClassifier.from_head_state(json.loads(json.dumps(params)), arrays)
        np.testing.assert_array_equal(again.predict_proba(X), head.predict_proba(X))
        assert again.get_params() == head.get_params()
        assert again.n_features_in_ == head.n_features_in_
        assert again.epsilon_ == head.epsilon_


def test_forged_states_of_naive_bayes_are_refused():
    X, y = clouds()
    params, arrays = GaussianNBClassifier().fit(X, y).head_state()
    var = arrays["var"].copy()
    var[0, 0] = 0.0
    nan = arrays["theta"].copy()
    nan[1, 1] = np.nan
    for wrong in (
        {"var": var},
        {"theta": nan},
        {"theta": arrays["theta"][:2]},
        {"var": arrays["var"][:, :2]},
        {"theta": arrays["theta"].astype(str)},
        {"priors": arrays["priors"][:2]},
        {"priors": -arrays["priors"]},
        {"classes": np.array([2, 1, 0])},
        {"classes": np.array([[0, 1, 2]])},
        {"classes": None},
    ):
        with pytest.raises(HeadError, match="a stored GaussianNBClassifier must have"):
            GaussianNBClassifier.from_head_state(params, arrays | wrong)
    for wrong in ({"var_smoothing": "x"}, {"epsilon": -1.0}, {"epsilon": True}, {"other": 1}, {"priors": [1.0]}):
        with pytest.raises(HeadError, match="a stored GaussianNBClassifier must have"):
            GaussianNBClassifier.from_head_state(params | wrong, arrays)
