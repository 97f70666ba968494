"""A linear classifier in numpy alone, and the safetensors file it lives in.

Most heads come down to one matrix and one vector. Kept like that, a head loads in milliseconds, needs no
scikit-learn (of whatever version) and cannot carry code.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError

__all__ = ["FORMAT_VERSION", "LinearClassifier", "Link", "read_linear", "write_linear"]

Link = Literal["softmax", "sigmoid", "none"]
Floats = npt.NDArray[np.float64]

FORMAT_VERSION = 1
"""Raised whenever a reader of the old version would misread the new one; old readers are kept."""

_METADATA_KEY = "featx"
_FORMAT = "featx-linear-head"
_BLOCK_VALUES = 1 << 22
"""Features converted to float64 at a time, so that no second copy of the matrix is made."""


class LinearClassifier:
    """A fitted linear classifier: ``X @ coef.T + intercept``, and the class with the largest score.

    It is what :func:`~featx.heads.load_head` returns for a linear head. Everything is computed in float64.

    Parameters
    ----------
    coef : ndarray of shape (k, d) or (1, d), float64
        One row of coefficients for each class; one row in all for two classes (the score of the second).
    intercept : ndarray of shape (k,) or (1,), float64
        One number for each row of `coef`.
    classes : ndarray of shape (k,), int64
        The label of each class, increasing.
    link : {"softmax", "sigmoid", "none"}
        How scores become probabilities: ``softmax`` over three or more classes, ``sigmoid`` for two, ``none`` if
        the head has no probabilities, and then the object has no ``predict_proba`` either.

    Attributes
    ----------
    coef_, intercept_, classes_ : ndarray
        The parameters.
    n_features_in_ : int
        d, the number of features expected.
    link : str
        The parameter.

    Raises
    ------
    HeadError
        The shapes do not go together, or a number is not finite.
    """

    def __init__(
        self,
        coef: npt.ArrayLike,
        intercept: npt.ArrayLike,
        classes: npt.ArrayLike,
        *,
        link: Link = "none",
    ) -> None:
        self.coef_: Floats = np.array(coef, dtype=np.float64)
        self.intercept_: Floats = np.array(intercept, dtype=np.float64)
        self.classes_: npt.NDArray[np.int64] = np.array(classes, dtype=np.int64)
        self.link = link
        k = self.classes_.size
        rows = 1 if k == 2 else k
        if self.classes_.ndim != 1 or k < 2 or bool(np.any(np.diff(self.classes_) <= 0)):
            raise HeadError(
                f"classes of a linear head must be two or more increasing integers; got {self.classes_.tolist()}"
            )
        if (
            self.coef_.ndim != 2
            or self.coef_.shape[0] != rows
            or not self.coef_.size
            or self.intercept_.shape != (rows,)
        ):
            raise HeadError(
                f"a linear head of {k} classes must have coefficients of shape ({rows}, d) and {rows} intercept(s);"
                f" got shapes {self.coef_.shape} and {self.intercept_.shape}"
            )
        if link not in get_args(Link) or link == ("softmax" if k == 2 else "sigmoid"):
            raise HeadError(
                f"the link of a linear head of {k} classes must be {'sigmoid' if k == 2 else 'softmax'} or none;"
                f" got {link!r}"
            )
        if not (np.isfinite(self.coef_).all() and np.isfinite(self.intercept_).all()):
            raise HeadError("coefficients and intercepts of a linear head must be finite; got nan or inf")
        self.n_features_in_ = int(self.coef_.shape[1])

    def __repr__(self) -> str:
        """Return the shape in words, not the numbers."""
        return f"LinearClassifier({self.classes_.size} classes, {self.n_features_in_} features, link={self.link!r})"

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Return the scores, as scikit-learn's estimators do.

        Parameters
        ----------
        X : array_like of shape (n, d), float
            Features; converted to float64 in blocks.

        Returns
        -------
        ndarray of shape (n, k), or (n,) for two classes, float64
            Larger is likelier; for two classes, positive means the second.

        Raises
        ------
        HeadError
            `X` has not d columns.
        """
        X = np.asanyarray(X)
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise HeadError(
                f"features must have shape (n, {self.n_features_in_}), as the head was trained on; got {X.shape}"
            )
        scores = np.empty((X.shape[0], self.coef_.shape[0]))
        step = max(1, _BLOCK_VALUES // max(1, X.shape[1]))
        for start in range(0, X.shape[0], step):
            block = np.asarray(X[start : start + step], dtype=np.float64)
            scores[start : start + step] = block @ self.coef_.T
        scores += self.intercept_
        return scores[:, 0] if self.classes_.size == 2 else scores

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the label with the largest score, (n,) int64, for features of shape (n, d)."""
        scores = self.decision_function(X)
        index = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        labels: npt.NDArray[np.int64] = self.classes_[index]
        return labels

    @property
    def predict_proba(self) -> Callable[[npt.ArrayLike], Floats]:
        """Method from features of shape (n, d) to probabilities (n, k), float64; missing if the link is none."""
        if self.link == "none":
            raise AttributeError("this head has no probabilities (its link is 'none')")
        return self._probabilities

    def _probabilities(self, X: npt.ArrayLike) -> Floats:
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.exp(-np.logaddexp(0.0, np.stack([scores, -scores], axis=1)))
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores


def write_linear(head: LinearClassifier, path: Path) -> None:
    """Write `head` as safetensors: ``coef`` and ``intercept`` (F64); equal heads give equal bytes.

    The metadata entry ``featx`` is one JSON object with the format's name and version, the classes and the link.
    """
    from safetensors.numpy import save

    facts = {
        "classes": head.classes_.tolist(),
        "format": _FORMAT,
        "format_version": FORMAT_VERSION,
        "link": head.link,
    }
    tensors = {"coef": np.ascontiguousarray(head.coef_), "intercept": np.ascontiguousarray(head.intercept_)}
    path.write_bytes(save(tensors, metadata={_METADATA_KEY: json.dumps(facts, sort_keys=True)}))


def read_linear(path: Path) -> LinearClassifier:
    """Read what :func:`write_linear` wrote.

    Raises
    ------
    HeadError
        The file is no linear head, is damaged, or is of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            facts = _read_facts(metadata.get(_METADATA_KEY), path)
            names = set(file.keys())
            if names != {"coef", "intercept"}:
                raise HeadError(
                    f"{path} must hold the tensors coef and intercept; got {sorted(names)}: fit the head again"
                )
            shapes = {name: file.get_slice(name) for name in names}
            if any(tensor.get_dtype() != "F64" for tensor in shapes.values()):
                raise HeadError(f"{path} must hold float64 tensors, and does not: fit the head again")
            coef, intercept = file.get_tensor("coef"), file.get_tensor("intercept")
    except (SafetensorError, OSError, ValueError) as error:
        raise HeadError(f"{path} is no readable safetensors file ({_one_line(error)}): fit the head again") from error
    try:
        return LinearClassifier(coef, intercept, facts["classes"], link=facts["link"])
    except HeadError as error:
        raise HeadError(f"{path} is damaged: {error}: fit the head again") from error


def _read_facts(text: str | None, path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(text or "")
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT:
        raise HeadError(f"{path} is no linear head of featx (its metadata do not say so): fit the head again")
    version = facts.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise HeadError(f"{path} must name its format version; got {version!r}: fit the head again")
    if version > FORMAT_VERSION:
        raise HeadError(
            f"{path} is of format version {version}, newer than {FORMAT_VERSION}, the newest this featx reads:"
            " upgrade featx"
        )
    classes = facts.get("classes")
    if (
        not isinstance(classes, list)
        or not all(type(label) is int and abs(label) < 1 << 62 for label in classes)
        or not isinstance(facts.get("link"), str)
    ):
        raise HeadError(f"{path} must name its classes (integers) and its link, and does not: fit the head again")
    return facts


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
