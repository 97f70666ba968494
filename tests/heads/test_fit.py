"""Every head against scikit-learn's own result, and what is refused before and after."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier, RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from featx.errors import HeadError
from featx.heads import CentroidClassifier, fit_head, head_scores, list_heads, make_head

NAMES = [info.name for info in list_heads()]

REFERENCES = {
    "knn": lambda: KNeighborsClassifier(10, metric="cosine"),
    "linear_svm": lambda: make_pipeline(
        StandardScaler(), LinearSVC(C=0.001, dual=True, max_iter=10_000, random_state=3)
    ),
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(tol=1e-6, max_iter=5000)),
    "mlp": lambda: make_pipeline(
        StandardScaler(), MLPClassifier((128,), alpha=1.0, tol=1e-3, max_iter=500, random_state=3)
    ),
    "nearest_centroid": lambda: make_pipeline(StandardScaler(), NearestCentroid()),
    "ridge": lambda: make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=(0.1, 1, 10, 100, 1e3, 1e4, 1e5))),
}


def data(k, n=120, d=12, seed=0, dtype=np.float64, spread=1.5):
    generator = np.random.default_rng(seed)
    y = np.arange(n) % k
    centres = generator.normal(size=(k, d)) * spread
    X = np.abs(generator.normal(size=(n, d)) + centres[y]) * np.logspace(-1, 2, d)
    return X.astype(dtype), y


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_equals_scikit_learn(name, k, dtype):
    X, y = data(k, dtype=dtype)
    new, _ = data(k, seed=1, dtype=dtype)
    reference = REFERENCES[name]().fit(X, y)
    head = make_head(name, seed=3)
    report = fit_head(head, X, y)
    assert (report.n_samples, report.n_features, report.classes, report.warnings) == (120, 12, list(range(k)), [])
    assert report.seconds >= 0
    assert head.classes_.dtype.kind == "i"
    np.testing.assert_array_equal(head.predict(new), reference.predict(new))
    scores, is_probability = head_scores(head, new)
    assert scores.shape == (120, k)
    assert scores.dtype == np.float64
    assert is_probability == next(info.probabilities for info in list_heads() if info.name == name)
    np.testing.assert_array_equal(head.classes_[scores.argmax(axis=1)], reference.predict(new))
    if is_probability:
        np.testing.assert_allclose(scores, reference.predict_proba(new), atol=1e-6 if dtype == np.float32 else 0)
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-15)
    elif name != "nearest_centroid":
        theirs = reference.decision_function(new)
        np.testing.assert_array_equal(scores, np.stack([-theirs, theirs], axis=1) if k == 2 else theirs)


def test_logistic_reaches_the_optimum():
    X, y = data(3, n=300, d=40)
    for scale in (1e-3, 1.0, 1e4):
        head = make_head("logistic")
        assert fit_head(head, X * scale, y).warnings == []
        scaled = StandardScaler().fit_transform(X)
        best = LogisticRegression(tol=1e-10, max_iter=100_000).fit(scaled, y)

        def objective(model, scaled=scaled):
            probabilities = model.predict_proba(scaled)[np.arange(300), y]
            return -np.log(probabilities).sum() + 0.5 * (model.coef_**2).sum()

        assert objective(head[-1]) <= objective(best) * (1 + 1e-4)


def test_ridge_with_one_alpha():
    X, y = data(3)
    head = make_head("ridge", {"alpha": 7.0})
    fit_head(head, X, y)
    reference = make_pipeline(StandardScaler(), RidgeClassifier(alpha=7.0)).fit(X, y)
    np.testing.assert_array_equal(head.decision_function(X), reference.decision_function(X))


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_not_widened_and_float16_becomes_float32(name):
    X, y = data(3, dtype=np.float32)
    half = (X / 10).astype(np.float16)
    one, other = make_head(name), make_head(name)
    fit_head(one, half, y)
    fit_head(other, half.astype(np.float32), y)
    np.testing.assert_array_equal(head_scores(one, half)[0], head_scores(other, half.astype(np.float32))[0])
    if name in ("logistic", "ridge"):
        assert other[-1].coef_.dtype == np.float32


@pytest.mark.parametrize("name", ["linear_svm", "logistic", "nearest_centroid", "ridge"])
@pytest.mark.parametrize("standardize", [True, False])
def test_a_weight_of_two_is_a_row_given_twice(name, standardize):
    X, y = data(3, n=60)
    weights = 1 + (np.arange(60) % 4 == 0)
    params = {"standardize": standardize, **({"tol": 1e-8} if name in ("logistic", "linear_svm") else {})}
    if name == "ridge":
        params["alpha"] = 1.0  # leaving out one row of two equal ones is another thing than leaving out one of weight 2
    if not standardize:
        X = StandardScaler().fit_transform(X)
    weighted, repeated = make_head(name, params), make_head(name, params)
    assert fit_head(weighted, X, y, sample_weight=weights).warnings == []
    fit_head(repeated, np.repeat(X, weights, axis=0), np.repeat(y, weights))
    atol = 1e-3 if name in ("logistic", "linear_svm") else 1e-8
    np.testing.assert_allclose(weighted.decision_function(X), repeated.decision_function(X), atol=atol)


@pytest.mark.parametrize("weights", [np.ones(59), np.ones((60, 1)), -np.ones(60), np.full(60, np.nan), ["a"] * 60])
def test_bad_weights(weights):
    X, y = data(3, n=60)
    with pytest.raises(HeadError, match="sample_weight must be"):
        fit_head(make_head("logistic"), X, y, sample_weight=weights)


def test_weights_that_leave_one_class():
    X, y = data(3, n=60)
    with pytest.raises(HeadError, match="two classes"):
        fit_head(make_head("logistic"), X, y, sample_weight=(y == 0).astype(float))


def test_weights_for_a_head_without():
    X, y = data(3, n=60)
    for params in ({}, {"standardize": True}):
        with pytest.raises(HeadError, match="KNeighborsClassifier cannot use sample_weight"):
            fit_head(make_head("knn", params), X, y, sample_weight=np.ones(60))


def test_missing_classes_keep_their_labels():
    X, y = data(3)
    labels = np.array([1, 4, 7])[y]
    for name in NAMES:
        head = make_head(name)
        assert fit_head(head, X, labels).classes == [1, 4, 7]
        assert head.classes_.tolist() == [1, 4, 7]
        assert set(head.predict(X)) <= {1, 4, 7}
        assert head_scores(head, X)[0].shape == (120, 3)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.zeros((6, 2, 2, 3), np.float32), "flatten or pool"),
        (np.zeros((6, 2, 3), np.float32), "flatten or pool"),
        (np.zeros(6), "must be a matrix"),
        (np.zeros((6, 0)), "must be a matrix"),
        (np.zeros((6, 3), int), "float type; got int64"),
        (np.full((6, 3), "x"), "float type"),
        (np.zeros((6, 3), object), "float type"),
        (np.zeros((6, 3), complex), "float type"),
        (np.zeros((5, 3)), "one label for each of the 5 rows"),
        (np.array([[0.0], [np.nan], [0], [np.inf], [0], [-np.inf]]), r"nan or inf in 3 of 6 rows \(1, 3, 5\)"),
    ],
)
def test_bad_features(X, words):
    with pytest.raises(HeadError, match=words):
        fit_head(make_head("logistic"), X, np.arange(6) % 2)


def test_of_many_rows_that_are_not_finite_five_are_named(monkeypatch):
    monkeypatch.setattr("featx.heads._fitting._BLOCK_VALUES", 8)
    X, y = data(2)
    X[[3, 50, 51, 52, 90, 119], 5] = np.nan
    with pytest.raises(HeadError, match=r"in 6 of 120 rows \(3, 50, 51, 52, 90, \.\.\.\): leave these out"):
        fit_head(make_head("logistic"), X, y)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([0, 0, 0, 0], "two classes or more; got 1 .only label 0. in 4 rows"),
        ([0, 1, 0], "one label for each of the 4 rows"),
        ([[0], [1], [0], [1]], "one label for each"),
        ([0.0, 1, 0, 1], "must be integers"),
        ([True, False, True, False], "must be integers"),
        (["a", "b", "a", "b"], "must be integers"),
        ([0, 1, -1, 1], "0 or more; got -1 in row 2"),
    ],
)
def test_bad_labels(y, words):
    with pytest.raises(HeadError, match=words):
        fit_head(make_head("logistic"), np.eye(4), y)


def test_no_rows():
    with pytest.raises(HeadError, match="got 0 in 0 rows"):
        fit_head(make_head("logistic"), np.empty((0, 3)), np.empty(0, int))


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("logistic", {"C": "big"}, "LogisticRegression cannot be fitted: The 'C' parameter"),
        ("logistic", {"C": -1.0}, "The 'C' parameter"),
        ("logistic", {"solver": "liblinear"}, "liblinear"),
        ("knn", {"n_neighbors": 500}, "n_neighbors"),
        ("knn", {"metric": "nonsense"}, "metric"),
        ("mlp", {"hidden_layer_sizes": "wide"}, "MLPClassifier cannot be fitted"),
        ("sklearn.svm.SVC", {"kernel": "precomputed"}, "SVC cannot be fitted"),
        ("sklearn.naive_bayes.MultinomialNB", {"standardize": True}, "Negative values"),
        ("sklearn.multioutput.MultiOutputClassifier", {"estimator": LogisticRegression()}, "cannot be fitted"),
    ],
)
def test_what_scikit_learn_refuses_is_one_line(name, params, words):
    X, y = data(3)
    with pytest.raises(HeadError) as caught:
        fit_head(make_head(name, params), X, y)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_warnings_become_text():
    X, y = data(3)
    report = fit_head(make_head("logistic", {"max_iter": 1}), X, y)
    assert len(report.warnings) == 1
    assert "failed to converge" in report.warnings[0]
    assert "\n" not in report.warnings[0]
    assert len(report.warnings[0]) <= 310


def test_a_constant_feature_is_no_trouble():
    X, y = data(3)
    X[:, 2] = 0
    X[:, 4] = 7.5
    for name in NAMES:
        assert fit_head(make_head(name), X, y).warnings == []


def test_fit_head_needs_an_estimator():
    with pytest.raises(HeadError, match="must be an estimator of make_head; got int"):
        fit_head(3, np.eye(4), [0, 1, 0, 1])


def test_scores_of_heads_without_probabilities():
    X, y = data(2)
    head = make_head("sklearn.svm.LinearSVC", {"standardize": True})
    fit_head(head, X, y)
    decision = head.decision_function(X)
    scores, is_probability = head_scores(head, X)
    assert not is_probability
    np.testing.assert_array_equal(scores, np.stack([-decision, decision], axis=1))

    X, y = data(4)
    pairs = make_head("sklearn.svm.SVC", {"decision_function_shape": "ovo", "standardize": True})
    fit_head(pairs, X, y)
    scores, is_probability = head_scores(pairs, X)
    assert not is_probability
    np.testing.assert_array_equal(scores, np.eye(4)[pairs.predict(X)])


def test_scores_are_checked():
    X, y = data(3)
    head = make_head("logistic")
    fit_head(head, X, y)
    with pytest.raises(HeadError, match="must have 12 columns, as the head was trained on; got 11"):
        head_scores(head, X[:, 1:])
    with pytest.raises(HeadError, match="nan or inf in 1 of 1 rows"):
        head_scores(head, np.full((1, 12), np.nan))
    with pytest.raises(HeadError, match="flatten or pool"):
        head_scores(head, X[:, :, None])
    head[-1].coef_ = np.full((3, 12), np.nan)
    with pytest.raises(HeadError, match="finite scores"):
        head_scores(head, X)
    head[-1].coef_ = np.zeros((3, 5))
    with pytest.raises(HeadError, match="LogisticRegression cannot answer"):
        head_scores(head, X)


def test_scores_of_no_rows():
    X, y = data(3)
    for name in NAMES:
        head = make_head(name)
        fit_head(head, X, y)
        assert head_scores(head, X[:0])[0].shape == (0, 3)
        assert head_scores(head, X[:0])[1] == head_scores(head, X)[1]


def test_seeds_repeat_and_differ():
    X, y = data(3)
    scores = []
    for seed in (0, 0, 1):
        head = make_head("mlp", {"max_iter": 5, "tol": 0.0}, seed=seed)
        fit_head(head, X, y)
        scores.append(head_scores(head, X)[0])
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2])


def test_centroids_keep_the_contract():
    for result in check_estimator(CentroidClassifier(), on_fail=None, on_skip=None):
        assert result["status"] in ("passed", "skipped"), result


def test_centroid_of_a_class_without_weight():
    X, y = data(3)
    with pytest.raises(HeadError, match="every class must have a row with a weight above 0"):
        fit_head(make_head("nearest_centroid"), X, y, sample_weight=(y > 0).astype(float))
