import numpy as np
import pytest

from featx.errors import ParameterError
from featx.evaluation import Figure
from featx.plots import class_counts, score_by_class
from tests.plots.examples import names
from tests.plots.helpers import assert_legible


def scores_of(k):
    values = np.random.default_rng(k).random(k)
    return [Figure(float(v), float(0.8 * v), float(v + 0.1 * (1 - v))) for v in values]


def labels_of(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def legend_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("k", [1, 7, 30, 100])
def test_the_worst_classes_come_first_with_their_intervals(k):
    scores, classes = scores_of(k), [f"class {i}" for i in range(k)]
    figure = score_by_class(classes, scores, figure="macro_f1")
    (axes,) = figure.axes
    (drawn,) = axes.containers
    points, _, (whiskers,) = drawn.lines
    order = np.argsort([score.value for score in scores])[:30]
    assert labels_of(axes) == [classes[i] for i in order]
    assert list(points.get_xdata()) == [scores[i].value for i in order]
    assert list(points.get_ydata()) == list(range(len(order)))
    expected = [[(scores[i].low, row), (scores[i].high, row)] for row, i in enumerate(order)]
    np.testing.assert_allclose(whiskers.get_segments(), expected)
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first is at the top
    mean = np.mean([score.value for score in scores])
    assert [line.get_xdata() for line in axes.lines if line is not points] == [[mean, mean]]
    assert legend_of(axes) == ["95 % interval" if k <= 30 else "worst 30 of 100 classes", f"mean of all: {mean:.3f}"]
    assert axes.get_xlabel() == "macro f1"
    assert_legible(figure)


def test_fewer_are_drawn_on_request():
    (axes,) = score_by_class(names(9), scores_of(9), most=2).axes
    assert len(labels_of(axes)) == 2
    assert legend_of(axes)[0] == "worst 2 of 9 classes"


def test_figures_that_are_no_shares_are_all_seen():
    figure = score_by_class(["a", "b"], [Figure(-3.0, -5.5, -1.0), Figure(0.5, 0.1, 0.8)], figure="r2")
    low, high = figure.axes[0].get_xlim()
    assert low < -5.5
    assert high > 1
    assert_legible(figure)


def bars_of(axes):
    """Return (left, width) of each bar by its row, and the hatches of the columns."""
    rows = {}
    for container in axes.containers:
        for bar in container:
            rows.setdefault(round(bar.get_y() + bar.get_height() / 2, 6), []).append((bar.get_x(), bar.get_width()))
    return rows, [container[0].get_hatch() or "" for container in axes.containers]


def test_bars_are_the_counts_one_behind_the_other():
    table = np.array([[10, 5, 1], [0, 0, 0], [1000, 20, 300]])
    figure = class_counts(table, names(3), ["train", "val", "<b>test</b>"])
    (axes,) = figure.axes
    rows, hatches = bars_of(axes)
    assert rows == {
        0: [(0, 10), (10, 5), (15, 1)],
        1: [(0, 0), (0, 0), (0, 0)],
        2: [(0, 1000), (1000, 20), (1020, 300)],
    }
    assert len(set(hatches)) == 3
    totals = {text.get_position(): text.get_text().strip() for text in axes.texts}
    assert totals == {(16, 0): "16", (0, 1): "0", (1320, 2): "1,320"}
    assert legend_of(axes) == ["train", "val", "<b>test</b>"]
    assert_legible(figure)


def test_without_splits_there_is_no_legend():
    figure = class_counts([[3], [4]], ["a", "b"])
    assert figure.axes[0].get_legend() is None
    assert labels_of(figure.axes[0]) == ["a", "b"]
    assert_legible(figure)


def test_of_many_classes_the_largest_and_the_smallest_are_shown():
    totals = np.random.default_rng(0).permutation(1000) + 1
    classes = [f"of {total}" for total in totals]
    figure = class_counts(totals[:, None], classes, ["train"])
    (axes,) = figure.axes
    found = labels_of(axes)
    assert found[:20] == [f"of {total}" for total in range(1000, 980, -1)]
    assert found[20] == "… 960 classes between …"
    assert found[21:] == [f"of {total}" for total in range(20, 0, -1)]
    rows, _ = bars_of(axes)
    assert [rows[row][0][1] for row in sorted(rows)] == [*range(1000, 980, -1), *range(20, 0, -1)]
    assert 20 not in rows
    assert_legible(figure)
    assert len(labels_of(class_counts(totals[:40, None], classes[:40]).axes[0])) == 40


def test_more_splits_than_looks():
    table = np.arange(1, 23).reshape(2, 11)
    figure = class_counts(table, ["a", "b"], ["a split " * i for i in range(1, 12)])
    assert [bar.get_width() for container in figure.axes[0].containers for bar in container] == list(table.T.ravel())
    assert_legible(figure)


def test_what_does_not_go_together():
    with pytest.raises(ParameterError, match="got 1 classes and 0 scores"):
        score_by_class(["a"], [])
    with pytest.raises(ParameterError, match="got 0 classes and 0 scores"):
        score_by_class([], [])
    with pytest.raises(ParameterError, match=r"each of 1 classes and a column for each of 2 splits; got shape"):
        class_counts([[1]], ["a"], ["train", "val"])
