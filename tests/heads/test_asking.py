"""Asking fitted heads: scores, values, views, and what is refused."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from featx.errors import HeadError
from featx.heads import LinearClassifier, LinearRegressor, fit_head, head_scores, head_values, list_heads, make_head
from tests.heads.helpers import as_input, data, named, numbers, several_labels

NAMES = [info.name for info in list_heads()]


def fitted(name, k=3, task="classification", params=None):
    X, y = data(k)
    targets = {"classification": y, "multilabel": several_labels(X, y), "regression": numbers(X)}[task]
    head = named(name, params, task=task)
    fit_head(head, as_input(name, X), targets)
    return head, as_input(name, X)


def test_scores_of_heads_without_probabilities():
    head, X = fitted("sklearn.svm.LinearSVC", 2, params={"standardize": True})
    decision = head.decision_function(X)
    scores, is_probability = head_scores(head, X)
    assert not is_probability
    np.testing.assert_array_equal(scores, np.stack([-decision, decision], axis=1))

    pairs, X = fitted("sklearn.svm.SVC", 4, params={"decision_function_shape": "ovo", "standardize": True})
    scores, is_probability = head_scores(pairs, X)
    assert not is_probability
    np.testing.assert_array_equal(scores, np.eye(4)[pairs.predict(X)])


def test_probabilities_in_float32_add_up_to_one_in_float64():
    head, X = fitted("mlp")
    single = head.predict_proba(X).astype(np.float32)
    head.predict_proba = lambda X: single
    scores, _ = head_scores(head, X)
    np.testing.assert_allclose(scores, single, rtol=1e-6)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-15)


def test_probabilities_of_labels_are_each_on_their_own():
    for name in ("knn", "logistic", "mlp"):
        head, X = fitted(name, task="multilabel")
        scores, is_probability = head_scores(head, X)
        assert is_probability
        np.testing.assert_array_equal(scores, head.predict_proba(X))
        assert not np.allclose(scores.sum(axis=1), 1)


def test_features_are_checked():
    head, X = fitted("ridge")
    with pytest.raises(HeadError, match="must have 12 columns, as the head was trained on; got 11"):
        head_scores(head, X[:, 1:])
    with pytest.raises(HeadError, match="nan or inf in 1 of 1 rows"):
        head_scores(head, np.full((1, 12), np.nan))
    with pytest.raises(HeadError, match="flatten or pool"):
        head_scores(head, X[:, :, None])
    with pytest.raises(HeadError, match="must have 12 columns"):
        head_scores(head, X[:, None, 1:], views=True)
    maps, shown = fitted("conv")
    with pytest.raises(HeadError, match=r"must have shape \(2, 3, 12\) in each row, .* got \(3, 2, 12\)"):
        head_scores(maps, np.swapaxes(shown, 1, 2))


def test_answers_are_checked():
    head, X = fitted("sklearn.linear_model.LogisticRegression")
    head.coef_ = np.full((3, 12), np.nan)
    with pytest.raises(HeadError, match="120 × 3 finite numbers"):
        head_scores(head, X)
    head.coef_ = np.zeros((3, 5))
    with pytest.raises(HeadError, match="LogisticRegression cannot answer"):
        head_scores(head, X)


def test_classifiers_have_scores_and_regressors_values():
    classifier, X = fitted("knn")
    regressor, _ = fitted("knn", task="regression")
    with pytest.raises(HeadError, match="values are of a regressor; KNNClassifier is none"):
        head_values(classifier, X)
    with pytest.raises(HeadError, match="scores are of a fitted classifier; KNNRegressor is none"):
        head_scores(regressor, X)
    with pytest.raises(HeadError, match="scores are of a fitted classifier"):
        head_scores(make_head("ridge"), X)
    with pytest.raises(HeadError, match="values are of a regressor; LinearClassifier is none"):
        head_values(LinearClassifier([[1.0]], [0.0], [0, 1]), X[:, :1])
    with pytest.raises(HeadError, match="RidgeRegressor cannot answer"):
        head_values(make_head("ridge", task="regression"), X)


def test_answers_to_no_rows():
    for info in list_heads():
        for task in info.tasks:
            head, X = fitted(info.name, task=task)
            if task == "regression":
                assert head_values(head, X[:0]).shape == (0, 2)
                continue
            scores, is_probability = head_scores(head, X[:0])
            assert scores.shape == (0, 3)
            assert is_probability == head_scores(head, X[:1])[1]


@pytest.mark.parametrize("name", NAMES)
def test_views_are_averaged(name):
    head, X = fitted(name)
    views = np.stack([X, X * 1.1, X + 0.1], axis=1)
    scores, is_probability = head_scores(head, views, views=True)
    each = [head_scores(head, views[:, view]) for view in range(3)]
    assert is_probability is each[0][1]
    np.testing.assert_allclose(scores, np.mean([found for found, _ in each], axis=0), rtol=1e-6, atol=1e-12)
    assert head_scores(head, views[:0], views=True)[0].shape == (0, 3)


def test_values_of_views_are_averaged():
    for head in (fitted("ridge", task="regression")[0], LinearRegressor(np.ones((2, 12)), [1.0, 2.0])):
        X, _ = data(3)
        views = np.stack([X, X * 1.1], axis=1)
        expected = (head_values(head, X) + head_values(head, X * 1.1)) / 2
        np.testing.assert_allclose(head_values(head, views, views=True), expected, rtol=1e-9)


def test_regressors_of_scikit_learn():
    head, X = fitted("sklearn.ensemble.RandomForestRegressor", task="regression", params={"n_estimators": 5})
    reference = RandomForestRegressor(5, random_state=0).fit(X, numbers(X))
    np.testing.assert_array_equal(head_values(head, X), reference.predict(X))
