"""Maps: PCA is scikit-learn's, others are theirs from its components, and what a page can name is where it is drawn."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.decomposition import PCA

from featx.errors import MissingDependencyError, ParameterError
from featx.plots import axes_box, feature_map
from featx.reports._map import check_method, map_points, map_spots
from featx.reports._sketch import sketch_of
from tests.reports.test_sketch import features


def test_pca_is_scikit_learns_up_to_signs():
    X = features(120, 90)
    found = map_points(sketch_of(X), "pca")
    wanted = PCA(2, svd_solver="full").fit_transform(X.astype(np.float64))
    np.testing.assert_allclose(found * np.sign((found * wanted).sum(axis=0)), wanted, atol=1e-3)
    some = map_points(sketch_of(X), "pca", rows=np.array([5, 3]))
    np.testing.assert_array_equal(some, found[[5, 3]])


def test_one_feature_is_a_line():
    found = map_points(sketch_of(features(9, 1)), "pca")
    assert found.shape == (9, 2)
    assert not found[:, 1].any()


@pytest.mark.parametrize("method", ["tsne", pytest.param("umap", marks=pytest.mark.slow)])
def test_clouds_stay_apart_and_a_seed_gives_one_map(method):
    pytest.importorskip("umap" if method == "umap" else "sklearn")
    X = np.concatenate([features(30, 20) + 30 * np.eye(20, dtype=np.float32)[i] for i in range(2)])
    sketch = sketch_of(X)
    found = map_points(sketch, method, seed=3)
    centres = found[:30].mean(axis=0), found[30:].mean(axis=0)
    own = max(np.linalg.norm(found[30 * i :][:30] - centres[i], axis=1).max() for i in range(2))
    assert np.linalg.norm(centres[0] - centres[1]) > own
    np.testing.assert_array_equal(map_points(sketch, method, seed=3), found)


def test_umap_is_given_fifty_components_and_the_seed(monkeypatch):
    given = {}

    class UMAP:
        def __init__(self, **settings):
            given.update(settings)

        def fit_transform(self, X):
            given["X"] = X
            return X[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    sketch = sketch_of(features(100, 90))
    found = map_points(sketch, "umap", rows=np.arange(12), seed=7)
    np.testing.assert_array_equal(given.pop("X"), sketch.scores[:12, :50])
    np.testing.assert_array_equal(found, sketch.scores[:12, :2])
    assert given == {"n_neighbors": 11, "random_state": 7, "n_jobs": 1}


def test_methods_that_are_not_there_are_told(monkeypatch):
    with pytest.raises(ParameterError, match="method must be one of pca, tsne, umap; got 'tsn'; did you mean 'tsne'"):
        check_method("tsn", 100)
    with pytest.raises(ParameterError, match="method umap needs at least 10 samples; got 9: take pca"):
        check_method("umap", 9)
    check_method("pca", 1)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match=r"pip install featx\[umap\]"):
        check_method("umap", 10)


def test_spots_are_where_the_points_are_drawn():
    from tests.plots.helpers import draw

    points = np.random.default_rng(0).standard_normal((40, 2))
    figure = feature_map(points, np.arange(40) % 2, ("a", "b"))
    draw(figure)
    spots = map_spots(axes_box(figure), points[:3], [["x\n", "y"]] * 3, [None, "data:,", None])
    width, height = figure.bbox.width, figure.bbox.height
    pixels = figure.axes[0].transData.transform(points[:3])
    np.testing.assert_allclose([spot[0] for spot in spots], pixels[:, 0] / width, atol=1e-4)
    np.testing.assert_allclose([spot[1] for spot in spots], 1 - pixels[:, 1] / height, atol=1e-4)
    assert [spot[2:] for spot in spots] == [[["x\\n", "y"], None], [["x\\n", "y"], "data:,"], [["x\\n", "y"], None]]
