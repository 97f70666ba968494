import numpy as np
import pytest
from matplotlib.colors import to_hex

from featx.errors import ParameterError
from featx.plots import axes_box, feature_map
from featx.plots._style import PALETTE
from tests.plots.examples import cloud, names
from tests.plots.helpers import assert_legible, draw, texts_of


def drawn_points(axes):
    """Return which looks the points are drawn with, by place."""
    found = {}
    for line in axes.lines:
        look = (to_hex(line.get_color()), line.get_marker())
        for place in zip(*line.get_data(), strict=True):
            assert place not in found  # none is drawn twice
            found[tuple(map(float, place))] = look
    return found


def looks_of(axes, points, labels):
    """Return the looks that the points of each label are drawn with."""
    found = drawn_points(axes)
    assert len(found) == len(points)
    looks = {}
    for point, label in zip(points.tolist(), labels.tolist(), strict=True):
        looks.setdefault(label, set()).add(found[tuple(point)])
    return looks


def legend_of(axes):
    legend = axes.get_legend()
    handles = [(to_hex(handle.get_color()), handle.get_marker()) for handle in legend.legend_handles]
    return dict(zip([text.get_text() for text in legend.get_texts()], handles, strict=True))


@pytest.mark.parametrize("n", [160, 2400])
@pytest.mark.parametrize("k", [1, 8, 24])
def test_each_class_has_a_look_that_the_legend_explains(k, n):
    points, labels = cloud(k, n)
    labels[::10] = -1
    classes = [f"class {i}" for i in range(k)]
    figure = feature_map(points, labels, classes)
    axes = figure.axes[0]
    looks = looks_of(axes, points, labels)
    assert all(len(look) == 1 for look in looks.values())
    explained = legend_of(axes)
    assert explained == {
        **{classes[label]: min(look) for label, look in sorted(looks.items()) if label >= 0},
        "no label": min(looks[-1]),
    }
    assert len(set(explained.values())) == k + 1
    if k <= 8:
        assert len({marker for _, marker in explained.values()}) == k + 1
    assert {bool(line.get_rasterized()) for line in axes.lines} == {n > 2000}
    assert_legible(figure)


@pytest.mark.parametrize("k", [60, 300])
def test_of_many_classes_names_stand_where_their_samples_lie(k):
    points, labels = cloud(k)
    figure = feature_map(points, labels, names(k))
    axes = figure.axes[0]
    assert all(len(look) == 1 for look in looks_of(axes, points, labels).values())
    *written, note = axes.texts
    assert note.get_text() == f"names of {len(written)} of {k} classes"
    assert len(written) > 9
    medians = {tuple(np.median(points[labels == c], axis=0)): c for c in range(k)}
    for text in written:
        whole = names(k)[medians[text.get_position()]]
        assert text.get_text().partition("…")[0] in whole.encode("unicode_escape").decode() + whole
    assert axes.get_legend() is None
    assert_legible(figure)


def test_the_largest_class_is_named_first():
    points = np.concatenate([np.full((5, 2), 1.0), np.full((9, 2), 1.0), [[0, 0], [2, 2]]])
    points += 1e-3 * np.random.default_rng(0).normal(size=points.shape)
    labels = np.array([0] * 5 + [1] * 9 + [2] * 2)
    figure = feature_map(points, labels, [f"class {i}" for i in range(30)])
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == ["class 1", "names of 1 of 30 classes"]


def test_no_class_lies_over_all_others():
    points, labels = cloud(3, 3000)
    axes = feature_map(points, labels, names(3)).axes[0]
    order = [to_hex(line.get_color()) for line in axes.lines]
    assert len(order) == 18
    assert order[0] in order[3:]


def test_rings_are_around_what_is_highlighted():
    points, labels = cloud(2)
    figure = feature_map(points, labels, names(2), highlighted=[5, 3])
    ring = figure.axes[0].lines[-1]
    assert ring.get_markerfacecolor() == "none"
    np.testing.assert_array_equal(np.transpose(ring.get_data()), points[[5, 3]])
    assert len(feature_map(points, labels, names(2), highlighted=[]).axes[0].lines) == 2


@pytest.mark.parametrize("n", [100, 2500])
def test_numbers_are_a_range_of_colours(n):
    points, _ = cloud(2, n)
    values = np.linspace(-5, 5, n)
    values[7] = np.nan
    figure = feature_map(points, values, ["degrees"])
    axes = figure.axes[0]
    (drawn,) = axes.collections
    known = np.isfinite(values)
    np.testing.assert_array_equal(drawn.get_offsets(), points[known])
    np.testing.assert_array_equal(drawn.get_array(), values[known])
    colours = drawn.to_rgba(drawn.get_array())
    assert to_hex(colours[0]) == PALETTE["blue"]
    assert to_hex(colours[-1]) == PALETTE["vermilion"]
    np.testing.assert_array_equal(np.transpose(axes.lines[0].get_data()), points[~known])
    assert "degrees" in dict(texts_of(figure))
    assert drawn.get_rasterized() == (n > 2000)
    assert_legible(figure)


def test_numbers_that_are_all_missing_or_all_the_same():
    points, _ = cloud(2)
    assert_legible(feature_map(points, np.full(len(points), np.nan), ["degrees"]))
    assert_legible(feature_map(points, np.full(len(points), 3.0), ["degrees"]))


def test_samples_without_any_labels():
    points, _ = cloud(2)
    figure = feature_map(points, np.full(len(points), -1))
    assert set(legend_of(figure.axes[0])) == {"no label"}
    assert_legible(figure)


def test_the_box_is_where_the_axes_are():
    points, labels = cloud(3)
    figure = feature_map(points, labels, names(3))
    draw(figure)
    box, axes = axes_box(figure), figure.axes[0]
    whole = figure.bbox
    for x, y in points[:5]:
        across = box.left + box.width * (x - box.x_low) / (box.x_high - box.x_low)
        up = box.bottom + box.height * (y - box.y_low) / (box.y_high - box.y_low)
        assert axes.transData.transform((x, y)) == pytest.approx((across * whole.width, up * whole.height))


def test_one_point_is_in_the_middle():
    box = axes_box(feature_map([[3, 4]], [0], ["a"]))
    assert (box.x_low + box.x_high, box.y_low + box.y_high) == (6, 8)


@pytest.mark.parametrize(
    ("points", "labels", "words"),
    [
        ([], [], "points must be at least one"),
        ([[1, 2, 3]], [0], r"two columns, with a label each; got shapes \(1, 3\) and \(1,\)"),
        ([[1, 2]], [0, 0], r"with a label each; got shapes \(1, 2\) and \(2,\)"),
        ([[1, np.nan]], [0], "points must be finite"),
        ([[1, 2]], [1], "labels must be -1 or indices of 1 classes; got 1 to 1"),
        ([[1, 2]], [-2], "got -2 to -2"),
    ],
)
def test_what_is_no_map(points, labels, words):
    with pytest.raises(ParameterError, match=words):
        feature_map(points, labels, ["a"])
