"""The read side: a store opens at once, whatever its size, and reads what it is asked for."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, StoreError, did_you_mean
from featx.labels import Task
from featx.spec import ExtractionSpec
from featx.store import _format as names
from featx.store._audit import Layout, read_layout
from featx.store._contents import Contents, read_only
from featx.store._dataset import FeatureDataset
from featx.store._digests import block_starts
from featx.store._lazy import LazyArray
from featx.store._sharded import features_of
from featx.store._table import Floats, Indicator, SampleTable, as_indicator, as_integers, as_targets, check_labels

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

_NAME = re.compile(r"(.+)\.[^.]+\.[0-9a-f]{12}\.h5", re.DOTALL)


def open_store(path: str | os.PathLike[str]) -> "FeatureStore":
    """Open a feature store.

    Header, version, completeness, types, shapes and sizes are checked before it returns, and each small array
    against its checksum when it is first asked for; the features are only mapped (or, compressed, found), not read.

    Parameters
    ----------
    path : str or path
        A file that :func:`write_store` wrote.

    Raises
    ------
    StoreError
        If the file is no store, is damaged or incomplete, or was written by a newer featx.
    """
    path = Path(path)
    while True:
        before = _stamp(path)
        try:
            return FeatureStore(path, read_layout(path))
        except StoreError:
            if _stamp(path) == before:
                raise
            # else another process has just replaced it, and taken the shards away that it had


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


class FeatureStore:
    """The features of one source under one spec, with what each row is; made by :func:`open_store`.

    A store stays what it was when it was opened, also when another file takes its place. Pickling keeps the
    path and the checksum, so that workers map the file themselves.

    Attributes
    ----------
    path : Path
        The file.
    spec : ExtractionSpec
        What decided the features.
    features : ndarray or LazyArray of float32 or float16, shape (n, ...), or with views (n, views, ...)
        Read-only memory map; of a compressed store, and of shards that cannot be mapped side by side, what answers
        like one.
    axes : str
        A letter for each axis of `features`, such as ``NC``; ``V`` is that of views.
    keys : tuple of str, length n
        Names of the samples.
    task : {"classification", "multilabel", "regression"}
        What is to be learned: which of the `labels`, `multilabels` and `targets` is.
    labels : ndarray of int64, shape (n,)
        Indices into `classes`; -1 for none, and throughout if the task is another.
    multilabels : ndarray of bool, shape (n, k), or None
        Which of the k `classes` each sample is of; False throughout a row that is not `labelled`.
    targets : ndarray of float64, shape (n, t), or None
        Numbers to be predicted; NaN throughout a row that is not `labelled`.
    target_names : tuple of str, length t
        Names of these; ``("value",)`` for a single one without.
    labelled : ndarray of bool, shape (n,)
        Which samples have a label, are known to be of some or none of the classes, or have numbers.
    groups : tuple of str, length n
        What each sample was taken from, such as a patient; empty for none.
    classes : tuple of str
        Names of the classes.
    splits : tuple of str, length n
        Split of each sample; empty for none.
    digests : tuple of str, length n
        SHA-256 hex digest of each sample's bytes.
    sizes, mtimes_ns, inodes : ndarray of int64, shape (n,)
        Bytes of each sample's file, when it was last changed (nanoseconds since 1970), and its number in its
        file system (0 for none).
    failures : tuple of (str, str)
        Key and reason of each sample that has no row.
    source, backbone, creation : dict
        What was read, how to load the backbone again, how and when the store was made.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.axes = layout.axes
        self._layout = layout
        self._contents = Contents(layout)
        self.checksums: dict[str, Any] = self._contents.checksums
        self.spec: ExtractionSpec = self._contents.spec()
        self.source: dict[str, Any] = self._contents.json(names.SOURCE)
        self.backbone: dict[str, Any] = self._contents.json(names.BACKBONE)
        self.creation: dict[str, Any] = self._contents.json(names.CREATION)
        self.classes: tuple[str, ...] = self._contents.texts(names.CLASSES)
        self.features: Array | LazyArray = features_of(layout)

    @property
    def checksum(self) -> str:
        """SHA-256 hex digest that covers every array; equal for stores of equal contents."""
        return self._layout.checksum

    @cached_property
    def block_starts(self) -> Integers:
        """Rows at which each block of features that shares a digest begins, int64 of shape (blocks + 1,); n at last."""
        return block_starts(self.row_counts, self.checksums["features"]["rows_per_block"])

    @property
    def shards(self) -> tuple[Path, ...]:
        """The files that the features lie in; none if they lie in the store's own."""
        return tuple(shard.path for shard in self._layout.shards)

    @property
    def row_counts(self) -> tuple[int, ...]:
        """Rows in each of these files, or in the store's own."""
        return self._layout.row_counts

    @property
    def name(self) -> str:
        """What the store is called: NAME of a file NAME.BACKBONE.KEY.h5, else the name without its end."""
        match = _NAME.fullmatch(self.path.name)
        return match[1] if match else self.path.stem

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.features.shape[1:]))
        return f"<FeatureStore {str(self.path)!r}: {len(self):,} rows of {shape} {self.features.dtype.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureStore, (self.path.absolute(), self._layout)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Names of the samples."""
        return self._contents.texts(names.KEY)

    @cached_property
    def labels(self) -> Integers:
        """Indices into `classes`, int64 of shape (n,); -1 for none."""
        labels = self._contents.integers(names.LABEL)
        try:
            check_labels("labels", labels, len(self.classes))
        except ParameterError as error:
            raise self._contents.damaged(names.LABEL) from error
        return labels

    @property
    def task(self) -> Task:
        """What is to be learned; "classification" too if no sample has a label."""
        if names.TARGET in self._contents:
            return "regression"
        return "multilabel" if names.INDICATOR in self._contents else "classification"

    @cached_property
    def multilabels(self) -> npt.NDArray[np.bool_] | None:
        """Which of the `classes` each sample is of, bool of shape (n, k); None if the task is another."""
        return None if self._indicator is None else read_only(self._indicator > 0)

    @cached_property
    def targets(self) -> Floats | None:
        """Numbers to be predicted, float64 of shape (n, t), NaN where not known; None if the task is another."""
        if names.TARGET not in self._contents:
            return None
        try:
            return as_targets("targets", self._contents.array(names.TARGET))
        except ParameterError as error:
            raise self._contents.damaged(names.TARGET) from error

    @cached_property
    def target_names(self) -> tuple[str, ...]:
        """Names of the columns of `targets`."""
        return self._contents.texts(names.TARGET_NAME) if names.TARGET_NAME in self._contents else ()

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Which samples something is known of that could be learned, bool of shape (n,)."""
        if self.targets is not None:
            return read_only(~np.isnan(self.targets[:, 0]))
        return read_only((self.labels if self._indicator is None else self._indicator[:, 0]) >= 0)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """What each sample was taken from; empty for none."""
        return self._contents.texts(names.GROUP) if names.GROUP in self._contents else ("",) * len(self)

    @cached_property
    def _indicator(self) -> Indicator | None:
        """`multilabels` as they are stored: -1 throughout a row that is not known."""
        if names.INDICATOR not in self._contents:
            return None
        try:
            return as_indicator("indicator", self._contents.array(names.INDICATOR), len(self.classes))
        except ParameterError as error:
            raise self._contents.damaged(names.INDICATOR) from error

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Split of each sample; empty for none."""
        return self._contents.texts(names.SPLIT)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 hex digest of each sample's bytes."""
        return self._contents.texts(names.DIGEST)

    @property
    def digest_column(self) -> npt.NDArray[np.bytes_]:
        """`digests` as they are stored, S64 of shape (n,): a read-only memory map."""
        return self._contents.array(names.DIGEST)

    def iter_keys(self) -> Iterator[str]:
        """Yield `keys`, without having all of them in memory."""
        return self._contents.iter_texts(names.KEY)

    @cached_property
    def sizes(self) -> Integers:
        """Bytes of each sample's file, int64 of shape (n,)."""
        return self._contents.integers(names.SIZE)

    @cached_property
    def mtimes_ns(self) -> Integers:
        """When each sample's file was last changed, int64 of shape (n,), nanoseconds since 1970."""
        return self._contents.integers(names.MTIME_NS)

    @cached_property
    def inodes(self) -> Integers:
        """Number of each sample's file in its file system, int64 of shape (n,); 0 where there is none."""
        return self._contents.integers(names.INODE)

    @cached_property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """Key and reason of each sample that has no row."""
        keys, reasons = self._contents.texts(names.FAILED_KEY), self._contents.texts(names.FAILED_REASON)
        return tuple(zip(keys, reasons, strict=True))

    @cached_property
    def samples(self) -> SampleTable:
        """The columns as one table of length n."""
        try:
            return SampleTable(
                keys=self.keys,
                labels=self.labels,
                classes=self.classes,
                splits=self.splits,
                sizes=self.sizes,
                mtimes_ns=self.mtimes_ns,
                inodes=self.inodes,
                groups=self.groups,
                indicator=self._indicator,
                targets=self.targets,
                target_names=self.target_names,
            )
        except ParameterError as error:
            raise StoreError(f"{self.path} holds columns that do not fit each other ({error})") from error

    def select(self, split: str | None) -> Integers:
        """Return the rows of a split.

        Parameters
        ----------
        split : str or None
            Name of a split of this store; empty for rows of no split; None for all rows.

        Returns
        -------
        ndarray of int64, shape (m,)
            Ascending positions.

        Raises
        ------
        ParameterError
            If the store has no such split.
        """
        if split is None:
            return np.arange(len(self), dtype=np.int64)
        raw = self._contents.array(names.SPLIT)
        wanted = split.encode("utf-8", "surrogateescape")
        # NumPy compares text without the NULs that pad it, so a name that ends in one must not get here.
        rows = np.flatnonzero(raw == wanted) if b"\0" not in wanted else np.empty(0, dtype=np.int64)
        if split and not len(rows):
            known = [name for name in self._split_counts() if name]
            raise ParameterError(
                f"split must be one of {', '.join(map(repr, known)) or 'none (the store has no splits)'};"
                f" got {split!r}{did_you_mean(split, known)}"
            )
        return rows.astype(np.int64, copy=False)

    def dataset(
        self,
        *,
        split: str | None = None,
        rows: Sequence[int] | Integers | None = None,
        transform: Callable[[Array], Any] | None = None,
    ) -> FeatureDataset:
        """Return rows and their labels as a map-style data set for ``torch.utils.data.DataLoader``.

        Parameters
        ----------
        split : str, optional
            Only the rows of that split, as :meth:`select` finds them.
        rows : array-like of int, shape (m,), optional
            Only these rows, in this order; not together with `split`.
        transform : callable, optional
            Applied to the features of each row, an array of its own; with workers that are spawned it must be
            something that can be pickled.

        Raises
        ------
        ParameterError
            If there is no such split, or no such row.
        """
        if rows is None:
            return FeatureDataset(self, self.select(split), transform)
        if split is not None:
            raise ParameterError(f"rows and split cannot both be given; got split {split!r}: give one of them")
        index = as_integers("rows", rows)
        if index.size and (index.min() < 0 or index.max() >= len(self)):
            raise ParameterError(f"rows must lie in 0..{len(self) - 1}; got {index.min()}..{index.max()}")
        return FeatureDataset(self, index, transform)

    def summary(self) -> dict[str, Any]:
        """Return facts for people, all of them JSON, none of them read from the features."""
        if self.multilabels is None:
            counts = np.bincount(self.labels[self.labels >= 0], minlength=len(self.classes))
        else:
            counts = self.multilabels.sum(axis=0)
        return {
            "name": self.name,
            "path": str(self.path),
            "rows": len(self),
            "shape": list(self.features.shape),
            "axes": self.axes,
            "dtype": self.features.dtype.name,
            "bytes": sum(part.data.size for part in (self._layout, *self._layout.shards)),
            "shards": len(self._layout.shards),
            "compressed": any(part.chunks is not None for part in (self._layout, *self._layout.shards)),
            "key": self.spec.digest,
            "checksum": self.checksum,
            "task": self.task,
            "classes": dict(zip(self.classes, counts.tolist(), strict=True)),
            "targets": self._target_ranges(),
            "unlabelled": int((~self.labelled).sum()),
            "splits": self._split_counts(),
            "groups": len(set(self.groups) - {""}),
            "failures": self._layout.elements[names.FAILED_KEY].shape[0],
            "spec": self.spec.to_dict(),
            "source": self.source,
            "backbone": self.backbone,
            "creation": self.creation,
        }

    def _target_ranges(self) -> dict[str, dict[str, float]]:
        """Return the least, mean and greatest of each number to be predicted."""
        if self.targets is None or not self.labelled.any():
            return {}
        known = self.targets[self.labelled]
        return {
            name: {"min": float(column.min()), "mean": float(column.mean()), "max": float(column.max())}
            for name, column in zip(self.target_names, known.T, strict=True)
        }

    def _split_counts(self) -> dict[str, int]:
        counts = Counter(self._contents.array(names.SPLIT).tolist())
        return {raw.decode("utf-8", "surrogateescape"): counts[raw] for raw in sorted(counts)}
