import numpy as np
import pytest
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from featx.heads import _blocks
from featx.heads._centroid import CentroidClassifier
from tests.heads.clouds import clouds, folds, mapped, quarters


@pytest.mark.parametrize("standardize", [True, False])
def test_contract(standardize):
    check_estimator(CentroidClassifier(standardize=standardize), on_skip=None)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_:UserWarning")
@pytest.mark.parametrize("shape", [(120, 7, 3), (120, 7, 2), (30, 60, 4), (50, 1, 2)])
def test_predictions_are_scikit_learns(shape, dtype, standardize):
    X, y = clouds(*shape, dtype=dtype)
    y[y == 1] = 0
    y[5] = 1  # a class of one sample
    wide = X.astype(np.float64)
    theirs = make_pipeline(StandardScaler(with_mean=standardize, with_std=standardize), NearestCentroid()).fit(wide, y)
    head = CentroidClassifier(standardize=standardize).fit(X, y)
    np.testing.assert_array_equal(head.predict(X), theirs.predict(wide))
    np.testing.assert_allclose(head.centroids_, [wide[y == c].mean(axis=0) for c in range(shape[2])], rtol=1e-12)


@pytest.mark.parametrize("standardize", [True, False])
def test_scores_are_squared_distances_up_to_a_term_that_all_share(standardize):
    X, y = clouds(k=4)
    head = CentroidClassifier(standardize=standardize).fit(X, y)
    scale = StandardScaler().fit(X).scale_ if standardize else 1.0
    distances = pairwise_distances(X / scale, head.centroids_ / scale) ** 2
    doubled = 2 * head.decision_function(X) + distances
    np.testing.assert_allclose(doubled, np.broadcast_to(doubled[:, :1], doubled.shape), rtol=1e-9)


def test_weights_are_repeated_rows():
    X, y = clouds()
    weights = np.random.default_rng(0).integers(0, 4, y.size)
    head = CentroidClassifier().fit(X, y, weights)
    repeated = CentroidClassifier().fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(head.coef_, repeated.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(head.intercept_, repeated.intercept_, rtol=1e-9)
    with pytest.raises(ValueError, match="every class must have a row with a weight above 0"):
        CentroidClassifier().fit(X, y, (y > 0).astype(float))


def test_many_fits_are_the_single_ones():
    X, y = clouds()
    sets = [*folds(y.size), np.flatnonzero(y != 1)]
    weights = quarters(y.size)
    heads = [CentroidClassifier(standardize=i % 2 == 0) for i in range(len(sets))]
    CentroidClassifier.fit_many(heads, X, y, sets, weights)
    for head, rows in zip(heads, sets, strict=True):
        alone = CentroidClassifier(standardize=head.standardize).fit(X[rows], y[rows], weights[rows])
        assert head.classes_.tolist() == alone.classes_.tolist()
        np.testing.assert_allclose(head.decision_function(X), alone.decision_function(X), rtol=1e-9, atol=1e-9)


def test_features_of_other_types_and_mapped_ones(tmp_path, monkeypatch):
    X, y = clouds(dtype=np.float16)
    expected = CentroidClassifier().fit(X.astype(np.float64), y).decision_function(X.astype(np.float64))
    monkeypatch.setattr(_blocks, "BLOCK_VALUES", 200)
    for features in (X, mapped(X, tmp_path), X.astype(np.float32)):
        np.testing.assert_allclose(CentroidClassifier().fit(features, y).decision_function(features), expected)
