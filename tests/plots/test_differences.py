from itertools import pairwise

import pytest
from matplotlib.colors import to_hex

from featx.errors import ParameterError
from featx.evaluation import Difference
from featx.plots import score_differences
from featx.plots._style import PALETTE
from tests.plots.helpers import assert_legible, draw

FOUND = {
    "accuracy": Difference(0.8, 0.9, 0.1, 0.04, 0.16),
    "macro_f1": Difference(0.8, 0.79, -0.01, -0.05, 0.03),
    "brier": Difference(0.2, 0.3, 0.1, 0.05, 0.15),
    "roc_auc": Difference(0.9, 0.8, -0.1, -0.2, -0.05),
    "log_loss": Difference(900.0, 450.0, -450.0, -500.0, -400.0),
}


def rows_of(axes):
    """Return by its label the value, interval, colour and marker of each row."""
    labels = [label.get_text() for label in axes.get_yticklabels()]
    found = {}
    for drawn in axes.containers:
        point, _, (whisker,) = drawn.lines
        (value,), (row,) = point.get_data()
        low, high = (float(x) for x, _ in whisker.get_segments()[0])
        found[labels[int(row)]] = (float(value), low, high, to_hex(point.get_color()), point.get_marker())
    return found


def test_each_figure_has_a_row_with_its_interval():
    figure = score_differences(FOUND)
    shares, loss = figure.axes
    better, worse, equal = (PALETTE["blue"], "^"), (PALETTE["vermilion"], "v"), (PALETTE["grey"], "o")
    assert rows_of(shares) == {
        "accuracy": (0.1, pytest.approx(0.04), pytest.approx(0.16), *better),
        "macro f1": (-0.01, pytest.approx(-0.05), pytest.approx(0.03), *equal),
        "brier (less is better)": (0.1, pytest.approx(0.05), pytest.approx(0.15), *worse),
        "roc auc": (-0.1, pytest.approx(-0.2), pytest.approx(-0.05), *worse),
    }
    assert rows_of(loss) == {"log loss (less is better)": (-450.0, -500.0, -400.0, *better)}
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert low == -high  # nothing is in the middle
        assert all(low < bound < high for row in rows_of(axes).values() for bound in row[1:3])
        assert [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2] == [[0, 0]]
    written = [text.get_text() for text in shares.texts]
    assert written[0] == "+0.100  (+0.040 to +0.160)"
    assert written[3] == "−0.100  (−0.200 to −0.050)"
    assert [text.get_text() for text in loss.texts] == ["−450  (−500 to −400)"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["b is better", "not told apart", "b is worse"]
    assert_legible(figure)


def test_two_that_are_the_same():
    figure = score_differences({"accuracy": Difference(0.5, 0.5, 0.0, 0.0, 0.0)})
    low, high = figure.axes[0].get_xlim()
    assert low < 0 < high
    assert_legible(figure)


def test_small_differences_have_legible_axes():
    long = "expected_calibration_error"  # which leaves the axes little room
    found = {long: Difference(0.026, 0.038, 0.012, -0.008, 0.036), "log_loss": Difference(0.1, 0.1, 0.0, -0.026, 0.019)}
    figure = score_differences(found)
    assert_legible(figure)
    renderer = draw(figure)
    for axes in figure.axes:
        boxes = [label.get_window_extent(renderer) for label in axes.get_xticklabels() if label.get_text()]
        assert min(b.x0 - a.x1 for a, b in pairwise(boxes)) > boxes[0].height / 2


def test_no_differences():
    with pytest.raises(ParameterError, match="differences must be at least one; got none"):
        score_differences({})
