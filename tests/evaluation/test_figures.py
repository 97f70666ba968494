"""What an evaluation holds, and its way to JSON and back, from what featx 0.1 wrote too."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

import featx.evaluation
from featx.errors import ParameterError
from featx.evaluation import (
    LOWER_IS_BETTER,
    Evaluation,
    Figure,
    evaluate_multilabel,
    evaluate_predictions,
    evaluate_regression,
)

GENERATOR = np.random.default_rng(0)
EVALUATIONS = {
    "classification": evaluate_predictions(
        GENERATOR.integers(0, 3, 40),
        GENERATOR.dirichlet(np.ones(3), 40),
        classes=["a", "b", "c"],
        head_classes=[0, 1, 2],
        is_probability=True,
    ),
    "multilabel": evaluate_multilabel(
        GENERATOR.random((40, 2)) < 0.5, GENERATOR.random((40, 2)), classes=["a", "b"], is_probability=True
    ),
    "regression": evaluate_regression(
        GENERATOR.normal(size=(40, 2)), GENERATOR.normal(size=(40, 2)), names=["width", "height"]
    ),
}
OLD = {
    "n": 5,
    "accuracy": 0.6,
    "accuracy_interval": [0.23072388, 0.88237976],
    "macro_f1": 0.5833333333333333,
    "log_loss": 0.75,
    "per_class": [
        {"name": "a", "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2},
        {"name": "b", "precision": 0.6667, "recall": 0.6667, "f1": 0.6667, "support": 3},
    ],
    "confusion": [[1, 1], [1, 2]],
    "classes": ["a", "b"],
}
"""Figures in the layout of featx 0.1."""


@pytest.mark.parametrize("task", EVALUATIONS)
def test_there_and_back(task):
    evaluation = EVALUATIONS[task]
    assert evaluation.task == task
    assert Evaluation.from_dict(json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))) == evaluation


def test_the_layout_that_others_read():
    values = EVALUATIONS["classification"].to_dict()
    assert set(values) == {"task", "n", "figures", "per_class", "confusion", "classes"}
    assert set(values["figures"]["accuracy"]) == {"value", "low", "high"}
    assert set(values["per_class"][0]) == {
        *("name", "support", "precision", "recall", "f1", "roc_auc", "average_precision")
    }


def test_headlines():
    for task, name in (("classification", "accuracy"), ("multilabel", "mean_average_precision"), ("regression", "r2")):
        assert EVALUATIONS[task].headline == (name, EVALUATIONS[task].figures[name])
        assert next(iter(EVALUATIONS[task].figures)) == name
    nothing = evaluate_multilabel([[0, 0]], [[0.2, 0.1]], classes=["a", "b"], is_probability=True)
    assert nothing.headline[0] == "exact_match"


def test_short_cuts():
    evaluation = EVALUATIONS["classification"]
    accuracy = evaluation.figures["accuracy"]
    assert (evaluation.accuracy, evaluation.accuracy_interval) == (accuracy.value, (accuracy.low, accuracy.high))
    assert evaluation.macro_f1 == evaluation.figures["macro_f1"].value
    assert evaluation.log_loss == evaluation.figures["log_loss"].value
    assert EVALUATIONS["regression"].log_loss is None


def test_what_less_is_better_of_exists():
    known = {name for evaluation in EVALUATIONS.values() for name in evaluation.figures}
    assert known > LOWER_IS_BETTER


def test_older_figures_are_judged_anew_by_their_confusion():
    evaluation = Evaluation.from_dict(OLD)
    assert (evaluation.task, evaluation.n, evaluation.classes) == ("classification", 5, ("a", "b"))
    assert evaluation.confusion == ((1, 1), (1, 2))
    assert evaluation.accuracy == pytest.approx(OLD["accuracy"])
    np.testing.assert_allclose(evaluation.accuracy_interval, OLD["accuracy_interval"], atol=1e-6)
    assert evaluation.macro_f1 == pytest.approx(OLD["macro_f1"])
    assert evaluation.figures["log_loss"] == Figure(0.75, 0.0, pytest.approx(-np.log(np.finfo(float).eps)))
    assert [row.support for row in evaluation.per_class] == [2, 3]
    assert evaluation.per_class[1].precision.value == pytest.approx(2 / 3)
    assert Evaluation.from_dict({**OLD, "log_loss": None}).log_loss is None


@settings(max_examples=30)
@given(counts=st.lists(st.integers(0, 9), min_size=9, max_size=9).filter(any))
def test_a_confusion_tells_what_its_rows_would(counts):
    confusion = np.array(counts).reshape(3, 3)
    truth, answers = (np.repeat(side.ravel(), confusion.ravel()) for side in np.indices((3, 3)))
    old = {**OLD, "confusion": confusion.tolist(), "classes": ["a", "b", "c"]}
    evaluation = Evaluation.from_dict(old)
    assert evaluation.accuracy == pytest.approx(metrics.accuracy_score(truth, answers))
    assert evaluation.macro_f1 == pytest.approx(metrics.f1_score(truth, answers, average="macro", zero_division=0))


@pytest.mark.parametrize(
    "change", [{"n": "x"}, {"per_class": [{}]}, {"figures": {"accuracy": 1}}, {"confusion": 3}, {"task": "guessing"}]
)
def test_from_dict_refuses(change):
    values = EVALUATIONS["classification"].to_dict()
    with pytest.raises(ParameterError, match=r"Evaluation\.to_dict"):
        Evaluation.from_dict({**values, **change})


@pytest.mark.parametrize("key", ["n", "per_class", "figures", "confusion", "classes"])
def test_from_dict_names_what_is_missing(key):
    values = EVALUATIONS["classification"].to_dict()
    with pytest.raises(ParameterError, match=f"KeyError: '{key}'"):
        Evaluation.from_dict({name: value for name, value in values.items() if name != key})


@pytest.mark.parametrize(
    "change",
    [{"confusion": 3}, {"confusion": [[1]]}, {"confusion": [[0, 0], [0, 0]]}, {"confusion": [[-1, 1], [1, 2]]}],
)
def test_from_dict_refuses_older_ones_that_are_damaged(change):
    with pytest.raises(ParameterError, match=r"Evaluation\.to_dict"):
        Evaluation.from_dict({**OLD, **change})


def test_all_is_there():
    assert all(hasattr(featx.evaluation, name) for name in featx.evaluation.__all__)
