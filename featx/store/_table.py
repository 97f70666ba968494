"""The columns of a store that say what each row is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.labels import Label, Task, class_names, target_names_for, task_of
from featx.store._text import check_names

Integers = npt.NDArray[np.int64]
Indicator = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]


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
    groups : tuple of str, length n, optional
        What each sample was taken from, such as a patient or a video; empty where it is in no group, and by default.
    indicator : ndarray of int8, shape (n, k), optional
        Of samples that may be of several of the k `classes`: 1 where one is, 0 where it is not, -1 throughout a row
        that is not known. Then `labels` are -1.
    targets : ndarray of float64, shape (n, t), optional
        Numbers to be predicted, finite, or NaN throughout a row that is not known. Then there are no `classes`.
    target_names : tuple of str, length t, optional
        Unique names; by default ``value``, or ``value0``, ``value1`` and so on.

    Raises
    ------
    ParameterError
        If lengths differ, a key or class occurs twice, a label is no index, a name cannot be stored, or there is more
        than one kind of what is to be learned.
    """

    keys: tuple[str, ...]
    labels: Integers
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    sizes: Integers
    mtimes_ns: Integers
    inodes: Integers = field(default_factory=lambda: _NONE)
    groups: tuple[str, ...] = ()
    indicator: Indicator | None = None
    targets: Floats | None = None
    target_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("keys", "classes", "splits", "groups", "target_names"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.inodes is _NONE:
            object.__setattr__(self, "inodes", np.zeros(len(self.keys), dtype=np.int64))
        if not self.groups:
            object.__setattr__(self, "groups", ("",) * len(self.keys))
        for name in ("labels", "sizes", "mtimes_ns", "inodes"):
            object.__setattr__(self, name, as_integers(name, getattr(self, name)))
        if self.indicator is not None:
            object.__setattr__(self, "indicator", as_indicator("indicator", self.indicator, len(self.classes)))
        if self.targets is not None:
            object.__setattr__(self, "targets", as_targets("targets", self.targets))
            if not self.target_names:
                object.__setattr__(self, "target_names", target_names_for(self.targets.shape[1]))
        for name in ("labels", "splits", "sizes", "mtimes_ns", "inodes", "groups", "indicator", "targets"):
            if getattr(self, name) is not None and len(getattr(self, name)) != len(self.keys):
                raise ParameterError(
                    f"{name} must have one entry for each of the {len(self.keys)} keys; got {len(getattr(self, name))}"
                )
        check_names("keys", self.keys, unique=True)
        check_names("classes", self.classes, unique=True)
        check_names("splits", tuple(dict.fromkeys(self.splits)), unique=False)
        check_names("groups", tuple(dict.fromkeys(self.groups)), unique=False)
        check_names("target_names", self.target_names, unique=True)
        check_labels("labels", self.labels, len(self.classes))
        _check_task(self)

    @classmethod
    def of(
        cls, labels: Sequence[Label | None], *, classes: Sequence[str], target_names: Sequence[str] = (), **columns: Any
    ) -> "SampleTable":
        """Return the table of samples that are labelled with names or numbers.

        Parameters
        ----------
        labels : sequence of Label or None, length n
            For each sample a class, the classes it is of, or numbers; None where it is not known.
        classes : sequence of str
            Unique names, with all those that occur.
        target_names : sequence of str, optional
            Of the numbers.
        **columns
            The other parameters.

        Raises
        ------
        ParameterError
            If the labels are not of one kind, or the columns do not fit each other.
        """
        task, index = task_of(labels), {name: i for i, name in enumerate(classes)}
        missing = sorted(class_names(labels) - index.keys())
        if missing:
            raise ParameterError(f"labels must be among the {len(index)} classes; got {missing[0]!r}: name it, too")
        n = len(labels)
        known = np.array([label is not None for label in labels], dtype=bool)
        columns["labels"] = np.full(n, -1, dtype=np.int64)
        if task == "regression":
            numbers = [label for label in labels if label is not None]
            targets = np.full((n, len(numbers[0])), np.nan)
            targets[known] = numbers
            return cls(**columns, classes=(), targets=targets, target_names=tuple(target_names))
        if task == "multilabel" and index:  # else nobody has named a class, and there is nothing to be learned
            indicator = np.zeros((n, len(classes)), dtype=np.int8)
            indicator[~known] = -1
            places = [(row, index[str(name)]) for row, label in enumerate(labels) for name in label or ()]
            indicator[tuple(np.array(places, dtype=np.int64).reshape(-1, 2).T)] = 1
            return cls(**columns, classes=tuple(classes), indicator=indicator)
        columns["labels"] = np.array([index[x] if isinstance(x, str) else -1 for x in labels], dtype=np.int64)
        return cls(**columns, classes=tuple(classes))

    @property
    def task(self) -> Task:
        """What is to be learned; "classification" if nothing is known of any sample."""
        if self.targets is not None:
            return "regression"
        return "classification" if self.indicator is None else "multilabel"

    def named_labels(self) -> Iterator[Label | None]:
        """Yield what each sample is labelled with, as :meth:`of` takes it."""
        if self.targets is not None:
            for numbers in self.targets.tolist():
                yield None if numbers[0] != numbers[0] else tuple(numbers)
        elif self.indicator is not None:
            names = np.array(self.classes, dtype=object)
            for row in self.indicator:
                yield None if row[0] < 0 else tuple(sorted(names[row > 0].tolist()))
        else:
            names_and_none = (*self.classes, None)
            yield from (names_and_none[label] for label in self.labels.tolist())

    def __len__(self) -> int:
        return len(self.keys)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SampleTable):
            return NotImplemented
        return all(_equal(getattr(self, each.name), getattr(other, each.name)) for each in fields(self))

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
            groups=tuple(self.groups[row] for row in index.tolist()),
            indicator=None if self.indicator is None else self.indicator[index],
            targets=None if self.targets is None else self.targets[index],
            target_names=self.target_names,
        )


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return bool(type(a) is type(b) and a == b)


def _check_task(table: SampleTable) -> None:
    """Raise ParameterError unless one kind of label is all there is, and its columns have names."""
    if table.task != "classification" and (table.labels >= 0).any():
        raise ParameterError("labels must be -1 in a table that has indicator or targets; got others: give one kind")
    if table.targets is not None and (table.indicator is not None or table.classes):
        raise ParameterError("targets must be without classes and indicator; got both: give one kind")
    width = 0 if table.targets is None else table.targets.shape[1]
    if len(table.target_names) != width:
        raise ParameterError(
            f"target_names must name the {width} columns of targets; got {len(table.target_names)}: match them"
        )


def as_indicator(parameter: str, values: Any, classes: int) -> Indicator:
    """Return `values` as a read-only int8 array of shape (n, classes), or raise ParameterError."""
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != classes or not classes or array.dtype.kind not in "biu":
        raise ParameterError(
            f"{parameter} must be integers with a column for each of the {classes} classes (at least one); got"
            f" {array.dtype} {array.shape}"
        )
    unknown = (array == -1).all(axis=1)
    if not np.isin(array[~unknown], (0, 1)).all():
        raise ParameterError(f"{parameter} must be 0 or 1, or -1 throughout a row that is not known; got other numbers")
    result = array.astype(np.int8)
    result.setflags(write=False)
    return result


def as_targets(parameter: str, values: Any) -> Floats:
    """Return `values` as a read-only float64 array of shape (n, t), t >= 1, or raise ParameterError."""
    array = np.asarray(values)
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in "iuf":
        raise ParameterError(
            f"{parameter} must be numbers of shape (n, t), at least one of each row; got {array.dtype} {array.shape}"
        )
    result = array.astype(np.float64)
    if not (np.isfinite(result).all(axis=1) | np.isnan(result).all(axis=1)).all():
        raise ParameterError(
            f"{parameter} must be finite, or NaN throughout a row that is not known; got other numbers"
        )
    result.setflags(write=False)
    return result


def check_labels(parameter: str, labels: Integers, classes: int) -> None:
    """Raise ParameterError unless every label is -1 or an index into that many classes."""
    if labels.size and (labels.min() < -1 or labels.max() >= classes):
        wrong = labels[(labels < -1) | (labels >= classes)][0]
        raise ParameterError(f"{parameter} must be -1 or an index into the {classes} classes; got {wrong}")
