"""Nets as JSON and arrays, and back: the layers are built from their text first, and every array must fit them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from featx.errors import FeatxError, HeadError, first_line
from featx.heads.nets._layers import build_layers, parse_layers
from featx.heads.nets._settings import check_settings
from featx.heads.nets._targets import ClassCoding, ValueCoding

__all__ = ["NetState", "epochs_of", "net_state", "read_net_state"]

_FACTS = {"best_epoch", "coding", "history", "input_shape", "settings"}
_CODING = {
    ClassCoding: {"classes": list, "link": str, "multilabel": bool, "one_hot": bool},
    ValueCoding: {"flat": bool, "mean": list, "scale": list},
}


@dataclass(frozen=True)
class NetState:
    """What was read, and fits together.

    Attributes
    ----------
    settings : dict
        The estimator's parameters.
    coding : ClassCoding or ValueCoding
        What the outputs mean.
    input_shape : tuple of int
        Shape of a row of features.
    module : nn.Sequential
        With the stored parameters, in evaluation mode.
    history : list of dict
        One for each epoch.
    best_epoch : int
        The epoch the parameters are of.
    """

    settings: dict[str, Any]
    coding: ClassCoding | ValueCoding
    input_shape: tuple[int, ...]
    module: nn.Sequential
    history: list[dict[str, Any]]
    best_epoch: int


def net_state(net: Any) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return settings and facts as plain JSON values, and the module's parameters by their names."""
    settings = net.get_params(deep=False)
    if not isinstance(settings["random_state"], (int, np.integer, type(None))):
        settings["random_state"] = None  # a generator; it has moved on
    if isinstance(settings.get("class_weight"), Mapping):
        settings["class_weight"] = [[_plain(part) for part in item] for item in settings["class_weight"].items()]
    coding = {name: _plain(getattr(net.coding_, name)) for name in _CODING[type(net.coding_)]}
    facts = {
        "best_epoch": net.best_epoch_,
        "coding": coding,
        "history": net.history_,
        "input_shape": list(net.input_shape_),
        "settings": {name: _plain(value) for name, value in settings.items()},
    }
    return facts, {name: values.numpy().copy() for name, values in net.module_.state_dict().items()}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def epochs_of(history: list[dict[str, Any]]) -> int:
    """Return how many epochs a net has been trained for: a history may begin with what it was before, as epoch 0."""
    return int(history[-1]["epoch"]) if history else 0


def read_net_state(cls: type, params: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> NetState:
    """Return the net that :func:`net_state` described.

    Parameters
    ----------
    cls : type
        NetClassifier or NetRegressor.
    params : mapping
        The facts.
    arrays : mapping of str to ndarray
        The parameters.

    Raises
    ------
    HeadError
        Something is missing, too much, or of a wrong type, name or shape.
    """
    try:
        if set(params) != _FACTS:
            raise HeadError(f"it must have {', '.join(sorted(_FACTS))}; got {', '.join(sorted(params))}")
        settings = dict(params["settings"])
        if isinstance(settings.get("class_weight"), list):
            settings["class_weight"] = dict(settings["class_weight"])
        net = cls(**settings)
        check_settings(net)
        coding = _coding(cls, params["coding"])
        shape = tuple(params["input_shape"])
        history, best = params["history"], params["best_epoch"]
        if not shape or not all(type(size) is int and 0 < size < 1 << 31 for size in shape):
            raise HeadError(f"input_shape must be positive integers; got {shape!r}")
        if not (isinstance(history, list) and all(isinstance(epoch, dict) for epoch in history)):
            raise HeadError("history must be a list of one object for each epoch")
        if type(best) is not int or best not in [epoch.get("epoch") for epoch in history]:
            raise HeadError(f"best_epoch must be one of the {len(history)} epochs; got {best!r}")
        module = _module(settings["layers"], shape, coding.outputs, settings["standardize"], arrays)
    except (FeatxError, TypeError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise HeadError(f"this state of a net is damaged ({first_line(error)}): fit the net again") from error
    return NetState(settings, coding, shape, module, history, best)


def _coding(cls: type, facts: Any) -> ClassCoding | ValueCoding:
    kind: Any = ClassCoding if hasattr(cls, "predict_proba") else ValueCoding
    wanted = _CODING[kind]
    if not isinstance(facts, dict) or {name: type(value) for name, value in facts.items()} != wanted:
        raise HeadError(f"coding must hold {', '.join(sorted(wanted))}, each of its type; got {facts!r:.100}")
    if kind is ClassCoding:
        classes = np.asarray(facts["classes"])
        if classes.ndim != 1 or classes.dtype.kind not in "biufU" or (classes[1:] <= classes[:-1]).any():
            raise HeadError(f"classes must be increasing labels; got {facts['classes']!r:.100}")
        single = facts["link"] == "sigmoid" and not facts["multilabel"]
        if facts["link"] not in ("softmax", "sigmoid") or not (len(classes) == 2 if single else len(classes)):
            raise HeadError(f"link {facts['link']!r:.20} does not go with {len(classes)} classes")
        return ClassCoding(classes, facts["link"], facts["multilabel"], facts["one_hot"])
    mean, scale = (np.asarray(facts[name], dtype=np.float64) for name in ("mean", "scale"))
    if mean.ndim != 1 or mean.shape != scale.shape or not mean.size or not (scale > 0).all():
        raise HeadError("mean and scale of the targets must be numbers, one for each, and the scale above 0")
    return ValueCoding(mean, scale, facts["flat"])


def _module(
    layers: str, shape: tuple[int, ...], outputs: int, standardize: bool, arrays: Mapping[str, npt.NDArray[Any]]
) -> nn.Sequential:
    with torch.device("meta"):  # whatever the text asks for, no memory is taken before it is known to be there
        scaling = (torch.empty(shape[-1]), torch.empty(shape[-1])) if standardize else None
        module = build_layers(parse_layers(layers), shape, outputs, scaling)
    wanted = {name: (tuple(values.shape), values.dtype) for name, values in module.state_dict().items()}
    tensors = {name: torch.tensor(values) for name, values in arrays.items()}
    found = {name: (tuple(values.shape), values.dtype) for name, values in tensors.items()}
    if found != wanted:
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise HeadError(f"the layers {layers!r:.100} have other parameters than are given: {', '.join(wrong)[:200]}")
    module.load_state_dict(tensors, assign=True)
    return module.eval()
