"""Every figure of several labels a row against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from featx.errors import ParameterError
from featx.evaluation import evaluate_multilabel
from featx.evaluation._intervals import wilson


def rows(n, k, seed=0, share=0.3):
    """Return labels and probabilities that know something of them."""
    generator = np.random.default_rng(seed)
    truth = generator.random((n, k)) < share
    return truth, 1 / (1 + np.exp(-generator.normal(size=(n, k)) - 2 * truth + 1))


def judged(truth, scores, **changes):
    classes = [f"label {j}" for j in range(scores.shape[1])] if "classes" not in changes else []
    return evaluate_multilabel(truth, scores, **{"classes": classes, "is_probability": True, **changes})


@settings(max_examples=40)
@given(n=st.integers(1, 40), k=st.integers(2, 6), seed=st.integers(0, 10**6), is_probability=st.booleans())
def test_equals_scikit_learn(n, k, seed, is_probability):
    truth, scores = rows(n, k, seed)
    answers = scores > 0.5
    if not is_probability:
        scores = np.log(scores / (1 - scores))
    evaluation = judged(truth, scores, is_probability=is_probability)
    value = {name: figure.value for name, figure in evaluation.figures.items()}
    assert (evaluation.task, evaluation.n, evaluation.confusion) == ("multilabel", n, None)
    assert value["exact_match"] == pytest.approx((truth == answers).all(axis=1).mean())
    assert value["hamming_loss"] == pytest.approx((truth != answers).mean())
    assert value["micro_f1"] == pytest.approx(metrics.f1_score(truth, answers, average="micro", zero_division=0))
    occurs = np.flatnonzero((truth | answers).any(axis=0))
    if occurs.size:
        macro = np.mean([metrics.f1_score(truth[:, j], answers[:, j], zero_division=0) for j in occurs])
        assert value["macro_f1"] == pytest.approx(macro)
    both = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
    assert ("mean_average_precision" in value) == ("roc_auc" in value) == bool(both.size)
    if both.size:
        precision = [metrics.average_precision_score(truth[:, j], scores[:, j]) for j in both]
        auc = [metrics.roc_auc_score(truth[:, j], scores[:, j]) for j in both]
        assert value["mean_average_precision"] == pytest.approx(np.mean(precision))
        assert value["roc_auc"] == pytest.approx(np.mean(auc))
    if is_probability:
        loss = np.mean([metrics.log_loss(truth[:, j], scores[:, j], labels=[False, True]) for j in range(k)])
        assert value["log_loss"] == pytest.approx(loss)
    else:
        assert "log_loss" not in value
    reference = metrics.precision_recall_fscore_support(truth, answers, average=None, zero_division=0)
    for row, *expected in zip(evaluation.per_class, *reference, strict=True):
        np.testing.assert_allclose([row.precision.value, row.recall.value, row.f1.value, row.support], expected)
    for figure in evaluation.figures.values():
        assert figure.low <= figure.value <= figure.high


def test_all_right_and_all_wrong_are_not_certain():
    truth = np.arange(40).reshape(20, 2) % 3 == 0
    right = judged(truth, truth * 0.8 + 0.1)
    for name in ("exact_match", "micro_f1", "macro_f1"):
        assert right.figures[name] == wilson(20, 20)
    assert right.figures["hamming_loss"] == wilson(0, 20)
    wrong = judged(truth, 1 - truth)
    assert wrong.figures["macro_f1"] == wilson(0, 20)


def test_intervals_cover_the_truth():
    population_truth, population = rows(40_000, 4, seed=1)
    truth = judged(population_truth, population).figures
    covered = dict.fromkeys(truth, 0)
    generator = np.random.default_rng(2)
    for trial in range(100):
        chosen = generator.integers(0, 40_000, 150)
        for name, figure in judged(population_truth[chosen], population[chosen], seed=trial).figures.items():
            covered[name] += figure.low <= truth[name].value <= figure.high
    assert min(covered.values()) > 86, covered


@pytest.mark.parametrize(
    ("truth", "scores", "changes", "words"),
    [
        ([0, 1], [[0.1, 0.2]], {"classes": ["a"]}, "y_true must be a matrix of 0 and 1"),
        ([[0, 2]], [[0.1, 0.2]], {}, "y_true must be a matrix of 0 and 1"),
        (
            [[0.0, 1.0]],
            [[0.1, 0.2]],
            {},
            "y_true must be a matrix of 0 and 1 with a column for each class; got float64",
        ),
        ([[0, 1]], [[0.1, 0.2]], {"classes": ["a"]}, r"a column for each of 1 classes; got shape \(1, 2\)"),
        ([[0, 1]], [[0.1]], {}, "a column for each of 2 classes; got shape"),
        ([[0, 1]], [[0.1, np.inf]], {}, "scores must be finite"),
        ([[0, 1]], [[0.1, 1.5]], {}, "scores must be from 0 to 1"),
        (np.empty((0, 2), bool), np.empty((0, 2)), {}, "a row or more"),
    ],
)
def test_refused(truth, scores, changes, words):
    with pytest.raises(ParameterError, match=words):
        judged(truth, scores, **{"classes": ["a", "b"], **changes})
