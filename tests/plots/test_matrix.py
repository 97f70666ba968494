import numpy as np
import pytest

from featx.errors import ParameterError
from featx.plots import confusion_matrix
from tests.plots.examples import names
from tests.plots.helpers import assert_legible


def table_of(k):
    random = np.random.default_rng(k)
    table = random.integers(0, 9, (k, k)) * (random.random((k, k)) < 0.3)
    table[1] = 0  # no sample is of that class
    return table


def shares_of(table):
    """Return what share of its row each count is, one by one."""
    return [[count / max(sum(row), 1) for count in row] for row in table.tolist()]


@pytest.mark.parametrize("k", [2, 3, 10, 30])
def test_cells_have_their_number_and_the_shade_of_their_share(k):
    table = table_of(k)
    figure = confusion_matrix(table, names(k))
    (axes,) = figure.axes
    (cells,) = axes.collections
    places = np.array([path.get_extents().bounds for path in cells.get_paths()])
    columns, rows = (places[:, :2] + 0.5).round().astype(int).T
    np.testing.assert_allclose(places[:, 2:], 1)
    np.testing.assert_allclose(cells.get_facecolor()[:, 3], np.array(shares_of(table))[rows, columns])
    assert sorted(zip(rows, columns, strict=True)) == [(i, j) for i in range(k) for j in range(k)]
    assert axes.get_ylim() == (k - 0.5, -0.5)  # the first class is at the top
    written = {tuple(map(int, text.get_position()[::-1])): text.get_text() for text in axes.texts}
    assert written == {(i, j): str(table[i, j]) for i in range(k) for j in range(k) if table[i, j] or i == j}
    assert_legible(figure)


def test_all_classes_of_up_to_30_are_named():
    for k in (2, 30):
        (axes,) = confusion_matrix(table_of(k), [f"class {i}" for i in range(k)]).axes
        for axis in (axes.xaxis, axes.yaxis):
            named = [label.get_text().replace("\n", " ") for label in axis.get_ticklabels()]
            assert named == [f"class {i}" for i in range(k)]
            assert list(axis.get_ticklocs()) == list(range(k))


def test_large_numbers_fit_into_their_cells():
    k = 25
    table = np.full((k, k), 12_345)
    figure = confusion_matrix(table, names(k))
    (axes,) = figure.axes
    cell = axes.get_window_extent().width / k
    assert len(axes.texts) == k * k
    assert all(text.get_window_extent().width < cell for text in axes.texts)
    assert not confusion_matrix(table * 10**12, names(k)).axes[0].texts  # which would not be legible
    assert_legible(figure)


@pytest.mark.parametrize("k", [31, 100])
def test_of_more_classes_each_cell_is_a_pixel(k):
    table = table_of(k)
    figure = confusion_matrix(table, names(k))
    (axes,) = figure.axes
    (image,) = axes.images
    np.testing.assert_allclose(image.get_array()[..., 3], shares_of(table))
    assert image.get_extent() == [-0.5, k - 0.5, k - 0.5, -0.5]
    assert not axes.texts
    ticks = list(axes.get_yticks())
    assert len(ticks) <= 30
    assert [label.get_text() for label in axes.get_yticklabels()][2] == names(k)[int(ticks[2])]
    assert_legible(figure)


def test_of_a_thousand_classes_a_pixel_is_as_dark_as_its_darkest_cell():
    k, step = 1001, 4
    table = np.eye(k, dtype=np.int64) * 5
    table[7, 900], table[1000, 0] = 5, 20
    figure = confusion_matrix(table, [f"class {i}" for i in range(k)])
    (axes,) = figure.axes
    pixels = axes.images[0].get_array()[..., 3]
    assert pixels.shape == (251, 251)
    expected = np.eye(251)
    expected[1, 225], expected[250, 0], expected[250, 250] = 0.5, 0.8, 0.2
    np.testing.assert_allclose(pixels, expected)
    assert axes.images[0].get_extent()[1] == 251 * step - 0.5  # a pixel is of four classes, the last one's, too
    assert axes.get_xlim() == (-0.5, k - 0.5)
    assert_legible(figure)


@pytest.mark.parametrize(
    ("counts", "classes", "words"),
    [([[1]], ["a", "b"], r"each of 2 classes; got shape \(1, 1\)"), ([], [], r"each of 0 classes; got shape \(0,\)")],
)
def test_what_is_no_matrix(counts, classes, words):
    with pytest.raises(ParameterError, match=f"counts must have a row and a column for {words}"):
        confusion_matrix(counts, classes)
