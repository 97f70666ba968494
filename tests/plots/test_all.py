"""What holds for every figure."""

from concurrent.futures import ThreadPoolExecutor

import matplotlib as mpl
import matplotlib.style
import pytest

from featx.plots import learning_curves, page_svg, save_figure
from tests.plots.examples import figures, history
from tests.plots.helpers import assert_legible, texts_of


@pytest.mark.parametrize("k", [2, 9, 36])
def test_all_that_is_written_can_be_read(k):
    for name, figure in figures(k).items():
        try:
            assert_legible(figure)
        except AssertionError as error:
            raise AssertionError(name) from error


def test_a_users_own_style_changes_nothing(tmp_path):
    figures.cache_clear()
    with matplotlib.style.context(["dark_background", {"font.size": 20, "lines.linewidth": 9, "savefig.dpi": 20}]):
        for name, figure in figures(2).items():
            save_figure(figure, tmp_path / f"{name}.png")
    figures.cache_clear()
    for name, figure in figures(2).items():
        found = (tmp_path / f"{name}.png").read_bytes()
        assert save_figure(figure, tmp_path / "plain.png").read_bytes() == found, name


def test_figures_leave_the_users_style_as_it_was():
    before = dict(mpl.rcParams)
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: page_svg(learning_curves(history(3)), "curves"), range(4)))
    assert dict(mpl.rcParams) == before
    assert len(set(drawn)) == 1


def test_no_room_is_left_beside_a_legend():
    for name in ("map", "precision and recall", "roc"):
        figure = figures(2)[name]
        end = max(box.x1 for _, box in texts_of(figure))
        assert 0 < figure.bbox.width - end < 0.2 * figure.dpi, name
