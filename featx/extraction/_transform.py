"""From a decoded image to the uint8 pixels a network is shown."""

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
"""Resized sides longer than this many crops are cut before resizing: a strip of 1x20000 pixels would
otherwise become an image of gigabytes, of which the middle is kept."""


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


def _cut(image: Image.Image, size: tuple[int, int], limits: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """Cut the ends off an image that would be resized to far more than `limits`, about its centre."""
    box, new_size = [0, 0, image.width, image.height], list(size)
    for axis in (0, 1):
        length, resized, limit = image.size[axis], size[axis], limits[axis] * _LONG
        if resized > limit:
            kept = max(1, round(length * limit / resized))
            box[axis] = (length - kept) // 2
            box[axis + 2] = box[axis] + kept
            new_size[axis] = max(1, round(resized * kept / length))
    return image.crop((box[0], box[1], box[2], box[3])), (new_size[0], new_size[1])


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
    size = _resized_size(image.width, image.height, preprocessing)
    if size[0] > _LONG * crop_width or size[1] > _LONG * crop_height:
        image, size = _cut(image, size, (crop_width, crop_height))
    if size != image.size:
        image = image.resize(size, _FILTERS[preprocessing.interpolation])
    left, top = _centre(size[0], crop_width), _centre(size[1], crop_height)
    if left >= 0 and top >= 0:
        return np.asarray(image.crop((left, top, left + crop_width, top + crop_height)))
    fill = tuple(round(255 * value) for value in preprocessing.mean)
    canvas = Image.new("RGB", (crop_width, crop_height), fill)
    canvas.paste(image, (-left, -top))
    return np.asarray(canvas)
