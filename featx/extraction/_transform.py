"""From a decoded image to the uint8 pixels a network is shown."""

from math import ceil, floor

import numpy as np
import numpy.typing as npt
from PIL import Image

from featx.spec import Preprocessing

__all__ = ["preprocess"]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}

_LONG = 16
"""Of resized sides longer than this many crops only the middle is computed: a strip of 1x20000 pixels would
otherwise become an image of gigabytes. Values then differ by one of 255 at most from those of the whole: Pillow
chooses the order of its two passes by the image's shape, and takes fractions of pixels as float32."""

_SUPPORT = 3
"""Pixels that the widest filter, Lanczos's, takes into account on each side, in units of the scale."""


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


def _centre(length: int, crop: int) -> int:
    """Return where a centred stretch of `crop` starts in `length` pixels; negative where it sticks out."""
    return round((length - crop) / 2) if length >= crop else -((crop - length) // 2)


def _resize(image: Image.Image, size: tuple[int, int], preprocessing: Preprocessing) -> Image.Image:
    """Resize to `size`, or to the middle of that along axes where it is far longer than the crop."""
    resample = _FILTERS[preprocessing.interpolation]
    crop_height, crop_width = preprocessing.crop_size
    if size[0] <= _LONG * crop_width and size[1] <= _LONG * crop_height:
        return image if size == image.size else image.resize(size, resample)
    new_size, near, box = list(size), [0, 0, *image.size], [0.0, 0.0, *map(float, image.size)]
    for axis, crop in ((0, crop_width), (1, crop_height)):
        if size[axis] > _LONG * crop:
            scale = image.size[axis] / size[axis]
            start, stop = (
                position * scale for position in (_centre(size[axis], crop), _centre(size[axis], crop) + crop)
            )
            margin = ceil(_SUPPORT * max(scale, 1)) + 1
            low, high = max(0, floor(start) - margin), min(image.size[axis], ceil(stop) + margin)
            new_size[axis], near[axis], near[axis + 2] = crop, low, high
            box[axis], box[axis + 2] = start - low, stop - low
    part = image.crop((near[0], near[1], near[2], near[3]))
    return part.resize((new_size[0], new_size[1]), resample, (box[0], box[1], box[2], box[3]))


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Resize and crop as `preprocessing` says; scaling to 0..1, mean and std are left to the engine.

    Parameters
    ----------
    image : PIL.Image.Image
        Mode RGB.
    preprocessing : Preprocessing

    Returns
    -------
    ndarray of shape (height, width, 3) and dtype uint8
        The same pixels as torchvision's ``Resize`` and ``CenterCrop`` give for an image of Pillow's.
    """
    crop_height, crop_width = preprocessing.crop_size
    image = _resize(image, _resized_size(image.width, image.height, preprocessing), preprocessing)
    left, top = _centre(image.width, crop_width), _centre(image.height, crop_height)
    if crop_width <= image.width and crop_height <= image.height:
        return np.asarray(image.crop((left, top, left + crop_width, top + crop_height)))
    fill = tuple(round(255 * value) for value in preprocessing.mean)
    canvas = Image.new("RGB", (crop_width, crop_height), fill)
    canvas.paste(image, (-left, -top))
    return np.asarray(canvas)
