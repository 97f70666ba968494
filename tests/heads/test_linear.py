"""Linear heads in numpy alone."""

import numpy as np
import pytest

from featx.errors import HeadError
from featx.heads import LinearClassifier, LinearRegressor, fit_head, head_scores


def test_linear_classifier_alone():
    head = LinearClassifier(np.eye(3), np.zeros(3), [2, 5, 9], link="softmax")
    assert repr(head) == "LinearClassifier(3 classes, 3 features, link='softmax')"
    assert head.predict(np.eye(3)[::-1]).tolist() == [9, 5, 2]
    extreme = head.predict_proba(np.array([[1e4, -1e4, 0.0], [0, 0, 0]]))
    np.testing.assert_allclose(extreme, [[1, 0, 0], [1 / 3] * 3])
    binary = LinearClassifier([[1.0]], [0.0], [0, 1], link="sigmoid")
    np.testing.assert_allclose(binary.predict_proba([[1e4], [-1e4], [0]]), [[0, 1], [1, 0], [0.5, 0.5]])
    assert binary.predict([[0.0], [1e-9]]).tolist() == [0, 1]
    assert not hasattr(LinearClassifier([[1.0]], [0.0], [0, 1]), "predict_proba")
    with pytest.raises(HeadError, match=r"shape \(n, 3\)"):
        head.predict(np.zeros((2, 4)))
    with pytest.raises(HeadError, match="is not fitted again"):
        fit_head(head, np.eye(3), [0, 1, 2])


def test_linear_classifier_in_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    head = LinearClassifier(generator.normal(size=(4, 5)), generator.normal(size=4), range(4))
    X = generator.normal(size=(23, 5)).astype(np.float32)
    whole = head.decision_function(X)
    monkeypatch.setattr("featx.heads._linear._BLOCK_VALUES", 10)
    np.testing.assert_allclose(head.decision_function(X), whole, rtol=1e-14)
    np.testing.assert_allclose(whole, X.astype(float) @ head.coef_.T + head.intercept_, rtol=1e-14)


def test_labels_that_are_each_on_their_own():
    generator = np.random.default_rng(0)
    coef, intercept = generator.normal(size=(3, 5)), generator.normal(size=3)
    head = LinearClassifier(coef, intercept, range(3), link="sigmoid", multilabel=True)
    assert repr(head) == "LinearClassifier(3 labels, 5 features, link='sigmoid')"
    X = generator.normal(size=(20, 5))
    scores = X @ coef.T + intercept
    np.testing.assert_allclose(head.decision_function(X), scores)
    np.testing.assert_allclose(head.predict_proba(X), 1 / (1 + np.exp(-scores)))
    np.testing.assert_array_equal(head.predict(X), scores > 0)
    assert head.predict(X).dtype == np.int64
    found, is_probability = head_scores(head, X)
    assert is_probability
    np.testing.assert_array_equal(found, head.predict_proba(X))
    two = LinearClassifier(coef[:2], intercept[:2], [0, 1], multilabel=True)
    assert two.decision_function(X).shape == two.predict(X).shape == (20, 2)
    np.testing.assert_allclose(head_scores(two, X)[0], scores[:, :2])


@pytest.mark.parametrize(
    ("coef", "classes", "link", "words"),
    [
        (np.ones((1, 2)), [0, 1], "sigmoid", r"2 labels must have coefficients of shape \(2, d\)"),
        (np.ones((3, 2)), [0, 1, 3], "sigmoid", "must be 0 to k - 1"),
        (np.ones((1, 2)), [0], "sigmoid", "two or more"),
        (np.ones((0, 2)), [], "sigmoid", "two or more"),
        (np.ones((3, 2)), [0, 1, 2], "softmax", "3 labels must be sigmoid or none; got 'softmax'"),
    ],
)
def test_labels_that_do_not_go_together(coef, classes, link, words):
    with pytest.raises(HeadError, match=words):
        LinearClassifier(coef, np.zeros(len(coef)), classes, link=link, multilabel=True)


def test_linear_regressor_alone():
    coef = np.array([[1.0, 2.0], [0.0, -1.0]])
    head = LinearRegressor(coef, [0.5, 1.0])
    assert repr(head) == "LinearRegressor(2 targets, 2 features)"
    X = np.array([[1.0, 1.0], [2.0, 0.0]], np.float32)
    np.testing.assert_array_equal(head.predict(X), [[3.5, 0.0], [2.5, 1.0]])
    assert LinearRegressor([[1.0, 2.0]], [0.5]).predict(X).tolist() == [3.5, 2.5]
    with pytest.raises(HeadError, match=r"shape \(n, 2\)"):
        head.predict(np.zeros((2, 3)))
    for bad in (np.ones((1, 2)), np.ones(2), np.full((2, 2), np.nan)):
        with pytest.raises(HeadError, match=r"2 target\(s\) must have|must be finite"):
            LinearRegressor(bad, [0.5, 1.0])
    with pytest.raises(HeadError, match="must have coefficients"):
        LinearRegressor(np.ones((0, 2)), [])
    with pytest.raises(HeadError, match="is not fitted again"):
        fit_head(head, X, [0.0, 1.0])
