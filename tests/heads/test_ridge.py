import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge, RidgeClassifierCV, RidgeCV
from sklearn.linear_model import RidgeClassifier as Theirs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from featx.heads import _blocks, _moments, _ridge
from featx.heads._least_squares import GramFactors
from featx.heads._ridge import AUTO_ALPHAS, RidgeClassifier, RidgeRegressor
from tests.heads.clouds import clouds, folds, mapped, quarters

LEFT_OUT = {
    "check_sample_weight_equivalence_on_dense_data": "alpha is chosen by leaving out rows, whatever their weights"
}
SHAPES = [(120, 7, 3), (120, 7, 2), (30, 60, 4), (30, 60, 2), (50, 1, 2), (40, 40, 3)]


def piped(estimator, standardize):
    return make_pipeline(StandardScaler(), estimator) if standardize else estimator


def weight_arguments(estimator, weights):
    if weights is None:
        return {}
    steps = getattr(estimator, "steps", None)
    return {"sample_weight": weights} if steps is None else {f"{name}__sample_weight": weights for name, _ in steps}


@pytest.mark.parametrize("head", [RidgeClassifier(alpha=1.0), RidgeRegressor(alpha=1.0)])
def test_contract_of_one_penalty(head):
    check_estimator(head, on_skip=None)


@pytest.mark.parametrize("head", [RidgeClassifier(), RidgeRegressor()])
def test_contract_of_chosen_penalty(head):
    check_estimator(head, on_skip=None, expected_failed_checks=LEFT_OUT)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0, 1: 0.5}])
@pytest.mark.parametrize("shape", SHAPES)
def test_classifier_is_scikit_learns(shape, class_weight, fit_intercept, standardize):
    X, y = clouds(*shape)
    y = np.where(np.arange(y.size) % 5 == 0, 0, y)  # unbalanced
    options = {"class_weight": class_weight, "fit_intercept": fit_intercept}
    for weights in (None, quarters(y.size)):
        for alpha in (AUTO_ALPHAS, 2.5):
            head = RidgeClassifier(alpha, standardize=standardize, **options).fit(X, y, weights)
            chosen = RidgeClassifierCV(alphas=alpha, **options) if alpha is AUTO_ALPHAS else Theirs(alpha, **options)
            theirs = piped(chosen, standardize)
            theirs.fit(X, y, **weight_arguments(theirs, weights))
            np.testing.assert_allclose(head.decision_function(X), theirs.decision_function(X), rtol=1e-7, atol=1e-8)
            np.testing.assert_array_equal(head.predict(X), theirs.predict(X))
            assert head.coef_.shape == (1 if shape[2] == 2 else shape[2], shape[1])
            if alpha is AUTO_ALPHAS:
                assert head.alpha_ == chosen.alpha_
                if weights is None and class_weight is None:
                    np.testing.assert_allclose(head.best_score_, chosen.best_score_, rtol=1e-7)
            else:
                assert (head.alpha_, head.best_score_) == (2.5, None)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("t", [None, 1, 3])
def test_regressor_is_scikit_learns(t, shape, standardize):
    X, y = clouds(*shape)
    generator = np.random.default_rng(5)
    Y = (X / X.std(axis=0).max()) @ generator.normal(size=(shape[1], t or 1)) + generator.normal(size=(y.size, t or 1))
    Y = Y[:, 0] + 1e6 if t is None else Y
    for weights in (None, quarters(y.size)):
        for fit_intercept in (True, False):
            for alphas in ((0.1, 3.0, 100.0), 2.5):
                head = RidgeRegressor(alphas, standardize=standardize, fit_intercept=fit_intercept).fit(X, Y, weights)
                kind = Ridge if alphas == 2.5 else RidgeCV
                theirs = piped(kind(alphas, fit_intercept=fit_intercept), standardize)
                theirs.fit(X, Y, **weight_arguments(theirs, weights))
                expected = theirs.predict(X)
                size = np.abs(expected).max()
                found = head.predict(X)
                assert found.shape == Y.shape
                np.testing.assert_allclose(found.ravel(), expected.ravel(), rtol=1e-6, atol=1e-7 * size)
                assert head.coef_.shape == (t or 1, shape[1])


def test_left_out_errors_are_those_of_leaving_out():
    X, y = clouds(25, 4, 2)
    target = 2.0 * y - 1.0
    alphas = [0.5, 5.0, 50.0]
    errors = np.zeros(3)
    for i in range(25):
        rest = np.arange(25) != i
        for a, alpha in enumerate(alphas):
            errors[a] += (Ridge(alpha).fit(X[rest], target[rest]).predict(X[i : i + 1])[0] - target[i]) ** 2 / 25
    head = RidgeClassifier(alphas, standardize=False).fit(X, y)
    np.testing.assert_allclose(-head.best_score_, errors.min(), rtol=1e-9)
    assert head.alpha_ == alphas[errors.argmin()]


@pytest.mark.parametrize("n", [100, 30])
def test_several_labels_a_sample(n):
    X, _ = clouds(n, 40)
    Y = np.random.default_rng(1).random((n, 5)) < [0.5, 0.2, 0.8, 0.0, 1.0]
    theirs = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=AUTO_ALPHAS)).fit(X, Y.astype(int))
    for y in (Y, Y.astype(np.uint8), Y.astype(int)):
        head = RidgeClassifier().fit(X, y)
        assert head.multilabel_
        assert head.classes_.tolist() == [0, 1, 2, 3, 4]
        np.testing.assert_allclose(head.decision_function(X), theirs.decision_function(X), atol=1e-9)
        np.testing.assert_array_equal(head.predict(X), theirs.predict(X))
    one = RidgeClassifier().fit(X, Y[:, :1])
    assert one.multilabel_
    assert one.predict(X).shape == one.decision_function(X).shape == (n, 1)
    assert RidgeClassifier().fit(X, Y[:, 0]).decision_function(X).shape == (n,)


@pytest.mark.parametrize("shape", SHAPES)
def test_features_of_other_types_and_mapped_ones(shape, tmp_path, monkeypatch):
    X, y = clouds(*shape, dtype=np.float16)
    expected = RidgeClassifier().fit(X.astype(np.float64), y)
    monkeypatch.setattr(_blocks, "BLOCK_VALUES", 200)
    for features in (X, mapped(X, tmp_path), X.astype(np.float32), mapped(X.astype(np.float32), tmp_path)):
        head = RidgeClassifier().fit(features, y)
        assert head.alpha_ == expected.alpha_
        np.testing.assert_allclose(
            head.decision_function(features), expected.decision_function(X.astype(np.float64)), atol=1e-8
        )


def test_products_in_float32_change_little(monkeypatch):
    X, y = clouds(3000, 30, 4, dtype=np.float32)
    exact = RidgeClassifier().fit(X, y)
    monkeypatch.setattr(_moments, "_EXACT_PRODUCTS", 0)
    head = RidgeClassifier().fit(X, y)
    assert head.alpha_ == exact.alpha_
    np.testing.assert_allclose(head.best_score_, exact.best_score_, rtol=1e-5)
    difference = np.abs(head.decision_function(X) - exact.decision_function(X)).max()
    assert 0 < difference < 1e-4


@settings(max_examples=40)
@given(st.integers(4, 25), st.integers(1, 25), st.integers(2, 4), st.floats(-3, 4), st.booleans(), st.integers(0, 1000))
def test_any_shape_is_scikit_learns(n, d, k, exponent, standardize, seed):
    X, y = clouds(n, d, min(k, n - 1), seed=seed)
    theirs = piped(Theirs(10.0**exponent, solver="svd"), standardize).fit(X, y)
    head = RidgeClassifier(10.0**exponent, standardize=standardize).fit(X, y)
    np.testing.assert_allclose(head.decision_function(X), theirs.decision_function(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0, 1: 1.0, 2: 0.5}])
@pytest.mark.parametrize("d", [7, 90])  # fewer and more than rows, and between
def test_many_fits_are_the_single_ones(d, class_weight):
    X, y = clouds(110, d, 3)
    y[y == 2] = np.where(np.flatnonzero(y == 2) < 60, 2, 1)
    weights = np.random.default_rng(0).uniform(0.5, 2, y.size)
    sets = [*folds(y.size), np.flatnonzero(y != 2), np.arange(100)]
    grid = [(alpha, rows) for alpha in (0.5, 50.0, "auto") for rows in sets]
    for sample_weight in (None, weights):
        heads = [RidgeClassifier(alpha, class_weight=class_weight) for alpha, _ in grid]
        if class_weight == {0: 3.0, 1: 1.0, 2: 0.5}:
            heads[0].standardize = False
        RidgeClassifier.fit_many(heads, X, y, [rows for _, rows in grid], sample_weight)
        for head, (alpha, rows) in zip(heads, grid, strict=True):
            alone = RidgeClassifier(alpha, class_weight=class_weight, standardize=head.standardize)
            alone.fit(X[rows], y[rows], None if sample_weight is None else sample_weight[rows])
            assert head.alpha_ == alone.alpha_
            assert head.classes_.tolist() == alone.classes_.tolist()
            assert head.n_features_in_ == d
            np.testing.assert_allclose(head.decision_function(X), alone.decision_function(X), rtol=1e-8, atol=1e-8)


def test_many_regressions_are_the_single_ones():
    X, _ = clouds(80, 6)
    Y = np.random.default_rng(0).normal(size=(80, 2)) + X[:, :2]
    sets = folds(80)
    heads = [RidgeRegressor(fit_intercept=i % 2 == 0) for i in range(4)]
    RidgeRegressor.fit_many(heads, X, Y, sets)
    for head, rows in zip(heads, sets, strict=True):
        alone = RidgeRegressor(fit_intercept=head.fit_intercept).fit(X[rows], Y[rows])
        np.testing.assert_allclose(head.predict(X), alone.predict(X), rtol=1e-9, atol=1e-9)


def test_penalties_share_a_decomposition(monkeypatch):
    made = []

    class Counted(GramFactors):
        def __init__(self, problem):
            made.append(problem)
            super().__init__(problem)

    monkeypatch.setattr(_ridge, "GramFactors", Counted)
    X, y = clouds()
    sets = folds(y.size, 3)
    heads = [RidgeClassifier(alpha) for alpha in AUTO_ALPHAS for _ in sets]
    RidgeClassifier.fit_many(heads, X, y, sets * len(AUTO_ALPHAS))
    assert len(made) == 3


def test_weights_of_zero_are_rows_left_out():
    X, y = clouds(60, 80, 3)
    weights = (np.arange(60) % 3 > 0).astype(float)
    kept = weights > 0
    for d in (5, 80):
        head = RidgeClassifier().fit(X[:, :d], y, weights)
        alone = RidgeClassifier().fit(X[kept, :d], y[kept])
        assert head.alpha_ == alone.alpha_
        np.testing.assert_allclose(head.best_score_, alone.best_score_, rtol=1e-9)
        np.testing.assert_allclose(head.coef_, alone.coef_, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("alpha", [0, -1.0, "some", None, [], [1.0, 0.0], [[1.0]], np.inf, [1.0, np.nan], ["a"], True])
def test_wrong_penalties_are_refused(alpha):
    X, y = clouds()
    with pytest.raises(ValueError, match="alpha must be auto, a number above 0 or several"):
        RidgeClassifier(alpha).fit(X, y)


def test_one_class_is_refused():
    X, y = clouds()
    with pytest.raises(ValueError, match="greater than one; got 1 class"):
        RidgeClassifier().fit(X, np.zeros_like(y))
    with pytest.raises(ValueError, match="greater than one; got 1 class"):
        RidgeClassifier.fit_many([RidgeClassifier()], X, y, [np.flatnonzero(y == 1)])
