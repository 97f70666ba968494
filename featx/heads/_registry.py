"""Which heads there are, and how one is made from a name and parameters."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from featx.errors import HeadError, ParameterError, did_you_mean
from featx.heads._estimators import Task

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = ["HeadInfo", "list_heads", "make_head"]


@dataclass(frozen=True)
class HeadInfo:
    """What ``featx heads`` says of a head.

    Attributes
    ----------
    name : str
        The name :func:`make_head` takes.
    summary : str
        One line.
    class_path : str
        The classifier behind the name.
    defaults : dict
        The parameters featx sets, where they differ from the estimator's own or matter most.
    probabilities : bool
        Whether the classifier answers with probabilities, not with scores alone.
    tasks : tuple of str
        What it can learn: ``classification``, ``multilabel`` (several labels a sample), ``regression``.
    regressor_path : str or None
        The regressor behind the name, if there is one.
    """

    name: str
    summary: str
    class_path: str
    defaults: dict[str, Any]
    probabilities: bool
    tasks: tuple[Task, ...]
    regressor_path: str | None = None


_CLASSES: tuple[Task, ...] = ("classification",)
_LABELS: tuple[Task, ...] = ("classification", "multilabel")
_ALL: tuple[Task, ...] = ("classification", "multilabel", "regression")

# The defaults were measured on the default backbone's features (AvP: 694 training images of 2 classes; cifar10-small:
# 5,000 of 10) and on small unbalanced toy data. Where the scale matters, all but kNN standardise: C, alpha and the
# learning rate then mean the same for backbones whose features differ a hundredfold in scale. Cosine distance is free
# of the scale already, and loses a point by standardising.
# No single alpha serves ridge: 1,000 is best for 1,280 features, and answers the larger class only where there are 8.
_HEADS = {
    info.name: info
    for info in (
        HeadInfo(
            "conv",
            "convolution of 100 filters over maps, global average, dense; trained by Adam",
            "featx.heads.NetClassifier",
            {"layers": "conv(100,2) dropout(0.4) gap dropout(0.3) dense", "standardize": True},
            probabilities=True,
            tasks=_ALL,
            regressor_path="featx.heads.NetRegressor",
        ),
        HeadInfo(
            "gaussian_nb",
            "naive Bayes: a normal distribution of each feature in each class",
            "featx.heads.GaussianNBClassifier",
            {},
            probabilities=True,
            tasks=_CLASSES,
        ),
        HeadInfo(
            "knn",
            "vote or mean of the 10 nearest training rows by cosine distance",
            "featx.heads.KNNClassifier",
            {"n_neighbors": 10, "metric": "cosine", "standardize": False},
            probabilities=True,
            tasks=_ALL,
            regressor_path="featx.heads.KNNRegressor",
        ),
        HeadInfo(
            "lda",
            "linear discriminant analysis, covariances shrunk by Ledoit and Wolf's rule",
            "featx.heads.LDAClassifier",
            {"shrinkage": "auto", "standardize": False},
            probabilities=True,
            tasks=_CLASSES,
        ),
        HeadInfo(
            "linear_svm",
            "linear support vector machine, one class against the rest",
            "sklearn.svm.LinearSVC",
            {"C": 0.001, "dual": True, "max_iter": 10_000, "standardize": True},
            probabilities=False,
            tasks=_LABELS,
        ),
        HeadInfo(
            "logistic",
            "multinomial logistic regression with an L2 penalty",
            "featx.heads.LogisticClassifier",
            {"C": 1.0, "standardize": True},
            probabilities=True,
            tasks=_LABELS,
        ),
        HeadInfo(
            "mlp",
            "network of one hidden layer (128 ReLU units), trained by Adam",
            "featx.heads.NetClassifier",
            {
                "layers": "dense(128) relu dense",
                "weight_decay": 0.01,
                "schedule": "cosine",
                "max_epochs": 30,
                "standardize": True,
            },
            probabilities=True,
            tasks=_ALL,
            regressor_path="featx.heads.NetRegressor",
        ),
        HeadInfo(
            "nearest_centroid",
            "the class whose mean is nearest in Euclidean distance",
            "featx.heads.CentroidClassifier",
            {"standardize": True},
            probabilities=False,
            tasks=_CLASSES,
        ),
        HeadInfo(
            "ridge",
            "least squares; L2 penalty by exact leave-one-out, or alpha=NUMBER",
            "featx.heads.RidgeClassifier",
            {"alpha": "auto", "standardize": True},
            probabilities=False,
            tasks=_ALL,
            regressor_path="featx.heads.RidgeRegressor",
        ),
    )
}

# Search trees cannot be stored safely (see `_storage`), and gain nothing in hundreds of dimensions.
_BY_CLASS_PATH: dict[str, dict[str, Any]] = {
    "sklearn.neighbors.KNeighborsClassifier": {"algorithm": "brute"},
    "sklearn.neighbors.KNeighborsRegressor": {"algorithm": "brute"},
    "sklearn.neighbors.RadiusNeighborsClassifier": {"algorithm": "brute"},
    "sklearn.neighbors.RadiusNeighborsRegressor": {"algorithm": "brute"},
}


def list_heads() -> list[HeadInfo]:
    """Return the named heads, sorted by name.

    Returns
    -------
    list of HeadInfo
        Besides these, :func:`make_head` takes the class path of any scikit-learn classifier or regressor.
    """
    return [HeadInfo(**{**vars(_HEADS[name]), "defaults": dict(_HEADS[name].defaults)}) for name in sorted(_HEADS)]


def make_head(
    name: str, params: Mapping[str, Any] | None = None, *, seed: int = 0, task: Task = "classification"
) -> BaseEstimator:
    """Make an unfitted estimator that keeps scikit-learn's contract.

    Parameters
    ----------
    name : str
        A name of :func:`list_heads` (with ``-`` or ``_``), or the class path of a scikit-learn classifier, such as
        ``sklearn.ensemble.RandomForestClassifier``, or for a regression of a regressor.
    params : mapping, optional
        Parameters of the estimator, over featx's defaults; and ``standardize``, which says whether each feature is
        first brought to mean 0 and variance 1 (of the training rows). Without it a named head does what its
        :class:`HeadInfo` says, and a class path does not.
    seed : int
        ``random_state`` of an estimator that has one, unless `params` sets it.
    task : {"classification", "multilabel", "regression"}
        What is to be learned: one class a sample, several labels a sample, or numbers. For several labels an estimator
        of scikit-learn is fitted once for each label.

    Returns
    -------
    BaseEstimator
        featx's own estimator; or scikit-learn's, in a :class:`~sklearn.pipeline.Pipeline` of the steps ``standardize``
        and ``head`` if it is to be standardised, and in a :class:`~sklearn.multiclass.OneVsRestClassifier` for several
        labels.

    Raises
    ------
    HeadError
        There is no such head, it cannot learn the task, or the class path does not lead to an estimator for it.
    ParameterError
        The estimator has no parameter of that name, `standardize` is neither true nor false, there is no such task, or
        `seed` is no integer from 0 to 2**32 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 32:
        raise ParameterError(f"seed must be an integer from 0 to 2**32 - 1; got {seed!r}")
    if task not in get_args(Task):
        raise ParameterError(f"task must be one of {', '.join(get_args(Task))}; got {task!r}")
    info = _HEADS.get(name.replace("-", "_"))
    given = dict(params or {})
    if not isinstance(given.get("standardize", False), bool):
        raise ParameterError(f"standardize must be true or false; got {given['standardize']!r}")
    if info is None:
        return _sklearn_head(_sklearn_class(name, task), {**_BY_CLASS_PATH.get(name, {}), **given}, name, seed, task)
    if task not in info.tasks:
        able = sorted(other.name for other in _HEADS.values() if task in other.tasks)
        raise HeadError(f"head {info.name!r} cannot learn {task} targets: take one of {', '.join(able)}")
    settings = {**info.defaults, **given}
    class_path = info.class_path if task != "regression" or info.regressor_path is None else info.regressor_path
    module, _, class_name = class_path.rpartition(".")
    cls = getattr(importlib.import_module(module), class_name)
    if module == "featx.heads":
        return _seeded(_construct(cls, settings, info.name, set()), seed, given)
    return _sklearn_head(cls, settings, info.name, seed, task)


def _sklearn_head(cls: type, settings: dict[str, Any], name: str, seed: int, task: Task) -> BaseEstimator:
    standardize = settings.pop("standardize", False)
    head = _seeded(_construct(cls, settings, name, {"standardize"}), seed, settings)
    if task == "multilabel":
        if not (hasattr(head, "decision_function") or hasattr(head, "predict_proba")):
            raise HeadError(f"head {name!r} has no score for a label on its own: choose another for multilabel targets")
        from sklearn.multiclass import OneVsRestClassifier

        head = OneVsRestClassifier(head)
    if not standardize:
        return head

    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline([("standardize", StandardScaler()), ("head", head)])


def _seeded(head: Any, seed: int, given: Mapping[str, Any]) -> Any:
    seeds = {
        key: seed
        for key, value in head.get_params(deep=True).items()
        if (key == "random_state" or key.endswith("__random_state")) and value is None and key not in given
    }
    return head.set_params(**seeds)


def _construct(cls: type, settings: dict[str, Any], name: str, more: set[str]) -> Any:
    signature = inspect.signature(cls).parameters
    own = set(signature)
    known = own | more
    for key in settings:
        if key.partition("__")[0] not in own:
            raise ParameterError(
                f"head {name!r} has no parameter {key!r}{did_you_mean(key, known)}; it has {', '.join(sorted(known))}"
            )
    needed = [key for key, p in signature.items() if p.default is p.empty and key not in settings]
    if needed:
        raise ParameterError(f"head {name!r} needs a value for its parameter {needed[0]!r}: set it")
    try:
        head = cls(**{key: value for key, value in settings.items() if key in own})
        head.set_params(**{key: value for key, value in settings.items() if key not in own})
    except (TypeError, ValueError, AttributeError) as error:
        raise ParameterError(f"head {name!r} does not take these parameters: {' '.join(str(error).split())}") from error
    return head


def _sklearn_class(class_path: str, task: Task) -> type:
    """Return the class of scikit-learn that a class path leads to."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    kind, mixin = ("regressor", RegressorMixin) if task == "regression" else ("classifier", ClassifierMixin)
    example = f"sklearn.ensemble.RandomForest{kind.capitalize()}"
    module_name, _, class_name = class_path.rpartition(".")
    if module_name != "sklearn" and not module_name.startswith("sklearn."):
        known = [*_HEADS, *(_of_kind(kind) if class_name[:1].isupper() else ())]
        raise HeadError(
            f"no head {class_path!r}{_nearest(class_path, known)}; the heads are {', '.join(sorted(_HEADS))}, and any"
            f" scikit-learn {kind} by its class path, such as {example}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules that moved
            found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError):
        raise HeadError(
            f"scikit-learn has no {kind} {class_path!r}{_nearest(class_path, _of_kind(kind))}; give the class path of"
            f" one, such as {example}"
        ) from None
    if not (isinstance(found, type) and issubclass(found, mixin) and issubclass(found, BaseEstimator)):
        raise HeadError(
            f"a head for {task} must be a {kind}; {class_path!r} is none{_nearest(class_path, _of_kind(kind))}; see"
            " `featx heads` for the named ones"
        )
    if inspect.isabstract(found):
        raise HeadError(f"a head must be a complete {kind}; {class_path!r} is an abstract base: choose one built on it")
    return found


def _of_kind(kind: str) -> list[str]:
    """Return the class paths of scikit-learn's classifiers or regressors, as people import them."""
    from sklearn.utils import all_estimators

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classes = [cls for _, cls in all_estimators(kind)]
    return sorted(f"{cls.__module__.partition('._')[0]}.{cls.__name__}" for cls in classes)


def _nearest(name: str, known: list[str]) -> str:
    """Return did_you_mean for `name`, by its last part where that alone is equal or near."""
    last = name.rpartition(".")[2]
    by_class = {path.rpartition(".")[2]: path for path in known}
    hint = did_you_mean(last, by_class)
    for class_name, path in by_class.items():
        if hint.endswith(f"{class_name!r}?"):
            return f"; did you mean {path!r}?"
    return did_you_mean(name.replace("-", "_"), known)
