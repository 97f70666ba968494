"""What comes into a net: features of any shape, checked and looked over, and the words for chance and device."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import is_regressor
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from torch import Tensor

from featx.errors import ParameterError
from featx.heads._blocks import checked_features
from featx.heads._moments import Scaling, moments_of

__all__ = ["checked_rows", "device_of", "hold_out", "row_shape", "scaling_of", "seed_of"]

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


def row_shape(X: npt.NDArray[Any], *, views: bool) -> tuple[int, ...]:
    """Return the shape of what the net takes at a time: a row of features, or one view of it."""
    return X.shape[2 if views else 1 :]


def checked_rows(estimator: Any, X: Any, y: Any = "no_validation", *, views: bool, reset: bool) -> Any:
    """Check features, (n, ...) or with views (n, v, ...), and labels, as scikit-learn does for matrices.

    Parameters
    ----------
    estimator : Net
        Whose ``n_features_in_`` (values of a row) is set, or compared along with ``input_shape_``.
    X : array_like, float
        Features; without a copy if they lie in memory row by row.
    y : array_like, optional
        Labels or values, in fitting.
    views : bool
        Whether axis 1 holds views.
    reset : bool
        Set, or compare.

    Returns
    -------
    X : ndarray
        In its own shape.
    y : ndarray
        If `y` was given.

    Raises
    ------
    ValueError
        The features are not finite or not of the shape the net was fitted on, or `y` does not go with them.
    """
    X = X if hasattr(X, "shape") else np.asarray(X)
    shape = tuple(X.shape)
    fitted = None if reset else estimator.input_shape_
    matrices = len(shape) <= 2 and not views
    if fitted is not None and row_shape(X, views=views) != fitted and not (matrices and len(fitted) == 1):
        raise ValueError(
            f"features must be of shape {fitted} a row, as the net was fitted on; got {row_shape(X, views=views)}"
        )
    fitting = not isinstance(y, str)
    rules = {"multi_output": True, "y_numeric": is_regressor(estimator)} if fitting else {}
    if matrices:
        return checked_features(estimator, X, y, reset=reset, **rules)
    if len(shape) < 2 + views or 0 in shape[:-1]:
        raise ValueError(f"features must have shape (n, {'views, ' if views else ''}...), none of them 0; got {shape}")
    times = shape[1] if views else 1
    matrix = np.reshape(X, (shape[0] * times, -1))
    if not fitting:
        return checked_features(estimator, matrix, reset=reset).reshape(shape)
    y = np.asarray(y)
    if len(y) != shape[0]:
        raise ValueError(f"there must be a label for each of the {shape[0]} samples; got {len(y)}")
    matrix, y = checked_features(estimator, matrix, np.repeat(y, times, axis=0), reset=reset, **rules)
    return matrix.reshape(shape), y[::times]


def scaling_of(X: npt.NDArray[Any], index: Index, weights: Floats) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel (of all positions and views), (c,) float32, over weighted rows."""
    channels = X.shape[-1]
    flat = X.reshape(-1, channels)
    each = len(flat) // len(X)
    rows = None if len(index) == len(X) else (index[:, None] * each + np.arange(each)).ravel()
    uniform = bool((weights == weights[0]).all())
    moments = next(moments_of(flat, [rows], weights=None if uniform else np.repeat(weights, each)))
    scaling = Scaling.of(moments)
    return torch.from_numpy(scaling.mean).float(), torch.from_numpy(scaling.scale).float()


def hold_out(targets: Tensor, fraction: float, seed: int) -> tuple[Index, Index]:
    """Split rows at random, each class alike where there is one label a sample and classes are large enough.

    Returns
    -------
    index, rest : ndarray of int64
        The rows to train on and those held out, increasing.
    """
    rows = np.arange(len(targets))
    single = targets.ndim == 1 or (targets.shape[1] == 1 and bool(((targets == 0) | (targets == 1)).all()))
    labels = targets.flatten().numpy().astype(np.int64) if single else None
    held = round(fraction * len(rows))
    if not 0 < held < len(rows):
        raise ParameterError(
            f"validation_fraction must leave rows on both sides; got {fraction} of {len(rows)} rows: use another"
        )
    if labels is not None:
        sizes = np.unique(labels, return_counts=True)[1]
        if sizes.min() < 2 or min(held, len(rows) - held) < len(sizes):
            labels = None
    index, rest = train_test_split(rows, test_size=held, stratify=labels, random_state=seed % (1 << 32))
    return np.sort(index), np.sort(rest)


def seed_of(random_state: Any) -> int:
    """Return a seed: the integer itself, or one drawn from the generator (numpy's own for None)."""
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(1 << 31))


def device_of(name: str) -> torch.device:
    """Return the device; ``auto`` is a GPU where there is one.

    Raises
    ------
    ParameterError
        There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError):
        raise ParameterError(
            f"device must be auto, cpu, or a GPU of this machine such as cuda:0; got {name!r}"
        ) from None
    return device
