"""From a decoded image to the uint8 pixels a network is shown."""

from math import ceil, floor
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from featx.sources import Enough, decode_image, decode_pixels, is_plain_jpeg
from featx.spec import Preprocessing

__all__ = ["FILTERS", "Cropped", "Side", "enough_for", "load_pixels", "preprocess"]

Pixels = npt.NDArray[np.uint8]

Side = Literal[-1, 0, 1]
"""The start of an axis, its middle, or its end."""

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
"""Pillow's, by the names that preprocessing gives them."""

_LONG = 16
"""Of resized sides longer than this many crops only the middle is computed: a strip of 1x20000 pixels would
otherwise become an image of gigabytes. Values then differ by one of 255 at most from those of the whole: Pillow
chooses the order of its two passes by the image's shape, and takes fractions of pixels as float32."""

_SUPPORT = 3
"""Pixels that the widest filter, Lanczos's, takes into account on each side, in units of the scale."""

_LARGE = 3 * 2**22
"""Bytes of decoded pixels above which an image is resized where it was decoded, even for an engine that resizes."""

_MARGIN = 2
"""How many times the resized size a JPEG must at least have that ``decode="fast"`` decodes at a fraction of its own."""


def _resized_size(width: int, height: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return (width, height) after resizing, rounded as torchvision and timm round."""
    aim_height, aim_width = preprocessing.resize_size
    if preprocessing.resize == "squash":
        return aim_width, aim_height
    if preprocessing.resize == "crop" and aim_height == aim_width:  # torchvision.transforms.Resize(int)
        if width <= height:
            return aim_width, int(aim_width * height / width)
        return int(aim_height * width / height), aim_height
    ratios = height / aim_height, width / aim_width  # timm.data.transforms.ResizeKeepRatio
    ratio = min(ratios) if preprocessing.resize == "crop" else max(ratios)
    return max(1, round(width / ratio)), max(1, round(height / ratio))


def _start(length: int, crop: int, side: Side) -> int:
    """Return where a stretch of `crop` starts in `length` pixels; it is centred, and negative, where it sticks out."""
    if length < crop:
        return -((crop - length) // 2)
    return {-1: 0, 0: round((length - crop) / 2), 1: length - crop}[side]


def _resize(
    image: Image.Image, size: tuple[int, int], preprocessing: Preprocessing, corner: tuple[Side, Side]
) -> Image.Image:
    """Resize to `size`, or to the crop's part of that along axes where it is far longer than the crop."""
    resample = FILTERS[preprocessing.interpolation]
    crop_height, crop_width = preprocessing.crop_size
    if size[0] <= _LONG * crop_width and size[1] <= _LONG * crop_height:
        return image if size == image.size else image.resize(size, resample)
    new_size, near, box = list(size), [0, 0, *image.size], [0.0, 0.0, *map(float, image.size)]
    for axis, crop in ((0, crop_width), (1, crop_height)):
        if size[axis] > _LONG * crop:
            scale = image.size[axis] / size[axis]
            first = _start(size[axis], crop, corner[axis])
            start, stop = first * scale, (first + crop) * scale
            margin = ceil(_SUPPORT * max(scale, 1)) + 1
            low, high = max(0, floor(start) - margin), min(image.size[axis], ceil(stop) + margin)
            new_size[axis], near[axis], near[axis + 2] = crop, low, high
            box[axis], box[axis + 2] = start - low, stop - low
    part = image.crop((near[0], near[1], near[2], near[3]))
    return part.resize((new_size[0], new_size[1]), resample, (box[0], box[1], box[2], box[3]))


def _resized_crop(
    image: Image.Image, size: tuple[int, int], preprocessing: Preprocessing, corner: tuple[Side, Side]
) -> Image.Image:
    """Return the crop of an image resized to `size`, without computing all of what is cut off.

    Pillow resizes in two passes with uint8 between, each line by itself: in the first, the rows that the crop does not
    depend on can be left out, and in the second its columns are enough.
    """
    resample = FILTERS[preprocessing.interpolation]
    crop_height, crop_width = preprocessing.crop_size
    left, top = _start(size[0], crop_width, corner[0]), _start(size[1], crop_height, corner[1])
    width, height = image.size
    if resample == Image.Resampling.NEAREST or height - size[1] > max(0, 2 * (width - size[0])):
        # one pass; or one of the images that Pillow from 13.0 on begins with the vertical pass
        return image.resize(size, resample).crop((left, top, left + crop_width, top + crop_height))
    scale = height / size[1]
    margin = ceil(_SUPPORT * max(scale, 1)) + 1
    low, high = max(0, floor(top * scale) - margin), min(height, ceil((top + crop_height) * scale) + margin)
    rows = image.crop((0, low, width, high)).resize((size[0], high - low), resample)
    columns = rows.crop((left, -low, left + crop_width, height - low))  # what is missing above and below does not count
    return columns.resize((crop_width, size[1]), resample).crop((0, top, crop_width, top + crop_height))


def preprocess(
    image: Image.Image, preprocessing: Preprocessing, *, corner: tuple[Side, Side] = (0, 0)
) -> npt.NDArray[np.uint8]:
    """Resize and crop as `preprocessing` says; scaling to 0..1, mean and std are left to the engine.

    Parameters
    ----------
    image : PIL.Image.Image
        Mode RGB.
    preprocessing : Preprocessing
    corner : tuple of {-1, 0, 1}
        Where the crop is cut out, across and down: at the start, in the middle, or at the end.

    Returns
    -------
    ndarray of shape (height, width, 3) and dtype uint8
        The same pixels as torchvision's ``Resize`` and ``CenterCrop`` give for an image of Pillow's.
    """
    crop_height, crop_width = preprocessing.crop_size
    size = _resized_size(image.width, image.height, preprocessing)
    if crop_width <= size[0] <= _LONG * crop_width and crop_height <= size[1] <= _LONG * crop_height:
        return np.asarray(_resized_crop(image, size, preprocessing, corner))
    image = _resize(image, size, preprocessing, corner)
    left, top = _start(image.width, crop_width, corner[0]), _start(image.height, crop_height, corner[1])
    if crop_width <= image.width and crop_height <= image.height:
        return np.asarray(image.crop((left, top, left + crop_width, top + crop_height)))
    fill = tuple(round(255 * value) for value in preprocessing.mean)
    canvas = Image.new("RGB", (crop_width, crop_height), fill)
    canvas.paste(image, (-left, -top))
    return np.asarray(canvas)


def enough_for(preprocessing: Preprocessing) -> Enough | None:
    """Return what `preprocessing` has the decoding of a JPEG ask for (see :func:`decode_image`); None: the whole."""
    if preprocessing.decode != "fast":
        return None

    def enough(whole: tuple[int, int], scaled: tuple[int, int]) -> bool:
        width, height = size = _resized_size(*whole, preprocessing)
        if scaled[0] < _MARGIN * width or scaled[1] < _MARGIN * height:
            return False
        return _resized_size(*scaled, preprocessing) == size  # rounding must not move the crop

    return enough


class Cropped(np.ndarray[Any, np.dtype[np.uint8]]):
    """Pixels of the crop's size among those of any size: they are not to be resized again."""


def load_pixels(data: bytes | Pixels, preprocessing: Preprocessing, *, resize: bool = True) -> Pixels | bytes:
    """Decode what :meth:`Source.read` gave as `preprocessing` says, then resize and crop it.

    Parameters
    ----------
    data : bytes or ndarray of shape (height, width[, 1 or 3]) of uint8
        An encoded image, or its pixels.
    preprocessing : Preprocessing
    resize : bool
        False leaves that to an engine that does it itself, but for very large images, which would fill the memory
        while they wait; and decoding too, where a GPU is to do it and the image is a JPEG that it can decode.

    Returns
    -------
    ndarray of shape (height, width, 3) and dtype uint8, or bytes
        Of the size of the crop or, without resizing, of any size (:class:`Cropped` if it is that of the crop), or the
        data itself.

    Raises
    ------
    SampleError
        The data is no image, or cannot be decoded; the message is the reason, in one line.
    """
    enough = enough_for(preprocessing)
    if resize:
        return preprocess(decode_image(data, enough=enough), preprocessing)
    if preprocessing.decode == "gpu" and isinstance(data, bytes) and is_plain_jpeg(data):
        return data
    pixels = decode_pixels(data, enough=enough)
    if pixels.size <= _LARGE:
        return pixels
    return preprocess(Image.fromarray(pixels), preprocessing).view(Cropped)
