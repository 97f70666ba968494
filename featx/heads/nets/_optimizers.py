"""Optimizers and learning-rate schedules by the words that name them."""

import math
import re
from collections.abc import Callable
from typing import Any

import torch

from featx.errors import ParameterError

__all__ = ["OPTIMIZERS", "RMSprop", "optimizer_settings", "parse_schedule"]

_STEP = re.compile(r"step\(\s*(\d{1,9})\s*,\s*([0-9.eE+-]+)\s*\)")


class RMSprop(torch.optim.Adam):
    """:class:`torch.optim.RMSprop` in one sweep over the parameters instead of five.

    It is Adam without a memory of gradients (``beta1 = 0``) and without bias correction, which has died away at a large
    step count; and of Adam torch has a fused kernel.

    Parameters
    ----------
    params : iterable
        Parameters to optimise.
    lr, alpha, eps, weight_decay : float
        As those of :class:`torch.optim.RMSprop`.
    """

    def __init__(
        self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr=lr, betas=(0.0, alpha), eps=eps, weight_decay=weight_decay, fused=True)
        for parameter in (p for group in self.param_groups for p in group["params"]):
            self.state[parameter] = {
                "step": torch.full((), _LATE, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


_LATE = 2.0**30
"""A step count at which no bias is left to correct, and to which float32 adds 1 in vain."""

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": RMSprop,
    "sgd": torch.optim.SGD,
}


def optimizer_settings(name: str, *, momentum: float, weight_decay: float) -> dict[str, Any]:
    """Return what the optimizer's constructor takes, besides parameters and learning rate."""
    settings: dict[str, Any] = {"weight_decay": weight_decay}
    if name == "sgd":
        settings["momentum"] = momentum
    if name != "rmsprop":
        settings["fused"] = True
    return settings


def parse_schedule(text: str | None, epochs: int, before: int) -> Callable[[int], float] | None:
    """Read a learning-rate schedule.

    Parameters
    ----------
    text : str or None
        ``step(EPOCHS,FACTOR)`` multiplies the rate by FACTOR every EPOCHS epochs, ``cosine`` lets it fall to 0 over
        the epochs of this fit along half a cosine; None keeps it.
    epochs : int
        Epochs of this fit.
    before : int
        Epochs of earlier fits that it continues; the steps go on counting from there.

    Returns
    -------
    callable or None
        From the number of the epoch in this fit, from 0, to what the learning rate is multiplied with.

    Raises
    ------
    ParameterError
        The text is no schedule.
    """
    if text is None:
        return None
    if text == "cosine":
        return lambda epoch: (1 + math.cos(math.pi * epoch / epochs)) / 2
    found = _STEP.fullmatch(text.strip()) if isinstance(text, str) else None
    try:
        every, factor = (int(found[1]), float(found[2])) if found else (0, 0.0)
    except ValueError:
        every, factor = 0, 0.0
    if every < 1 or not 0 < factor < math.inf:
        raise ParameterError(f"schedule must be none, cosine or step(EPOCHS,FACTOR) as step(7,0.1); got {text!r}")
    return lambda epoch: factor ** ((before + epoch) // every)
