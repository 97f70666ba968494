"""Small networks as scikit-learn estimators: layers from a line of text, trained by skorch."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.validation import column_or_1d

from featx.errors import ParameterError
from featx.heads.nets._base import Floats, Net, Validation
from featx.heads.nets._targets import ClassCoding, LossName, ValueCoding

__all__ = ["NetClassifier", "NetRegressor"]


class NetClassifier(ClassifierMixin, Net):
    """A small network for classes or labels, on vectors, tokens or maps.

    It computes on batches gathered from the features as they lie, in memory or mapped from a file; nothing is copied as
    a whole. On a CPU the same seed gives the same net.

    Parameters
    ----------
    layers : str
        Layers in order, such as ``conv(100,2) dropout(0.4) gap dropout(0.3) dense``;
        :func:`~featx.heads.nets._layers.parse_layers` lists them. The last ``dense`` gets as many units as are needed.
    loss : {"auto", "binary", "categorical", "sparse"}
        Cross-entropy from logits, in Keras's words: ``binary`` with one output for two classes, or one for each label
        of an indicator; ``categorical`` over the classes, from labels or one-hot rows; ``sparse`` the same, from
        labels alone. ``auto`` is ``binary`` for two classes and for an indicator, and else ``categorical``.
    optimizer : {"adam", "adamw", "rmsprop", "sgd"}
        torch's, with its defaults.
    learning_rate : float
        Step size at the start.
    momentum : float
        Of ``sgd``; the others have their own.
    weight_decay : float
        L2 penalty in the gradient; with ``adamw`` apart from it.
    batch_size : int
        Rows in a step.
    max_epochs : int
        Sweeps over the rows; of every ``fit`` anew.
    schedule : str, optional
        ``step(EPOCHS,FACTOR)`` multiplies the learning rate every so many epochs, ``cosine`` lets it fall to 0.
    early_stopping : int, optional
        End after as many epochs without a better loss, of the validation rows, or without any, of the training.
    restore_best : bool
        Where there are validation rows, take the parameters of the epoch with the least loss of theirs.
    validation_fraction : float
        Share of the rows held out for validation, of each class alike, unless ``fit`` is given some.
    class_weight : dict or "balanced", optional
        Weights of the classes in the loss, as in scikit-learn.
    standardize : bool
        Bring each feature (of maps and tokens, each channel) to mean 0 and variance 1 of the training rows.
    device : str
        ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``, to train on; answers come from the CPU.
    random_state : int, RandomState or None
        Seed of the parameters, the order of rows, the views and dropout.
    warm_start : bool
        Whether a further ``fit`` goes on from the parameters, for ``max_epochs`` more. Within a process the optimizer,
        the schedule's steps and the random numbers go on, too: two fits of 5 epochs then are one of 10 (unless
        ``restore_best`` went back between them). A net loaded from a file starts with a new optimizer.

    Attributes
    ----------
    classes_ : ndarray of shape (k,)
        The labels, sorted; 0 to k - 1 for an indicator or one-hot rows.
    multilabel_ : bool
        Whether it was fitted on an indicator.
    n_features_in_ : int
        Values in a row.
    input_shape_ : tuple of int
        Shape of a row: (d,), (l, c) or (h, w, c).
    module_ : torch.nn.Sequential
        The network, standardising first.
    history_ : list of dict
        For each epoch ``epoch`` (from 1), ``loss`` and ``accuracy`` (over the batches, in training mode),
        ``val_loss`` and ``val_accuracy`` (if there were validation rows), ``learning_rate`` and ``seconds``.
    n_iter_, best_epoch_ : int
        Epochs trained, and the one whose parameters the net has.

    See Also
    --------
    NetRegressor : the same for values.
    """

    coding_: ClassCoding

    def __init__(
        self,
        layers: str = "dense(128) relu dense",
        *,
        loss: LossName = "auto",
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        batch_size: int = 100,
        max_epochs: int = 50,
        schedule: str | None = None,
        early_stopping: int | None = None,
        restore_best: bool = True,
        validation_fraction: float = 0.0,
        class_weight: Any = None,
        standardize: bool = True,
        device: str = "auto",
        random_state: Any = None,
        warm_start: bool = False,
    ) -> None:
        self.layers = layers
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.schedule = schedule
        self.early_stopping = early_stopping
        self.restore_best = restore_best
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.standardize = standardize
        self.device = device
        self.random_state = random_state
        self.warm_start = warm_start

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation: Validation = None, views: bool = False
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array_like of shape (n, d), (n, l, c) or (n, h, w, c), or with views (n, v, ...); float
            Features.
        y : array_like of shape (n,), or (n, k)
            Labels; or an indicator of several labels a sample; or, with ``loss="categorical"``, one-hot rows.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows in the loss, and in standardising.
        validation : tuple of array_like, optional
            Features and labels to judge each epoch by, shaped like `X` and `y`.
        views : bool
            Whether axis 1 holds views of a sample: each epoch sees one of each, drawn anew; validation averages the
            probabilities of all.

        Returns
        -------
        NetClassifier
            The estimator itself.

        Raises
        ------
        ParameterError
            A parameter has a value it cannot have, or the layers do not go with the features.
        ValueError
            The arrays do not go together.
        HeadError
            The parameters became infinite in training.
        """
        return self._fit(X, y, sample_weight, validation, views)

    def _code(self, y: npt.NDArray[Any], weights: Floats) -> ClassCoding:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return ClassCoding.of(y, self.loss)

    def _publish(self, coding: ClassCoding) -> None:
        super()._publish(coding)
        self.classes_, self.multilabel_ = coding.classes, coding.multilabel

    def _weigh(self, y: npt.NDArray[Any], weights: Floats) -> Floats:
        if self.class_weight is None:
            return weights
        if self.coding_.multilabel:
            raise ParameterError(
                f"class_weight must be none where a sample has several labels; got {self.class_weight!r}: weigh the"
                " samples"
            )
        labels = self.classes_[y.argmax(axis=1)] if self.coding_.one_hot else np.ravel(y)
        return weights * np.asarray(compute_sample_weight(self.class_weight, labels), dtype=np.float64)

    def decision_function(self, X: Any) -> Floats:
        """Return the logits.

        Parameters
        ----------
        X : array_like of shape (n, ...), float
            Features, shaped as in fitting, without views.

        Returns
        -------
        ndarray of shape (n, k), or (n,) for two classes, float64
            Larger is likelier; for two classes, or a label of several, positive means the second, or yes.
        """
        outputs = self._outputs(X)
        if len(self.classes_) != 2 or self.multilabel_:
            return outputs
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]

    def predict_proba(self, X: Any) -> Floats:
        """Return probabilities.

        Parameters
        ----------
        X : array_like of shape (n, ...), float
            Features, shaped as in fitting, without views.

        Returns
        -------
        ndarray of shape (n, k), float64
            Column j belongs to ``classes_[j]``; rows add up to 1, except where a sample may have several labels.
        """
        outputs = self._outputs(X)
        if self.coding_.link == "softmax":
            return np.asarray(softmax(outputs, axis=1))
        yes = np.asarray(expit(outputs))
        return yes if self.multilabel_ else np.hstack([expit(-outputs), yes])

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return labels.

        Parameters
        ----------
        X : array_like of shape (n, ...), float
            Features, shaped as in fitting, without views.

        Returns
        -------
        ndarray of shape (n,), or of shape (n, k) and int64 for several labels a sample
            The likeliest label, or the indicator of labels likelier than not.
        """
        outputs = self._outputs(X)
        if self.multilabel_:
            return (outputs > 0).astype(np.int64)
        index = outputs.argmax(axis=1) if self.coding_.link == "softmax" else (outputs[:, 0] > 0).astype(np.intp)
        labels: npt.NDArray[Any] = self.classes_[index]
        return labels


class NetRegressor(RegressorMixin, Net):
    """A small network for values, trained by squared error.

    Parameters
    ----------
    layers : str
        As those of :class:`NetClassifier`; the last ``dense`` gets a unit for each target.
    optimizer, learning_rate, momentum, weight_decay, batch_size, max_epochs, schedule, early_stopping, restore_best, \
validation_fraction, device, random_state, warm_start
        As those of :class:`NetClassifier`.
    standardize : bool
        Bring each feature, and each target, to mean 0 and variance 1 of the training rows; losses are then shares of
        the targets' variance, and predictions are in their unit all the same.

    Attributes
    ----------
    n_features_in_, input_shape_, module_, n_iter_, best_epoch_
        As those of :class:`NetClassifier`; the module gives standardised targets, ``torch_module()`` values.
    history_ : list of dict
        As that of :class:`NetClassifier`, without accuracies; losses are mean squared errors.
    """

    coding_: ValueCoding

    def __init__(
        self,
        layers: str = "dense(128) relu dense",
        *,
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        batch_size: int = 100,
        max_epochs: int = 50,
        schedule: str | None = None,
        early_stopping: int | None = None,
        restore_best: bool = True,
        validation_fraction: float = 0.0,
        standardize: bool = True,
        device: str = "auto",
        random_state: Any = None,
        warm_start: bool = False,
    ) -> None:
        self.layers = layers
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.schedule = schedule
        self.early_stopping = early_stopping
        self.restore_best = restore_best
        self.validation_fraction = validation_fraction
        self.standardize = standardize
        self.device = device
        self.random_state = random_state
        self.warm_start = warm_start

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation: Validation = None, views: bool = False
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array_like of shape (n, d), (n, l, c) or (n, h, w, c), or with views (n, v, ...); float
            Features.
        y : array_like of shape (n,) or (n, t)
            Values.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows in the loss, and in standardising.
        validation : tuple of array_like, optional
            Features and values to judge each epoch by, shaped like `X` and `y`.
        views : bool
            Whether axis 1 holds views of a sample: each epoch sees one of each, drawn anew; validation averages them.

        Returns
        -------
        NetRegressor
            The estimator itself.

        Raises
        ------
        ParameterError
            A parameter has a value it cannot have, or the layers do not go with the features.
        ValueError
            The arrays do not go together.
        HeadError
            The parameters became infinite in training.
        """
        return self._fit(X, y, sample_weight, validation, views)

    def _code(self, y: npt.NDArray[Any], weights: Floats) -> ValueCoding:
        return ValueCoding.of(y, weights, standardize=self.standardize)

    def predict(self, X: Any) -> Floats:
        """Return the values.

        Parameters
        ----------
        X : array_like of shape (n, ...), float
            Features, shaped as in fitting, without views.

        Returns
        -------
        ndarray of shape (n,) or (n, t), float64
            Values in the unit of the targets, in the shape of those fitted.
        """
        outputs = self._outputs(X)
        return self.coding_.decode(outputs)
