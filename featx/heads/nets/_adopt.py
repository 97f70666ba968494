"""Nets to be trained on together with what comes before them: from a fitted head, or new."""

import math
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from featx.errors import HeadError
from featx.heads._folding import as_linear
from featx.heads._linear import LinearClassifier, LinearRegressor
from featx.heads.nets._estimators import NetClassifier, NetRegressor
from featx.heads.nets._layers import build_layers, parse_layers
from featx.heads.nets._settings import check_settings
from featx.heads.nets._targets import ClassCoding, ValueCoding

__all__ = ["as_net", "finish_net", "new_net"]

Net = NetClassifier | NetRegressor


def new_net(net: Net, y: npt.NDArray[Any], shape: tuple[int, ...], *, seed: int) -> Net:
    """Give an unfitted net its layers, with parameters drawn at random; it does not standardise.

    Parameters
    ----------
    net : NetClassifier or NetRegressor
    y : ndarray of shape (n,) or (n, k)
        Labels or values to be learned.
    shape : tuple of int
        Of what it is given of a sample.
    seed : int
        Of the parameters.

    Returns
    -------
    NetClassifier or NetRegressor
        The net itself; it has had no epochs.
    """
    check_settings(net)
    coding = net._code(y, np.ones(len(y)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build_layers(parse_layers(net.layers), shape, coding.outputs)
    return _filled(net, coding, module, shape)


def as_net(head: Any, y: npt.NDArray[Any]) -> Net:
    """Return a net that answers as a fitted head does: a copy of it, or of a linear head one layer ``dense``.

    Where a linear head has scores that are no logits (ridge, a support vector machine), the net takes them for such.

    Parameters
    ----------
    head : estimator
        As fitted, or as :func:`featx.heads.load_head` returned it.
    y : ndarray of shape (n,) or (n, t)
        What is to be learned: the scale of a regression's values is taken from it.

    Raises
    ------
    HeadError
        The head is neither a net nor linear.
    """
    if isinstance(head, (NetClassifier, NetRegressor)):
        return deepcopy(head)
    linear = as_linear(head)
    if linear is None:
        raise HeadError(
            f"a head to go on from must be a net or linear; got {type(head).__name__}: fit one of mlp, conv, logistic,"
            " ridge, lda or linear_svm"
        )
    coef, intercept = linear.coef_, linear.intercept_
    if isinstance(linear, LinearRegressor):
        values = ValueCoding.of(y, np.ones(len(y)), standardize=True)
        coef, intercept = coef / values.scale[:, None], (intercept - values.mean) / values.scale
        return _filled(NetRegressor("dense", standardize=False), values, _dense(coef, intercept), coef.shape[1:])
    coding = _coding_of(linear)
    return _filled(NetClassifier("dense", standardize=False), coding, _dense(coef, intercept), coef.shape[1:])


def _coding_of(linear: LinearClassifier) -> ClassCoding:
    single = linear.multilabel_ or len(linear.classes_) == 2
    return ClassCoding(linear.classes_, "sigmoid" if single else "softmax", linear.multilabel_)


def _dense(coef: npt.NDArray[np.float64], intercept: npt.NDArray[np.float64]) -> torch.nn.Sequential:
    module = build_layers(parse_layers("dense"), coef.shape[1:], len(coef))
    weights = {"dense_1.weight": torch.from_numpy(coef).float(), "dense_1.bias": torch.from_numpy(intercept).float()}
    module.load_state_dict(weights)
    return module


def _filled(net: Any, coding: Any, module: torch.nn.Sequential, shape: tuple[int, ...]) -> Net:
    net._publish(coding)
    net.module_, net.input_shape_, net.n_features_in_ = module.eval(), shape, math.prod(shape)
    net.history_, net.best_epoch_, net.n_iter_, net._memory = [], 0, 0, None
    filled: Net = net
    return filled


def finish_net(net: Net, entries: list[dict[str, Any]], best: int) -> None:
    """Write down in a net the epochs it was trained in elsewhere, and the one whose parameters it now has.

    Parameters
    ----------
    net : NetClassifier or NetRegressor
    entries : list of dict
        One for each epoch, as in ``history_``.
    best : int
        Number of that epoch.
    """
    net._memory = None
    net.module_.cpu().eval()
    net._note(entries, best)
