"""Keeping a fitted head in a folder, never as a pickle: safetensors for featx's own, skops for scikit-learn's."""

import hashlib
import os
from pathlib import Path
from typing import Any

from featx.errors import HeadError
from featx.heads._calibration import CalibratedHead, calibration_bytes, read_calibration
from featx.heads._estimators import is_featx, is_fitted
from featx.heads._folding import as_linear
from featx.heads._skops import read_skops, skops_bytes
from featx.heads._state import NATIVE, head_bytes, read_head

__all__ = ["load_head", "save_head"]

_TENSORS_FILE = "head.safetensors"
_SKOPS_FILE = "head.skops"
_CALIBRATION_FILE = "calibration.safetensors"


def save_head(head: Any, folder: Path) -> str:
    """Write a fitted head into `folder`, in place of one that is there.

    A linear head becomes ``head.safetensors``: coefficients and intercepts in float64 with the standardising
    folded in. So do featx's other heads, with their parameters as JSON. An estimator of scikit-learn becomes
    ``head.skops``. A calibrated head is the head it is made of and ``calibration.safetensors``, which names the digest
    of the head it belongs to. None of these can carry code. Each file is written under a temporary name, flushed to
    the disk and renamed.

    Parameters
    ----------
    head : estimator, LinearClassifier, LinearRegressor or CalibratedHead
        Fitted, a classifier on integer labels.
    folder : Path
        Made if it is missing.

    Returns
    -------
    str
        Name of the file that holds the head.

    Raises
    ------
    HeadError
        The head is not fitted on integer labels or numbers, or holds something that cannot be stored safely.
    OSError
        A file cannot be written; an earlier head is then untouched.
    """
    if not is_fitted(head):
        raise HeadError("a head must be fitted on integer labels or numbers to be stored, and is not: fit_head first")
    inner = head.head if isinstance(head, CalibratedHead) else head
    name, data = _file_of(inner)
    files = {name: data}
    if isinstance(head, CalibratedHead):
        files[_CALIBRATION_FILE] = calibration_bytes(head.calibration, _digest(data))
    folder.mkdir(parents=True, exist_ok=True)
    scratch = {file: folder / f".{file}.{os.getpid()}.tmp" for file in files}
    try:
        for file, path in scratch.items():
            path.write_bytes(files[file])
            _flush(path)
        for file, path in scratch.items():
            path.replace(folder / file)
    finally:
        for path in scratch.values():
            path.unlink(missing_ok=True)
    # A crash before this leaves another head, of which the newer counts, or a calibration that is not of this head.
    for other in {_TENSORS_FILE, _SKOPS_FILE, _CALIBRATION_FILE} - set(files):
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
    LinearClassifier, LinearRegressor, CalibratedHead or estimator
        Fitted, with ``n_features_in_`` and ``predict``; a classifier with integer ``classes_``. A linear head needs
        no scikit-learn.

    Raises
    ------
    HeadError
        The folder holds no head, or one that is damaged, foreign, of a newer format, or that names a type which
        heads do not need. Nothing of such a file is built or run.
    """
    found = [path for path in (folder / _TENSORS_FILE, folder / _SKOPS_FILE) if path.is_file()]
    if not found:
        raise HeadError(f"{folder} must hold {_TENSORS_FILE} or {_SKOPS_FILE}, and holds neither: fit a head first")
    path = max(found, key=lambda path: path.stat().st_mtime_ns)
    head = read_head(path) if path.name == _TENSORS_FILE else read_skops(path)
    if not is_fitted(head):
        raise HeadError(
            f"{path} must hold a head fitted on integer labels or numbers, and does not: fit the head again"
        )
    calibration = folder / _CALIBRATION_FILE
    if not calibration.is_file():
        return head
    return CalibratedHead(head, read_calibration(calibration, _digest(path.read_bytes()), head))


def _file_of(head: Any) -> tuple[str, bytes]:
    linear = as_linear(head)
    if linear is not None:
        return _TENSORS_FILE, head_bytes(linear)
    if is_featx(head) and type(head).__name__ in NATIVE:
        return _TENSORS_FILE, head_bytes(head)
    return _SKOPS_FILE, skops_bytes(head)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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
