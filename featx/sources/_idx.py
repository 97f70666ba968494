"""IDX files, in which MNIST and its kin come: one file of images, one of labels beside it."""

import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from featx.errors import SampleError, SourceError
from featx.sources._arrays import as_rgb
from featx.sources._base import ImageArray, Sample, Source, one_line
from featx.sources._files import Stamp, StrPath, decode_path, encode_path, real_path, reason, stat_file
from featx.sources._layout import canonical_split

_IMAGES = re.compile(r"(?P<start>.*)images(?P<dot>[-.])idx3-ubyte(\.gz)?", re.DOTALL)
_BLOCK = 1 << 20


def is_idx(name: str) -> bool:
    """Tell whether a file of this name holds images in IDX's form."""
    return _IMAGES.fullmatch(name) is not None


def has_idx(folder: str) -> bool:
    """Tell whether a folder holds files of such names."""
    with suppress(OSError):
        return bool(_idx_in(folder))
    return False


@dataclass(frozen=True, eq=False)
class _Part:
    """The images of one file.

    Parameters
    ----------
    path : str
    stamp : Stamp
        Of the file when it was listed.
    shape : tuple of int
        How many there are, their height and their width.
    transposed : bool
        Whether they lie in the file with rows and columns exchanged.
    pixels : ndarray of shape `shape`, or None
        All of them, where the file had to be decompressed; else they are read from it one by one.
    """

    path: str
    stamp: Stamp
    shape: tuple[int, int, int]
    transposed: bool
    pixels: NDArray[np.uint8] | None

    def read(self, row: int) -> NDArray[np.uint8]:
        """Return one image, of shape (height, width)."""
        image = self._from_file(row) if self.pixels is None else self.pixels[row]
        return image.T if self.transposed else image

    def _from_file(self, row: int) -> NDArray[np.uint8]:
        size = math.prod(self.shape[1:])
        try:
            with open(encode_path(self.path), "rb", buffering=0) as file:
                data = os.pread(file.fileno(), size, _header_size(3) + row * size)
        except OSError as error:
            raise SampleError(f"its file cannot be read: {reason(error)}") from error
        if len(data) < size or stat_file(encode_path(self.path)) != self.stamp:
            raise SampleError("its file has changed since it was listed")
        return np.frombuffer(data, np.uint8).reshape(self.shape[1:])


class IdxSource(Source):
    """Grey images in IDX files: ``NAME-images-idx3-ubyte``, with their labels in ``NAME-labels-idx1-ubyte``.

    NAME may end in a split (``train``, ``test``, MNIST's ``t10k``, ...), and begin with the name of the data set. Files
    may be compressed (``.gz``): those of images are then held in memory. Labels are the integers, as text; or, if there
    is a ``SET-mapping.txt`` as EMNIST has it (in each line a label and the codes of the characters it stands for), the
    characters. EMNIST's files hold each image transposed, which torchvision and others leave as it is: those of a data
    set whose name begins with ``emnist`` are turned upright.

    Parameters
    ----------
    path : str or path-like
        A folder that holds the files of one data set, or a single file of images.
    """

    def __init__(self, path: StrPath) -> None:
        folder, name = os.path.split(os.path.abspath(os.fspath(path)))
        found = _IMAGES.fullmatch(name)
        # a link to a file is looked at by its own name: what it leads to may be called anything
        self._path = f"{real_path(folder)}/{name}" if found else real_path(path)
        super().__init__((found["start"] if found else "") or os.path.basename(self._path), f"idx:{self._path}")
        self._rows: list[tuple[_Part, int]] = []
        self._names: Mapping[int, str] = {}

    def _list(self) -> Iterable[Sample]:
        self._rows = []
        samples = []
        for split, path in sorted(self._files().items(), key=lambda item: item[0] or ""):
            part = _open_images(path)
            labels = self._labels(path, part.shape[0])
            count, size = part.shape[0], math.prod(part.shape[1:])
            digits = max(5, len(str(count - 1)))
            for row, label in enumerate(labels):
                key = f"{split}/{row:0{digits}d}" if split else f"{row:0{digits}d}"
                samples.append(Sample(key, label, split, size, part.stamp[1]))
                self._rows.append((part, row))
        return samples

    def _read(self, index: int) -> ImageArray:
        part, row = self._rows[index]
        return as_rgb(part.read(row))

    def _declared_classes(self) -> Iterable[str]:
        return self._names.values()

    def _files(self) -> dict[str | None, str]:
        """Return the files of images by split; of one that is there compressed, too, the plain one."""
        if is_idx(self._path):
            return {_set_and_split(os.path.basename(self._path))[1]: self._path}
        try:
            names = sorted(_idx_in(self._path), reverse=True)  # the plain one comes after its .gz
        except OSError as error:
            raise SourceError(
                f"{self._path!r} cannot be listed ({reason(error)}): give a folder of IDX files"
            ) from error
        sets = sorted({_set_and_split(name)[0] for name in names})
        if len(sets) > 1:
            raise SourceError(
                f"{self._path!r} must hold the IDX files of one data set; got those of {len(sets)}"
                f" ({', '.join(map(repr, sets))}): put one's files, or links to them, in a folder of their own"
            )
        if not names:
            raise SourceError(
                f"{self._path!r} holds no images in IDX files: their names must end in images-idx3-ubyte[.gz]"
            )
        return {_set_and_split(name)[1]: f"{self._path}/{name}" for name in names}

    def _labels(self, images: str, count: int) -> list[str | None]:
        """Return the labels of a file of images; None for each if there is no file of labels beside it."""
        folder, name = os.path.split(images)
        found = _IMAGES.fullmatch(name)
        assert found is not None
        path = f"{folder}/{found['start']}labels{found['dot']}idx1-ubyte"
        path = next((each for each in (path, f"{path}.gz") if os.path.isfile(encode_path(each))), "")
        if not path:
            return [None] * count
        values, shape = _load(path, 1)
        if shape[0] != count:
            raise SourceError(
                f"{path!r} must have a label for each of the {count:,} images; got {shape[0]:,}: match them"
            )
        mapping = f"{folder}/{_set_and_split(name)[0]}-mapping.txt"
        if os.path.isfile(encode_path(mapping)):
            self._names = _read_mapping(mapping)
        labels = values.tolist()
        unknown = sorted(set(labels) - self._names.keys()) if self._names else []
        if unknown:
            raise SourceError(f"{mapping!r} must name all labels; it lacks {unknown[0]}: complete it, or take it away")
        return [self._names.get(label, str(label)) for label in labels]


def _idx_in(folder: str) -> list[str]:
    with os.scandir(encode_path(folder)) as entries:
        names = ((decode_path(entry.name), entry) for entry in entries)
        return [name for name, entry in names if is_idx(name) and entry.is_file()]


def _set_and_split(name: str) -> tuple[str, str | None]:
    """Return the data set and the split that a file's name says: ``emnist-digits`` and ``train``, say."""
    found = _IMAGES.fullmatch(name)
    assert found is not None
    start = found["start"].rstrip("-_.")
    rest, last = re.fullmatch(r"(?:(.*)[-_.])?([^-_.]*)", start, re.DOTALL).groups("")  # type: ignore[union-attr]
    split = "test" if last.lower() == "t10k" else canonical_split(last)
    return (start, None) if split is None else (rest, split)


def _header_size(dimensions: int) -> int:
    return 4 + 4 * dimensions


def _open_images(path: str) -> _Part:
    stamp = stat_file(encode_path(path))
    pixels, shape = _load(path, 3, whole=path.endswith(".gz"))
    if not math.prod(shape):
        raise SourceError(f"{path!r} holds no images: its header says {' x '.join(map(str, shape))}")
    transposed = _set_and_split(os.path.basename(path))[0].lower().startswith("emnist")
    n, height, width = shape
    return _Part(path, stamp, (n, height, width), transposed, pixels if path.endswith(".gz") else None)


def _load(path: str, dimensions: int, *, whole: bool = True) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    """Return what a file holds and the shape that its header says; not `whole`, its size is all that is looked at."""
    try:
        with open(encode_path(path), "rb") as raw, _decompressed(raw, path) as file:
            start = file.read(_header_size(dimensions))
            if start[:4] != bytes((0, 0, 8, dimensions)) or len(start) < _header_size(dimensions):
                raise SourceError(
                    f"{path!r} must begin like an IDX file of unsigned bytes in {dimensions} dimensions,"
                    f" 0 0 8 {dimensions}; got {' '.join(map(str, start[:4])) or 'nothing'}: give an intact one"
                )
            shape = struct.unpack(f">{dimensions}I", start[4:])
            size = math.prod(shape)
            data = bytearray()
            if whole:
                while len(data) <= size and (block := file.read(_BLOCK)):
                    data += block
            there = len(data) if whole else os.fstat(raw.fileno()).st_size - len(start)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"{path!r} is damaged ({one_line(error)}): give an intact file") from error
    except OSError as error:
        raise SourceError(f"{path!r} cannot be read ({reason(error)}): make it readable") from error
    if there != size:
        raise SourceError(
            f"{path!r} must hold the {size:,} bytes that its header says ({' x '.join(map(str, shape))}); got"
            f" {'more' if there > size else f'{there:,}'}: give an intact file"
        )
    values = np.frombuffer(data, np.uint8)
    return (values.reshape(shape) if whole else values), shape


def _decompressed(file: BinaryIO, path: str) -> BinaryIO:
    return gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file  # type: ignore[return-value]


def _read_mapping(path: str) -> dict[int, str]:
    """Return the characters that each label stands for: ``10 65 97`` is A and a."""
    names: dict[int, str] = {}
    try:
        with open(encode_path(path), encoding="ascii") as file:
            for line in filter(str.strip, file):
                label, *codes = map(int, line.split())
                names[label] = "".join(map(chr, codes)) or str(label)
    except OSError as error:
        raise SourceError(f"{path!r} cannot be read ({reason(error)}): make it readable") from error
    except (ValueError, OverflowError) as error:
        raise SourceError(
            f"{path!r} must have a label and the codes of its characters in each line ({one_line(error)}): correct it"
        ) from error
    if len(set(names.values())) < len(names):
        raise SourceError(f"{path!r} must give each label other characters: correct it")
    return names
