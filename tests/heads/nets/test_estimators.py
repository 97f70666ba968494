import json
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from featx.errors import HeadError, ParameterError
from featx.heads import NetClassifier, NetRegressor

FAST = {"max_epochs": 4, "batch_size": 16, "device": "cpu", "random_state": 0}
MAPS = "conv(5,2) relu dropout(0.3) gap dense"


@pytest.fixture(scope="module")
def clouds():
    return make_classification(120, 10, n_informative=6, n_classes=3, random_state=0)


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=90)
    X = rng.normal(size=(90, 3, 3, 6)).astype(np.float32)
    X[..., 0] += y[:, None, None]
    return X, y


def weights_of(net):
    return {name: values.numpy().copy() for name, values in net.module_.state_dict().items()}


def assert_equal_nets(one, other, rtol=0.0, atol=0.0):
    mine, others = weights_of(one), weights_of(other)
    assert mine.keys() == others.keys()
    for name, values in mine.items():
        np.testing.assert_allclose(values, others[name], rtol=rtol, atol=atol, err_msg=name)


def figures(net, *names):
    return [[epoch[name] for name in names] for epoch in net.history_]


CHECKED = {"max_epochs": 10, "batch_size": 10, "learning_rate": 0.01, "device": "cpu", "random_state": 0}


@parametrize_with_checks(
    [NetClassifier(layers="dense(16) relu dense", **CHECKED), NetRegressor(layers="dense(16) relu dense", **CHECKED)],
    expected_failed_checks=lambda net: {
        "check_sample_weight_equivalence_on_dense_data": "the order of batches depends on the number of rows",
        "check_methods_subset_invariance": "float32: products may round otherwise in other batches",
    },
    xfail_strict=False,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_the_estimator_contract_is_kept(estimator, check):
    check(estimator)


# --- the same numbers as a plain loop


class PlainLoop:
    """The loop everybody writes, on the module given, in the order of rows and with the dropout of a seed."""

    def __init__(self, module, optimizer, loss, seed, batch_size):
        self.module, self.optimizer, self.loss, self.batch_size = module, optimizer, loss, batch_size
        self.order = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self.losses = []

    def epoch(self, X, y):
        total = 0.0
        for rows in torch.randperm(len(X), generator=self.order).split(self.batch_size):
            self.optimizer.zero_grad()
            loss = self.loss(self.module(X[rows]), y[rows])
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(rows)
        self.losses.append(total / len(X))


class ChannelsFirst(nn.Module):
    def forward(self, x):
        return x.permute(0, 3, 1, 2)


class Dropout(nn.Module):
    def forward(self, x):
        return x * (torch.rand(x.shape) >= 0.3) / 0.7


class ChannelsLast(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adam", lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
        ("rmsprop", lambda p: torch.optim.RMSprop(p, lr=0.01, weight_decay=0.1)),
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.7, weight_decay=0.1)),
    ],
)
def test_a_convolution_is_trained_as_by_plain_torch(maps, name, make):
    X, y = maps
    settings = {"learning_rate": 0.01, "momentum": 0.7, "weight_decay": 0.1, "standardize": False, **FAST}
    net = NetClassifier(MAPS, optimizer=name, **settings).fit(X, y)
    torch.manual_seed(0)
    start = NetClassifier(MAPS, **{**settings, "learning_rate": 1e-30, "weight_decay": 0.0}).fit(X, y).module_
    plain = nn.Sequential(
        ChannelsFirst(), nn.Conv2d(6, 5, 2), nn.ReLU(), ChannelsLast(), Dropout(), ChannelsFirst(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip
    with torch.no_grad():
        plain[1].weight.copy_(start.conv_1.weight.movedim(-1, 1))
        plain[1].bias.copy_(start.conv_1.bias)
        plain[-1].load_state_dict(start.dense_1.state_dict())
    loop = PlainLoop(plain, make(plain.parameters()), nn.CrossEntropyLoss(), 0, 16)
    for _ in range(4):
        loop.epoch(torch.from_numpy(X), torch.from_numpy(y))
    np.testing.assert_allclose(figures(net, "loss"), np.array(loop.losses)[:, None], rtol=1e-5)
    torch.testing.assert_close(net.module_.conv_1.weight, plain[1].weight.movedim(1, -1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net.module_.dense_1.weight, plain[-1].weight, rtol=1e-5, atol=1e-5)
    assert (net.module_.conv_1.weight - start.conv_1.weight).abs().max() > 0.01


def test_standardising_is_that_of_a_pipeline(clouds):
    X, y = clouds
    X = X * np.logspace(-2, 3, 10) + 100
    X[:, 4] = 7.0
    X, weight = X.astype(np.float32), np.linspace(0.1, 3, len(X))
    whole = NetClassifier(**FAST).fit(X, y, sample_weight=weight)
    scaler = StandardScaler().fit(X.astype(np.float64), sample_weight=weight)
    np.testing.assert_allclose(whole.module_.standardize.mean, scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(whole.module_.standardize.scale, scaler.scale_, rtol=1e-6)
    apart = NetClassifier(standardize=False, **FAST).fit(
        scaler.transform(X).astype(np.float32), y, sample_weight=weight
    )
    np.testing.assert_allclose(figures(whole, "loss"), figures(apart, "loss"), rtol=1e-4)


def test_maps_are_standardised_by_channel(maps):
    X, y = maps
    X = X * np.arange(1, 7, dtype=np.float32) + 10
    net = NetClassifier(MAPS, **FAST).fit(X, y)
    np.testing.assert_allclose(net.module_.standardize.mean, X.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(net.module_.standardize.scale, X.std((0, 1, 2)), rtol=1e-5)


def test_weights_count_in_the_loss_relative_to_their_mean(clouds):
    X, y = clouds
    weight = np.linspace(0.5, 2, len(X))
    net = NetClassifier("dense", **{**FAST, "learning_rate": 1e-30, "batch_size": 120}).fit(X, y, sample_weight=weight)
    expected = -np.average(np.log(net.predict_proba(X)[np.arange(120), y]), weights=weight)
    assert net.history_[0]["loss"] == pytest.approx(expected, rel=1e-5)
    other = NetClassifier("dense", **FAST).fit(X, y, sample_weight=weight)
    assert_equal_nets(other, NetClassifier("dense", **FAST).fit(X, y, sample_weight=8 * weight))
    assert figures(other, "loss") != figures(NetClassifier("dense", **FAST).fit(X, y), "loss")


def test_class_weights_are_sample_weights(clouds):
    X, y = clouds
    kept = np.flatnonzero((y > 0) | (np.arange(120) < 60))
    X, y = X[kept], y[kept]
    settings = {"standardize": False, **FAST}
    by_class = NetClassifier(class_weight={0: 5.0, 1: 1.0, 2: 0.5}, **settings).fit(X, y)
    assert_equal_nets(by_class, NetClassifier(**settings).fit(X, y, sample_weight=np.array([5.0, 1.0, 0.5])[y]))
    balanced = NetClassifier(class_weight="balanced", **settings).fit(X, y)
    each = len(y) / (3 * np.bincount(y))
    assert_equal_nets(balanced, NetClassifier(**settings).fit(X, y, sample_weight=each[y]), atol=1e-6)


# --- it learns


def test_digits_are_learnt_as_by_scikit_learn():
    X, y = load_digits(return_X_y=True)
    X, held, y, truth = train_test_split(X.astype(np.float32), y, stratify=y, random_state=0)
    mine = NetClassifier("dense(64) relu dense", max_epochs=20, batch_size=50, device="cpu", random_state=0).fit(X, y)
    theirs = make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=20, batch_size=50, random_state=0))
    with pytest.warns(UserWarning, match="Maximum iterations"):
        theirs.fit(X, y)
    assert mine.score(held, truth) >= theirs.score(held, truth) - 0.01
    assert mine.score(held, truth) > 0.95
    maps = clone(mine).set_params(layers="conv(16,3) relu maxpool(2) flatten dense")
    assert maps.fit(X.reshape(-1, 8, 8, 1), y).score(held.reshape(-1, 8, 8, 1), truth) > 0.85


def test_several_labels_are_learnt_each_for_itself():
    X, Y = make_multilabel_classification(300, 20, n_classes=4, random_state=0)
    net = NetClassifier(**{**FAST, "max_epochs": 20}).fit(X[:200], Y[:200])
    assert net.multilabel_
    assert net.classes_.tolist() == [0, 1, 2, 3]
    proba = net.predict_proba(X[200:])
    np.testing.assert_array_equal(net.predict(X[200:]), proba > 0.5)
    np.testing.assert_allclose(1 / (1 + np.exp(-net.decision_function(X[200:]))), proba, rtol=1e-6)
    assert (net.predict(X[200:]) == Y[200:]).mean() > 0.8
    assert net.history_[-1]["accuracy"] > 0.8


def test_values_are_learnt_in_their_unit():
    X, y = make_regression(300, 10, n_informative=5, noise=5.0, random_state=0)
    y = 1e4 + 50 * y
    net = NetRegressor(**{**FAST, "max_epochs": 40, "learning_rate": 0.01}).fit(X[:200], y[:200])
    assert net.predict(X).shape == (300,)
    assert net.score(X[200:], y[200:]) > 0.9
    inside = np.mean((net.predict(X[:200]) - y[:200]) ** 2) / y[:200].var()
    assert net.history_[-1]["loss"] == pytest.approx(inside, abs=0.02)
    both = NetRegressor(**{**FAST, "max_epochs": 40, "learning_rate": 0.01}).fit(X[:200], np.stack([y, -y], 1)[:200])
    assert both.predict(X).shape == (300, 2)
    assert both.score(X[200:], np.stack([y, -y], 1)[200:]) > 0.9


# --- losses and labels


def test_one_hot_rows_are_integer_labels(clouds):
    X, y = clouds
    index = NetClassifier(loss="categorical", **FAST).fit(X, y)
    one_hot = NetClassifier(loss="categorical", **FAST).fit(X, np.eye(3)[y])
    sparse = NetClassifier(loss="sparse", **FAST).fit(X, y)
    assert not one_hot.multilabel_
    assert_equal_nets(index, one_hot)
    assert_equal_nets(index, sparse)
    np.testing.assert_array_equal(one_hot.predict(X), index.predict(X))


def test_two_classes_have_one_output_or_two(clouds):
    X, y = clouds
    names = np.array(["no", "yes"])[(y > 0).astype(int)]
    settings = {**FAST, "max_epochs": 60, "learning_rate": 0.01, "schedule": "cosine"}
    one = NetClassifier("dense", **settings).fit(X, names)
    two = NetClassifier("dense", loss="categorical", **settings).fit(X, names)
    assert one.module_.dense_1.weight.shape == (1, 10)
    assert two.module_.dense_1.weight.shape == (2, 10)
    for net in (one, two):
        scores = net.decision_function(X)
        np.testing.assert_allclose(net.predict_proba(X)[:, 1], 1 / (1 + np.exp(-scores)), rtol=1e-6)
        np.testing.assert_array_equal(net.predict(X), np.where(scores > 0, "yes", "no"))
    assert (one.predict(X) == two.predict(X)).mean() > 0.95
    assert_equal_nets(one, clone(one).set_params(loss="binary").fit(X, names))


@pytest.mark.parametrize(
    ("loss", "y", "error", "message"),
    [
        ("binary", [0, 1, 2], ParameterError, "loss 'binary' is for two classes .* got 3 classes"),
        ("sparse", [[1, 0], [0, 1], [0, 1]], ParameterError, "loss 'sparse' takes integer labels"),
        ("categorical", [[1, 1], [0, 1], [0, 1]], ValueError, "a single 1 in each row"),
        ("auto", [1, 1, 1], ValueError, "two classes or more; got 1 class"),
        ("hinge", [0, 1, 0], ParameterError, "loss must be one of auto, binary, categorical, sparse; got 'hinge'"),
    ],
)
def test_labels_that_do_not_go_with_the_loss_are_refused(loss, y, error, message):
    with pytest.raises(error, match=message):
        NetClassifier(loss=loss, **FAST).fit(np.eye(3), y)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("optimizer", "adm", "optimizer must be one of .*; got 'adm'; did you mean 'adam'"),
        ("learning_rate", 0, "learning_rate must be a number above 0; got 0"),
        ("momentum", 1.0, "momentum must be a number from 0 to less than 1"),
        ("weight_decay", -1, "weight_decay must be a number of at least 0"),
        ("batch_size", 0, "batch_size must be a whole number of at least 1"),
        ("max_epochs", 2.5, "max_epochs must be a whole number of at least 1"),
        ("early_stopping", 0, "early_stopping must be a whole number of epochs, or none"),
        ("restore_best", "yes", "restore_best must be true or false"),
        ("validation_fraction", 1.5, "validation_fraction must be a number from 0 to less than 1"),
        ("validation_fraction", 0.001, "validation_fraction must leave rows on both sides"),
        ("schedule", "linear", "schedule must be none, cosine or step"),
        ("device", "abacus", "device must be auto, cpu, or a GPU"),
        ("layers", "dense(3)", "layers must end with 'dense'"),
    ],
)
def test_values_a_parameter_cannot_have_are_refused(clouds, name, value, message):
    for net in (NetClassifier(**FAST), NetRegressor(**FAST)):
        with pytest.raises(ParameterError, match=message):
            net.set_params(**{name: value}).fit(*clouds)


def test_training_that_runs_away_is_an_error(clouds):
    with pytest.raises(HeadError, match=r"did not at learning_rate=1e\+30: lower it"):
        NetClassifier(optimizer="sgd", **{**FAST, "learning_rate": 1e30}).fit(*clouds)


# --- history, validation, the best epoch, an early end, schedules


def test_history_says_what_each_epoch_came_to(clouds):
    X, y = clouds
    net = NetClassifier(**FAST).fit(X[:80], y[:80], validation=(X[80:], y[80:]))
    names = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    assert [list(epoch) for epoch in net.history_] == 4 * [names]
    assert [epoch["epoch"] for epoch in net.history_] == [1, 2, 3, 4]
    assert net.n_iter_ == 4
    best = net.history_[net.best_epoch_ - 1]
    proba = net.predict_proba(X[80:])
    assert best["val_loss"] == pytest.approx(-np.log(proba[np.arange(40), y[80:]]).mean(), rel=1e-5)
    assert best["val_accuracy"] == pytest.approx(net.score(X[80:], y[80:]))
    json.dumps(net.history_, allow_nan=False)
    assert set(NetRegressor(**FAST).fit(X, y).history_[0]) == {"epoch", "loss", "learning_rate", "seconds"}


def test_the_best_epoch_is_brought_back(clouds):
    X, y = clouds
    noisy = np.random.default_rng(0).permutation(y)  # nothing to learn: it only gets worse
    settings = {**FAST, "max_epochs": 15, "learning_rate": 0.02}
    net = NetClassifier(**settings).fit(X[:60], noisy[:60], validation=(X[60:], noisy[60:]))
    losses = [epoch["val_loss"] for epoch in net.history_]
    assert net.best_epoch_ == 1 + int(np.argmin(losses)) < 15
    shorter = NetClassifier(**{**settings, "max_epochs": net.best_epoch_, "restore_best": False})
    assert_equal_nets(net, shorter.fit(X[:60], noisy[:60]))
    last = NetClassifier(restore_best=False, **settings).fit(X[:60], noisy[:60], validation=(X[60:], noisy[60:]))
    assert last.best_epoch_ == 15
    assert figures(last, "val_loss") == figures(net, "val_loss")
    proba = last.predict_proba(X[60:])
    assert losses[-1] == pytest.approx(-np.log(proba[np.arange(60), noisy[60:]]).mean(), rel=1e-5)


def test_training_ends_when_nothing_gets_better(clouds):
    X, y = clouds
    noisy = np.random.default_rng(0).permutation(y)
    net = NetClassifier(early_stopping=3, **{**FAST, "max_epochs": 100, "learning_rate": 0.02})
    net.fit(X[:60], noisy[:60], validation=(X[60:], noisy[60:]))
    losses = [epoch["val_loss"] for epoch in net.history_]
    assert net.n_iter_ == net.best_epoch_ + 3 < 100
    assert min(losses[-3:]) >= losses[net.best_epoch_ - 1]
    alone = NetClassifier("dense", early_stopping=2, **{**FAST, "max_epochs": 300, "learning_rate": 0.3}).fit(X, y)
    losses = [epoch["loss"] for epoch in alone.history_]
    assert alone.n_iter_ < 300
    assert min(losses[-2:]) >= min(losses[:-2])


def test_an_interrupt_is_not_swallowed(clouds, monkeypatch):
    from featx.heads.nets import _batches

    calls = []

    def interrupted(*arguments, original=_batches.Rows.gather):
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(_batches.Rows, "gather", interrupted)
    with pytest.raises(KeyboardInterrupt):
        NetClassifier(**FAST).fit(*clouds)


def test_schedules_set_the_learning_rate(clouds):
    settings = {**FAST, "max_epochs": 5, "learning_rate": 0.2}
    step = NetClassifier(schedule="step(2,0.1)", **settings).fit(*clouds)
    np.testing.assert_allclose(figures(step, "learning_rate"), np.array([[0.2, 0.2, 0.02, 0.02, 0.002]]).T)
    cosine = NetClassifier(schedule="cosine", **settings).fit(*clouds)
    np.testing.assert_allclose(figures(cosine, "learning_rate"), 0.1 * (1 + np.cos(np.pi * np.arange(5) / 5))[:, None])
    assert_equal_nets(
        NetClassifier(schedule="step(9,0.1)", **settings).fit(*clouds), NetClassifier(**settings).fit(*clouds)
    )


def test_a_fraction_is_held_out_class_by_class(clouds, monkeypatch):
    from featx.heads.nets import _base as _net

    seen = {}

    def spy(module, link, rows, held_out, *rest, original=_net.train):
        seen.update(rows=rows.index.numpy(), held_out=held_out.index.numpy())
        return original(module, link, rows, held_out, *rest)

    monkeypatch.setattr(_net, "train", spy)
    X, y = clouds
    net = NetClassifier(validation_fraction=0.25, **FAST).fit(X, y)
    assert sorted([*seen["rows"], *seen["held_out"]]) == list(range(120))
    np.testing.assert_allclose(np.bincount(y[seen["held_out"]]), np.bincount(y) / 4, atol=1)
    np.testing.assert_allclose(net.module_.standardize.mean, X[seen["rows"]].mean(axis=0), rtol=1e-5, atol=1e-6)
    given = NetClassifier(**FAST).fit(
        X[seen["rows"]], y[seen["rows"]], validation=(X[seen["held_out"]], y[seen["held_out"]])
    )
    np.testing.assert_allclose(figures(net, "val_loss"), figures(given, "val_loss"), rtol=1e-4)


# --- going on


@pytest.mark.parametrize("settings", [{}, {"schedule": "step(3,0.1)"}, {"optimizer": "rmsprop"}, {"optimizer": "sgd"}])
def test_two_fits_that_go_on_are_one(maps, settings):
    X, y = maps
    settings = {**FAST, **settings, "max_epochs": 6}
    whole = NetClassifier(MAPS, **settings).fit(X, y)
    halves = NetClassifier(MAPS, warm_start=True, **{**settings, "max_epochs": 3}).fit(X, y)
    halves = pickle.loads(pickle.dumps(halves)).fit(X, y)
    assert figures(halves, "epoch", "loss", "learning_rate") == figures(whole, "epoch", "loss", "learning_rate")
    assert_equal_nets(halves, whole)


def test_a_stored_net_goes_on_with_a_new_optimizer(clouds):
    X, y = clouds
    net = NetClassifier(warm_start=True, **FAST).fit(X, y)
    loaded = NetClassifier.from_head_state(*net.head_state())
    before = weights_of(loaded)
    loaded.fit(X, y)
    assert [epoch["epoch"] for epoch in loaded.history_] == list(range(1, 9))
    assert loaded.history_[4]["loss"] < loaded.history_[0]["loss"]
    np.testing.assert_array_equal(weights_of(loaded)["standardize.mean"], before["standardize.mean"])
    assert loaded.score(X, y) > net.score(X, y) - 0.05


def test_a_fit_starts_anew_unless_it_is_to_go_on(clouds):
    X, y = clouds
    net = NetClassifier(**FAST).fit(X, y)
    again = clone(net).fit(X, y)
    assert_equal_nets(net, again)
    assert_equal_nets(again.fit(X, y), net)
    assert len(again.history_) == 4
    going_on = NetClassifier(warm_start=True, **FAST).fit(X, y)
    with pytest.raises(ValueError, match="of the classes trained on"):
        going_on.fit(X, y + 1)


def test_fitting_leaves_the_random_numbers_of_others_alone(clouds):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = NetClassifier("dense(5) dropout(0.5) dense", **FAST).fit(*clouds)
    assert torch.equal(torch.rand(3), expected)
    other = NetClassifier("dense(5) dropout(0.5) dense", **{**FAST, "random_state": 1}).fit(*clouds)
    assert figures(first, "loss") != figures(other, "loss")


# --- features of other kinds


def test_mapped_and_half_features_give_the_same_net(maps, tmp_path):
    X, y = maps
    X = X.astype(np.float16)
    nets = []
    for name, dtype in (("half", np.float16), ("single", np.float32), ("double", np.float64)):
        np.save(tmp_path / f"{name}.npy", X.astype(dtype))
        mapped = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        for given in (mapped, X.astype(dtype)):
            nets.append(NetClassifier(MAPS, **FAST).fit(given, y))
            np.testing.assert_allclose(nets[-1].predict_proba(given), nets[0].predict_proba(X), rtol=1e-5)
    for net in nets[1:]:
        assert_equal_nets(net, nets[0], atol=1e-6)


def test_views_are_drawn_in_training_and_averaged_in_validation(maps):
    X, y = maps
    views = np.stack([X, X + 0.1], axis=1)
    net = NetClassifier("gap dense", **FAST).fit(views, y, validation=(views, y), views=True)
    assert net.input_shape_ == (3, 3, 6)
    assert net.n_features_in_ == 54
    np.testing.assert_allclose(net.module_.standardize.mean, views.mean((0, 1, 2, 3)), rtol=1e-4, atol=1e-6)
    proba = (net.predict_proba(X) + net.predict_proba(X + np.float32(0.1))) / 2
    best = net.history_[net.best_epoch_ - 1]
    assert best["val_loss"] == pytest.approx(-np.log(proba[np.arange(90), y]).mean(), rel=1e-5)
    same = NetClassifier("gap dense", **FAST).fit(np.stack([X, X], axis=1), y, views=True)
    assert len(same.history_) == 4
    with pytest.raises(ValueError, match=r"features must be of shape \(3, 3, 6\) a row"):
        net.predict(views)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((5, 3, 3, 7)), r"must be of shape \(3, 3, 6\) a row, .* got \(3, 3, 7\)"),
        (np.zeros((5, 54)), r"must be of shape \(3, 3, 6\) a row"),
        (np.zeros((0, 3, 3, 6)), "none of them 0"),
        (np.full((2, 3, 3, 6), np.nan), "NaN"),
    ],
)
def test_features_of_another_shape_are_refused(maps, X, message):
    net = NetClassifier(MAPS, **FAST).fit(*maps)
    with pytest.raises(ValueError, match=message):
        net.predict(X)
    with pytest.raises(ValueError, match="a label for each of the 90 samples"):
        NetClassifier(MAPS, **FAST).fit(maps[0], maps[1][:-1])


def test_a_torch_module_takes_raw_features(maps):
    X, y = maps
    for net in (NetClassifier(MAPS, **FAST).fit(X, y), NetRegressor(MAPS, **FAST).fit(X, 1000.0 + 20 * y)):
        module = net.torch_module()
        found = module(torch.from_numpy(X)).numpy()
        expected = net.decision_function(X) if hasattr(net, "classes_") else net.predict(X)[:, None]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        with torch.no_grad():
            module[0].mean.zero_()
        assert abs(net.module_.standardize.mean).max() > 0


# --- the table


def test_the_summary_counts_as_keras_does():
    head = NetClassifier("conv(100,2) dropout(0.4) gap dropout(0.3) dense", standardize=False)
    lines = head.summary((3, 3, 2048), 10).splitlines()
    assert lines[-1] == "820,310 parameters: 820,310 trained, 0 frozen"
    assert lines[2].split() == ["conv_1", "(2,", "2,", "100)", "819,300"]
    assert NetClassifier("dense", standardize=False).summary((1280,), 1).splitlines()[-1].startswith("1,281 ")
    assert NetClassifier("dense").summary((8,), 3).splitlines()[-1] == "43 parameters: 27 trained, 16 frozen"


def test_the_summary_of_a_fitted_net_is_its_own(maps):
    with pytest.raises(NotFittedError):
        NetClassifier(MAPS).summary()
    net = NetClassifier("batchnorm conv(5,2) gap dense", **FAST).fit(*maps)
    assert net.summary() == net.summary((3, 3, 6), 3) == net.summary(outputs=3)
    assert net.summary().splitlines()[-1] == "179 parameters: 155 trained, 24 frozen"
