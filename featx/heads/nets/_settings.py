"""The rules for a net's parameters."""

import math
from typing import Any

from featx.errors import ParameterError, did_you_mean
from featx.heads.nets._optimizers import OPTIMIZERS, parse_schedule

__all__ = ["LOSSES", "check_settings"]

LOSSES = ("auto", "binary", "categorical", "sparse")


def check_settings(net: Any) -> None:
    """Check the parameters of a net that its fit does not look at on its own.

    Raises
    ------
    ParameterError
        One has a value it cannot have.
    """
    settings = net.get_params(deep=False)
    for name, known in (("loss", LOSSES), ("optimizer", tuple(OPTIMIZERS))):
        if name in settings and settings[name] not in known:
            value = settings[name]
            raise ParameterError(
                f"{name} must be one of {', '.join(known)}; got {value!r}{did_you_mean(str(value), known)}"
            )
    for name in ("batch_size", "max_epochs"):
        _need(settings, name, _is_count(settings[name]), "a whole number of at least 1")
    patience = settings["early_stopping"]
    _need(settings, "early_stopping", patience is None or _is_count(patience), "a whole number of epochs, or none")
    rate = settings["learning_rate"]
    _need(settings, "learning_rate", _is_number(rate) and rate > 0, "a number above 0")
    decay = settings["weight_decay"]
    _need(settings, "weight_decay", _is_number(decay) and decay >= 0, "a number of at least 0")
    for name in ("momentum", "validation_fraction"):
        value = settings[name]
        _need(settings, name, _is_number(value) and 0 <= value < 1, "a number from 0 to less than 1")
    for name in ("restore_best", "standardize", "warm_start"):
        _need(settings, name, isinstance(settings[name], bool), "true or false")
    parse_schedule(settings["schedule"], 1, 0)


def _need(settings: dict[str, Any], name: str, holds: bool, rule: str) -> None:
    if not holds:
        raise ParameterError(f"{name} must be {rule}; got {settings[name]!r}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
