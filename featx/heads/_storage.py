"""Keeping a fitted head in a folder, never as a pickle: safetensors for linear heads, skops for the others."""

import os
import warnings
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError
from featx.heads._linear import LinearClassifier, Link, read_linear, write_linear

__all__ = ["load_head", "save_head"]

Floats = npt.NDArray[np.float64]

_LINEAR_FILE = "head.safetensors"
_SKOPS_FILE = "head.skops"

_LINEAR_CLASSES = {
    "featx.heads._centroid.CentroidClassifier",
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.linear_model.LogisticRegressionCV",
    "sklearn.linear_model.PassiveAggressiveClassifier",
    "sklearn.linear_model.Perceptron",
    "sklearn.linear_model.RidgeClassifier",
    "sklearn.linear_model.RidgeClassifierCV",
    "sklearn.linear_model.SGDClassifier",
    "sklearn.svm.LinearSVC",
}
"""Final estimators that answer with ``X @ coef_.T + intercept_``; each is asked whether it really does."""

_TRUSTED = {
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    *(
        f"sklearn.gaussian_process.kernels.{kernel}"
        for kernel in (
            *("CompoundKernel", "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation", "Matern"),
            *("PairwiseKernel", "Product", "RBF", "RationalQuadratic", "Sum", "WhiteKernel"),
        )
    ),
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
}
"""Types a head may hold besides those skops trusts (scikit-learn's estimators, numpy's and scipy's arrays and ufuncs).

Named one by one: a prefix such as ``sklearn.`` would admit functions too. Trees are checked further, see `_trees`.
"""


def save_head(head: Any, folder: Path) -> str:
    """Write a fitted head into `folder`, in place of one that is there.

    A linear head becomes ``head.safetensors``: coefficients and intercepts in float64 with the standardising
    folded in. Any other becomes ``head.skops``. Neither can carry code. The file is written under a temporary name,
    flushed to the disk and renamed.

    Parameters
    ----------
    head : estimator or LinearClassifier
        Fitted on integer labels.
    folder : Path
        Made if it is missing.

    Returns
    -------
    str
        Name of the file.

    Raises
    ------
    HeadError
        The head is not fitted on integer labels, or holds something that cannot be stored safely.
    OSError
        The file cannot be written; an earlier head is then untouched.
    """
    classes = np.asarray(getattr(head, "classes_", ()))
    if classes.ndim != 1 or classes.size < 2 or classes.dtype.kind not in "iu":
        raise HeadError("a head must be fitted on integer labels to be stored, and is not: call fit_head first")
    folder.mkdir(parents=True, exist_ok=True)
    linear = head if isinstance(head, LinearClassifier) else _as_linear(head)
    name, other = (_SKOPS_FILE, _LINEAR_FILE) if linear is None else (_LINEAR_FILE, _SKOPS_FILE)
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    try:
        if linear is None:
            temporary.write_bytes(_skops_bytes(head))
        else:
            write_linear(linear, temporary)
        _flush(temporary)
        temporary.replace(folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    # A crash before this line leaves both files, and the newer is the head: see load_head.
    (folder / other).unlink(missing_ok=True)
    _flush(folder)
    return name


def load_head(folder: Path) -> Any:
    """Read the head that :func:`save_head` wrote, after auditing the whole file.

    Parameters
    ----------
    folder : Path
        The folder given to :func:`save_head`.

    Returns
    -------
    LinearClassifier or estimator
        Fitted, with integer ``classes_``, ``n_features_in_`` and ``predict``. A linear head needs no scikit-learn.

    Raises
    ------
    HeadError
        The folder holds no head, or one that is damaged, foreign, of a newer format, or that names a type which
        heads do not need. Nothing of such a file is built or run.
    """
    found = [path for path in (folder / _LINEAR_FILE, folder / _SKOPS_FILE) if path.is_file()]
    if not found:
        raise HeadError(f"{folder} must hold {_LINEAR_FILE} or {_SKOPS_FILE}, and holds neither: fit a head first")
    path = max(found, key=lambda path: path.stat().st_mtime_ns)
    return read_linear(path) if path.name == _LINEAR_FILE else _read_skops(path)


def _as_linear(head: Any) -> LinearClassifier | None:
    """Return `head` as a LinearClassifier that answers alike, or None if there is no such."""
    steps = [estimator for _, estimator in getattr(head, "steps", [("head", head)])]
    final = steps[-1]
    if len(steps) > 2 or _public_path(type(final)) not in _LINEAR_CLASSES:
        return None
    coef = np.atleast_2d(final.coef_).astype(np.float64)  # RidgeClassifierCV has one row as a vector
    intercept = np.atleast_1d(final.intercept_).astype(np.float64)
    intercept = np.broadcast_to(intercept, (coef.shape[0],))  # one zero, if it was fitted without
    centre, scale = np.zeros(coef.shape[1]), np.ones(coef.shape[1])
    if len(steps) == 2:
        scaler = steps[0]
        if _public_path(type(scaler)) != "sklearn.preprocessing.StandardScaler":
            return None
        centre = centre if scaler.mean_ is None else np.asarray(scaler.mean_, dtype=np.float64)
        scale = scale if scaler.scale_ is None else np.asarray(scaler.scale_, dtype=np.float64)
        coef = coef / scale
        intercept = intercept - coef @ centre
    link: Link = "none"
    if hasattr(head, "predict_proba"):
        link = "sigmoid" if len(head.classes_) == 2 else "softmax"
    try:
        linear = LinearClassifier(coef, intercept, head.classes_, link=link)
    except HeadError as error:
        raise HeadError(f"{type(final).__name__} cannot be stored: {error}") from error
    return linear if _answers_alike(head, linear, scale) else None


def _answers_alike(head: Any, linear: LinearClassifier, scale: Floats) -> bool:
    """Compare the two on rows made to have scores of a few units, where the probabilities are neither 0 nor 1.

    Classes and versions of scikit-learn differ in what they make of the same scores (``multi_class``, ``loss``);
    asking is surer than knowing.
    """
    generator = np.random.default_rng(0)
    scores = 2.0 * generator.standard_normal((64, linear.coef_.shape[0]))
    probe = (scores - linear.intercept_) @ np.linalg.pinv(linear.coef_ * scale).T
    aside = generator.standard_normal(probe.shape)  # and something of what the coefficients do not see
    probe = (probe + aside - aside @ np.linalg.pinv(linear.coef_ * scale) @ (linear.coef_ * scale)) * scale
    ours, theirs = linear.decision_function(probe), head.decision_function(probe)
    size = max(1.0, float(np.abs(theirs).max()))
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-6, atol=1e-6 * size):
        return False
    return linear.link == "none" or np.allclose(linear.predict_proba(probe), head.predict_proba(probe), atol=1e-6)


def _public_path(cls: type) -> str:
    if not cls.__module__.startswith("sklearn."):
        return f"{cls.__module__}.{cls.__name__}"
    return f"{cls.__module__.partition('._')[0]}.{cls.__name__}"


def _skops_bytes(head: Any) -> bytes:
    import skops.io

    from featx.heads._trees import trees_are_sound

    try:
        data: bytes = skops.io.dumps(head)
        foreign = set(skops.io.get_untrusted_types(data=data)) - _TRUSTED
    except Exception as error:  # whatever skops meets in objects it does not know
        raise HeadError(
            f"{type(head).__name__} cannot be stored without pickle ({' '.join(str(error).split())}): choose another"
            " head"
        ) from error
    if foreign:
        advice = "set algorithm=brute" if any("_tree." in name for name in foreign) else "choose another head"
        raise HeadError(
            f"{type(head).__name__} cannot be stored safely, since it holds {', '.join(sorted(foreign))}: {advice}"
        )
    if not trees_are_sound(head):
        raise HeadError(
            f"{type(head).__name__} cannot be stored safely, since its trees cannot be checked: choose another head"
        )
    return data


def _read_skops(path: Path) -> Any:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    from featx.heads._trees import trees_are_sound

    try:
        with ZipFile(path) as archive:
            if any(member.compress_type != ZIP_STORED for member in archive.infolist()):
                raise HeadError(f"{path} must not be compressed, and featx writes none that is: fit the head again")
        with warnings.catch_warnings():
            # another scikit-learn wrote it: what that changes shows in the checks, or is scikit-learn's to say
            warnings.simplefilter("ignore", DeprecationWarning)
            foreign = set(skops.io.get_untrusted_types(file=path)) - _TRUSTED
            if foreign:
                raise HeadError(
                    f"{path} must hold only what a head needs; got {', '.join(sorted(foreign))}: nothing was loaded,"
                    " fit the head again"
                )
            head = skops.io.load(path, trusted=sorted(_TRUSTED))
    except HeadError:
        raise
    except UntrustedTypesFoundException as error:
        raise HeadError(f"{path} holds types that a head does not need: nothing was loaded") from error
    except BadZipFile as error:
        raise HeadError(f"{path} is no head of featx, or a damaged one ({error}): fit the head again") from error
    except Exception as error:  # a crafted or damaged file can make skops raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise HeadError(f"{path} is damaged, or of another scikit-learn ({reason}): fit the head again") from error
    classes = getattr(head, "classes_", None)
    width = getattr(head, "n_features_in_", None)
    if (
        not hasattr(head, "predict")
        or not isinstance(classes, np.ndarray)
        or classes.ndim != 1
        or classes.size < 2
        or classes.dtype.kind not in "iu"
        or not isinstance(width, int)
    ):
        raise HeadError(f"{path} must hold a classifier fitted on integer labels, and does not: fit the head again")
    if not trees_are_sound(head):
        raise HeadError(f"{path} holds a tree whose nodes lead nowhere: it is damaged or was tampered with")
    return head


def _flush(path: Path) -> None:
    """Force a file or a folder to the disk (a folder cannot be opened everywhere)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
