"""The training loop: skorch's, with what nets here need of it: batches, a diary, the best epoch, an end."""

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochTimer, LRScheduler, PassthroughScoring
from skorch.helper import predefined_split
from torch import nn

from featx.errors import HeadError
from featx.heads.nets._batches import Batches, Samples
from featx.heads.nets._losses import Link, Loss, accuracy_of

__all__ = ["Memory", "Plan", "Report", "figures_of", "train"]

Report = Callable[[dict[str, Any]], None]
"""Told of each epoch when it is over."""


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes
    ----------
    optimizer : callable
        Class of the optimizer.
    settings : dict
        What its constructor takes besides the parameters.
    batch_size, epochs : int
        Rows in a batch, and the most sweeps over the rows.
    schedule : callable or None
        From the epoch, from 0, to the factor of the learning rate.
    patience : int or None
        End after as many epochs without a better loss (of the held-out rows if there are any).
    restore_best : bool
        Go back to the epoch with the least loss of the held-out rows.
    seed : int
        Of the order of the rows, the views drawn, and dropout.
    device : torch.device
        Where to compute.
    """

    optimizer: Callable[..., torch.optim.Optimizer]
    settings: dict[str, Any]
    batch_size: int
    epochs: int
    schedule: Callable[[int], float] | None
    patience: int | None
    restore_best: bool
    seed: int
    device: torch.device


@dataclass
class Memory:
    """What training leaves for going on as if it had not ended: lives with the estimator, not in its file.

    Attributes
    ----------
    optimizer : dict
        State dict of the optimizer.
    order, dropout : Tensor
        States of the random generators.
    """

    optimizer: dict[str, Any]
    order: torch.Tensor
    dropout: torch.Tensor


class _Diary(Callback):
    """Notes what skorch does not: the learning rate, the accuracy; and forgets the batches of an epoch that is over."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        net.history.record("learning_rate", net.optimizer_.param_groups[0]["lr"])

    def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        if self.link != "none":
            value = accuracy_of(kwargs["y_pred"], batch[1][0].to(kwargs["y_pred"].device), self.link)
            net.history.record_batch(f"{'train' if training else 'valid'}_accuracy", value)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        net.history[-1]["batches"].clear()


class _BestEpoch(Callback):
    """Keeps the parameters of the epoch with the least loss of the held-out rows, and brings them back at the end.

    Where the loss before the training is given, its parameters are among those to choose from, as epoch 0.
    """

    def __init__(self, at_start: float | None) -> None:
        self.epoch = 0
        self.least = math.inf if at_start is None else at_start
        self.parameters: dict[str, Any] = {}

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        if math.isfinite(self.least):
            self.parameters = deepcopy(net.module_.state_dict())

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        loss = net.history[-1, "valid_loss"]
        if loss < self.least:
            self.epoch, self.least, self.parameters = len(net.history), loss, deepcopy(net.module_.state_dict())

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        if self.parameters:
            net.module_.load_state_dict(self.parameters)


class _Teller(Callback):
    """Tells of each epoch."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.report({"epoch": len(net.history), **_entry(net.history[-1])})


class _Loop(NeuralNet):
    """skorch's net with the callbacks named here and no others, and with little to do between two steps.

    It walks through its modules only to change their mode, and its optimizers take the gradient as it is, instead of
    calling back for it.
    """

    _default_callbacks: ClassVar[list[tuple[str, Callback]]] = []

    def _set_training(self, training: bool = True) -> None:
        if self.module_.training != training:
            super()._set_training(training)

    def get_all_learnable_params(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters that are trained: what is frozen is nothing to the optimizer."""
        return ((name, values) for name, values in super().get_all_learnable_params() if values.requires_grad)

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        self.optimizer_.zero_grad()
        step: dict[str, Any] = self.train_step_single(batch, **fit_params)
        self.optimizer_.step()
        return step


def train(
    module: nn.Module,
    link: Link,
    rows: Samples,
    held_out: Samples | None,
    plan: Plan,
    memory: Memory | None = None,
    *,
    at_start: float | None = None,
    report: Report | None = None,
) -> tuple[list[dict[str, Any]], int, Memory]:
    """Train `module` in place.

    Parameters
    ----------
    module : nn.Module
        From features to outputs, on the plan's device.
    link : {"softmax", "sigmoid", "none"}
        What the outputs are.
    rows, held_out : Samples
        To train on; to judge each epoch by, or None.
    plan : Plan
        How.
    memory : Memory, optional
        Of the training to be continued.
    at_start : float, optional
        Loss of the held-out rows before the training: if no epoch has a lower one, the parameters stay what they are.
    report : callable, optional
        Called with the entry of each epoch, ``epoch`` (from 1) first, when it is over.

    Returns
    -------
    history : list of dict
        One for each epoch: ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy`` (as far as there are any),
        ``learning_rate`` and ``seconds``.
    best : int
        The epoch, from 1, whose parameters the module now has; 0 for those it began with.
    memory : Memory
        For going on.

    Raises
    ------
    HeadError
        The parameters became infinite.
    """
    order = torch.Generator().manual_seed(plan.seed)
    best = _BestEpoch(at_start)
    stopping = EarlyStopping("train_loss" if held_out is None else "valid_loss", plan.patience, threshold=0.0)
    callbacks: list[Any] = [
        ("timer", EpochTimer()),
        ("train_loss", PassthroughScoring("train_loss", on_train=True)),
        ("valid_loss", PassthroughScoring("valid_loss")),
        ("train_accuracy", PassthroughScoring("train_accuracy", lower_is_better=False, on_train=True)),
        ("valid_accuracy", PassthroughScoring("valid_accuracy", lower_is_better=False)),
        ("diary", _Diary(link)),
    ]
    if plan.schedule is not None:
        schedule = {"lr_lambda": plan.schedule, "last_epoch": -1, "event_name": None}
        callbacks.append(("schedule", LRScheduler(torch.optim.lr_scheduler.LambdaLR, **schedule)))
    if plan.restore_best and held_out is not None:
        callbacks.append(("best", best))
    if report is not None:
        callbacks.append(("teller", _Teller(report)))
    if plan.patience is not None:
        callbacks.append(("stopping", stopping))  # the last: it ends the training at once
    net = _Loop(
        module=module,
        criterion=Loss(link),
        optimizer=plan.optimizer,
        **{f"optimizer__{name}": value for name, value in plan.settings.items()},
        max_epochs=plan.epochs,
        batch_size=plan.batch_size,
        iterator_train=Batches,
        iterator_train__generator=order,
        iterator_valid=Batches,
        train_split=None if held_out is None else predefined_split(held_out),
        callbacks=callbacks,
        device=plan.device,
        verbose=0,
    )
    with torch.random.fork_rng(devices=[plan.device] if plan.device.type == "cuda" else []):
        torch.manual_seed(plan.seed)
        net.initialize()
        if memory is not None:
            current = net.optimizer_.state_dict()["param_groups"]
            net.optimizer_.load_state_dict({"state": memory.optimizer["state"], "param_groups": current})
            order.set_state(memory.order)
            torch.set_rng_state(memory.dropout)
        net.partial_fit(rows)
        kept = Memory(deepcopy(net.optimizer_.state_dict()), order.get_state(), torch.get_rng_state())
    done = [epoch for epoch in net.history.to_list() if "dur" in epoch]
    if len(done) < plan.epochs and not (plan.patience is not None and stopping.misses_ == plan.patience):
        raise KeyboardInterrupt  # skorch takes a real one for its own
    module.eval()
    if not all(bool(values.isfinite().all()) for values in module.state_dict().values()):
        raise HeadError(
            f"the net's parameters must stay finite, and did not at learning_rate={plan.settings['lr']}: lower it"
        )
    return [_entry(epoch) for epoch in done], best.epoch if best.parameters else len(done), kept


def figures_of(module: nn.Module, link: Link, rows: Samples, batch_size: int, device: torch.device) -> dict[str, float]:
    """Return ``loss`` and, of classes and labels, ``accuracy`` of a module in evaluation mode on some rows."""
    criterion, sums = Loss(link), {"loss": 0.0, "accuracy": 0.0}
    module.eval()
    with torch.inference_mode():
        for features, truth in Batches(rows, batch_size):
            target, weight = truth[0].to(device), truth[1].to(device)
            output = module(features.to(device))
            sums["loss"] += len(target) * float(criterion(output, (target, weight)))
            if link != "none":
                sums["accuracy"] += len(target) * accuracy_of(output, target, link)
    return {name: value / len(rows) for name, value in sums.items() if name == "loss" or link != "none"}


_NAMES = {
    "loss": "train_loss",
    "accuracy": "train_accuracy",
    "val_loss": "valid_loss",
    "val_accuracy": "valid_accuracy",
    "learning_rate": "learning_rate",
    "seconds": "dur",
}


def _entry(epoch: dict[str, Any]) -> dict[str, Any]:
    return {name: float(epoch[theirs]) for name, theirs in _NAMES.items() if theirs in epoch}
