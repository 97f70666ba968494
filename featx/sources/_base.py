"""What a source is: :class:`Sample`, the abstract :class:`Source`, and the values both are named by."""

import hashlib
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featx.errors import ParameterError, SourceError
from featx.labels import Label, class_names, class_order, label_text, task_of

MAX_SAMPLE_BYTES = 1 << 30
"""A file or archive member above this size is recorded as a bad sample, not read."""

ImageArray: TypeAlias = NDArray[np.uint8]
"""A decoded image: unsigned bytes of shape (height, width, 3), red first."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One input of a source: what it is called and what is known of it without opening it.

    Parameters
    ----------
    key : str
        Path relative to the source's root, separated by ``/``; unique in the source. Bytes that are not
        UTF-8 are kept as surrogate escapes (see :func:`os.fsdecode`).
    label : str, tuple of str or tuple of float, optional
        Name of the class; names of all the classes it is of, sorted (an empty tuple: of none); or numbers to be
        predicted. All samples of a source have the same kind; None where it is not known.
    split : str, optional
        ``"train"``, ``"val"``, ``"test"``, or another name that the source itself uses.
    size : int
        Bytes, from the file system or the archive's directory, or on average over those that are stored together;
        -1 where only reading would tell.
    mtime_ns : int
        Time of the last change, of the archive for its members; 0 where there is none.
    inode : int
        Number of the file in its file system, as a signed 64-bit integer; 0 where a sample is no file of its own.
        Behind a URL a digest of the tag (ETag) that the server gives the file or archive; 0 if it gives none.
    group : str, optional
        What it was taken from (a patient, a video), whose samples are not to be torn apart by a split.
    """

    key: str
    label: Label | None = None
    split: str | None = None
    size: int = -1
    mtime_ns: int = 0
    inode: int = 0
    group: str | None = None


class Source(ABC):
    """An ordered collection of samples.

    Building a source touches nothing: it is listed when :attr:`samples` is first asked for
    (:func:`open_source` does), and samples are opened one by one in :meth:`read`. Sources can be pickled,
    and carry their listing along.

    Parameters
    ----------
    name : str
        What a person would call the source; :attr:`name` keeps what is safe in a file name.
    identity : str
        Says which source this is, whatever the working folder and the spelling of its path.
    """

    def __init__(self, name: str, identity: str) -> None:
        self.name = file_name(name)
        self._identity = identity

    @property
    def identity(self) -> str:
        """Which source this is, independent of working folder and spelling."""
        return self._identity

    @property
    def arranged(self) -> dict[str, Any]:
        """What :func:`open_source` was given to arrange it by, as JSON can hold it; empty where it is as it lies."""
        return {}

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The samples, sorted by key."""
        samples = tuple(sorted(self._list(), key=lambda sample: sample.key))
        if not samples:
            raise SourceError(f"{self._identity!r} holds no images: give a source with at least one")
        try:
            task_of(sample.label for sample in samples)
        except ParameterError as error:
            raise SourceError(f"{self._identity!r}: {error}") from error
        return samples

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur or that the data set declares, by name (integers by value)."""
        return class_order(class_names(sample.label for sample in self.samples).union(self._declared_classes()))

    def read(self, index: int) -> bytes | ImageArray:
        """Return one sample as it lies in the source; any number of threads may call this.

        Parameters
        ----------
        index : int
            Position in :attr:`samples`.

        Returns
        -------
        bytes or ndarray of shape (height, width, 3)
            An encoded image file, or uint8 RGB. :func:`decode_image` takes both.

        Raises
        ------
        SampleError
            The sample cannot be read; the message is the reason.
        """
        return self._read(range(len(self.samples))[index])

    def limit(self, n: int) -> "Source":
        """Return a source of the first `n` samples in order; this one itself if it has no more."""
        if not isinstance(n, int) or n < 1:
            raise ParameterError(f"limit must be a whole number of at least 1; got {n!r}")
        return self if n >= len(self) else LimitedSource(self, n)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._identity!r}>"

    @abstractmethod
    def _list(self) -> Iterable[Sample]:
        """Return the samples in any order; called once."""

    @abstractmethod
    def _read(self, index: int) -> bytes | ImageArray:
        """Return the sample at `index`, which is in range."""

    def _declared_classes(self) -> Iterable[str]:
        """Return the classes that the data set knows of, whether they occur or not."""
        return ()


class LimitedSource(Source):
    """The first `n` samples of another source.

    Parameters
    ----------
    source : Source
        Where the samples come from.
    n : int
        How many of them.
    """

    def __init__(self, source: Source, n: int) -> None:
        super().__init__(f"{source.name}-first{n}", f"{source.identity}#first={n}")
        self._source = source
        self._n = n

    @property
    def arranged(self) -> dict[str, Any]:
        """As the whole source was."""
        return self._source.arranged

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The first `n` samples, in the order of the source."""
        return self._source.samples[: self._n]

    def _list(self) -> Iterable[Sample]:
        return self.samples

    def _read(self, index: int) -> bytes | ImageArray:
        return self._source.read(index)

    def _declared_classes(self) -> Iterable[str]:
        return self._source._declared_classes()


def content_digest(data: bytes | NDArray[Any]) -> str:
    """Return the SHA-256 hex digest of a sample's content.

    Parameters
    ----------
    data : bytes or ndarray
        An encoded file, or an array: then shape and dtype are part of the digest.
    """
    if not isinstance(data, np.ndarray):
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256(f"{data.dtype.str}{data.shape}".encode("ascii"))
    digest.update(np.ascontiguousarray(data).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def label_names(names: Sequence[object]) -> tuple[str, ...]:
    """Return one distinct name for each class index; names that stand twice gain their index."""
    texts = [", ".join(map(str, name)) if isinstance(name, (tuple, list)) else str(name) for name in names]
    counts = Counter(texts)
    return tuple(text if counts[text] == 1 else f"{text} ({index})" for index, text in enumerate(texts))


def named_label(value: object, names: Sequence[str]) -> str | None:
    """Return the name that a class index stands for; negative numbers mean "no label", as is customary.

    Without `names`, or for text, the value itself is the label.
    """
    text = label_text(value)
    if text is None or isinstance(value, (str, bytes)) or not names:
        return text
    if not re.fullmatch(r"-?[0-9]+", text) or int(text) >= len(names):
        raise SourceError(
            f"an integer label must be an index into the {len(names)} classes, 0 to {len(names) - 1}; got {text}"
        )
    return names[int(text)] if int(text) >= 0 else None


def file_name(name: str) -> str:
    """Return `name` with everything but letters, digits and ``_.+-`` replaced, and not too long."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("._-")[:80] or "source"


def one_line(error: BaseException) -> str:
    """Return the message of any exception as one short line."""
    text = " ".join(str(error).split())[:200]
    return text or type(error).__name__
