"""The headline alone is the evaluation's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.errors import ParameterError
from featx.evaluation import evaluate_multilabel, evaluate_predictions, evaluate_regression, headline_value


@settings(max_examples=25)
@given(n=st.integers(1, 20), seed=st.integers(0, 1000), is_probability=st.booleans())
def test_is_that_of_the_evaluation(n, seed, is_probability):
    generator = np.random.default_rng(seed)
    scores = generator.random((n, 3)) - (0 if is_probability else 0.5)
    labels, several, values = generator.integers(0, 3, n), generator.random((n, 3)) < 0.4, generator.normal(size=(n, 3))
    names = ["a", "b", "c"]
    one = evaluate_predictions(labels, scores, classes=names, head_classes=[0, 1, 2], is_probability=is_probability)
    more = evaluate_multilabel(several, scores, classes=names, is_probability=is_probability)
    numbers = evaluate_regression(values, scores, names=names)
    for evaluation, truth in ((one, labels), (more, several), (numbers, values)):
        name, figure = evaluation.headline
        found = headline_value(evaluation.task, truth, scores, is_probability=is_probability)
        assert found == (name, pytest.approx(figure.value, abs=1e-15))


def test_unknown_task():
    with pytest.raises(ParameterError, match="task must be"):
        headline_value("guessing", [0], [[1.0]])
