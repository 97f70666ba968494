"""Images that are arrays already: in memory, or in an ``.npz`` file."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx.errors import FeatxError, MissingDependencyError, ParameterError, SourceError
from featx.labels import Label, label_column, label_table, label_text
from featx.sources._base import (
    ImageArray,
    Sample,
    Source,
    content_digest,
    label_names,
    named_label,
    one_line,
)
from featx.sources._files import StrPath, reason
from featx.sources._layout import canonical_split
from featx.sources._remote import locate

_CHECKED_AT_ONCE = 256
_ROLES = {
    **dict.fromkeys(("images", "image", "imgs", "x", "data"), "images"),
    **dict.fromkeys(("labels", "label", "targets", "target", "y"), "labels"),
    "multilabels": "multilabels",
    **dict.fromkeys(("values", "value", "scores", "score"), "values"),
    **dict.fromkeys(("groups", "group"), "groups"),
}
_LABELS = ("labels", "multilabels", "values")


class _Part(NamedTuple):
    """Images that came together, with what is known of them row by row."""

    images: NDArray[Any]
    labels: ArrayLike | None
    splits: Sequence[object] | NDArray[Any] | None
    groups: Sequence[object] | NDArray[Any] | None = None
    prefix: str = ""
    role: str = "labels"


class ArraySource(Source):
    """Images in memory; they are not copied, and become uint8 RGB one by one as they are read.

    Parameters
    ----------
    images : array-like of shape (n, height, width[, 1 or 3]) or (n, 1 or 3, height, width)
        Grey or RGB; uint8, bool, or floating point in 0..1. Where both the second and the last axis could
        be the colours, the last one is.
    labels : array-like of shape (n,), (n, 1), (n, k) or (n, t), optional
        Text or whole numbers, each a class; negative ones mean "no label" if there are `classes`. A table of 0 and 1,
        or a list of names for each image: which of k classes each one is of (-1 throughout a row that is not known).
        Floating point with a fraction somewhere: t values of each to be predicted (NaN throughout a row that is not
        known).
    splits : sequence of str, optional
        One for each image.
    groups : sequence of str, optional
        One for each image: what must not be torn apart by splits, such as a patient or a video.
    classes : sequence of str, optional
        Names that integer labels are indices into.
    name : str
        What the source is called.
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        splits: Sequence[str | None] | None = None,
        groups: Sequence[str | None] | None = None,
        classes: Sequence[object] | None = None,
        name: str = "arrays",
    ) -> None:
        super().__init__(name, "arrays")
        self._parts = [_Part(np.asarray(images), labels, splits, groups)]
        self._names = () if classes is None else label_names(classes)
        self._mtime_ns = 0
        self._rows: list[tuple[NDArray[Any], int]] = []

    @cached_property
    def identity(self) -> str:
        """``arrays:`` and the digest of all images."""
        return f"arrays:{content_digest(self._parts[0].images)}"

    def _list(self) -> Iterable[Sample]:
        samples = []
        for part in sorted(self._parts, key=lambda part: part.prefix):
            images = _channels_last(part.images)
            _check_values(images)
            labels = self._labels(part, len(images))
            splits = label_column("splits", part.splits, len(images), "images")
            groups = label_column("groups", part.groups, len(images), "images")
            size = images[:1].nbytes
            for row, (label, split, group) in enumerate(zip(labels, splits, groups, strict=True)):
                split_name = label_text(split, "a split")
                samples.append(
                    Sample(
                        f"{part.prefix}{row:08d}",
                        label,
                        split_name and (canonical_split(split_name) or split_name),
                        size,
                        self._mtime_ns,
                        group=label_text(group, "a group"),
                    )
                )
                self._rows.append((images, row))
        return samples

    def _labels(self, part: _Part, n: int) -> list[Label | None]:
        found = label_table(part.labels, n, "images", classes=self._names or None, role=part.role)
        if found is None:
            return [named_label(value, self._names) for value in label_column("labels", part.labels, n, "images")]
        labels, names = found
        self._names = self._names or names
        return labels

    def _read(self, index: int) -> bytes | ImageArray:
        images, row = self._rows[index]
        return as_rgb(images[row])

    def _declared_classes(self) -> Iterable[str]:
        return self._names


class NpzSource(ArraySource):
    """Images in an ``.npz`` file; all its image arrays are held in memory.

    The arrays are found by name: ``images``, ``x`` or ``data`` with ``labels``, ``y`` or ``targets`` and ``groups``,
    in any case and alone or with a split before or after (``x_train``, ``train_images``); ``splits`` and
    ``classes`` if they are there. An array ``multilabels`` instead of labels is a table of classes, ``values`` are
    numbers to be predicted, also where neither could be told from its contents. Python objects are never loaded.

    Parameters
    ----------
    path : str or path-like
        The file, or its URL.
    storage_options : dict, optional
        What fsspec is to be given for a URL, beside its own configuration.
    """

    def __init__(self, path: StrPath, *, storage_options: Mapping[str, Any] | None = None) -> None:
        self._location = locate(path, storage_options)
        super().__init__((), name=os.path.splitext(self._location.last)[0])
        self._identity = f"npz:{self._location.text}"

    @cached_property
    def identity(self) -> str:
        """``npz:`` and the absolute path."""
        return self._identity

    def _list(self) -> Iterable[Sample]:
        try:
            with self._location.open() as file:
                self._mtime_ns = file.stamp[1]
                self._load(np.load(file, allow_pickle=False))
            return super()._list()
        except MissingDependencyError:
            raise
        except FeatxError as error:
            raise SourceError(f"{self._location.text!r}: {error}") from error
        except Exception as error:  # NumPy and zipfile let nearly every exception out on damaged files
            if isinstance(error, OSError) and error.errno is not None:
                raise SourceError(
                    f"{self._location.text!r} cannot be read ({reason(error)}): make it readable"
                ) from error
            raise SourceError(
                f"{self._location.text!r} cannot be read ({one_line(error)}): give an intact .npz file without"
                " Python objects (text saved as numpy.array(labels, dtype=str))"
            ) from error

    def _load(self, arrays: Any) -> None:
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise SourceError("this is a single array: save it with numpy.savez(path, images=..., labels=...)")
        found: dict[tuple[str, str | None], str] = {}
        for name in arrays.files:
            if (place := _role(name)) is None:
                continue
            if place in found:
                raise SourceError(f"the arrays {found[place]!r} and {name!r} mean the same: keep one")
            found[place] = name
        parts = []
        for (role, split), name in found.items():
            if role == "images":
                images = arrays[name]
                given = [each for each in _LABELS if (each, split) in found]
                if len(given) > 1:
                    raise SourceError(f"there must be one array of {' or '.join(given)} for the images: keep one")
                labels = arrays[found[given[0], split]] if given else None
                groups = arrays[found["groups", split]] if ("groups", split) in found else None
                alone = split is None and ("splits", None) in found
                splits = arrays[found["splits", None]] if alone else [split] * len(images)
                parts.append(_Part(images, labels, splits, groups, f"{split}/" if split else "", *given))
        if not parts:
            raise SourceError(
                "there must be an array named images, x or data, alone or with a split as in x_train; got"
                f" {', '.join(map(repr, arrays.files)) or 'none'}"
            )
        self._parts = parts
        if ("classes", None) in found:
            self._names = label_names(arrays[found["classes", None]].tolist())


def as_rgb(image: NDArray[Any]) -> ImageArray:
    """Return one checked image of shape (height, width[, 1 or 3]) as uint8 RGB."""
    if image.dtype.kind == "f":
        wide = image.astype(np.float32) if image.dtype.itemsize < 4 else image
        image = np.rint(wide * 255).astype(np.uint8)
    elif image.dtype.kind == "b":
        image = image.astype(np.uint8) * np.uint8(255)
    if image.ndim == 2:
        image = image[..., None]
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def _channels_last(images: NDArray[Any]) -> NDArray[Any]:
    """Return `images` as a view of shape (n, height, width[, 1 or 3])."""
    shape = images.shape
    if images.size and images.ndim == 3 and shape[2] not in (3, 4):
        return images
    if images.size and images.ndim == 4 and shape[3] in (1, 3):
        return images
    if images.size and images.ndim == 4 and shape[1] in (1, 3):
        return np.moveaxis(images, 1, -1)
    hint = "for a single image give images[None]" if images.ndim == 3 else "bring the axes into that order"
    raise ParameterError(
        "images must have the shape (n, height, width), (n, height, width, 1 or 3) or (n, 1 or 3, height,"
        f" width), without empty axes; got {shape}: {hint}"
    )


def _check_values(images: NDArray[Any]) -> None:
    """Raise ParameterError unless the values are uint8, bool, or floating point in 0..1."""
    kind = images.dtype.kind
    if images.dtype == np.uint8 or kind == "b":
        return
    if kind not in "fiu":
        raise ParameterError(f"images must be uint8, bool or floating point; got {images.dtype}: convert them")
    low, high = np.inf, -np.inf
    for start in range(0, len(images), _CHECKED_AT_ONCE):
        some = images[start : start + _CHECKED_AT_ONCE]
        low, high = min(low, float(some.min())), max(high, float(some.max()))
        if not np.isfinite(some).all():
            raise ParameterError(
                f"images must be finite; got NaN or infinity in rows {start} to {start + len(some) - 1}: replace them"
            )
    if kind == "f" and low >= 0 and high <= 1:
        return
    if low >= 0 and 1 < high <= 255 and (kind != "f" or high > 128):
        advice = "convert them with images.astype(numpy.uint8)"
    else:
        advice = "scale them with (images - images.min()) / (images.max() - images.min())"
    raise ParameterError(
        f"images must be uint8, bool, or floating point in 0..1; got {images.dtype} with values from"
        f" {low:g} to {high:g}: {advice}"
    )


def _role(name: str) -> tuple[str, str | None] | None:
    """Return what an array in a file is for, and of which split: ``x_train`` is the images of ``train``."""
    lower = name.lower()
    if lower in ("classes", "class_names"):
        return "classes", None
    if lower in ("split", "splits"):
        return "splits", None
    tokens = lower.split("_")
    roles = [_ROLES[token] for token in tokens if token in _ROLES]
    splits = [canonical_split(token) for token in tokens if token not in _ROLES]
    if len(roles) != 1 or len(splits) > 1 or None in splits:
        return None
    return roles[0], splits[0] if splits else None
