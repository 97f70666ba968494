"""Data sets that lie in many files: which files, what they are called, and the splits that their names tell."""

import os
import re
from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from featx.errors import SampleError, SourceError
from featx.sources._base import Sample, Source
from featx.sources._files import Stamp, StrPath, encode_path, reason
from featx.sources._layout import canonical_split, has_splits
from featx.sources._location import DiskLocation, Location
from featx.sources._remote import is_url, locate
from featx.sources._tables import Facts

_BRACES = re.compile(r"\{([^{}]*)\}")
_NUMBERS = re.compile(r"(-?[0-9]+)\.\.(-?[0-9]+)(?:\.\.(-?[0-9]+))?")
_MOST = 1_000_000
_THREADS = 32
OPEN = 64
"""How many files of a source are kept open."""


class Shards:
    """The files of a data set: one, those that braces stand for, or all in a folder that end alike.

    Parameters
    ----------
    given : str or path-like
        A file or folder, or its URL; or a path with braces such as ``train-{0000..0099}.tar``.
    suffix : str
        What the files of a folder end in.
    storage_options : dict, optional
        For fsspec.
    """

    def __init__(self, given: StrPath, suffix: str, storage_options: Mapping[str, Any] | None = None) -> None:
        text = os.fspath(given)
        self._suffix = suffix
        self._pattern: str | None = None
        if has_braces(text) and (is_url(text) or not os.path.lexists(encode_path(text))):
            start = text.rfind("/", 0, text.index("{")) + 1
            self._pattern = text[start:]
            self._location = locate(text[:start] or ".", storage_options)
        else:
            self._location = locate(text, storage_options)

    @property
    def text(self) -> str:
        """Where they lie, whatever the working folder."""
        return self._location.text if self._pattern is None else f"{self._location.text.rstrip('/')}/{self._pattern}"

    @property
    def name(self) -> str:
        """What a person would call them."""
        if self._pattern is None:
            name = self._location.last
            return name[: -len(self._suffix)] if name.lower().endswith(self._suffix) else name
        stem = re.sub(r"\{.*\}", "", self._pattern).rpartition("/")[2].removesuffix(self._suffix).strip("-_.")
        return stem if re.search("[^\\W\\d_]", stem) else self._location.last

    def files(self) -> dict[str, Location]:
        """Return the files by their paths without the ending, sorted; they are not known to exist."""
        if self._pattern is not None:
            names = expand(self._pattern)
        elif self._location.last.lower().endswith(self._suffix) and not self._is_folder():
            return {self.name: self._location}
        else:
            names = [name for name, _ in self._location.walk(lambda name: name.lower().endswith(self._suffix))]
        files: dict[str, Location] = {}
        for name in sorted(names):
            stem = name[: -len(self._suffix)] if name.lower().endswith(self._suffix) else name
            if stem in files:
                raise SourceError(f"{self.text!r} has {stem + self._suffix!r} twice: rename one")
            files[stem] = self._location.join(name)
        if not files:
            raise SourceError(f"{self.text!r} holds no file that ends in {self._suffix}: give one that does")
        return files

    def _is_folder(self) -> bool:
        return isinstance(self._location, DiskLocation) and os.path.isdir(encode_path(self._location.text))


class Listed(NamedTuple):
    """What a file of shards tells: what it is known by, and of each sample name, facts, size and place in it."""

    stamp: Stamp
    samples: Sequence[tuple[str, Facts, int, tuple[int, int]]]


class ShardedSource(Source):
    """Samples that lie in many files; the key is the path of the file, without its ending, and the name in it.

    Parameters
    ----------
    shards : Shards
    kind : str
        What the identity begins with.
    image : str, optional
        Which of several things that a sample has is the image, where that has been chosen.
    """

    def __init__(self, shards: Shards, kind: str, image: str | None) -> None:
        super().__init__(shards.name, f"{kind}:{shards.text}" + (f"#image={image}" if image else ""))
        self._shards = shards
        self._image = image
        self._files: list[tuple[Location, Stamp]] = []
        self._places: NDArray[np.int64] = np.empty((0, 3), dtype=np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_opened", "_token")}

    @cached_property
    def _opened(self) -> Callable[[int], Any]:
        """Returns the file of a number opened; the last few stay open."""
        return lru_cache(OPEN)(self._open)

    def _open(self, number: int) -> Any:
        """Open a file; raises SampleError unless it is the one that was listed."""
        location, stamp = self._files[number]
        try:
            file = location.open()
        except OSError as error:
            raise SampleError(f"its file cannot be read: {reason(error)}") from error
        if file.stamp != stamp:
            file.close()
            raise SampleError("its file has changed since it was listed")
        return file

    @abstractmethod
    def _list_file(self, name: str, location: Location) -> Listed:
        """Return what is in a file; several threads call this."""

    def _list(self) -> Iterable[Sample]:
        files = self._shards.files()
        splits = splits_of(files)
        samples: list[Sample] = []
        places = array("q")
        with ThreadPoolExecutor(min(_THREADS, len(files)), thread_name_prefix="featx-list") as pool:
            found = pool.map(self._samples_in, range(len(files)), files, files.values(), splits.values())
            for location, (stamp, some, their_places) in zip(files.values(), found, strict=True):
                self._files.append((location, stamp))
                samples += some
                places += their_places
        order = sorted(range(len(samples)), key=lambda row: samples[row].key)
        self._places = np.array(places, dtype=np.int64).reshape(-1, 3)[order]
        return [samples[row] for row in order]

    def _samples_in(
        self, number: int, name: str, location: Location, split_of_file: str | None
    ) -> "tuple[Stamp, list[Sample], array[int]]":
        """Return the stamp of a file, the samples in it, and for each the file's number and the place in it."""
        stamp, listed = self._list_file(name, location)
        samples, places = [], array("q")
        for base, (label, split, group), size, place in listed:
            samples.append(Sample(f"{name}/{base}", label, split or split_of_file, size, *stamp[1:], group))
            places.extend((number, *place))
        return stamp, samples, places


def has_braces(text: str) -> bool:
    """Tell whether a text stands for several, by the braces in it."""
    return any(_alternatives(match[1]) is not None for match in _BRACES.finditer(text))


def expand(pattern: str) -> list[str]:
    """Return the texts that one with braces stands for: ``{000..010}`` and ``{a,b}``, also within each other."""
    found: dict[str, None] = {}
    for text in _expanded(pattern):
        found[text] = None
        if len(found) > _MOST:
            raise SourceError(f"{pattern!r} stands for more than {_MOST:,} files: give fewer")
    return list(found)


def _expanded(pattern: str) -> Iterator[str]:
    for match in _BRACES.finditer(pattern):
        if (alternatives := _alternatives(match[1])) is not None:
            for each in alternatives:
                yield from _expanded(f"{pattern[: match.start()]}{each}{pattern[match.end() :]}")
            return
    yield pattern


def _alternatives(inside: str) -> Iterable[str] | None:
    """Return what stands for itself in turn in a pair of braces; None if they are just braces."""
    if (match := _NUMBERS.fullmatch(inside)) is None:
        return inside.split(",") if "," in inside else None
    first, last, step = match[1], match[2], abs(int(match[3] or 1)) or 1
    is_padded = any(re.match("-?0[0-9]", number) for number in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    down = int(last) < int(first)
    numbers = range(int(first), int(last) + (-1 if down else 1), -step if down else step)
    return (f"{number:0{width}d}" for number in numbers)


def splits_of(names: Iterable[str]) -> dict[str, str | None]:
    """Return the split of each file, by a folder that it is in or a word in its name; none unless all have one."""
    found = {name: _split_in(name) for name in names}
    is_divided = has_splits({split or name for name, split in found.items()}, "shards")
    return found if is_divided else dict.fromkeys(found)


def _split_in(name: str) -> str | None:
    *folders, stem = name.split("/")
    for words in (folders, re.findall("[A-Za-z]+", stem)):
        splits = {split for word in words if (split := canonical_split(word))}
        if splits:
            return splits.pop() if len(splits) == 1 else None
    return None
