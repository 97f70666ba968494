import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification

from featx.errors import HeadError
from featx.heads import NetClassifier, NetRegressor

FAST = {"max_epochs": 3, "batch_size": 16, "device": "cpu", "random_state": 0}


@pytest.fixture(scope="module")
def clouds():
    return make_classification(60, 10, n_informative=6, n_classes=3, random_state=0)


@pytest.fixture(scope="module")
def maps():
    return np.random.default_rng(0).normal(size=(40, 3, 3, 6)).astype(np.float32)


LABELS = np.arange(40) % 3


@pytest.mark.parametrize(
    ("net", "y"),
    [
        (NetClassifier("batchnorm conv(5,2) relu gap dense", **FAST), LABELS),
        (NetClassifier("flatten dense", class_weight={0: 1.0, 1: 2.0, 2: 1.0}, **FAST), LABELS),
        (NetClassifier("gap dense", loss="categorical", **FAST), np.eye(3)[LABELS]),
        (NetClassifier("gap dense", **FAST), np.array(["a", "b"])[LABELS % 2]),
        (NetClassifier("gap dense", standardize=False, **FAST), np.stack([LABELS == 0, LABELS > 1], 1)),
        (NetRegressor("gap dense", **FAST), np.stack([LABELS, 5.0 * LABELS + 2], 1)),
        (NetRegressor("gap dense", **FAST), 5.0 * LABELS + 2),
    ],
    ids=["batchnorm", "weights", "one-hot", "text", "labels", "targets", "target"],
)
def test_a_net_comes_back_as_it_was(net, y, maps):
    X = maps
    net = clone(net).fit(X, y)
    params, arrays = net.head_state()
    back = type(net).from_head_state(json.loads(json.dumps(params, allow_nan=False)), arrays)
    assert back.get_params() == net.get_params()
    assert (back.history_, back.n_iter_, back.best_epoch_) == (net.history_, net.n_iter_, net.best_epoch_)
    assert (back.n_features_in_, back.input_shape_, back.link_) == (54, (3, 3, 6), net.link_)
    answers = net.predict(X)
    np.testing.assert_array_equal(back.predict(X), answers)
    if hasattr(net, "classes_"):
        np.testing.assert_array_equal(back.classes_, net.classes_)
        assert back.multilabel_ == net.multilabel_
        np.testing.assert_array_equal(back.predict_proba(X), net.predict_proba(X))
    arrays["dense_1.bias"][:] = 1e9  # nothing is shared with what was read
    np.testing.assert_array_equal(back.predict(X), answers)


def spoil(state, *path, value):
    for name in path[:-1]:
        state = state[name]
    if value is None:
        del state[path[-1]]
    else:
        state[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("settings",), None),
        (("settings", "layers"), "dense(999999999) dense"),
        (("settings", "layers"), "relu dense relu dense"),
        (("settings", "layers"), "gap dense"),
        (("settings", "nonsense"), 1),
        (("settings", "learning_rate"), "fast"),
        (("settings", "standardize"), False),
        (("input_shape",), [7]),
        (("input_shape",), [-6]),
        (("input_shape",), []),
        (("input_shape",), "6"),
        (("coding",), []),
        (("coding", "link"), "none"),
        (("coding", "classes"), [0, 1]),
        (("coding", "classes"), [2, 1, 0]),
        (("coding", "classes"), [[0], [1], [2]]),
        (("coding", "multilabel"), 1),
        (("history",), 3),
        (("best_epoch",), 99),
        (("extra",), 1),
    ],
)
def test_a_damaged_state_is_refused(clouds, path, value):
    net = NetClassifier("dense(4) relu dense", **FAST).fit(clouds[0], clouds[1])
    params, arrays = net.head_state()
    params = json.loads(json.dumps(params))
    spoil(params, *path, value=value)
    with pytest.raises(HeadError, match=r"this state of a net is damaged .*: fit the net again"):
        NetClassifier.from_head_state(params, arrays)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("dense_1.bias"),
        lambda arrays: arrays.update(more=np.zeros(3, np.float32)),
        lambda arrays: arrays.update({"dense_1.bias": np.zeros(5, np.float32)}),
        lambda arrays: arrays.update({"dense_1.bias": np.zeros(4, np.float64)}),
        lambda arrays: arrays.update({"standardize.scale": np.zeros((10, 1), np.float32)}),
    ],
)
def test_arrays_that_do_not_fit_the_layers_are_refused(clouds, change):
    net = NetClassifier("dense(4) relu dense", **FAST).fit(*clouds)
    params, arrays = net.head_state()
    change(arrays)
    with pytest.raises(HeadError, match="have other parameters than are given"):
        NetClassifier.from_head_state(params, arrays)
    with pytest.raises(HeadError, match="damaged"):
        NetRegressor.from_head_state(params, arrays)
