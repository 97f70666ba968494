"""The columns of a store that say what each row is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.store._text import check_names

Integers = npt.NDArray[np.int64]


def as_integers(parameter: str, values: Any) -> Integers:
    """Return `values` as a read-only int64 array of shape (n,), or raise ParameterError."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise ParameterError(f"{parameter} must be one-dimensional integers; got {array.dtype} {array.shape}")
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ParameterError(f"{parameter} must fit into int64; got {int(array.max())}")
    result = array.astype(np.int64)
    result.setflags(write=False)
    return result


_NONE: Integers = as_integers("inodes", [])


@dataclass(frozen=True, eq=False)
class SampleTable:
    """Samples, row by row; equal to another by content.

    Parameters
    ----------
    keys : tuple of str, length n
        Unique names; bytes that are not UTF-8 as ``os.fsdecode`` leaves them (surrogateescape).
    labels : ndarray of int64, shape (n,)
        Indices into `classes`; -1 for a sample without a label.
    classes : tuple of str
        Unique names.
    splits : tuple of str, length n
        Such as ``train``; empty for a sample of no split.
    sizes : ndarray of int64, shape (n,)
        Bytes of each sample's file.
    mtimes_ns : ndarray of int64, shape (n,)
        When it was last changed, in nanoseconds since 1970.
    inodes : ndarray of int64, shape (n,), optional
        Its number in its file system; 0 where there is none, and by default.

    Raises
    ------
    ParameterError
        If lengths differ, a key or class occurs twice, a label is no index, or a name cannot be stored.
    """

    keys: tuple[str, ...]
    labels: Integers
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    sizes: Integers
    mtimes_ns: Integers
    inodes: Integers = field(default_factory=lambda: _NONE)

    def __post_init__(self) -> None:
        for name in ("keys", "classes", "splits"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.inodes is _NONE:
            object.__setattr__(self, "inodes", np.zeros(len(self.keys), dtype=np.int64))
        for name in ("labels", "sizes", "mtimes_ns", "inodes"):
            object.__setattr__(self, name, as_integers(name, getattr(self, name)))
        for name in ("labels", "splits", "sizes", "mtimes_ns", "inodes"):
            if len(getattr(self, name)) != len(self.keys):
                raise ParameterError(
                    f"{name} must have one entry for each of the {len(self.keys)} keys; got {len(getattr(self, name))}"
                )
        check_names("keys", self.keys, unique=True)
        check_names("classes", self.classes, unique=True)
        check_names("splits", tuple(dict.fromkeys(self.splits)), unique=False)
        check_labels("labels", self.labels, len(self.classes))

    def __len__(self) -> int:
        return len(self.keys)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SampleTable):
            return NotImplemented
        return (
            (self.keys, self.classes, self.splits) == (other.keys, other.classes, other.splits)
            and np.array_equal(self.labels, other.labels)
            and np.array_equal(self.sizes, other.sizes)
            and np.array_equal(self.mtimes_ns, other.mtimes_ns)
            and np.array_equal(self.inodes, other.inodes)
        )

    __hash__ = None  # type: ignore[assignment]  # it holds arrays

    def take(self, rows: Sequence[int] | npt.NDArray[np.integer[Any]]) -> "SampleTable":
        """Return the table of the given rows, in their order; `classes` stays as it is.

        Parameters
        ----------
        rows : array-like of int, shape (m,)
            Positions, each at most once, 0 <= row < n.
        """
        index = as_integers("rows", rows)
        if index.size and (index.min() < 0 or index.max() >= len(self)):
            raise ParameterError(f"rows must lie in 0..{len(self) - 1}; got {index.min()}..{index.max()}")
        return SampleTable(
            keys=tuple(self.keys[row] for row in index.tolist()),
            labels=self.labels[index],
            classes=self.classes,
            splits=tuple(self.splits[row] for row in index.tolist()),
            sizes=self.sizes[index],
            mtimes_ns=self.mtimes_ns[index],
            inodes=self.inodes[index],
        )


def check_labels(parameter: str, labels: Integers, classes: int) -> None:
    """Raise ParameterError unless every label is -1 or an index into that many classes."""
    if labels.size and (labels.min() < -1 or labels.max() >= classes):
        wrong = labels[(labels < -1) | (labels >= classes)][0]
        raise ParameterError(f"{parameter} must be -1 or an index into the {classes} classes; got {wrong}")
