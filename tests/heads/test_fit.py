"""Every head against scikit-learn's own result, and what is refused before and after."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier, RidgeClassifierCV, RidgeCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from featx.errors import HeadError
from featx.heads import fit_head, head_scores, head_values, list_heads, make_head
from tests.heads.helpers import NETS, as_input, data, named, numbers, several_labels

ALPHAS = (0.1, 1, 10, 100, 1e3, 1e4, 1e5)
TOLERANCES = {"logistic": {"tol": 1e-10, "max_iter": 1000}}

REFERENCES = {
    "gaussian_nb": lambda: GaussianNB(),
    "knn": lambda: KNeighborsClassifier(10, metric="cosine"),
    "lda": lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    "linear_svm": lambda: make_pipeline(
        StandardScaler(), LinearSVC(C=0.001, dual=True, max_iter=10_000, random_state=3)
    ),
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10, max_iter=50_000)),
    "nearest_centroid": lambda: make_pipeline(StandardScaler(), NearestCentroid()),
    "ridge": lambda: make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=ALPHAS)),
}
LABELS = {
    "knn": lambda: KNeighborsClassifier(10, metric="cosine"),
    "linear_svm": lambda: make_pipeline(
        StandardScaler(), OneVsRestClassifier(LinearSVC(C=0.001, dual=True, max_iter=10_000, random_state=3))
    ),
    "logistic": lambda: make_pipeline(
        StandardScaler(), OneVsRestClassifier(LogisticRegression(tol=1e-10, max_iter=50_000))
    ),
    "ridge": lambda: make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=ALPHAS)),
}
VALUES = {
    "knn": lambda: KNeighborsRegressor(10, metric="cosine"),
    "ridge": lambda: make_pipeline(StandardScaler(), RidgeCV(alphas=ALPHAS)),
}


NAMES = [info.name for info in list_heads()]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("name", REFERENCES)
def test_equals_scikit_learn(name, k, dtype):
    X, y = data(k, dtype=dtype)
    new, _ = data(k, seed=1, dtype=dtype)
    reference = REFERENCES[name]().fit(X.astype(np.float64), y)
    head = make_head(name, TOLERANCES.get(name), seed=3)
    report = fit_head(head, X, y)
    assert (report.n_samples, report.n_features, report.classes, report.warnings) == (120, 12, list(range(k)), [])
    assert (report.task, report.history, report.converged) == ("classification", (), True)
    assert report.seconds >= 0
    assert head.classes_.dtype.kind == "i"
    np.testing.assert_array_equal(head.predict(new), reference.predict(new))
    scores, is_probability = head_scores(head, new)
    assert scores.shape == (120, k)
    assert scores.dtype == np.float64
    assert is_probability == next(info.probabilities for info in list_heads() if info.name == name)
    np.testing.assert_array_equal(head.classes_[scores.argmax(axis=1)], reference.predict(new))
    single = dtype == np.float32
    if is_probability:
        np.testing.assert_allclose(scores, reference.predict_proba(new), atol=2e-4 if single else 5e-5)
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-14)
    elif name != "nearest_centroid":
        theirs = reference.decision_function(new)
        theirs = np.stack([-theirs, theirs], axis=1) if k == 2 else theirs
        np.testing.assert_allclose(scores, theirs, rtol=1e-4 if single else 1e-8, atol=1e-4 if single else 1e-8)


@pytest.mark.parametrize("name", LABELS)
def test_several_labels_a_sample_equal_scikit_learn(name):
    X, y = data(3)
    new, _ = data(3, seed=1)
    Y = several_labels(X, y)
    reference = LABELS[name]().fit(X, Y.astype(int))
    head = make_head(name, TOLERANCES.get(name), seed=3, task="multilabel")
    report = fit_head(head, X, Y)
    assert (report.task, report.classes, report.n_features) == ("multilabel", [0, 1, 2], 12)
    assert report.warnings == []
    np.testing.assert_array_equal(head.predict(new), reference.predict(new))
    scores, is_probability = head_scores(head, new)
    assert scores.shape == (120, 3)
    assert is_probability == next(info.probabilities for info in list_heads() if info.name == name)
    np.testing.assert_array_equal(scores > (0.5 if is_probability else 0), reference.predict(new))
    if name == "knn":  # whose probabilities scikit-learn gives label by label
        theirs = np.stack([column[:, 1] for column in reference.predict_proba(new)], axis=1)
    else:
        theirs = reference.predict_proba(new) if is_probability else reference.decision_function(new)
    np.testing.assert_allclose(scores, theirs, atol=5e-5)


@pytest.mark.parametrize("t", [1, 2])
@pytest.mark.parametrize("name", VALUES)
def test_numbers_equal_scikit_learn(name, t):
    X, _ = data(3)
    new, _ = data(3, seed=1)
    y = numbers(X)[:, :t]
    reference = VALUES[name]().fit(X, y.ravel() if t == 1 else y)
    for given in (y, y.ravel()) if t == 1 else (y,):
        head = make_head(name, task="regression")
        report = fit_head(head, X, given)
        assert (report.task, report.classes, report.warnings) == ("regression", [], [])
        values = head_values(head, new)
        assert values.shape == (120, t)
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, reference.predict(new).reshape(120, t), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NETS)
def test_nets_learn_every_task(name):
    X, y = data(3)
    shown = as_input(name, X)
    for task, targets in (("classification", y), ("multilabel", several_labels(X, y)), ("regression", numbers(X))):
        head = named(name, {"max_epochs": 12, "learning_rate": 0.01}, task=task, seed=1)
        report = fit_head(head, shown, targets)
        assert (report.task, report.n_features) == (task, shown[0].size)
        assert [epoch["epoch"] for epoch in report.history] == list(range(1, 13))
        assert report.history[-1]["loss"] < 0.8 * report.history[0]["loss"]
        if task == "regression":
            answers = head_values(head, shown)
            assert np.corrcoef(answers[:, 0], targets[:, 0])[0, 1] > 0.5
            continue
        answers, is_probability = head_scores(head, shown)
        assert is_probability
        if task == "multilabel":
            assert np.mean((answers > 0.5) == targets) > 0.7
        else:
            np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-12)
            assert np.mean(answers.argmax(axis=1) == y) > 0.7


def test_ridge_with_one_alpha():
    X, y = data(3)
    head = make_head("ridge", {"alpha": 7.0})
    fit_head(head, X, y)
    reference = make_pipeline(StandardScaler(), RidgeClassifier(alpha=7.0)).fit(X, y)
    np.testing.assert_allclose(head.decision_function(X), reference.decision_function(X), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_float16_is_taken_as_float32(name):
    X, y = data(3, dtype=np.float32)
    half = as_input(name, (X / 10).astype(np.float16))
    one, other = named(name), named(name)
    fit_head(one, half, y)
    fit_head(other, half.astype(np.float32), y)
    np.testing.assert_array_equal(head_scores(one, half)[0], head_scores(other, half.astype(np.float32))[0])


@pytest.mark.parametrize("name", ["gaussian_nb", "linear_svm", "logistic", "nearest_centroid", "ridge"])
@pytest.mark.parametrize("standardize", [True, False])
def test_a_weight_of_two_is_a_row_given_twice(name, standardize):
    X, y = data(3, n=60)
    weights = 1 + (np.arange(60) % 4 == 0)
    params = {} if name == "gaussian_nb" else {"standardize": standardize}
    params.update({"logistic": {"tol": 1e-10}, "linear_svm": {"tol": 1e-8}}.get(name, {}))
    if name == "ridge":
        params["alpha"] = 1.0  # leaving out one row of two equal ones is another thing than leaving out one of weight 2
    if not standardize:
        X = StandardScaler().fit_transform(X)
    weighted, repeated = make_head(name, params), make_head(name, params)
    assert fit_head(weighted, X, y, sample_weight=weights).warnings == []
    fit_head(repeated, np.repeat(X, weights, axis=0), np.repeat(y, weights))
    atol = 1e-3 if name in ("logistic", "linear_svm") else 1e-8
    np.testing.assert_allclose(head_scores(weighted, X)[0], head_scores(repeated, X)[0], atol=atol)


@pytest.mark.parametrize("name", ["gaussian_nb", "logistic", "ridge", "sklearn.tree.DecisionTreeClassifier"])
def test_views_are_rows_of_a_smaller_weight(name):
    X, y = data(3, n=60)
    views = np.stack([X, X * 1.1, X + 0.1], axis=1)
    params = {"logistic": {"tol": 1e-10}, "ridge": {"alpha": 1.0}}.get(name, {})
    one, other = make_head(name, params), make_head(name, params)
    weights = 1.0 + (y == 1)
    report = fit_head(one, views, y, views=True, sample_weight=weights)
    assert (report.n_samples, report.n_features) == (60, 12)
    rows = views.reshape(180, 12)
    fit_head(other, rows, np.repeat(y, 3), sample_weight=np.repeat(weights, 3) / 3)
    np.testing.assert_allclose(head_scores(one, rows)[0], head_scores(other, rows)[0], atol=1e-12)
    without, thirds = make_head(name, params), make_head(name, params)
    fit_head(without, views, y, views=True)
    fit_head(thirds, rows, np.repeat(y, 3), sample_weight=np.full(180, 1 / 3))
    np.testing.assert_allclose(head_scores(without, rows)[0], head_scores(thirds, rows)[0], atol=1e-12)


def test_views_for_a_head_without_weights_are_rows():
    X, y = data(3, n=60)
    views = np.stack([X, X * 1.1], axis=1)
    name = "sklearn.neighbors.KNeighborsClassifier"
    one, other = make_head(name), make_head(name)
    fit_head(one, views, y, views=True)
    fit_head(other, views.reshape(120, 12), np.repeat(y, 2))
    np.testing.assert_array_equal(head_scores(one, X)[0], head_scores(other, X)[0])
    with pytest.raises(HeadError, match="cannot use sample_weight"):
        fit_head(one, views, y, views=True, sample_weight=np.ones(60))


class Told(KNeighborsClassifier):
    """A head that remembers what it was told; it takes what nets take."""

    def fit(self, X, y, sample_weight=None, *, validation=None, views=False):
        self.told = (X.shape, validation, views)
        return super().fit(X.reshape(len(X), -1)[:, :12], y)


def test_a_net_is_told_of_views_and_validation():
    X, y = data(3, n=60)
    new, truth = data(4, n=40, seed=1)
    head = Told()
    fit_head(head, X, y, validation=(new, truth))
    shape, (seen, known), views = head.told
    assert (shape, views) == ((60, 12), False)
    np.testing.assert_array_equal(seen, new[truth < 3])  # of the fourth class there is nothing to learn
    np.testing.assert_array_equal(known, truth[truth < 3])
    fit_head(head, X, y, validation=(new[3:4], truth[3:4]))
    assert head.told[1] is None
    report = fit_head(head, np.stack([X, X], axis=1), y, views=True)
    assert head.told == ((60, 2, 12), None, True)
    assert (report.n_samples, report.n_features) == (60, 12)
    with pytest.raises(HeadError, match=r"validation must have .* shape \(12,\) .* got \(11,\)"):
        fit_head(head, X, y, validation=(new[:, 1:], truth))
    with pytest.raises(HeadError, match="labels must be 0 or more"):
        fit_head(head, X, y, validation=(new, truth - 1))
    with pytest.raises(HeadError, match="nan or inf in 1 of 40 rows"):
        fit_head(head, X, y, validation=(np.where(new == new[2, 2], np.nan, new), truth))


def test_a_net_chooses_its_best_epoch_by_the_validation_rows():
    X, y = data(3)
    new, truth = data(3, seed=1)
    head = named("mlp", {"max_epochs": 5})
    report = fit_head(head, X, y, validation=(new, truth))
    assert len(report.history) == 5
    assert all("val_loss" in epoch for epoch in report.history)


def test_validation_is_nothing_to_other_heads():
    X, y = data(3)
    one, other = make_head("ridge"), make_head("ridge")
    fit_head(one, X, y, validation=(X[:3], y[:3]))
    fit_head(other, X, y)
    np.testing.assert_array_equal(one.coef_, other.coef_)


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
            fit_head(make_head("sklearn.neighbors.KNeighborsClassifier", params), X, y, sample_weight=np.ones(60))


def test_missing_classes_keep_their_labels():
    X, y = data(3)
    labels = np.array([1, 4, 7])[y]
    for name in NAMES:
        head, shown = named(name), as_input(name, X)
        assert fit_head(head, shown, labels).classes == [1, 4, 7]
        assert head.classes_.tolist() == [1, 4, 7]
        assert set(head.predict(shown)) <= {1, 4, 7}
        assert head_scores(head, shown)[0].shape == (120, 3)


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
    monkeypatch.setattr("featx.heads._checks._BLOCK_VALUES", 8)
    X, y = data(2)
    X[[3, 50, 51, 52, 90, 119], 5] = np.nan
    with pytest.raises(HeadError, match=r"in 6 of 120 rows \(3, 50, 51, 52, 90, \.\.\.\): leave these out"):
        fit_head(make_head("logistic"), X, y)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([0, 0, 0, 0], "two classes or more; got 1 .only label 0. in 4 rows"),
        ([0, 1, 0], "one label for each of the 4 rows"),
        ([[0], [1], [0], [1]], "two columns or more; got 1: give a single label as two classes"),
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
    ("y", "words"),
    [
        (np.eye(4), "true or false, or 1 or 0; got float64"),
        (np.eye(4, dtype=int) * 2, "must be 1 or 0; got another number in row 0"),
        (np.eye(3, dtype=bool), "a row of labels for each of the 4 rows"),
        (np.eye(4, dtype=bool)[:, :1], "two columns or more; got 1"),
        (np.ones((4, 2), bool), "rows with different labels; all 4 have the same"),
    ],
)
def test_bad_indicators(y, words):
    with pytest.raises(HeadError, match=words):
        fit_head(make_head("ridge", task="multilabel"), np.eye(4), y)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([1.0, 2, np.nan, 3], "nan or inf in row 2: leave rows without a target out"),
        ([[1.0, 2], [np.inf, 3], [0, 0], [1, 1]], "nan or inf in row 1"),
        ([1.0, 2, 3], "one number or more for each of the 4 rows"),
        (np.ones((4, 0)), "one number or more"),
        (np.ones((4, 1, 1)), "one number or more"),
        (["a", "b", "c", "d"], "must be numbers"),
        ([True, False, True, False], "must be numbers; got bool"),
    ],
)
def test_bad_numbers(y, words):
    with pytest.raises(HeadError, match=words):
        fit_head(make_head("ridge", task="regression"), np.eye(4), y)


def test_too_few_rows_to_learn_from():
    with pytest.raises(HeadError, match="two rows or more; got 1"):
        fit_head(make_head("ridge", task="regression"), np.eye(4)[:1], [1.0])
    with pytest.raises(HeadError, match="two rows or more; got 0"):
        fit_head(make_head("ridge", task="multilabel"), np.eye(4)[:0], np.zeros((0, 2), bool))
    with pytest.raises(HeadError, match="leave rows with a weight above 0"):
        fit_head(make_head("ridge", task="regression"), np.eye(4), np.arange(4.0), sample_weight=np.zeros(4))


def test_a_head_for_one_label_is_not_fitted_on_several():
    X, y = data(3)
    with pytest.raises(HeadError, match="made for one label a row: make it with task='multilabel'"):
        fit_head(make_head("sklearn.ensemble.RandomForestClassifier"), X, several_labels(X, y))
    with pytest.raises(HeadError, match="LDAClassifier cannot be fitted"):
        fit_head(make_head("lda"), X, several_labels(X, y))


def test_features_with_views_have_an_axis_for_them():
    X, y = data(3)
    for features in (X, X[:, :0, None]):
        with pytest.raises(HeadError, match=r"must have shape \(n, views, ...\)"):
            fit_head(make_head("ridge"), features, y, views=True)
    with pytest.raises(HeadError, match="flatten or pool"):
        fit_head(make_head("ridge"), X[:, None, None], y, views=True)
    bad = np.stack([X, X], axis=1)
    bad[7, 1, 3] = np.nan
    with pytest.raises(HeadError, match=r"nan or inf in 1 of 120 rows \(7\)"):
        fit_head(make_head("ridge"), bad, y, views=True)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("logistic", {"C": "big"}, "LogisticClassifier cannot be fitted: "),
        ("logistic", {"C": -1.0}, "LogisticClassifier cannot be fitted: "),
        ("sklearn.linear_model.LogisticRegression", {"C": -1.0}, "The 'C' parameter"),
        ("sklearn.linear_model.LogisticRegression", {"solver": "liblinear"}, "liblinear"),
        ("knn", {"n_neighbors": 500}, "n_neighbors"),
        ("knn", {"metric": "nonsense"}, "metric"),
        ("mlp", {"layers": "wide"}, "NetClassifier cannot be fitted"),
        ("sklearn.svm.SVC", {"kernel": "precomputed"}, "SVC cannot be fitted"),
        ("sklearn.naive_bayes.MultinomialNB", {"standardize": True}, "Negative values"),
        ("sklearn.multioutput.MultiOutputClassifier", {"estimator": LogisticRegression()}, "cannot be fitted"),
    ],
)
def test_what_an_estimator_refuses_is_one_line(name, params, words):
    X, y = data(3)
    with pytest.raises(HeadError) as caught:
        fit_head(make_head(name, params), X, y)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_warnings_become_text():
    X, y = data(3)
    for name in ("logistic", "sklearn.linear_model.LogisticRegression"):
        report = fit_head(make_head(name, {"max_iter": 1}), X, y)
        assert not report.converged
        assert len(report.warnings) == 1
        assert "max_iter" in report.warnings[0]
        assert "\n" not in report.warnings[0]
        assert len(report.warnings[0]) <= 310


def test_a_constant_feature_is_no_trouble():
    X, y = data(3)
    X[:, 2] = 0
    X[:, 4] = 7.5
    for name in NAMES:
        assert fit_head(named(name), as_input(name, X), y).warnings == []


def test_fit_head_needs_an_estimator():
    with pytest.raises(HeadError, match="must be an estimator of make_head; got int"):
        fit_head(3, np.eye(4), [0, 1, 0, 1])


def test_seeds_repeat_and_differ():
    X, y = data(3)
    scores = []
    for seed in (0, 0, 1):
        head = named("mlp", seed=seed)
        fit_head(head, X, y)
        scores.append(head_scores(head, X)[0])
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2])


def test_a_class_without_weight():
    X, y = data(3)
    with pytest.raises(HeadError, match="CentroidClassifier cannot be fitted: "):
        fit_head(make_head("nearest_centroid"), X, y, sample_weight=(y > 0).astype(float))


def test_a_label_that_all_rows_have_is_a_constant():
    X, y = data(3)
    Y = several_labels(X, y)
    Y[:, 0] = True
    head = make_head("sklearn.tree.DecisionTreeClassifier", task="multilabel")
    report = fit_head(head, X, Y)
    assert report.n_features == head.n_features_in_ == 12
    assert (head_scores(head, X)[0][:, 0] == 1).all()
