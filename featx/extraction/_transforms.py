"""What views are drawn with, by name: torchvision's transforms of images, and its sets of crops for tests.

Each is a function of an image and of the :class:`View` that is being drawn. Names, ranges, defaults and the order in
which random numbers are taken are those of ``torchvision.transforms.v2``, and so are the pixels. Its own random numbers
are torch's, of which a process has one stream for all threads.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, cast

import numpy as np
from PIL import Image, ImageOps

from featx.extraction._transform import FILTERS, Side, preprocess
from featx.spec import Preprocessing

__all__ = ["ALIASES", "TRANSFORMS", "Parameter", "Transform", "View"]

Picture = Image.Image
Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class View:
    """What a transform needs to know of the view that it draws.

    Parameters
    ----------
    number : int
        From 1: number 0 is the plain image.
    random : Random
        Where its random numbers come from.
    preprocessing : Preprocessing
        Of the network that the view is for.
    """

    number: int
    random: Random
    preprocessing: Preprocessing

    def uniform(self, low: float, high: float) -> float:
        """Return a random number of an interval."""
        return low + (high - low) * self.random.random()

    def below(self, count: int) -> int:
        """Return a random whole number of 0 to `count` - 1."""
        return int(count * self.random.random())

    def happens(self, probability: float) -> bool:
        """Return whether something of a probability is the case."""
        return self.random.random() < probability


Reader = Callable[[tuple[Decimal, ...]], tuple[Decimal, ...] | None]
"""Makes of the numbers that were given those that they mean; None if they break the rule."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What may be said of a transform: a number, or several with colons between them.

    Parameters
    ----------
    rule : str
        In words.
    read : callable
    default : str or None
        None where it must be said.
    """

    rule: str
    read: Reader
    default: str | None = None


def _share(default: str) -> Parameter:
    """A probability."""
    return Parameter("a number from 0 to 1", lambda given: given if _is_one(given, "0", "1") else None, default)


def _whole(low: str, high: str, default: str, *, odd: bool = False) -> Parameter:
    """A whole number."""

    def read(given: tuple[Decimal, ...]) -> tuple[Decimal, ...] | None:
        fits = _is_one(given, low, high) and given[0] % (2 if odd else 1) == odd
        return given if fits else None

    return Parameter(f"{'an odd' if odd else 'a'} whole number from {low} to {high}", read, default)


def _is_one(given: tuple[Decimal, ...], low: str, high: str) -> bool:
    return len(given) == 1 and Decimal(low) <= given[0] <= Decimal(high)


def _interval(low: str, high: str, default: str | None = None, *, around: int | None = None) -> Parameter:
    """Two numbers, LOW:HIGH; or one, how far both are from the middle that `around` says, though not below `low`."""
    least, most = Decimal(low), Decimal(high)

    def read(given: tuple[Decimal, ...]) -> tuple[Decimal, ...] | None:
        if len(given) == 1 and around is not None and given[0] >= 0:
            given = (max(least, around - given[0]), around + given[0])
        return given if len(given) == 2 and least <= given[0] <= given[1] <= most else None

    single = "" if around is None else f"how far it may be from {around}, or "
    return Parameter(f"{single}LOW:HIGH, from {low} to {high}", read, default)


def _shear(default: str) -> Parameter:
    """Degrees across and, if there are four numbers, down."""
    one = _interval("-89", "89", around=0)

    def read(given: tuple[Decimal, ...]) -> tuple[Decimal, ...] | None:
        if len(given) != 4:
            return one.read(given)
        parts = one.read(given[:2]), one.read(given[2:])
        return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]

    return Parameter(f"{one.rule}, or LOW:HIGH:LOW:HIGH across and down", read, default)


def _translate(default: str) -> Parameter:
    """The largest part of the width and of the height; one number means both."""

    def read(given: tuple[Decimal, ...]) -> tuple[Decimal, ...] | None:
        both = given * 2 if len(given) == 1 else given
        return both if len(both) == 2 and all(0 <= part <= 1 for part in both) else None

    return Parameter("a number from 0 to 1, or ACROSS:DOWN", read, default)


@dataclass(frozen=True, slots=True)
class Transform:
    """What a name in an augmentation means.

    Parameters
    ----------
    apply : callable
        From an image, the view, and the numbers of each parameter to an image.
    parameters : dict of str to Parameter
        In the order in which they may be given without their names.
    decoded : bool
        Whether it takes the decoded image, and replaces the resizing and cropping.
    most : int or None
        Of a set whose views are not drawn at random, how many there are, the plain image included.
    """

    apply: Callable[..., Picture]
    parameters: dict[str, Parameter]
    decoded: bool = False
    most: int | None = None


TRANSFORMS: dict[str, Transform] = {}
"""All of them, by name."""

ALIASES = {"flip+crops": "tencrop"}
"""Other names for some."""


def _transform(
    *, decoded: bool = False, most: int | None = None, **parameters: Parameter
) -> Callable[[Callable[..., Picture]], Callable[..., Picture]]:
    """Enter a function under its name."""

    def enter(apply: Callable[..., Picture]) -> Callable[..., Picture]:
        assert apply.__name__ not in TRANSFORMS
        TRANSFORMS[apply.__name__] = Transform(apply, parameters, decoded, most)
        return apply

    return enter


def _functional() -> Any:
    """Return torchvision's functions, which are loaded when the first of them is needed."""
    from torchvision.transforms.v2 import functional

    return functional


@_transform(p=_share("0.5"))
def hflip(image: Picture, view: View, p: Numbers) -> Picture:
    return ImageOps.mirror(image) if view.happens(*p) else image


@_transform(p=_share("0.5"))
def vflip(image: Picture, view: View, p: Numbers) -> Picture:
    return ImageOps.flip(image) if view.happens(*p) else image


@_transform(
    degrees=_interval("-360", "360", "0", around=0),
    shear=_shear("0"),
    scale=_interval("0.01", "100", "1:1"),
    translate=_translate("0"),
)
def affine(image: Picture, view: View, degrees: Numbers, shear: Numbers, scale: Numbers, translate: Numbers) -> Picture:
    angle = view.uniform(*degrees)
    shifts = [round(view.uniform(-most * size, most * size)) for most, size in zip(translate, image.size, strict=True)]
    factor = view.uniform(*scale)
    shears = [view.uniform(*shear[at : at + 2]) if shear[at:] else 0.0 for at in (0, 2)]
    moved = _functional().affine(image, angle=angle, translate=shifts, scale=factor, shear=shears)
    return cast(Picture, moved)


@_transform(degrees=_interval("-360", "360", around=0))
def rotate(image: Picture, view: View, degrees: Numbers) -> Picture:
    return cast(Picture, _functional().rotate(image, angle=view.uniform(*degrees)))


@_transform(
    decoded=True,
    size=_whole("0", "10000", "0"),
    scale=_interval("0.0001", "1", "0.08:1"),
    ratio=_interval("0.01", "100", "0.75:1.3333333333333333"),
)
def rrc(image: Picture, view: View, size: Numbers, scale: Numbers, ratio: Numbers) -> Picture:
    """Random resized crop, with the filter that the network's images are resized with."""
    left, top, width, height = _random_box(*image.size, view, scale, ratio)
    high, wide = view.preprocessing.crop_size
    if size[0]:
        high = wide = int(size[0])
    part = image.crop((left, top, left + width, top + height))
    return part.resize((wide, high), FILTERS[view.preprocessing.interpolation])


def _random_box(width: int, height: int, view: View, scale: Numbers, ratio: Numbers) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a random part of an image, after Szegedy et al. (2015)."""
    for _ in range(10):
        area = width * height * view.uniform(*scale)
        aspect = math.exp(view.uniform(math.log(ratio[0]), math.log(ratio[1])))
        wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < high <= height:
            top, left = view.below(height - high + 1), view.below(width - wide + 1)
            return left, top, wide, high
    wide = min(width, max(1, round(height * ratio[1])))
    high = min(height, max(1, round(width / ratio[0])))
    return (width - wide) // 2, (height - high) // 2, wide, high


@_transform(
    brightness=_interval("0", "100", "0", around=1),
    contrast=_interval("0", "100", "0", around=1),
    saturation=_interval("0", "100", "0", around=1),
    hue=_interval("-0.5", "0.5", "0", around=0),
)
def colorjitter(
    image: Picture, view: View, brightness: Numbers, contrast: Numbers, saturation: Numbers, hue: Numbers
) -> Picture:
    """All four in random order; those that change nothing are left out, and take no random number."""
    adjust = _functional()
    order = list(range(4))
    for at in (3, 2, 1):
        other = view.below(at + 1)
        order[at], order[other] = order[other], order[at]
    functions = (adjust.adjust_brightness, adjust.adjust_contrast, adjust.adjust_saturation, adjust.adjust_hue)
    ranges, neutral = (brightness, contrast, saturation, hue), (1, 1, 1, 0)
    factors = [
        None if low == high == nothing else view.uniform(low, high)
        for (low, high), nothing in zip(ranges, neutral, strict=True)
    ]
    for at in order:
        if factors[at] is not None:
            image = functions[at](image, factors[at])
    return image


@_transform(p=_share("0.1"))
def grayscale(image: Picture, view: View, p: Numbers) -> Picture:
    return image.convert("L").convert("RGB") if view.happens(*p) else image


@_transform(kernel_size=_whole("1", "999", "9", odd=True), sigma=_interval("0.01", "100", "0.1:2"))
def blur(image: Picture, view: View, kernel_size: Numbers, sigma: Numbers) -> Picture:
    """Gaussian; SciPy's convolution has no threads of its own, and torch's are in each other's way here."""
    from scipy.ndimage import correlate1d

    places = np.arange(kernel_size[0]) - kernel_size[0] // 2
    kernel = np.exp(-0.5 * (places / view.uniform(*sigma)) ** 2)
    pixels = np.asarray(image, dtype=np.float32)
    for axis in (0, 1):
        pixels = correlate1d(pixels, kernel / kernel.sum(), axis, mode="mirror")
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


@_transform(n=_whole("0", "20", "2"), magnitude=_whole("0", "30", "9"))
def randaugment(image: Picture, view: View, n: Numbers, magnitude: Numbers) -> Picture:
    """So many operations of the table of Cubuk et al. (2020), each as strong as the magnitude says, of 30."""
    strength = magnitude[0] / 30
    for _ in range(int(n[0])):
        signed, operation = _OPERATIONS[view.below(len(_OPERATIONS))]
        sign = -1 if signed and not view.random.random() > 0.5 else 1
        image = operation(image, strength, sign)
    return image


def _sheared(image: Picture, across: float, down: float) -> Picture:
    degrees = [math.degrees(math.atan(value)) for value in (across, down)]
    sheared = _functional().affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=degrees, center=[0, 0])
    return cast(Picture, sheared)


def _shifted(image: Picture, across: float, down: float) -> Picture:
    shifts = [int(across * image.width), int(down * image.height)]
    return cast(Picture, _functional().affine(image, angle=0.0, translate=shifts, scale=1.0, shear=[0.0, 0.0]))


_FARTHEST = 150 / 331

_OPERATIONS: tuple[tuple[bool, Callable[[Picture, float, int], Picture]], ...] = (
    (False, lambda image, strength, sign: image),
    (True, lambda image, strength, sign: _sheared(image, sign * 0.3 * strength, 0)),
    (True, lambda image, strength, sign: _sheared(image, 0, sign * 0.3 * strength)),
    (True, lambda image, strength, sign: _shifted(image, sign * _FARTHEST * strength, 0)),
    (True, lambda image, strength, sign: _shifted(image, 0, sign * _FARTHEST * strength)),
    (True, lambda image, strength, sign: _functional().rotate(image, angle=sign * 30 * strength)),
    (True, lambda image, strength, sign: _functional().adjust_brightness(image, 1 + sign * 0.9 * strength)),
    (True, lambda image, strength, sign: _functional().adjust_saturation(image, 1 + sign * 0.9 * strength)),
    (True, lambda image, strength, sign: _functional().adjust_contrast(image, 1 + sign * 0.9 * strength)),
    (True, lambda image, strength, sign: _functional().adjust_sharpness(image, 1 + sign * 0.9 * strength)),
    (False, lambda image, strength, sign: ImageOps.posterize(image, 8 - round(4 * strength))),
    (False, lambda image, strength, sign: ImageOps.solarize(image, 255 * (1 - strength))),  # type: ignore[arg-type]
    (False, lambda image, strength, sign: ImageOps.autocontrast(image)),
    (False, lambda image, strength, sign: ImageOps.equalize(image)),
)
"""Whether the sign is drawn, and what is done; in torchvision's order."""


_CORNERS: tuple[tuple[Side, Side], ...] = ((0, 0), (-1, -1), (1, -1), (-1, 1), (1, 1))
"""Of five crops, the plain one first."""


@_transform(most=2)
def flip(image: Picture, view: View) -> Picture:
    return ImageOps.mirror(image)


@_transform(most=5, decoded=True)
def fivecrop(image: Picture, view: View) -> Picture:
    return Image.fromarray(preprocess(image, view.preprocessing, corner=_CORNERS[view.number]))


@_transform(most=10, decoded=True)
def tencrop(image: Picture, view: View) -> Picture:
    """Each crop is followed by its mirror image."""
    place, mirrored = divmod(view.number, 2)
    cropped = Image.fromarray(preprocess(image, view.preprocessing, corner=_CORNERS[place]))
    return ImageOps.mirror(cropped) if mirrored else cropped
