import numpy as np
import pytest

from featx.errors import ParameterError
from featx.plots import regularisation_path, residuals
from tests.plots.helpers import LONG, assert_legible


def points_of(figure):
    """Return the points of all lines, and whether they are pixels."""
    (axes,) = figure.axes
    return [(list(line.get_xdata()), list(line.get_ydata()), bool(line.get_rasterized())) for line in axes.lines]


@pytest.mark.parametrize("n", [1, 50, 2001])
def test_answers_stand_over_the_truth(n):
    random = np.random.default_rng(n)
    truth, predicted = 1000 * random.normal(size=(2, n))
    figure = residuals(truth, predicted, LONG)
    assert (list(truth), list(predicted), n > 2000) in points_of(figure)
    (axes,) = figure.axes
    assert axes.get_xlim() == axes.get_ylim()
    low, high = axes.get_xlim()
    assert low < min(truth.min(), predicted.min()) <= max(truth.max(), predicted.max()) < high
    assert ([low, high], [low, high], False) in points_of(figure)
    box = axes.get_window_extent()
    assert box.width == pytest.approx(box.height)  # so that what is right lies on the diagonal of a square
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == [f"{n:,} samples", "as true"]
    assert axes.get_xlabel().startswith("true 99% Cav")
    assert axes.get_ylabel().startswith("predicted 99% Cav")
    assert_legible(figure)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_values_of_any_size_are_legible(scale):
    values = scale * np.random.default_rng(0).random(30)
    assert_legible(residuals(values, values[::-1], "x"))
    assert_legible(residuals(values * 0 + scale, values * 0 + scale, "x"))


@pytest.mark.parametrize(
    ("truth", "predicted"), [([1, 2], [1]), ([], []), ([[1]], [[1]]), ([1.0, np.nan], [1, 2]), ([1, 2], [np.inf, 2])]
)
def test_what_are_no_answers(truth, predicted):
    with pytest.raises(ParameterError, match="truth and predicted must be as many finite numbers"):
        residuals(truth, predicted, "x")


def test_a_path_goes_by_the_value_and_marks_the_chosen():
    values, scores = [10, 0.1, 1, 1000], [0.8, 0.5, 0.9, 0.2]
    spread = [(0.7, 0.9), (0.4, 0.6), (0.85, 0.95), (0.1, 0.3)]
    figure = regularisation_path(values, scores, chosen=1, parameter="C", figure="macro_f1", spread=spread)
    (axes,) = figure.axes
    found = points_of(figure)
    assert found == [([0.1, 1, 10, 1000], [0.5, 0.9, 0.8, 0.2], False), ([1], [0.9], False)]
    (band,) = axes.collections
    corners = {tuple(corner) for path in band.get_paths() for corner in path.vertices.tolist()}
    assert corners == {(value, bound) for value, bounds in zip(values, spread, strict=True) for bound in bounds}
    assert axes.get_xscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("C", "macro f1")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["95 % interval", "chosen: C = 1"]
    assert_legible(figure)


def test_a_path_without_a_spread_and_of_one_value():
    figure = regularisation_path([0.5], [0.7], chosen=0.5, parameter="$alpha$", figure="accuracy")
    assert points_of(figure) == [([0.5], [0.7], False)] * 2
    assert not figure.axes[0].collections
    assert_legible(figure)


@pytest.mark.parametrize(
    ("values", "scores", "chosen"), [([1, 2], [1], 1), ([], [], 1), ([0, 1], [1, 2], 1), ([1, 2], [1, 2], 3)]
)
def test_what_is_no_path(values, scores, chosen):
    with pytest.raises(ParameterError, match="values must be above 0, with a score each, and chosen one of them"):
        regularisation_path(values, scores, chosen=chosen, parameter="C", figure="accuracy")


def test_a_spread_has_two_bounds_for_each_value():
    with pytest.raises(ParameterError, match=r"two bounds for each of 2 values; got shape \(1, 2\)"):
        regularisation_path([1, 2], [1, 2], chosen=1, parameter="C", figure="accuracy", spread=[(0, 1)])
