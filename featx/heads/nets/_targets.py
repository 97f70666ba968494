"""What a net is taught: labels as indices or indicators, values brought to mean 0 and variance 1."""

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from featx.errors import ParameterError
from featx.heads.nets._losses import Link

__all__ = ["ClassCoding", "LossName", "ValueCoding"]

Floats = npt.NDArray[np.float64]
LossName = Literal["auto", "binary", "categorical", "sparse"]


@dataclass(frozen=True)
class ClassCoding:
    """From labels to what the loss takes.

    Attributes
    ----------
    classes : ndarray of shape (k,)
        The labels, sorted; for several labels a sample, and for one-hot rows, 0 to k - 1.
    link : {"softmax", "sigmoid"}
        Over the classes, or for the one output of two classes or for every label.
    multilabel : bool
        Whether a sample may have several labels.
    one_hot : bool
        Whether labels come as rows of a single 1.
    """

    classes: npt.NDArray[Any]
    link: Link
    multilabel: bool = False
    one_hot: bool = False

    @property
    def outputs(self) -> int:
        """Units of the last layer."""
        return 1 if self.link == "sigmoid" and not self.multilabel else len(self.classes)

    @classmethod
    def of(cls, y: npt.NDArray[Any], loss: LossName) -> Self:
        """Return the coding for labels `y`, (n,), or indicator, (n, k).

        Raises
        ------
        ParameterError
            `loss` does not go with labels of that kind.
        ValueError
            `y` holds one class only, or no classes but values.
        """
        check_classification_targets(y)
        if y.ndim == 2:
            one_hot = loss == "categorical"
            if loss == "sparse":
                raise ParameterError(
                    f"loss 'sparse' takes integer labels of shape (n,); got labels of shape {y.shape}: use"
                    " 'categorical' for one-hot rows, 'binary' for several labels a sample"
                )
            return cls(np.arange(y.shape[1]), "softmax" if one_hot else "sigmoid", not one_hot, one_hot)
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(f"a classifier must be trained on two classes or more; got {len(classes)} class")
        if loss == "binary" and len(classes) > 2:
            raise ParameterError(
                f"loss 'binary' is for two classes (or several labels a sample); got {len(classes)} classes: use"
                " 'categorical'"
            )
        return cls(classes, "sigmoid" if loss == "binary" or (loss == "auto" and len(classes) == 2) else "softmax")

    def encode(self, y: npt.NDArray[Any]) -> Tensor:
        """Return indices, int64 (n,), for ``softmax``, and an indicator, float32 (n, outputs), for ``sigmoid``.

        Raises
        ------
        ValueError
            A label is none of the classes, or `y` is of another shape than the one that was fitted.
        """
        if self.multilabel or self.one_hot:
            if y.ndim != 2 or y.shape[1] != len(self.classes) or not np.isin(y, (0, 1)).all():
                raise ValueError(
                    f"labels must be an indicator of 0 and 1 of shape (n, {len(self.classes)}); got shape {y.shape}"
                )
            if self.multilabel:
                return torch.from_numpy(np.asarray(y, dtype=np.float32))
            if (y.sum(axis=1) != 1).any():
                raise ValueError("one-hot labels must have a single 1 in each row; got another sum")
            return torch.from_numpy(y.argmax(axis=1))
        y = column_or_1d(y)
        index = np.minimum(np.searchsorted(self.classes, y), len(self.classes) - 1)
        if (self.classes[index] != y).any():
            raise ValueError("labels must be of the classes trained on; got another: leave such rows out")
        return torch.from_numpy(index if self.link == "softmax" else index[:, None].astype(np.float32))


@dataclass(frozen=True)
class ValueCoding:
    """From values of any unit to ones of mean 0 and variance 1.

    Attributes
    ----------
    mean, scale : ndarray of shape (t,), float64
        Of the training rows; a target that does not vary has scale 1.
    flat : bool
        Whether values come, and are returned, as (n,).
    """

    mean: Floats
    scale: Floats
    flat: bool

    link: Link = "none"

    @property
    def outputs(self) -> int:
        """Units of the last layer."""
        return len(self.mean)

    @classmethod
    def of(cls, y: npt.NDArray[Any], weights: Floats, *, standardize: bool) -> Self:
        """Return the coding of the values `y`, (n,) or (n, t), with `weights`, (n,)."""
        values = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        if not standardize:
            return cls(np.zeros(values.shape[1]), np.ones(values.shape[1]), y.ndim == 1)
        mean = np.average(values, axis=0, weights=weights)
        scale = np.sqrt(np.average(np.square(values - mean), axis=0, weights=weights))
        varies = scale > 10 * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean, np.where(varies, scale, 1.0), y.ndim == 1)

    def encode(self, y: npt.NDArray[Any]) -> Tensor:
        """Return the values as the net shall give them, float32 (n, t).

        Raises
        ------
        ValueError
            `y` is of another shape than the one that was fitted.
        """
        values = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        if values.shape[1] != self.outputs:
            raise ValueError(f"there must be {self.outputs} target(s) for each row, as before; got {values.shape[1]}")
        return torch.from_numpy(((values - self.mean) / self.scale).astype(np.float32))

    def decode(self, output: Floats) -> Floats:
        """Return values in their unit, (n, t) or (n,), for outputs (n, t)."""
        values = output * self.scale + self.mean
        return values[:, 0] if self.flat else values
