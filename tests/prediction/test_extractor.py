import pickle

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator

import featx
from featx.errors import BackboneError, ParameterError, SampleError
from featx.prediction import FeatureExtractor
from tests.tiny import BACKBONE, tiny_net, write_folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), per_class=8)


@pytest.fixture(scope="module")
def files(photos):
    return sorted(photos.rglob("*.png"))


@pytest.fixture(scope="module")
def labels(files):
    return np.array([file.parent.name for file in files])


@pytest.mark.filterwarnings("ignore:Can't test estimator:sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_own_checks():
    """Those for images are few: most of scikit-learn's want a matrix of numbers as X."""
    results = check_estimator(FeatureExtractor(BACKBONE), on_fail=None, on_skip=None)
    assert {result["check_name"]: result["exception"] for result in results if result["status"] != "passed"} == {}


@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
        "check_valid_tag_types",
        "check_mixin_order",
    ],
)
def test_the_checks_that_need_no_matrix(check):
    getattr(estimator_checks, check)("FeatureExtractor", FeatureExtractor(BACKBONE))


def test_features_of_views_are_averaged(photos, files, tmp_path):
    views = {"views": 3, "augment": "rotate(20) hflip", "augment_seed": 2}
    store = featx.extract(photos, BACKBONE, cache=tmp_path, **views)
    features = FeatureExtractor(BACKBONE, **views).fit_transform(files)
    np.testing.assert_allclose(features, store.features.mean(axis=1), rtol=1e-5, atol=1e-6)
    with pytest.raises(ParameterError, match="views 3 needs augment"):
        FeatureExtractor(BACKBONE, views=3).fit()


def test_features_are_those_of_extract(photos, files, tmp_path):
    store = featx.extract(photos, BACKBONE, layer="conv2", pool="max", image_size=24, cache=tmp_path)
    extractor = FeatureExtractor(BACKBONE, layer="conv2", pool="max", image_size=24, batch_size=5, workers=1)
    X = extractor.fit_transform(files)
    assert [photos / key for key in store.keys] == files
    np.testing.assert_allclose(X, store.features, rtol=1e-4, atol=1e-5)
    assert extractor.spec_ == store.spec
    assert extractor.n_features_out_ == X.shape[1] == 16


def test_in_a_pipeline(files, labels):
    model = Pipeline([("features", FeatureExtractor(BACKBONE)), ("head", LogisticRegression())])
    model.fit(files[::2], labels[::2])
    X = FeatureExtractor(BACKBONE).transform(files)
    reference = LogisticRegression().fit(X[::2], labels[::2])
    np.testing.assert_allclose(model.predict_proba(files[1::2]), reference.predict_proba(X[1::2]), rtol=1e-3, atol=1e-5)


def test_in_a_search(files, labels):
    model = make_pipeline(FeatureExtractor(BACKBONE), LogisticRegression())
    paths = np.array([str(file) for file in files])
    search = GridSearchCV(model, {"featureextractor__layer": ["conv2", "output"]}, cv=2).fit(paths, labels)
    assert set(search.best_params_) == {"featureextractor__layer"}
    assert search.score(paths, labels) > 0.8


def test_a_clone_is_as_new(files):
    extractor = FeatureExtractor(BACKBONE, layer="conv2", pool="avg").fit()
    copy = clone(extractor)
    assert copy.get_params() == extractor.get_params()
    assert not hasattr(copy, "spec_")
    np.testing.assert_array_equal(copy.transform(files), extractor.transform(files))


def test_new_parameters_count_after_the_next_fit(files):
    extractor = FeatureExtractor(BACKBONE, layer="conv2").fit()
    extractor.set_params(layer="output").fit()
    np.testing.assert_array_equal(extractor.transform(files), FeatureExtractor(BACKBONE).transform(files))


def test_it_can_be_pickled_fitted_or_not(files):
    expected = FeatureExtractor(BACKBONE).transform(files)
    for extractor in (FeatureExtractor(BACKBONE), FeatureExtractor(BACKBONE).fit()):
        back = pickle.loads(pickle.dumps(extractor))
        np.testing.assert_array_equal(back.transform(files), expected)
    assert len(pickle.dumps(FeatureExtractor(BACKBONE).fit())) < 5_000  # the network is loaded, not carried


def test_a_network_as_an_object(files):
    expected = FeatureExtractor(BACKBONE).transform(files)
    np.testing.assert_array_equal(FeatureExtractor(tiny_net()).transform(files), expected)


def test_arrays_sources_and_a_single_image(photos, files):
    extractor = FeatureExtractor(BACKBONE)
    expected = extractor.transform(files)
    np.testing.assert_array_equal(extractor.transform(featx.open_source(photos)), expected)
    images = np.stack([np.asarray(Image.open(file)) for file in files])
    np.testing.assert_array_equal(extractor.transform(images), expected)


def test_rows_are_never_left_out(files, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.touch()
    with pytest.raises(SampleError, match=r"bad\.jpg' cannot be used \(.+\): leave it out of X and y"):
        FeatureExtractor(BACKBONE).transform([files[0], bad])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"backbone": "resnet5o"}, BackboneError, "resnet5o"),
        ({"layer": "nowhere"}, BackboneError, "nowhere"),
        ({"device": "tpu"}, ParameterError, "device must be"),
        ({"precision": "int4"}, ParameterError, "precision must be"),
    ],
)
def test_wrong_parameters_are_told_by_fit_and_not_before(parameters, error, message):
    extractor = FeatureExtractor(**{"backbone": BACKBONE, **parameters})
    with pytest.raises(error, match=message):
        extractor.fit()
