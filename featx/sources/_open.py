"""The doors: from what a person names to the source it is."""

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featx.errors import ParameterError, SourceError, did_you_mean
from featx.sources._archives import COMPRESSED_SUFFIXES, TarSource, ZipSource
from featx.sources._arranged import ArrangedSource
from featx.sources._arrays import ArraySource, NpzSource
from featx.sources._base import ImageArray, Sample, Source, content_digest
from featx.sources._decode import as_seen
from featx.sources._files import StrPath, decode_path, encode_path, reason
from featx.sources._folder import FileSource, FolderSource
from featx.sources._huggingface import HuggingFaceSource
from featx.sources._idx import IdxSource, has_idx, is_idx
from featx.sources._layout import is_image_name
from featx.sources._manifest import MANIFEST_SUFFIXES, ManifestSource
from featx.sources._parquet import ParquetSource, holds_images
from featx.sources._remote import UrlLocation, is_url, locate
from featx.sources._shards import has_braces
from featx.sources._torchvision import TorchvisionSource
from featx.sources._webdataset import WebDatasetSource

SourceLike = str | os.PathLike[str] | Source | NDArray[Any] | tuple[Any, Any]
ImageLike = str | os.PathLike[str] | NDArray[Any] | Image.Image

_SHARDED: dict[str, Callable[[StrPath], Source]] = {"webdataset": WebDatasetSource, "parquet": ParquetSource}
_SHARDS: dict[str, Callable[[StrPath], Source]] = {".tar": WebDatasetSource, ".parquet": ParquetSource}
"""What the files of a folder without images, or those that braces stand for, are: the first of which there are some."""


def open_source(
    source: SourceLike,
    *,
    limit: int | None = None,
    label_pattern: str | None = None,
    split_pattern: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
    val_fraction: float | None = None,
    test_fraction: float | None = None,
    split_seed: int | None = None,
    split_hash: bool = False,
    max_per_class: int | None = None,
) -> Source:
    """Open and list a source of samples.

    Parameters
    ----------
    source : str, path-like, Source, ndarray or tuple of (images, labels)
        A folder; a manifest (``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson``, ``.parquet``) of paths or URLs; a ``.zip`` or
        ``.tar`` archive; an ``.npz`` file; shards of WebDataset, or Parquet files with a column of images: a folder of
        them, a path with braces (``train-{0000..0099}.tar``), or one; the URL of any of these (``s3://bucket/photos/``);
        a folder of IDX files, or one of images; ``torchvision:NAME[:ROOT]``; ``hf:NAME[:CONFIG]`` or ``hf:FOLDER``; or
        arrays. ``webdataset:PATH`` and ``parquet:PATH`` say so where the path does not.
    limit : int, optional
        Only the first so many samples, in order.
    label_pattern : str, optional
        Regular expression by which labels are read from keys, such as ``(cat|dog)``.
    split_pattern : mapping of str to str, or sequence of (str, str), optional
        Shell patterns by which splits are read from keys, such as ``{"val": "*.9??.jpg"}``.
    val_fraction, test_fraction : float, optional
        Shares of the samples without a split that are drawn for ``val`` and ``test``, class by class; the others
        become ``train``.
    split_seed : int, optional
        For what is drawn; by default 0.
    split_hash : bool
        Whether the key alone decides on which side a sample is, so that it stays there when others are added.
    max_per_class : int, optional
        How many samples of a class are kept at most in each split.

    Returns
    -------
    Source
        What all but `source` and `limit` mean in detail is told of :class:`featx.sources.ArrangedSource`.

    Raises
    ------
    SourceError
        There is no such source, it holds no images, or it cannot be understood.
    ParameterError
        What is asked for does not go together, or does not go with the samples.
    """
    opened = _resolve(source)
    opened.samples  # noqa: B018  # listed here, so that a wrong source is told at once
    changes = (
        label_pattern,
        split_pattern or None,
        val_fraction,
        test_fraction,
        split_seed,
        split_hash or None,
        max_per_class,
    )
    if any(change is not None for change in changes):
        opened = ArrangedSource(
            opened,
            label_pattern=label_pattern,
            split_pattern=split_pattern,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            split_hash=split_hash,
            max_per_class=max_per_class,
        )
        opened.samples  # noqa: B018  # arranged here, for the same reason
    return opened if limit is None else opened.limit(limit)


def open_images(images: ImageLike | Sequence[ImageLike]) -> Source:
    """Open any mix of image files, folders, archives, URLs of these, and images in memory as one source.

    The samples come in the order given. The key of a file is its path or URL as given, that of an image in a
    folder or archive ``given/inner-key``, that of the third input ``image[2]`` if it is an array or a Pillow
    image. What is given twice stands there twice, the second time as ``key (2)``.

    Parameters
    ----------
    images : sequence of str, path-like, ndarray or PIL.Image.Image
        Arrays have the shape (height, width[, 1 or 3]).

    Raises
    ------
    SourceError
        One of the inputs does not exist or holds no images.
    """
    if isinstance(images, (str, os.PathLike, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4):
        images = [images]
    if not len(images):
        raise ParameterError("images must name at least one file, folder or archive; got none")
    return _CombinedSource([_part(position, image) for position, image in enumerate(images)])


class _CombinedSource(Source):
    """The samples of several sources, one after the other, under keys of their own."""

    def __init__(self, parts: Sequence[tuple[Source, list[str]]]) -> None:
        identities = "\n".join(source.identity for source, _ in parts)
        digest = content_digest(identities.encode("utf-8", "surrogateescape"))
        first = parts[0][0].name
        super().__init__(first if len(parts) == 1 else f"{first}-and-{len(parts) - 1}-more", f"images:{digest}")
        self._parts = parts
        self._rows = [(source, row) for source, keys in parts for row in range(len(keys))]

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The samples in the order in which they were given."""
        return tuple(self._list())

    def _list(self) -> Iterable[Sample]:
        taken: set[str] = set()
        for source, keys in self._parts:
            for sample, key in zip(source.samples, keys, strict=True):
                unique, count = key, 1
                while unique in taken:
                    count += 1
                    unique = f"{key} ({count})"
                taken.add(unique)
                yield replace(sample, key=unique)

    def _read(self, index: int) -> bytes | ImageArray:
        source, row = self._rows[index]
        return source.read(row)


def _part(position: int, image: ImageLike) -> tuple[Source, list[str]]:
    """Return one input of :func:`open_images` as a source, and the keys of its samples."""
    if isinstance(image, Image.Image):
        image = np.asarray(as_seen(image))
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3):
            raise ParameterError(
                f"image[{position}] must have the shape (height, width[, 1 or 3]); got {image.shape}:"
                " give several images as a list"
            )
        return open_source(image.reshape(1, *image.shape[:2], -1)), [f"image[{position}]"]
    given = os.fspath(image)
    if _is_named(given) or (_is_many_behind(given) if is_url(given) else _is_many(given)):
        source = open_source(given)
        return source, [f"{given.rstrip('/')}/{sample.key}" for sample in source.samples]
    return FileSource(given), [given]


def _is_many(given: str) -> bool:
    """Tell whether a path is of a source, not of an image; raises SourceError if nothing is there."""
    return _is_pattern(given) or _mode(given) == stat.S_IFDIR or _suffix(given) in _BY_SUFFIX or is_idx(given)


def _is_many_behind(url: str) -> bool:
    """Tell whether a URL is of a source, not of an image; its server is asked where the name does not tell."""
    location = UrlLocation(url)
    if url.endswith("/") or _suffix(location.last) in _BY_SUFFIX:
        return True
    return not is_image_name(location.last) and location.is_folder()


def _resolve(source: SourceLike) -> Source:
    if isinstance(source, Source):
        return source
    if isinstance(source, tuple):
        if len(source) != 2:
            raise ParameterError(f"source must be a pair (images, labels) if it is a tuple; got {len(source)} items")
        return ArraySource(*source)
    if isinstance(source, np.ndarray):
        return ArraySource(source)
    if not isinstance(source, (str, os.PathLike)):
        raise ParameterError(
            f"source must be a path, a name, arrays or a Source; got {type(source).__name__}: give one of these"
        )
    given = os.fspath(source)
    if is_url(given):
        return _by_url(given)
    kind, _, rest = given.partition(":")
    if kind in _SHARDED and rest:
        return _SHARDED[kind](rest)
    if kind == "torchvision" and rest:
        name, _, root = rest.partition(":")
        return TorchvisionSource(name, root or None)
    if kind == "hf" and rest:
        name, _, config = (rest, "", "") if os.path.isdir(encode_path(rest)) else rest.partition(":")
        return HuggingFaceSource(name, config or None)
    return _by_path(given)


def _by_url(given: str) -> Source:
    last = locate(given).last
    make = (_SHARDS if has_braces(given) else _BY_SUFFIX).get(_suffix(last))
    if make is not None:
        return make(given)
    if is_image_name(last):
        raise SourceError(f"source {given!r} is a single image: give the folder it is in")
    return _folder(given)


def _folder(given: str) -> Source:
    """Return what a folder is: images, or where there are none shards with images in them."""
    source = FolderSource(given)
    if not source.is_empty():
        return source
    found = {_suffix(name) for name, _ in locate(given).walk(lambda name: _suffix(name) in _SHARDS)}
    return next((make(given) for suffix, make in _SHARDS.items() if suffix in found), source)


def _tar(given: StrPath) -> Source:
    source = TarSource(given)
    return WebDatasetSource(given) if source.is_shard() else source


def _parquet(given: StrPath) -> Source:
    return ParquetSource(given) if holds_images(locate(given)) else ManifestSource(given)


def _by_path(given: str) -> Source:
    if _is_pattern(given):
        return _SHARDS[_suffix(given)](given)
    mode = _mode(given)
    if mode == stat.S_IFDIR:
        return IdxSource(given) if has_idx(given) else _folder(given)
    if mode == stat.S_IFREG and is_idx(os.path.basename(given)):
        return IdxSource(given)
    if mode == stat.S_IFREG and (make := _BY_SUFFIX.get(_suffix(given))) is not None:
        return make(given)
    if is_image_name(os.path.basename(given)):
        raise SourceError(f"source {given!r} is a single image: give the folder it is in")
    raise SourceError(f"source {given!r} must be a folder, or a file that ends in one of {', '.join(_FILES)}: give one")


def _is_pattern(given: str) -> bool:
    return has_braces(given) and _suffix(given) in _SHARDS and not os.path.lexists(encode_path(given))


def _mode(given: str) -> int:
    """Return the type of what lies at a path; raises SourceError if there is nothing."""
    try:
        return stat.S_IFMT(os.stat(encode_path(given)).st_mode)
    except FileNotFoundError:
        hint = did_you_mean(os.path.basename(given.rstrip("/")), _siblings(given))
        raise SourceError(f"there is no file or folder {given!r}{hint}: give a path that exists") from None
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise SourceError(f"{given!r} cannot be opened ({why}): give a path that can") from error


def _siblings(given: str) -> list[str]:
    try:
        return [decode_path(name) for name in os.listdir(encode_path(os.path.dirname(given.rstrip("/")) or "."))]
    except OSError:
        return []


def _suffix(given: str) -> str:
    return os.path.splitext(given)[1].lower()


def _is_named(given: str) -> bool:
    return given.startswith(("torchvision:", "hf:", "webdataset:", "parquet:")) and not is_url(given)


_FILES: dict[str, Callable[[StrPath], Source]] = {
    ".zip": ZipSource,
    ".tar": _tar,
    ".npz": NpzSource,
    **dict.fromkeys(MANIFEST_SUFFIXES, ManifestSource),
    ".parquet": _parquet,
}
_BY_SUFFIX = {**_FILES, **dict.fromkeys(COMPRESSED_SUFFIXES, TarSource)}
