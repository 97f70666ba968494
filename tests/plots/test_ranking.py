import numpy as np
import pytest
from matplotlib.colors import to_hex
from sklearn.metrics import average_precision_score, roc_auc_score

from featx.errors import ParameterError
from featx.plots import Curve, precision_recall_curves, roc_curves
from tests.plots.examples import answers, curves, names
from tests.plots.helpers import assert_legible

DRAW = {"roc": roc_curves, "precision": precision_recall_curves}


def legend_of(figure):
    (axes,) = figure.axes
    return [text.get_text() for text in axes.get_legend().get_texts()]


def lines_of(figure):
    (axes,) = figure.axes
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines if len(line.get_xdata())]


@pytest.mark.parametrize("kind", DRAW)
@pytest.mark.parametrize("k", [2, 8])
def test_each_of_few_classes_has_a_line_of_its_own(kind, k):
    given = curves(k, kind)
    figure = DRAW[kind](given)
    (axes,) = figure.axes
    found = lines_of(figure)
    looks = []
    for curve in given:
        line = axes.lines[found.index((list(curve.x), list(curve.y)))]
        assert line.get_drawstyle() == ("default" if kind == "roc" else "steps-pre")
        looks.append((to_hex(line.get_color()), str(line._unscaled_dash_pattern)))
    assert len({colour for colour, _ in looks}) == len({dash for _, dash in looks}) == k
    assert axes.get_xlabel() == ("false positive rate" if kind == "roc" else "recall")
    assert axes.get_ylabel() == ("true positive rate" if kind == "roc" else "precision")
    assert_legible(figure)


def test_areas_are_told():
    truth, scores = answers(8)
    auc = [roc_auc_score(truth == c, scores[:, c]) for c in range(8)]
    precision = [average_precision_score(truth == c, scores[:, c]) for c in range(8)]
    plain = [curve._replace(name=f"class {c}") for c, curve in enumerate(curves(8, "roc"))]
    assert legend_of(roc_curves(plain)) == [*(f"class {c}: {auc[c]:.3f}" for c in range(8)), "by chance"]
    plain = [curve._replace(name=f"class {c}") for c, curve in enumerate(curves(8, "precision"))]
    found = legend_of(precision_recall_curves(plain))
    assert found == [*(f"class {c}: {precision[c]:.3f}" for c in range(8)), "by chance"]


def area_of(kind, x, y):
    """Return the area below a line as it is drawn."""
    x, y = np.array(x), np.array(y)
    if kind == "roc":
        return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
    return float(np.sum(np.diff(x) * y[1:]))


@pytest.mark.parametrize("kind", DRAW)
def test_the_area_below_a_line_is_what_is_told(kind):
    given = curves(5, kind)
    found = lines_of(DRAW[kind](given))
    for curve in given:
        x, y = found[found.index((list(curve.x), list(curve.y)))]
        assert area_of(kind, x, y) == pytest.approx(curve.area)


@pytest.mark.parametrize("kind", DRAW)
@pytest.mark.parametrize("k", [9, 60])
def test_of_many_classes_the_mean_and_the_worst_are_named(kind, k):
    given = curves(k, kind)
    figure = DRAW[kind](given)
    (axes,) = figure.axes
    worst = sorted(range(k), key=lambda c: given[c].area)[:3]
    mean, *rest = legend_of(figure)
    assert mean == f"mean of {k} classes: {np.mean([curve.area for curve in given]):.3f}"
    assert [text[-7:] for text in rest] == [*(f": {given[c].area:.3f}" for c in worst), "h class", " chance"]
    assert rest[0].startswith(names(k)[worst[0]][:4])
    found = lines_of(figure)
    for curve in given:
        assert (list(curve.x), list(curve.y)) in found
    (bold,) = [line for line in axes.lines if line.get_linewidth() == 2]
    x, y = bold.get_data()
    assert list(x) == list(np.linspace(0, 1, 201))
    for at in (0, 30, 117, 200):
        assert y[at] == pytest.approx(np.mean([height(kind, curve, x[at]) for curve in given]))
    assert y @ np.full(201, 1 / 201) == pytest.approx(np.mean([curve.area for curve in given]), abs=0.02)
    assert_legible(figure)


def height(kind, curve, x):
    """Return how high a curve is drawn at x; where it rises there, the upper end."""
    after = int(np.searchsorted(curve.x, x, side="right"))
    if kind == "roc":
        if after == len(curve.x):
            return curve.y[-1]
        before = after - 1
        share = (x - curve.x[before]) / (curve.x[after] - curve.x[before])
        return (1 - share) * curve.y[before] + share * curve.y[after]
    return next(y for at, y in zip(curve.x, curve.y, strict=True) if at >= x)


def test_chance_is_the_diagonal_or_the_share_of_the_class():
    assert ([0, 1], [0, 1]) in lines_of(roc_curves(curves(3, "roc")))
    given = [curve._replace(base=base) for curve, base in zip(curves(3, "precision"), (0.2, 0.2, 0.6), strict=True)]
    found = lines_of(precision_recall_curves(given))
    assert [line for line in found if len(line[0]) == 2] == [([0, 1], [0.2, 0.2]), ([0, 1], [0.6, 0.6])]
    many = [curve._replace(base=base) for curve, base in zip(curves(9, "precision"), np.arange(9) / 10, strict=True)]
    (mean,) = [line for line in lines_of(precision_recall_curves(many)) if len(line[0]) == 2]
    assert mean == ([0, 1], pytest.approx([0.4, 0.4]))
    without = precision_recall_curves([curve._replace(base=None) for curve in given])
    assert len(lines_of(without)) == 3
    assert "by chance" not in legend_of(without)


def test_no_curves():
    for draw in DRAW.values():
        with pytest.raises(ParameterError, match="curves must be at least one; got none"):
            draw([])


def test_a_perfect_and_a_useless_class():
    figure = roc_curves([Curve("perfect", [0, 0, 1], [0, 1, 1], 1.0), Curve("useless", [0, 1], [0, 1], 0.5)])
    assert legend_of(figure)[:2] == ["perfect: 1.000", "useless: 0.500"]
    assert_legible(figure)
