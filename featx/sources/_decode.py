"""From the bytes of an image file to the RGB picture a person sees."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from featx._quiet import quiet_pillow
from featx.errors import SampleError
from featx.sources._base import one_line

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "MPO")
"""Pillow's names of the formats that are opened; those with a history of bombs and programs are not."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC = 0x0112, 258, 262


def decode_image(data: bytes | NDArray[np.uint8]) -> Image.Image:
    """Return what :meth:`Source.read` gave as an RGB image, as a person sees it.

    The EXIF orientation is applied, transparency is laid over white, the first frame stands for an
    animation. Grey of 10 to 16 bits is scaled to 8. Grey of 32 bits or floating point is taken as 0..1
    if all values lie there, else as 0..255 if all lie there, else stretched from its smallest to its
    largest value. Colour profiles are not applied, as in the pipelines that networks are trained with.

    Parameters
    ----------
    data : bytes or ndarray of shape (height, width[, 1 or 3]) of uint8
        An encoded image in one of :data:`FORMATS`, or its pixels.

    Raises
    ------
    SampleError
        The data is no image, is damaged or incomplete, or has more than ``PIL.Image.MAX_IMAGE_PIXELS``
        pixels; the message is the reason, in one line.
    """
    if isinstance(data, np.ndarray):
        return _from_array(data)
    if not data:
        raise SampleError("empty file")
    with _reasons():
        try:
            image = Image.open(io.BytesIO(data), formats=_available())
        except UnidentifiedImageError as error:
            raise SampleError(f"not an image of a known format: starts with {data[:16]!r}") from error
        _check_pixels(image.size)
        image.load()
        _check_pixels(image.size)
        rgb = _upright(image, to_rgb(image))
        rgb.info = {}  # nobody shall turn it a second time
        return rgb


def as_seen(image: Image.Image) -> Image.Image:
    """Return an open Pillow image as :func:`decode_image` would return its file."""
    with _reasons():
        image.load()
        return _upright(image, to_rgb(image))


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a loaded image of any mode as RGB over white; orientation is left alone."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _grey(_sixteen_bits(image), image)
    if image.mode in ("I", "F"):
        return _grey(_any_range(np.asarray(image, np.float64)), image)
    if image.mode == "LAB":
        return _lab_to_rgb(image)
    if image.has_transparency_data:
        rgba = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(data: NDArray[Any]) -> Image.Image:
    channels = data.shape[2:] or (1,)
    if data.dtype != np.uint8 or data.ndim not in (2, 3) or channels[0] not in (1, 3) or not data.size:
        raise SampleError(
            f"an image array must be uint8 of shape (height, width, 3); got {data.dtype} of shape {data.shape}"
        )
    pixels = data.reshape(data.shape[:2]) if channels[0] == 1 else data
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


def _upright(image: Image.Image, rgb: Image.Image) -> Image.Image:
    """Return `rgb` turned as the EXIF data of `image` says."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # EXIF data that cannot be read says nothing; the pixels are good
        orientation = None
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return rgb if turn is None else rgb.transpose(turn)


def _sixteen_bits(image: Image.Image) -> NDArray[np.float32]:
    values: NDArray[np.float32] = np.asarray(image).astype(np.float32)
    bits = _tiff_tag(image, _BITS_PER_SAMPLE) or 16
    grey: NDArray[np.float32] = np.rint(values * np.float32(255 / (2**bits - 1)))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return grey


def _any_range(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise SampleError("holds values that are not finite")
    if low >= 0 and high <= 1:
        return np.rint(values * 255)
    if low >= 0 and high <= 255:
        return np.rint(values)
    return np.rint((values - low) / ((high - low) or 1.0) * 255)


def _grey(values: NDArray[np.floating[Any]], image: Image.Image) -> Image.Image:
    if _tiff_tag(image, _PHOTOMETRIC) == 0:  # "white is zero", which Pillow undoes for 8 bits only
        values = 255 - values
    return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")


def _tiff_tag(image: Image.Image, tag: int) -> int | None:
    value = getattr(image, "tag_v2", {}).get(tag)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else None


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None  # only in-place conversion returns nothing
    return converted


def _check_pixels(size: tuple[int, int]) -> None:
    pixels, limit = size[0] * size[1], Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > limit:
        raise SampleError(f"too large: {size[0]} x {size[1]} pixels, above the limit of {limit:,}")


def _available() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn whatever Pillow raises into a SampleError with the reason in one line."""
    try:
        with quiet_pillow():
            yield
    except SampleError:
        raise
    except Image.DecompressionBombError as error:
        raise SampleError(f"too large: {one_line(error)}") from error
    except Exception as error:  # Pillow lets nearly every exception out on malformed data
        raise SampleError(f"cannot be decoded: {one_line(error)}") from error
