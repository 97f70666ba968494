"""Confident learning against cleanlab's, and against labels that are known to be wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.errors import ParameterError
from featx.evaluation import find_label_errors


def flipped(n, k, seed=0, noise=0.1, sharpness=3.0):
    """Return labels of which some are wrong, which these are, and probabilities that know the truth, more or less."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, k, n)
    scores = generator.normal(size=(n, k))
    scores[np.arange(n), truth] += sharpness
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    wrong = generator.random(n) < noise
    return np.where(wrong, (truth + generator.integers(1, k, n)) % k, truth), wrong, truth, probabilities


@settings(max_examples=40)
@given(
    n=st.integers(20, 200),
    k=st.integers(2, 6),
    seed=st.integers(0, 10**6),
    noise=st.floats(0, 0.5),
    sharpness=st.floats(0, 5),
)
def test_selects_and_ranks_as_cleanlab(n, k, seed, noise, sharpness):
    cleanlab = pytest.importorskip("cleanlab.filter")
    labels, _, _, probabilities = flipped(n, k, seed, noise, sharpness)
    labels[: 2 * k] = np.repeat(np.arange(k), 2)  # cleanlab needs every class
    found = find_label_errors(labels, probabilities)
    reference = cleanlab.find_label_issues(
        labels, probabilities, filter_by="confident_learning", return_indices_ranked_by="normalized_margin", n_jobs=1
    )
    np.testing.assert_array_equal(found.rows, reference)


def test_finds_what_is_wrong_and_says_what_is_right():
    labels, wrong, truth, probabilities = flipped(600, 4, sharpness=5.0)
    found = find_label_errors(labels, probabilities)
    hits = wrong[found.rows]
    assert hits.mean() > 0.8
    assert hits.sum() > 0.7 * wrong.sum()
    assert (found.suggested[hits] == truth[found.rows][hits]).mean() > 0.95
    assert (np.diff(found.margin) >= 0).all()
    own = probabilities[found.rows, labels[found.rows]]
    others = probabilities[found.rows].copy()
    others[np.arange(len(found)), labels[found.rows]] = 0
    np.testing.assert_allclose(found.margin, (own - others.max(axis=1) + 1) / 2)
    # the first named are the surest
    assert wrong[found.rows[:20]].all()


def test_nothing_is_suspected_where_all_agree():
    labels = np.arange(30) % 3
    found = find_label_errors(labels, np.eye(3)[labels] * 0.7 + 0.1)
    assert len(found) == 0
    assert found.rows.dtype == found.suggested.dtype == np.int64


def test_a_class_without_labels_is_never_suggested():
    probabilities = np.array([[0.1, 0.1, 0.8], [0.2, 0.7, 0.1], [0.8, 0.2, 0.0], [0.2, 0.8, 0.0], [0.1, 0.9, 0.0]])
    found = find_label_errors([0, 0, 0, 1, 1], probabilities)
    assert found.rows.tolist() == []
    sure = find_label_errors([0, 0, 0, 1, 1], np.where(np.arange(5)[:, None] == 1, [[0.05, 0.95, 0.0]], probabilities))
    assert (sure.rows.tolist(), sure.suggested.tolist()) == ([1], [1])


@pytest.mark.parametrize(
    ("labels", "probabilities", "words"),
    [
        ([0, 1], [[0.5, 0.5]], "scores must have a row for each of 2 labels"),
        ([0, 2], np.full((2, 2), 0.5), "labels must lead into the 2 classes"),
        ([0, 1], [[2.0, -1], [0, 1]], "scores must be from 0 to 1"),
        ([0, 0], [[1.0], [1.0]], "two classes or more"),
        ([], np.empty((0, 2)), "a row or more"),
    ],
)
def test_refused(labels, probabilities, words):
    with pytest.raises(ParameterError, match=words):
        find_label_errors(labels, probabilities)
