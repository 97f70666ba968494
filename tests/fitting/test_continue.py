"""A net that was saved goes on where it stopped."""

import numpy as np
import pytest

from featx.errors import ParameterError, SpecMismatchError
from featx.fitting import Run, continue_fit, fit_head
from tests.fitting.helpers import clouds, write

SPLITS = ["train", "train", "val", "train", "test"] * 18


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / "photos.h5", *clouds(90), splits=SPLITS)


def test_two_halves_are_a_whole(store):
    params = {"layers": "dense(4) tanh dense", "restore_best": False, "schedule": None}
    whole = fit_head(store, "mlp", {**params, "max_epochs": 6}, seed=3)
    half = fit_head(store, "mlp", {**params, "max_epochs": 3}, seed=3)
    before = half.answers["val"].scores.copy()
    both = continue_fit(half)
    assert [epoch["epoch"] for epoch in both.history] == [1, 2, 3, 4, 5, 6]
    losses = [[epoch["loss"] for epoch in run.history] for run in (both, whole)]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    np.testing.assert_allclose(both.answers["val"].scores, whole.answers["val"].scores, rtol=1e-5)
    assert np.array_equal(half.answers["val"].scores, before)
    assert len(half.history) == 3
    assert both.keys == half.keys
    assert both.settings["continues"] == half.name != both.name


def test_a_net_from_a_folder_goes_on_with_other_settings(store, tmp_path):
    folder = fit_head(store, "mlp", {"max_epochs": 2, "schedule": None}).save(tmp_path / "run")
    run = continue_fit(folder, store, {"max_epochs": 3, "learning_rate": 1e-4})
    assert [epoch["learning_rate"] for epoch in run.history] == [1e-3, 1e-3, 1e-4, 1e-4, 1e-4]
    assert run.settings["params"] == {"max_epochs": 3, "schedule": None, "learning_rate": 1e-4}
    back = Run.load(run.save(tmp_path / "more"))
    assert list(back.history) == list(run.history)


def test_what_cannot_go_on_is_told(store, tmp_path):
    with pytest.raises(ParameterError, match="must be of a net, which learns in epochs, to go on; its head is 'ridge'"):
        continue_fit(fit_head(store, "ridge"))
    run = fit_head(store, "mlp", {"max_epochs": 1})
    with pytest.raises(ParameterError, match="'mlp' has no parameter 'epochs'"):
        continue_fit(run, params={"epochs": 3})
    X, y = clouds(90)
    with pytest.raises(ParameterError, match="10 are missing"):
        continue_fit(run, write(tmp_path / "b.h5", X[:80], y[:80], splits=SPLITS[:80], keys=store.keys[:80]))
    with pytest.raises(SpecMismatchError, match="layer"):
        continue_fit(run, write(tmp_path / "c.h5", X, y, spec={"layer": "other"}))
    with pytest.raises(ParameterError, match="classes or targets that the run was trained on"):
        continue_fit(run, write(tmp_path / "d.h5", X, y, splits=SPLITS, classes=("x", "y", "z")))
