"""Heads as safetensors: a JSON of facts and plain arrays, from which nothing but a known class is ever built."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError, first_line
from featx.heads._linear import LinearClassifier, LinearRegressor

__all__ = ["NATIVE", "head_bytes", "read_head", "read_state", "state_bytes"]

Arrays = dict[str, npt.NDArray[Any]]

_METADATA_KEY = "featx"
_LINEAR, _NATIVE = "featx-linear-head", "featx-head"
_VERSIONS = {_LINEAR: 2, _NATIVE: 1}
"""Raised whenever a reader of the old version would misread the new one; old readers are kept.

Linear heads of one label a sample are still written as version 1, which older featx read, too.
"""
_DTYPES = {"BOOL", "U8", "I32", "I64", "F32", "F64"}

NATIVE = {
    "GaussianNBClassifier": "_gaussian",
    "KNNClassifier": "_neighbors",
    "KNNRegressor": "_neighbors",
    "NetClassifier": "nets",
    "NetRegressor": "nets",
}
"""The heads that are not linear, and where they are: the only classes a file can name."""


def state_bytes(facts: Mapping[str, Any], arrays: Arrays) -> bytes:
    """Return a safetensors file of `arrays` with `facts` as JSON in its metadata; equal states give equal bytes.

    Raises
    ------
    HeadError
        The facts are not plain JSON, an array is of another type than boolean, integer or float, or holds nan or inf.
    """
    from safetensors.numpy import save

    try:
        text = json.dumps(facts, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise HeadError(
            f"parameters of a head must be plain numbers and texts to be stored ({first_line(error)}): set others"
        ) from error
    _check_finite(arrays, "a head to be stored")
    data: bytes = save(
        {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}, metadata={_METADATA_KEY: text}
    )
    return data


def read_state(path: Path, versions: Mapping[str, int]) -> tuple[dict[str, Any], Arrays]:
    """Read what :func:`state_bytes` made.

    Parameters
    ----------
    path : Path
        The file.
    versions : mapping of str to int
        The formats that are wanted, each with its newest version.

    Returns
    -------
    facts : dict
        Among them ``format`` and ``format_version``, which have been checked.
    arrays : dict of str to ndarray
        Boolean, integer or float; all finite.

    Raises
    ------
    HeadError
        The file is of another format, is damaged, or is of a newer version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts = _checked_facts((file.metadata() or {}).get(_METADATA_KEY), path, versions)
            names = sorted(file.keys())
            kinds = {file.get_slice(name).get_dtype() for name in names}
            if not kinds <= _DTYPES:
                foreign = ", ".join(sorted(kinds - _DTYPES))
                raise HeadError(f"{path} must hold arrays of usual types; got {foreign}: fit the head again")
            arrays = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise HeadError(f"{path} is no readable safetensors file ({first_line(error)}): fit the head again") from error
    _check_finite(arrays, path)
    return facts, arrays


def _checked_facts(text: str | None, path: Path, versions: Mapping[str, int]) -> dict[str, Any]:
    try:
        facts = json.loads(text or "")
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or facts.get("format") not in list(versions):
        raise HeadError(f"{path} is no head of featx (its metadata do not say so): fit the head again")
    version, newest = facts.get("format_version"), versions[facts["format"]]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise HeadError(f"{path} must name its format version; got {version!r}: fit the head again")
    if version > newest:
        raise HeadError(
            f"{path} is of format version {version}, newer than {newest}, the newest this featx reads: upgrade featx"
        )
    return facts


def _check_finite(arrays: Arrays, what: object) -> None:
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise HeadError(f"{what} must be finite; got nan or inf in {name}: fit the head again")


def head_bytes(head: Any) -> bytes:
    """Return the file of a :class:`LinearClassifier`, a :class:`LinearRegressor` or a head of ``NATIVE``."""
    if isinstance(head, LinearRegressor):
        facts = {"format": _LINEAR, "format_version": 2, "link": "identity"}
        return state_bytes(facts, {"coef": head.coef_, "intercept": head.intercept_})
    if isinstance(head, LinearClassifier):
        facts = {"classes": head.classes_.tolist(), "format": _LINEAR, "format_version": 1, "link": head.link}
        if head.multilabel_:
            facts.update(format_version=2, multilabel=True)
        return state_bytes(facts, {"coef": head.coef_, "intercept": head.intercept_})
    params, arrays = head.head_state()
    return state_bytes({"class": type(head).__name__, "format": _NATIVE, "format_version": 1, "params": params}, arrays)


def read_head(path: Path) -> Any:
    """Read the head that :func:`head_bytes` made a file of.

    Raises
    ------
    HeadError
        The file is no head, is damaged, or is of a newer format.
    """
    facts, arrays = read_state(path, _VERSIONS)
    try:
        return _linear_head(facts, arrays) if facts["format"] == _LINEAR else _native_head(facts, arrays)
    except Exception as error:  # a crafted state can make a class raise anything
        raise HeadError(f"{path} is damaged ({first_line(error)}): fit the head again") from error


def _linear_head(facts: dict[str, Any], arrays: Arrays) -> LinearClassifier | LinearRegressor:
    if set(arrays) != {"coef", "intercept"} or {array.dtype for array in arrays.values()} != {np.dtype(np.float64)}:
        raise HeadError(f"it must hold float64 coef and intercept; got {', '.join(sorted(arrays)) or 'nothing'}")
    if facts["format_version"] > 1 and facts.get("link") == "identity":
        return LinearRegressor(arrays["coef"], arrays["intercept"])
    classes, link = facts.get("classes"), facts.get("link")
    multilabel = facts["format_version"] > 1 and facts.get("multilabel", False)
    if (
        not isinstance(classes, list)
        or not all(type(label) is int and abs(label) < 1 << 62 for label in classes)
        or not isinstance(link, str)
        or not isinstance(multilabel, bool)
    ):
        raise HeadError("it must name its classes (integers) and its link")
    return LinearClassifier(arrays["coef"], arrays["intercept"], classes, link=link, multilabel=multilabel)  # type: ignore[arg-type]


def _native_head(facts: dict[str, Any], arrays: Arrays) -> Any:
    name, params = facts.get("class"), facts.get("params")
    if set(facts) != {"class", "format", "format_version", "params"} or name not in list(NATIVE):
        raise HeadError(f"it must name one of {', '.join(NATIVE)}; got {name!r}")
    if not isinstance(params, dict):
        raise HeadError(f"its parameters must be a JSON object; got {type(params).__name__}")
    cls = getattr(importlib.import_module(f"featx.heads.{NATIVE[name]}"), name)
    head = cls.from_head_state(params, arrays)
    unknown = set(arrays) - set(head.head_state()[1])
    if unknown:
        raise HeadError(f"it must hold only what a {name} needs; got {', '.join(sorted(unknown))}")
    return head
