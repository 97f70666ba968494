"""What nets for classes and for values share: fitting, asking, showing, keeping."""

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, check_is_fitted
from torch import nn

from featx.heads.nets._batches import Rows, as_tensor
from featx.heads.nets._input import checked_rows, device_of, hold_out, row_shape, scaling_of, seed_of
from featx.heads.nets._layers import Standardize, build_layers, parse_layers
from featx.heads.nets._optimizers import OPTIMIZERS, optimizer_settings, parse_schedule
from featx.heads.nets._settings import check_settings
from featx.heads.nets._state import epochs_of, net_state, read_net_state
from featx.heads.nets._summary import summarize
from featx.heads.nets._targets import ClassCoding, ValueCoding
from featx.heads.nets._training import Memory, Plan, train

__all__ = ["Floats", "Net", "Validation"]

Floats = npt.NDArray[np.float64]
Validation = tuple[npt.ArrayLike, npt.ArrayLike] | None

_BLOCK_VALUES = 1 << 22
"""Features a net is asked about at a time."""


class Net(BaseEstimator):
    """What the classifier and the regressor share."""

    coding_: ClassCoding | ValueCoding
    history_: list[dict[str, Any]]
    module_: nn.Sequential
    _memory: Memory | None

    def _code(self, y: npt.NDArray[Any], weights: Floats) -> ClassCoding | ValueCoding:
        raise NotImplementedError

    def _publish(self, coding: Any) -> None:
        """Take the coding, with the attributes that say in scikit-learn's words what it holds."""
        self.coding_ = coding

    def _weigh(self, y: npt.NDArray[Any], weights: Floats) -> Floats:
        """Return the rows' weights in the loss."""
        return weights

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation: Validation, views: bool) -> Self:
        check_settings(self)
        specs = parse_layers(self.layers)
        going_on = bool(self.warm_start and hasattr(self, "module_"))
        X, y = checked_rows(self, X, y, views=views, reset=not going_on)
        sample: Floats = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        coding = self.coding_ if going_on else self._code(y, sample)
        targets = coding.encode(y)
        seed, device = seed_of(self.random_state), device_of(self.device)
        index, held_out = np.arange(len(X)), None
        if validation is None and self.validation_fraction:
            index, rest = hold_out(targets, self.validation_fraction, seed)
            held_out = Rows(X, rest, targets, views=views, device=device)
        if not sample[index].any():
            raise ValueError("sample_weight must be above 0 for a row at least; got only zeros")
        if not going_on:
            self._publish(coding)
            self.history_, self._memory = [], None
            self.input_shape_ = row_shape(X, views=views)
            scaling = scaling_of(X, index, sample) if self.standardize else None
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.module_ = build_layers(specs, self.input_shape_, coding.outputs, scaling)
        if validation is not None:
            features, truth = checked_rows(self, *validation, views=views, reset=False)
            held_out = Rows(features, np.arange(len(features)), coding.encode(truth), views=views, device=device)
        weights = self._weigh(y, sample)
        rows = Rows(X, index, targets, weights / weights[index].mean(), views=views, device=device)
        return self._train(rows, held_out, seed, device)

    def _train(self, rows: Rows, held_out: Rows | None, seed: int, device: torch.device) -> Self:
        before = epochs_of(self.history_)
        plan = Plan(
            optimizer=OPTIMIZERS[self.optimizer],
            settings={
                "lr": self.learning_rate,
                **optimizer_settings(self.optimizer, momentum=self.momentum, weight_decay=self.weight_decay),
            },
            batch_size=self.batch_size,
            epochs=self.max_epochs,
            schedule=parse_schedule(self.schedule, self.max_epochs, before),
            patience=self.early_stopping,
            restore_best=self.restore_best,
            seed=seed + before,  # a net from a file, without a memory, shall not see the same order again
            device=device,
        )
        self.module_.to(device)
        history, best, self._memory = train(self.module_, self.coding_.link, rows, held_out, plan, self._memory)
        self.module_.cpu()
        self._note([{"epoch": before + n, **entry} for n, entry in enumerate(history, start=1)], before + best)
        return self

    def _note(self, entries: list[dict[str, Any]], best: int) -> None:
        """Write down epochs that are over, and the one whose parameters the net now has."""
        self.history_ = [*self.history_, *entries]
        self.best_epoch_, self.n_iter_ = best, epochs_of(self.history_)

    def _outputs(self, X: Any) -> Floats:
        """Return what the net answers, (n, outputs)."""
        check_is_fitted(self)
        X = checked_rows(self, X, views=False, reset=False)
        outputs = np.empty((len(X), self.coding_.outputs))
        step = max(1, _BLOCK_VALUES // (X[0].size if len(X) else 1))
        with torch.inference_mode():
            for start in range(0, len(X), step):
                outputs[start : start + step] = self.module_(as_tensor(X[start : start + step]).float())
        return outputs

    def summary(self, input_shape: tuple[int, ...] | None = None, outputs: int | None = None) -> str:
        """Return a table of the layers, as Keras prints it.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Shape of a row of features, such as (1280,) or (3, 3, 2048); that of the fitted net without.
        outputs : int, optional
            Units of the last layer: classes (1 for two classes and a binary loss), labels or targets; those of the
            fitted net without.

        Returns
        -------
        str
            A line for each layer with the shape of its output and its parameters; then how many of all are trained,
            and how many are frozen (means and deviations of the features).

        Raises
        ------
        NotFittedError
            The net is not fitted, and something is not given.
        ParameterError
            The layers do not go with `input_shape`.
        """
        if input_shape is None and outputs is None:
            check_is_fitted(self)
            return summarize(self.module_, self.input_shape_)
        if input_shape is None or outputs is None:
            check_is_fitted(self)
            input_shape = self.input_shape_ if input_shape is None else input_shape
            outputs = self.coding_.outputs if outputs is None else outputs
        shape = tuple(input_shape)
        with torch.device("meta"):
            scaling = (torch.zeros(shape[-1]), torch.ones(shape[-1])) if self.standardize else None
            return summarize(build_layers(parse_layers(self.layers), shape, outputs, scaling), shape)

    def torch_module(self) -> nn.Module:
        """Return the net as a torch module of its own, in evaluation mode.

        Returns
        -------
        nn.Module
            From raw features, (n, ...) float32 (standardising is in it), to outputs, (n, k) float32: logits of the
            classes, or of the one output of two classes or of each label (``link_`` says which); values, in their
            unit, of a regressor.
        """
        check_is_fitted(self)
        module = deepcopy(self.module_)
        if isinstance(self.coding_, ValueCoding):
            mean, scale = (
                torch.from_numpy(values.astype(np.float32)) for values in (-self.coding_.mean, self.coding_.scale)
            )
            module.append(Standardize(mean / scale, 1 / scale))
        return module.eval().requires_grad_(False)

    @property
    def link_(self) -> str:
        """How outputs become probabilities: ``softmax``, ``sigmoid`` or, for values, ``none``."""
        check_is_fitted(self)
        return str(self.coding_.link)

    def head_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return what storage keeps: settings and facts as JSON, parameters as arrays.

        The state of the optimizer is not kept: a net that was loaded goes on training with a new one.
        """
        check_is_fitted(self)
        return net_state(self)

    @classmethod
    def from_head_state(cls, params: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the net that :meth:`head_state` described.

        Raises
        ------
        HeadError
            Something is missing, too much, or of a wrong type, name or shape.
        """
        state = read_net_state(cls, params, arrays)
        head = cls(**state.settings)
        head._publish(state.coding)
        head._memory = None
        head.input_shape_, head.module_, head.history_ = state.input_shape, state.module, state.history
        head.n_features_in_ = math.prod(state.input_shape)
        head.n_iter_, head.best_epoch_ = epochs_of(state.history), state.best_epoch
        return head
