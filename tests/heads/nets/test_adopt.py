"""Fitted heads as nets that answer alike, and nets that have not been trained."""

import numpy as np
import pytest
import torch
from torch import nn

from featx.errors import HeadError
from featx.heads import fit_head, head_scores, head_values, load_head, make_head, save_head
from featx.heads.nets import (
    NetClassifier,
    NetRegressor,
    Plan,
    Rows,
    as_net,
    figures_of,
    finish_net,
    new_net,
    train,
)
from tests.fitting.helpers import clouds


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["logistic", "ridge", "lda", "linear_svm", "nearest_centroid"])
def test_a_linear_head_answers_as_before(name, classes, tmp_path):
    X, y = clouds(60, classes=classes)
    head = make_head(name)
    fit_head(head, X, y)
    net = as_net(head, y)
    logits = np.asarray(net.decision_function(X))
    np.testing.assert_allclose(logits, head.decision_function(X), rtol=1e-4, atol=1e-4)
    assert net.coding_.outputs == (1 if classes == 2 else classes)
    if hasattr(head, "predict_proba"):
        np.testing.assert_allclose(head_scores(net, X)[0], head_scores(head, X)[0], atol=1e-5)
    save_head(head, tmp_path)
    np.testing.assert_allclose(as_net(load_head(tmp_path), y).decision_function(X), logits, rtol=1e-4, atol=1e-4)


def test_several_labels_and_values(tmp_path):
    X, y = clouds(60)
    several = np.stack([y == 0, y > 0, X[:, 0] > 0], axis=1)
    head = make_head("logistic", task="multilabel")
    fit_head(head, X, several)
    net = as_net(head, several.astype(np.int64))
    np.testing.assert_allclose(net.predict_proba(X), head_scores(head, X)[0], atol=1e-5)
    values = 1000 + 50 * X[:, :2].astype(np.float64)
    head = make_head("ridge", task="regression")
    fit_head(head, X, values)
    net = as_net(head, values)
    np.testing.assert_allclose(head_values(net, X), head_values(head, X), rtol=1e-5)
    with torch.no_grad():
        standardised = net.module_(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(standardised.std(axis=0), 1, rtol=0.1)


def test_a_net_is_copied():
    X, y = clouds(60)
    head = NetClassifier("dense(4) relu dense", max_epochs=2, random_state=0).fit(X, y)
    net = as_net(head, y)
    np.testing.assert_array_equal(net.predict_proba(X), head.predict_proba(X))
    finish_net(net, [{"epoch": 3, "loss": 1.0}], 3)
    assert [entry["epoch"] for entry in net.history_] == [1, 2, 3]
    assert (net.n_iter_, net.best_epoch_, len(head.history_)) == (3, 3, 2)


def test_other_heads_are_refused():
    X, y = clouds(60)
    head = make_head("gaussian_nb")
    fit_head(head, X, y)
    with pytest.raises(HeadError, match="must be a net or linear; got GaussianNBClassifier: fit one of mlp"):
        as_net(head, y)


def test_a_history_may_begin_before_the_first_epoch(tmp_path):
    X, y = clouds(60)
    head = make_head("logistic")
    fit_head(head, X, y)
    net = as_net(head, y)
    finish_net(net, [{"epoch": 0, "loss": 2.0}, {"epoch": 1, "loss": 3.0}], 0)
    save_head(net, tmp_path)
    back = load_head(tmp_path)
    assert (back.n_iter_, back.best_epoch_, back.history_) == (1, 0, net.history_)
    np.testing.assert_array_equal(back.predict_proba(X), net.predict_proba(X))
    more = back.set_params(warm_start=True, max_epochs=2, random_state=0).fit(X, y)
    assert [entry["epoch"] for entry in more.history_] == [0, 1, 2, 3]


@pytest.mark.parametrize("net", [NetClassifier("dense(4) relu dense", loss="categorical"), NetRegressor("gap dense")])
def test_a_new_net_has_the_layers_torch_would_draw(net):
    shape = (6,) if isinstance(net, NetClassifier) else (2, 2, 6)
    y = np.arange(8) % 2
    new_net(net, y, shape, seed=5)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        layers = [nn.Linear(6, 4), nn.Linear(4, 2)] if isinstance(net, NetClassifier) else [nn.Linear(6, 1)]
    made = [module for module in net.module_ if isinstance(module, nn.Linear)]
    for ours, theirs in zip(made, layers, strict=True):
        torch.testing.assert_close(ours.weight, theirs.weight)
    assert (net.n_iter_, net.history_, net.n_features_in_) == (0, [], int(np.prod(shape)))


def plan_of(rate):
    return Plan(
        torch.optim.SGD, {"lr": rate}, batch_size=20, epochs=2, schedule=None, patience=None, restore_best=True, seed=0,
        device=torch.device("cpu"),
    )  # fmt: skip


def test_what_was_better_at_the_start_stays():
    X, y = clouds(60)
    rows = Rows(X, np.arange(60), torch.from_numpy(y))
    module = nn.Linear(6, 3)
    before = module.weight.detach().clone()
    figures = figures_of(module, "softmax", rows, 20, torch.device("cpu"))
    with torch.no_grad():
        logits = module(torch.from_numpy(X))
    assert figures["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, torch.from_numpy(y))), rel=1e-5)
    assert figures["accuracy"] == pytest.approx(float((logits.argmax(1).numpy() == y).mean()))
    seen = []
    history, best, _ = train(module, "softmax", rows, rows, plan_of(1e3), at_start=figures["loss"], report=seen.append)
    assert best == 0
    assert torch.equal(module.weight, before)
    assert [{name: value for name, value in entry.items() if name != "epoch"} for entry in seen] == history
    assert [entry["epoch"] for entry in seen] == [1, 2]
    assert train(module, "softmax", rows, rows, plan_of(1e-3), at_start=figures["loss"])[1] == 2


def test_what_is_frozen_is_nothing_to_the_optimizer():
    X, y = clouds(60)
    module = nn.Sequential(nn.Linear(6, 6).requires_grad_(False), nn.Linear(6, 3))
    frozen = module[0].weight.clone()
    _, _, memory = train(module, "softmax", Rows(X, np.arange(60), torch.from_numpy(y)), None, plan_of(0.1))
    assert torch.equal(module[0].weight, frozen)
    assert [len(group["params"]) for group in memory.optimizer["param_groups"]] == [2]
