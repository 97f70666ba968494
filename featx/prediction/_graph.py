"""Heads as torch modules, from features to what they answer, for a graph."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from featx.errors import HeadError
from featx.heads import LinearClassifier, LinearRegressor
from featx.prediction._graph_knn import NearestNeighbours

__all__ = ["head_module"]

Floats = npt.NDArray[np.float64]

_LEAST = 1e-12
"""Probability below which calibration does not tell a class from another, as in featx.heads."""


def head_module(head: Any) -> nn.Module:
    """Return what computes, from float32 features (n, ...), the scores or values (n, k) of a head as it is stored.

    Parameters
    ----------
    head : LinearClassifier, LinearRegressor, or one of featx's own heads
        Fitted; it answers as :func:`featx.heads.head_scores` or :func:`featx.heads.head_values` says.

    Raises
    ------
    HeadError
        If the head is none of those.
    """
    make = _MAKERS.get(type(head).__name__) if type(head).__module__.startswith("featx.") else None
    if make is None:
        raise HeadError(
            f"the answers of {type(head).__name__} cannot be written as operations of ONNX: fit another head, such as"
            " logistic, ridge, knn or mlp, or predict with featx"
        )
    return make(head)


class _Affine(nn.Module):
    """``X @ coef.T + intercept``."""

    coef: torch.Tensor
    intercept: torch.Tensor

    def __init__(self, coef: Floats, intercept: Floats, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.register_buffer("coef", torch.from_numpy(np.ascontiguousarray(coef.T)).to(dtype))
        self.register_buffer("intercept", torch.from_numpy(intercept).to(dtype))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.to(self.coef.dtype) @ self.coef + self.intercept


_LINKS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "softmax": partial(nn.Softmax, dim=1),
}
"""From scores to what a head answers with."""


def _linear_classifier(head: LinearClassifier, dtype: torch.dtype = torch.float32) -> nn.Module:
    coef, intercept = head.coef_, head.intercept_
    if len(coef) < len(head.classes_):  # one row for two classes
        coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
    return nn.Sequential(_Affine(coef, intercept, dtype), _LINKS[head.link]())


def _linear_regressor(head: LinearRegressor) -> nn.Module:
    return _Affine(head.coef_, head.intercept_)


class _Both(nn.Module):
    """From the score of the second class to those of both."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return torch.cat([-scores, scores], dim=1)


def _net(head: Any) -> nn.Module:
    binary = head.link_ == "sigmoid" and not head.multilabel_
    return nn.Sequential(head.torch_module(), *([_Both()] if binary else []), _LINKS[head.link_]())


class _GaussianNB(nn.Module):
    """Softmax of the logarithms of the classes' densities, in float64.

    The squares are of differences from the mean of the classes' means: what cancels between them then is no more than
    the smoothing of the variances allows.
    """

    centre: torch.Tensor
    square: torch.Tensor
    linear: torch.Tensor
    constant: torch.Tensor

    def __init__(self, head: Any) -> None:
        super().__init__()
        centre, halves = head.theta_.mean(axis=0), 0.5 / head.var_
        means = head.theta_ - centre
        constant = (
            np.log(head.priors_) - 0.5 * np.log(2 * np.pi * head.var_).sum(axis=1) - (halves * means**2).sum(axis=1)
        )
        for name, values in {
            "centre": centre,
            "square": -halves.T,
            "linear": (2 * halves * means).T,
            "constant": constant,
        }.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        X = features.double() - self.centre
        return ((X * X) @ self.square + X @ self.linear + self.constant).softmax(dim=1).float()


class _Temperature(nn.Module):
    """Softmax of the scores, or of probabilities' logarithms, divided by a number."""

    def __init__(self, value: float, *, of_probabilities: bool) -> None:
        super().__init__()
        self.value = value
        self.of_probabilities = of_probabilities

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        logits = scores.clamp(min=_LEAST).log() if self.of_probabilities else scores
        return (logits / self.value).softmax(dim=1)


class _Isotonic(nn.Module):
    """Each score through its own increasing piecewise linear function; then all divided by their sum."""

    left: torch.Tensor
    width: torch.Tensor
    start: torch.Tensor
    rise: torch.Tensor

    def __init__(self, knots: Sequence[tuple[Floats, Floats]]) -> None:
        super().__init__()
        pieces = max(1, *(len(x) - 1 for x, _ in knots))
        for name, fill, values in (
            ("left", 0.0, [x[:-1] for x, _ in knots]),
            ("width", 1.0, [np.diff(x) for x, _ in knots]),
            ("rise", 0.0, [np.diff(y) for _, y in knots]),
        ):
            rows = [np.pad(row, (0, pieces - len(row)), constant_values=fill) for row in values]
            self.register_buffer(name, torch.from_numpy(np.stack(rows)))
        self.register_buffer("start", torch.tensor([y[0] for _, y in knots], dtype=torch.float64))

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        two = len(self.start) == 1
        scores = (scores[:, 1:] if two else scores).double()
        done = ((scores[:, :, None] - self.left) / self.width).clamp(0, 1)  # how much of each piece lies below
        each = self.start + (done * self.rise).sum(dim=2)
        if two:
            return torch.cat([1 - each, each], dim=1).float()
        sums = each.sum(dim=1, keepdim=True)
        return torch.where(sums > 0, each / sums, 1 / each.shape[1]).float()


def _calibrated(head: Any) -> nn.Module:
    inner, calibration = head.head, head.calibration
    knots = getattr(calibration, "knots", None)
    if knots is None:
        temperature = _Temperature(calibration.value, of_probabilities=hasattr(inner, "predict_proba"))
        return nn.Sequential(head_module(inner), temperature)
    if isinstance(inner, LinearClassifier):  # a piece of a function may be narrower than what float32 tells apart
        return nn.Sequential(_linear_classifier(inner, torch.float64), _Isotonic(knots))
    return nn.Sequential(head_module(inner), _Isotonic(knots))


_MAKERS: dict[str, Callable[[Any], nn.Module]] = {
    "CalibratedHead": _calibrated,
    "GaussianNBClassifier": _GaussianNB,
    "KNNClassifier": NearestNeighbours,
    "KNNRegressor": NearestNeighbours,
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "NetClassifier": _net,
    "NetRegressor": _net,
}
"""By the names of featx's classes: naming them here loads neither scikit-learn nor what else they need."""
