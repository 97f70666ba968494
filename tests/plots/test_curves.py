import numpy as np
import pytest

from featx.errors import ParameterError
from featx.plots import learning_curves
from tests.plots.helpers import assert_legible, texts_of

NAMES = ("loss", "accuracy", "val_loss", "val_accuracy")


def history_of(epochs, *, first=1, names=NAMES, **more):
    random = np.random.default_rng(epochs)
    return [
        {"epoch": first + n, **{name: float(random.random()) for name in names}, "seconds": 0.1, **more}
        for n in range(epochs)
    ]


def lines_of(axes):
    """Return the points of each line by its label; markers and vertical lines too."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def test_the_lines_are_the_history():
    history = history_of(7)
    figure = learning_curves(history)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    best = min(history, key=lambda entry: entry["val_loss"])
    for axes in figure.axes:
        name = axes.get_ylabel()
        assert axes.get_xlabel() == "epoch"
        star = f"least validation loss: epoch {best['epoch']}"
        assert lines_of(axes) == {
            "training": (list(range(1, 8)), [entry[name] for entry in history]),
            "validation": (list(range(1, 8)), [entry[f"val_{name}"] for entry in history]),
            star: ([best["epoch"]], [best[f"val_{name}"]]),
        }
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation", star]
    assert_legible(figure)


def test_without_validation_there_is_one_line_and_no_star():
    figure = learning_curves(history_of(3, names=("loss", "accuracy")))
    assert [list(lines_of(axes)) for axes in figure.axes] == [["training"], ["training"]]
    assert_legible(figure)


def test_a_regression_has_no_panel_of_accuracy():
    figure = learning_curves(history_of(50, names=("loss", "val_loss")))
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss"]
    assert_legible(figure)


@pytest.mark.parametrize("epochs", [1, 2, 300])
def test_few_and_many_epochs(epochs):
    figure = learning_curves(history_of(epochs))
    assert_legible(figure)
    for axes in figure.axes:
        assert (axes.lines[0].get_marker() == "o") == (epochs < 40)
        low, high = axes.get_xlim()
        assert (low, high) == (0.5, epochs + 0.5)
        assert all(tick == round(tick) for tick in axes.get_xticks() if low < tick < high)


@pytest.mark.parametrize(("before", "after"), [(10, 5), (1, 30), (40, 1)])
def test_the_line_where_fine_tuning_starts(before, after):
    history = history_of(before) + history_of(after, first=before + 1, phase="fine-tune")
    figure = learning_curves(history)
    for axes in figure.axes:
        (vertical,) = [line for line in axes.lines if list(line.get_xdata()) == [before + 0.5] * 2]
        assert list(vertical.get_ydata()) == [0, 1]
        (words,) = [text for text in axes.texts if text.get_text() == "fine-tuning starts"]
        assert words.get_position()[0] == before + 0.5
    assert_legible(figure)


def test_a_head_without_epochs_is_epoch_0():
    figure = learning_curves(history_of(1, first=0) + history_of(3, phase="fine-tune"))
    assert lines_of(figure.axes[0])["training"][0] == [0, 1, 2, 3]
    assert list(figure.axes[0].lines[-1].get_xdata()) == [0.5, 0.5]
    assert_legible(figure)


@pytest.mark.parametrize("phases", [(), (0, 1, 2)])
def test_without_a_before_there_is_no_line(phases):
    history = history_of(3)
    for row in phases:
        history[row]["phase"] = "fine-tune"
    assert not any(axes.texts for axes in learning_curves(history).axes)


def test_what_is_missing_or_not_finite_is_left_out():
    history = history_of(5)
    history[1]["loss"] = float("nan")
    history[2]["val_loss"] = float("inf")
    del history[3]["accuracy"]
    loss, accuracy = learning_curves(history).axes
    assert lines_of(loss)["training"][0] == [1, 3, 4, 5]
    assert lines_of(loss)["validation"][0] == [1, 2, 4, 5]
    assert lines_of(accuracy)["training"][0] == [1, 2, 3, 5]


@pytest.mark.parametrize("history", [[], [{"epoch": 1, "seconds": 0.1}], [{"epoch": 1, "loss": float("nan")}]])
def test_nothing_to_draw(history):
    with pytest.raises(ParameterError, match=f"history must have an epoch with a loss .*; got {len(history)} without"):
        learning_curves(history)


def test_numbers_of_any_size_are_legible():
    history = [{"epoch": n + 1, "loss": 10.0 ** (9 - n), "val_loss": 1e-7 * n} for n in range(9)]
    assert_legible(learning_curves(history))
    assert "loss" in dict(texts_of(learning_curves(history)))
