import numpy as np
import pytest

from featx.errors import ParameterError
from featx.evaluation import ConfidenceBin, Figure, reliability
from featx.plots import calibration_curve
from tests.plots.examples import answers
from tests.plots.helpers import assert_legible

BINS = (
    ConfidenceBin(0.2, 0.4, 3, 0.31, Figure(1 / 3, 0.06, 0.79)),
    ConfidenceBin(0.6, 0.8, 10_000, 0.74, Figure(0.7, 0.69, 0.71)),
    ConfidenceBin(0.8, 1.0, 20, 0.97, Figure(1.0, 0.84, 1.0)),
)


def test_accuracy_stands_over_confidence_with_its_interval():
    figure = calibration_curve(BINS)
    upper, lower = figure.axes
    (drawn,) = upper.containers
    points, _, (whiskers,) = drawn.lines
    assert list(points.get_xdata()) == [0.31, 0.74, 0.97]
    assert list(points.get_ydata()) == [1 / 3, 0.7, 1.0]
    expected = [[(0.31, 0.06), (0.31, 0.79)], [(0.74, 0.69), (0.74, 0.71)], [(0.97, 0.84), (0.97, 1.0)]]
    np.testing.assert_allclose(whiskers.get_segments(), expected)
    assert ([0, 1], [0, 1]) in [(list(line.get_xdata()), list(line.get_ydata())) for line in upper.lines]
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in lower.patches]
    np.testing.assert_allclose(bars, [(0.2, 0.2, 3), (0.6, 0.2, 10_000), (0.8, 0.2, 20)])
    assert upper.get_xlim() == lower.get_xlim()
    assert_legible(figure)


def test_bins_as_they_are_counted():
    truth, scores = answers(4, 400)
    bins = reliability(truth, scores, bins=10)
    _, lower = calibration_curve(bins).axes
    heights, _ = np.histogram(scores.max(axis=1), np.linspace(0, 1, 11))
    assert [bar.get_height() for bar in lower.patches] == [height for height in heights if height]


def test_one_bin_is_enough_and_none_is_not():
    assert_legible(calibration_curve(BINS[:1]))
    with pytest.raises(ParameterError, match="bins must be at least one; got none"):
        calibration_curve([])
