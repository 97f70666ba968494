"""Heads of scikit-learn as skops files: whatever a file names is audited before anything is built."""

import warnings
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from featx.errors import HeadError
from featx.heads._estimators import is_fitted
from featx.heads._trees import trees_are_sound

__all__ = ["read_skops", "skops_bytes"]

_TRUSTED = {
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
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


def skops_bytes(head: Any) -> bytes:
    """Return the skops file of an estimator.

    Raises
    ------
    HeadError
        It holds something that cannot be stored safely.
    """
    import skops.io

    try:
        data: bytes = skops.io.dumps(head)
        foreign = set(skops.io.get_untrusted_types(data=data)) - _TRUSTED
    except Exception as error:  # whatever skops meets in objects it does not know
        raise HeadError(
            f"{type(head).__name__} cannot be stored without pickle ({' '.join(str(error).split())}): choose another"
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


def read_skops(path: Path) -> Any:
    """Read what :func:`skops_bytes` made, after auditing the whole file.

    Raises
    ------
    HeadError
        The file is damaged or foreign, or names a type that heads do not need: nothing of it is built or run.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

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
    if not is_fitted(head):
        raise HeadError(f"{path} must hold a classifier fitted on integer labels, or a regressor: fit the head again")
    if not trees_are_sound(head):
        raise HeadError(f"{path} holds a tree whose nodes lead nowhere: it is damaged or was tampered with")
    return head
