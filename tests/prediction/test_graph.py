"""Heads as torch modules give what the heads give."""

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from featx import heads
from featx.errors import HeadError
from featx.extraction._capture import silence
from featx.heads import LinearClassifier, LinearRegressor, calibrate_head, head_scores, head_values
from featx.prediction._graph import head_module


def clouds(n=60, d=7, k=3, seed=0):
    """Return float32 features of very different sizes, and classes that overlap."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % k
    centres = np.random.default_rng(7).standard_normal((k, d))
    X = (centres[labels] + generator.standard_normal((n, d))) * np.logspace(-1, 2, d) + 3
    return X.astype(np.float32), labels.astype(np.int64)


def linear(k, link="none", d=7, **options):
    X, _ = clouds(d=d)
    rows = 1 if k == 2 and not options.get("multilabel") else k
    coef = np.random.default_rng(3).standard_normal((rows, d)) / X.std(axis=0)
    return LinearClassifier(coef, -coef @ X.mean(axis=0, dtype=np.float64), np.arange(k), link=link, **options)


def check(head, X, *, close=1e-5):
    """Hold the module's answers against the head's, whose rows must differ."""
    expected = head_scores(head, X)[0] if hasattr(head, "classes_") else head_values(head, X)
    with torch.inference_mode():
        got = head_module(head)(torch.from_numpy(X))
    assert got.dtype == torch.float32
    assert np.ptp(expected, axis=0).min() > 1e-2
    np.testing.assert_allclose(got.numpy(), expected, rtol=close, atol=close)


NEW = clouds(200, seed=1)[0]


@pytest.mark.parametrize(("k", "link"), [(2, "sigmoid"), (2, "none"), (3, "softmax"), (5, "none")])
def test_linear_classifiers(k, link):
    check(linear(k, link), NEW)


@pytest.mark.parametrize("link", ["sigmoid", "none"])
@pytest.mark.parametrize("k", [2, 4])
def test_linear_heads_of_several_labels(k, link):
    check(linear(k, link, multilabel=True), NEW)


@pytest.mark.parametrize("targets", [1, 3])
def test_linear_regressors(targets):
    of = linear(3)
    check(LinearRegressor(of.coef_[:targets], of.intercept_[:targets]), NEW)


@pytest.mark.parametrize("loss", ["auto", "binary", "categorical"])
@pytest.mark.parametrize("standardize", [True, False])
def test_nets_of_two_classes(loss, standardize):
    X, y = clouds(k=2)
    net = heads.NetClassifier("dense(6) relu dense", loss=loss, standardize=standardize, max_epochs=3, random_state=0)
    check(net.fit(X, y), NEW)


def test_nets():
    X, y = clouds()
    settings = {"layers": "dense(6) batchnorm relu dropout(0.5) dense", "max_epochs": 3, "random_state": 0}
    check(heads.NetClassifier(**settings).fit(X, y), NEW)
    check(heads.NetClassifier(**settings).fit(X, np.eye(3, dtype=np.int64)[y][:, :2]), NEW)
    check(heads.NetRegressor(**settings).fit(X, 100.0 * y), NEW, close=1e-4)
    check(heads.NetRegressor(**settings).fit(X, np.stack([y, 7.0 - y], axis=1)), NEW, close=1e-4)


def test_nets_on_maps():
    generator = np.random.default_rng(0)
    maps = generator.standard_normal((40, 4, 4, 3)).astype(np.float32)
    y = (maps[:, :, :, 0].mean((1, 2)) > 0).astype(np.int64)
    net = heads.NetClassifier("conv(5,2) relu gap dense", max_epochs=5, random_state=0).fit(maps, y)
    check(net, generator.standard_normal((20, 4, 4, 3)).astype(np.float32))


@pytest.mark.parametrize("k", [2, 4])
def test_gaussian_naive_bayes(k):
    X, y = clouds(k=k)
    check(heads.GaussianNBClassifier().fit(X, y), NEW)
    far = X + np.float32(1000)
    check(heads.GaussianNBClassifier().fit(far, y), NEW + np.float32(1000))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("standardize", [True, False])
def test_nearest_neighbours(metric, weights, standardize):
    X, y = clouds(80)
    X[3], X[40:42] = 0, X[:2]  # a row without direction, and rows that are there twice under other labels
    queries = np.concatenate([NEW, np.delete(X, 3, axis=0)])
    settings = {"n_neighbors": 5, "metric": metric, "weights": weights, "standardize": standardize}
    check(heads.KNNClassifier(**settings).fit(X, y), queries)
    check(heads.KNNClassifier(**settings).fit(X, np.eye(3, dtype=np.int64)[y][:, :2]), queries)
    check(heads.KNNRegressor(**settings).fit(X, y + 0.5), queries)
    check(heads.KNNRegressor(**settings).fit(X, np.stack([y, 7.0 - y], axis=1)), queries)
    row_weights = np.random.default_rng(0).integers(0, 4, 80) / 2
    check(heads.KNNClassifier(**settings).fit(X, y, sample_weight=row_weights), queries)


def test_equal_neighbours_vote_in_onnx_as_in_featx():
    X, y = clouds(80)
    X[40:80] = X[:40]
    head = heads.KNNClassifier(3).fit(X, y)
    captured = torch.export.export(head_module(head), (torch.from_numpy(NEW),), strict=False)
    with silence():
        program = torch.onnx.export(captured, dynamo=True, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (got,) = session.run(None, {session.get_inputs()[0].name: NEW})
    np.testing.assert_allclose(got, head.predict_proba(NEW), atol=1e-5)


def test_as_many_neighbours_as_rows():
    X, y = clouds(12)
    check(heads.KNNClassifier(12, weights="distance").fit(X, y), NEW)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("method", ["temperature", "isotonic"])
@pytest.mark.parametrize("kind", ["scores", "probabilities", "net"])
def test_calibrated_heads(k, method, kind):
    X, _ = clouds(300, k=k, seed=2)
    inner = linear(k, "none" if kind == "scores" else "sigmoid" if k == 2 else "softmax")
    if kind == "net":
        inner = heads.NetClassifier("dense(6) relu dense", max_epochs=3, random_state=0).fit(*clouds(k=k))
    scores, _ = head_scores(inner, X)
    y = (scores + np.random.default_rng(0).gumbel(size=scores.shape)).argmax(axis=1)
    head = calibrate_head(inner, scores, y, method=method)
    check(head, NEW, close=1e-4 if kind == "net" else 1e-5)


def test_isotonic_steps_narrower_than_float32():
    from featx.heads._calibration import CalibratedHead, Isotonic

    sure = LinearClassifier([[1.0]], [0.0], [0, 1], link="sigmoid")
    X = np.linspace(14, 20, 50, dtype=np.float32)[:, None]
    likely = head_scores(sure, X)[0][:, 1]
    knots = np.sort(likely)[[0, 10, 11, 30, 31, 49]]
    head = CalibratedHead(sure, Isotonic(((knots, np.array([0.1, 0.2, 0.5, 0.6, 0.9, 1.0])),)))
    check(head, X)


def test_an_isotonic_function_of_one_knot_and_classes_that_all_have_probability_0():
    from featx.heads._calibration import CalibratedHead, Isotonic

    inner = linear(3)
    flat = (np.array([0.0]), np.array([0.25]))
    rising = (np.array([-1.0, 1.0]), np.array([0.0, 1.0]))
    check(CalibratedHead(inner, Isotonic((flat, rising, rising))), NEW)
    zero = (np.array([-1e3, 10.0, 11.0]), np.array([0.0, 0.0, 1.0]))
    head = CalibratedHead(inner, Isotonic((zero, zero, zero)))
    with torch.inference_mode():
        got = head_module(head)(torch.from_numpy(NEW)).numpy()
    np.testing.assert_allclose(got, head_scores(head, NEW)[0], atol=1e-6)
    assert (got == np.float32(1 / 3)).all(axis=1).any()


def test_others_are_refused():
    X, y = clouds()
    message = (
        r"^the answers of RandomForestClassifier cannot be written as operations of ONNX: fit another head, such as"
        r" logistic, ridge, knn or mlp, or predict with featx$"
    )
    with pytest.raises(HeadError, match=message):
        head_module(RandomForestClassifier(3, random_state=0).fit(X, y))
