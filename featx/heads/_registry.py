"""Which heads there are, and how one is made from a name and parameters."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from featx.errors import HeadError, ParameterError, did_you_mean

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
        The estimator behind the name.
    defaults : dict
        The parameters featx sets, where they differ from the estimator's own or matter most.
    probabilities : bool
        Whether the head answers with probabilities, not with scores alone.
    """

    name: str
    summary: str
    class_path: str
    defaults: dict[str, Any]
    probabilities: bool


# The defaults were measured on the default backbone's features (AvP: 694 training images of 2 classes; cifar10-small:
# 5,000 of 10) and on small unbalanced toy data. All but kNN standardise: C, alpha and the learning rate then mean the
# same for backbones whose features differ a hundredfold in scale, and logistic converges 15 times sooner (2.5 s
# against 36 s on cifar10-small). Cosine distance is free of the scale already, and loses a point by standardising.
# scikit-learn's own tol of 1e-4 stops logistic 1 to 3 % above the optimum there, 1e-6 within 1e-5 of it.
# No single alpha serves ridge: 1,000 is best for 1,280 features, and answers the larger class only where there are 8.
_HEADS = {
    info.name: info
    for info in (
        HeadInfo(
            "knn",
            "vote of the 10 nearest training rows by cosine distance",
            "sklearn.neighbors.KNeighborsClassifier",
            {"n_neighbors": 10, "metric": "cosine", "algorithm": "brute", "standardize": False},
            probabilities=True,
        ),
        HeadInfo(
            "linear_svm",
            "linear support vector machine, one class against the rest",
            "sklearn.svm.LinearSVC",
            {"C": 0.001, "dual": True, "max_iter": 10_000, "standardize": True},
            probabilities=False,
        ),
        HeadInfo(
            "logistic",
            "multinomial logistic regression with an L2 penalty",
            "sklearn.linear_model.LogisticRegression",
            {"C": 1.0, "tol": 1e-6, "max_iter": 5_000, "standardize": True},
            probabilities=True,
        ),
        HeadInfo(
            "mlp",
            "network of one hidden layer (128 ReLU units), trained by Adam",
            "sklearn.neural_network.MLPClassifier",
            {"hidden_layer_sizes": (128,), "alpha": 1.0, "tol": 1e-3, "max_iter": 500, "standardize": True},
            probabilities=True,
        ),
        HeadInfo(
            "nearest_centroid",
            "the class whose mean is nearest in Euclidean distance",
            "featx.heads.CentroidClassifier",
            {"standardize": True},
            probabilities=False,
        ),
        HeadInfo(
            "ridge",
            "least squares on class indicators; L2 penalty by exact leave-one-out, or alpha=NUMBER",
            "sklearn.linear_model.RidgeClassifierCV",
            {"alphas": (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5), "standardize": True},
            probabilities=False,
        ),
    )
}

# Search trees cannot be stored safely (see `_storage`), and gain nothing in hundreds of dimensions.
_BY_CLASS_PATH: dict[str, dict[str, Any]] = {
    "sklearn.neighbors.KNeighborsClassifier": {"algorithm": "brute"},
    "sklearn.neighbors.RadiusNeighborsClassifier": {"algorithm": "brute"},
}


def list_heads() -> list[HeadInfo]:
    """Return the named heads, sorted by name.

    Returns
    -------
    list of HeadInfo
        Besides these, :func:`make_head` takes the class path of any scikit-learn classifier.
    """
    return [HeadInfo(**{**vars(_HEADS[name]), "defaults": dict(_HEADS[name].defaults)}) for name in sorted(_HEADS)]


def make_head(name: str, params: Mapping[str, Any] | None = None, *, seed: int = 0) -> BaseEstimator:
    """Make an unfitted classifier that keeps scikit-learn's estimator contract.

    Parameters
    ----------
    name : str
        A name of :func:`list_heads` (with ``-`` or ``_``), or the class path of a scikit-learn classifier, such as
        ``sklearn.ensemble.RandomForestClassifier``.
    params : mapping, optional
        Parameters of the classifier, over featx's defaults; and ``standardize``, which says whether each feature is
        first brought to mean 0 and variance 1 (of the training rows). Without it a named head does what its
        :class:`HeadInfo` says, and a class path does not.
    seed : int
        ``random_state`` of a classifier that has one, unless `params` sets it.

    Returns
    -------
    BaseEstimator
        The classifier, or a :class:`~sklearn.pipeline.Pipeline` of the steps ``standardize`` and ``head``.

    Raises
    ------
    HeadError
        There is no such head, or the class path does not lead to a scikit-learn classifier.
    ParameterError
        The classifier has no parameter of that name, `standardize` is neither true nor false, or `seed` is no
        integer from 0 to 2**32 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 32:
        raise ParameterError(f"seed must be an integer from 0 to 2**32 - 1; got {seed!r}")
    info = _HEADS.get(name.replace("-", "_"))
    class_path = name if info is None else info.class_path
    settings = dict(_BY_CLASS_PATH.get(name, {}) if info is None else info.defaults)
    given = dict(params or {})
    if info is not None and info.name == "ridge" and "alpha" in given:
        class_path = "sklearn.linear_model.RidgeClassifier"
        del settings["alphas"]
    settings.update(given)
    standardize = settings.pop("standardize", False)
    if not isinstance(standardize, bool):
        raise ParameterError(f"standardize must be true or false; got {standardize!r}")
    head = _construct(_import_class(class_path, name), settings, name)
    seeds = {
        key: seed
        for key, value in head.get_params(deep=True).items()
        if (key == "random_state" or key.endswith("__random_state")) and value is None and key not in given
    }
    head.set_params(**seeds)
    if not standardize:
        return head

    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline([("standardize", StandardScaler()), ("head", head)])


def _construct(cls: type, settings: dict[str, Any], name: str) -> Any:
    signature = inspect.signature(cls).parameters
    own = set(signature)
    for key in settings:
        if key.partition("__")[0] not in own:
            raise ParameterError(
                f"head {name!r} has no parameter {key!r}{did_you_mean(key, own | {'standardize'})};"
                f" it has {', '.join(sorted(own | {'standardize'}))}"
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


def _import_class(class_path: str, name: str) -> type:
    if class_path.startswith("featx.") and class_path != name:
        from featx.heads._centroid import CentroidClassifier

        return CentroidClassifier
    module_name, _, class_name = class_path.rpartition(".")
    if module_name != "sklearn" and not module_name.startswith("sklearn."):
        known = [*_HEADS, *(_sklearn_classifiers() if class_name[:1].isupper() else ())]
        raise HeadError(
            f"no head {name!r}{_nearest(name, known)}; the heads are {', '.join(sorted(_HEADS))}, and any scikit-learn"
            " classifier by its class path, such as sklearn.ensemble.RandomForestClassifier"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules that moved
            found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError):
        raise HeadError(
            f"scikit-learn has no classifier {name!r}{_nearest(name, _sklearn_classifiers())}; give the class path of"
            " one, such as sklearn.ensemble.RandomForestClassifier"
        ) from None
    from sklearn.base import BaseEstimator, ClassifierMixin

    if not (isinstance(found, type) and issubclass(found, ClassifierMixin) and issubclass(found, BaseEstimator)):
        raise HeadError(
            f"a head must be a classifier; {name!r} is none{_nearest(name, _sklearn_classifiers())}; see"
            " `featx heads` for the named ones"
        )
    if inspect.isabstract(found):
        raise HeadError(f"a head must be a complete classifier; {name!r} is an abstract base: choose one built on it")
    return found


def _sklearn_classifiers() -> list[str]:
    """Class paths of scikit-learn's classifiers, as people import them."""
    from sklearn.utils import all_estimators

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classes = [cls for _, cls in all_estimators("classifier")]
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
