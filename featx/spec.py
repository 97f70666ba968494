"""The values that decide the numbers: :class:`Preprocessing` and :class:`ExtractionSpec`.

Both are plain immutable values. They know neither torch nor HDF5, so that every other part of featx may
hold them: a store says what it was made with, a head says what it was trained on, and the two can be compared.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from operator import index
from typing import Any, Literal, get_args

from featx.errors import ParameterError, SpecMismatchError

__all__ = [
    "DEFAULT_BACKBONE",
    "SPEC_VERSION",
    "ExtractionSpec",
    "Preprocessing",
    "canonical_json",
    "digest_of",
    "require_same_spec",
    "require_views",
]

DEFAULT_BACKBONE = "efficientnet_lite0"
"""What is used where no backbone is named: its weights come with a package."""

SPEC_VERSION = 1
"""Raised whenever the same fields would come to mean other numbers."""

Resize = Literal["crop", "squash", "pad"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Decode = Literal["exact", "fast", "gpu"]
Pool = Literal["avg", "max", "gem", "cls", "flatten", "none"]
Precision = Literal["fp32", "bf16", "fp16"]
StoredDtype = Literal["float32", "float16"]


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical_json(value: object) -> str:
    """Return `value` as JSON with sorted keys, no spaces and ASCII only: equal values give equal text."""
    return _CANONICAL.encode(value)


def digest_of(value: object) -> str:
    """Return the SHA-256 hex digest of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def _check_choice(parameter: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ParameterError(f"{parameter} must be one of {', '.join(choices)}; got {value!r}")


def _each(convert: Callable[[Any], Any], values: Any) -> tuple[Any, ...]:
    """Return `values` converted, as equal values must have one digest; nothing where one of them cannot be."""
    try:
        return tuple(map(convert, values))
    except (TypeError, ValueError, OverflowError):
        return ()


def _one_zero(value: Any) -> float:
    """Return `value` as a float; -0.0 equals 0.0 and must become it."""
    return float(value) + 0.0


_ADDED_LATER = {"added later": True}
"""Marks a field that specs did not always have: at its default it is left out of their JSON, so that the digests of
those that were made without it stay what they are."""


def _to_dict(value: "Preprocessing | ExtractionSpec") -> dict[str, Any]:
    values = {}
    for each in fields(value):
        mine = getattr(value, each.name)
        if each.metadata != _ADDED_LATER or mine != each.default:
            values[each.name] = _to_dict(mine) if isinstance(mine, Preprocessing) else mine
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How a decoded RGB image becomes the tensor a network was trained on.

    Parameters
    ----------
    crop_size : tuple of int
        Height and width of the network's input, in pixels.
    resize_size : tuple of int
        Height and width in pixels that the resizing aims at before the centre crop (see `resize`).
    resize : {"crop", "squash", "pad"}
        ``crop``: the image keeps its aspect ratio and just covers `resize_size`. ``squash``: it becomes
        `resize_size` exactly. ``pad``: it keeps its aspect ratio and just fits into `resize_size`. Then the
        centre is cut out; what lies outside the image has the mean colour.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"}
        Pillow's filter of that name; all but ``nearest`` are antialiased.
    mean, std : tuple of float
        Per RGB channel, for values scaled to 0..1.
    decode : {"exact", "fast", "gpu"}
        ``fast``: a JPEG of far more pixels than the resizing aims at is decoded at 1/2, 1/4 or 1/8 of its size, in a
        fraction of the time and to slightly other pixels. ``gpu``: plain JPEGs are decoded by the GPU that runs the
        network, which has other pixels, too. ``exact``: they are decoded whole, like all other images.
    """

    crop_size: tuple[int, int] = (224, 224)
    resize_size: tuple[int, int] = (256, 256)
    resize: Resize = "crop"
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    decode: Decode = field(default="exact", metadata=_ADDED_LATER)

    def __post_init__(self) -> None:
        _check_choice("decode", self.decode, get_args(Decode))
        _check_choice("resize", self.resize, get_args(Resize))
        _check_choice("interpolation", self.interpolation, get_args(Interpolation))
        for parameter in ("crop_size", "resize_size"):
            size = _each(index, getattr(self, parameter))
            if len(size) != 2 or min(size) < 1:
                raise ParameterError(
                    f"{parameter} must be two lengths of at least 1 pixel; got {getattr(self, parameter)}"
                )
            object.__setattr__(self, parameter, size)
        for parameter in ("mean", "std"):
            values = _each(_one_zero, getattr(self, parameter))
            if len(values) != 3 or not all(map(isfinite, values)) or (parameter == "std" and min(values) <= 0):
                raise ParameterError(
                    f"mean and std must have three numbers each, std above 0; got {self.mean} and {self.std}"
                )
            object.__setattr__(self, parameter, values)

    @property
    def side(self) -> int | None:
        """What ``image_size`` means these images: their side, in pixels, if they are square."""
        return self.crop_size[0] if self.crop_size[0] == self.crop_size[1] else None

    def changed(
        self,
        *,
        image_size: int | None = None,
        resize: str | None = None,
        interpolation: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        decode: str | None = None,
    ) -> "Preprocessing":
        """Return these settings with the given ones changed.

        A new `image_size` keeps the ratio of `resize_size` to the crop, as torchvision's and timm's presets
        do; ``resize="squash"`` or ``"pad"`` shows the network the whole image, so nothing is cropped.
        """
        if image_size is not None and image_size < 1:
            raise ParameterError(f"image_size must be at least 1 pixel; got {image_size}")
        height, width = self.crop_size if image_size is None else (image_size, image_size)
        if resize in ("squash", "pad"):
            resize_size = (height, width)
        else:
            resize_size = (
                max(1, self.resize_size[0] * height // self.crop_size[0]),
                max(1, self.resize_size[1] * width // self.crop_size[1]),
            )
        given = {
            "resize": resize,
            "interpolation": interpolation,
            "mean": None if mean is None else tuple(mean),
            "std": None if std is None else tuple(std),
            "decode": decode,
        }
        return replace(
            self,
            crop_size=(height, width),
            resize_size=resize_size,
            **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]  # checked
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON of a spec holds; fields that were added later are left out at their default."""
        return _to_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Build from what :meth:`to_dict` and JSON leave (tuples as lists)."""
        fields_: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**fields_)


def require_views(views: int, augment: str, augment_seed: int) -> None:
    """Raise ParameterError unless there are views beyond the plain image just where it is said how they are drawn."""
    if views > 1 and not augment:
        raise ParameterError(
            f"views {views} needs augment, which says how those beyond the plain image are drawn; got none: add it,"
            " such as augment 'hflip'"
        )
    if views == 1 and (augment or augment_seed):
        given = f"augment {augment!r}" if augment else f"augment_seed {augment_seed}"
        raise ParameterError(
            f"{given} is of views beyond the plain image, and views 1 has none: add views, such as views 4, or leave"
            " it out"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionSpec:
    """Everything that decides the numbers in a feature store; its digest is the cache key.

    Parameters
    ----------
    backbone : str
        Qualified name, such as ``torchvision:resnet50``.
    weights : str
        SHA-256 hex digest of the tensors really in the network, never of a file name or a tag.
    layer : str
        Name of the node whose output is kept (see ``featx layers``).
    pool : {"avg", "max", "gem", "cls", "flatten", "none"}
        How that output becomes a row; ``none`` for one that is a vector already.
    preprocessing : Preprocessing
        From the decoded image to the network's input.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the forward pass.
    dtype : {"float32", "float16"}
        Type of the stored features.
    views : int
        Number of views of each image; 1 is the plain image alone.
    augment : str
        How the further views are drawn, as :class:`featx.extraction.Augmentation` writes it; empty for one view.
    augment_seed : int
        What they are drawn with, beside the image's bytes and the number of the view.
    version : int
        :data:`SPEC_VERSION` of the featx that made the features.
    """

    backbone: str
    weights: str
    layer: str
    pool: Pool
    preprocessing: Preprocessing
    precision: Precision = "fp32"
    dtype: StoredDtype = "float32"
    views: int = 1
    augment: str = ""
    augment_seed: int = field(default=0, metadata=_ADDED_LATER)
    version: int = SPEC_VERSION

    def __post_init__(self) -> None:
        _check_choice("pool", self.pool, get_args(Pool))
        _check_choice("precision", self.precision, get_args(Precision))
        _check_choice("dtype", self.dtype, get_args(StoredDtype))
        for parameter in ("backbone", "weights", "layer", "augment"):
            if not isinstance(getattr(self, parameter), str):
                raise ParameterError(f"{parameter} must be text; got {getattr(self, parameter)!r}")
        for parameter, least in (("views", 1), ("augment_seed", 0), ("version", 1)):
            if type(getattr(self, parameter)) is not int or getattr(self, parameter) < least:
                raise ParameterError(
                    f"{parameter} must be a whole number of at least {least}; got {getattr(self, parameter)!r}"
                )
        require_views(self.views, self.augment, self.augment_seed)

    @property
    def plain(self) -> "ExtractionSpec":
        """The spec of the plain image alone, equal in everything else."""
        return replace(self, views=1, augment="", augment_seed=0)

    def shared_views(self, other: "ExtractionSpec") -> int:
        """Return how many leading views have the same features under both specs: that of the plain image always has."""
        if self.plain != other.plain:
            return 0
        if (self.augment, self.augment_seed) != (other.augment, other.augment_seed):
            return 1
        return min(self.views, other.views)

    @property
    def digest(self) -> str:
        """SHA-256 hex digest of the fields."""
        return digest_of(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as :meth:`to_json` writes them."""
        return _to_dict(self)

    def to_json(self) -> str:
        """Return the fields as canonical JSON, the text that :attr:`digest` is taken of."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> "ExtractionSpec":
        """Read what :meth:`to_json` wrote; raises ParameterError for anything else."""
        try:
            values = json.loads(text)
            return cls(**{**values, "preprocessing": Preprocessing.from_dict(values["preprocessing"])})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ParameterError(f"the text is no extraction spec of this featx ({error})") from error

    def differences(self, other: "ExtractionSpec") -> list[str]:
        """Return one line for each field in which `other` differs, with both values."""
        lines = []
        for owner, a, b in (("", self, other), ("preprocessing.", self.preprocessing, other.preprocessing)):
            for each in fields(a):
                mine, theirs = getattr(a, each.name), getattr(b, each.name)
                if mine != theirs and each.name != "preprocessing":
                    lines.append(f"{owner}{each.name}: {mine!r} against {theirs!r}")
        return lines


def require_same_spec(trained: ExtractionSpec, given: ExtractionSpec, *, what: str) -> None:
    """Raise SpecMismatchError unless `given` equals `trained`, naming each field that differs."""
    lines = trained.differences(given)
    if lines:
        raise SpecMismatchError(
            f"{what} differs from what the head was trained on in {'; '.join(lines)} (trained against given):"
            f" extract with the settings of {trained.digest[:12]}, or fit a head on {given.digest[:12]}"
        )
