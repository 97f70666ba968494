"""From the bytes of an image file to the RGB picture a person sees."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError, features
from PIL.JpegImagePlugin import JpegImageFile

from featx._quiet import quiet_pillow
from featx.errors import SampleError
from featx.sources._base import one_line

try:
    import simplejpeg
except ImportError:  # a checkout that is not installed: Pillow decodes all, to the same pixels
    simplejpeg = None

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "MPO")
"""Pillow's names of the formats that are opened; those with a history of bombs and programs are not."""

Enough = Callable[[tuple[int, int], tuple[int, int]], bool]
"""Whether, of an image of the first width and height, one of the second is enough."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING = tuple(_TURNS[orientation] for orientation in (5, 6, 7, 8))
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC = 0x0112, 258, 262

_SAME_LIBRARY = bool(features.check_feature("libjpeg_turbo"))
"""Whether Pillow decodes with libjpeg-turbo, as simplejpeg does; the other libjpeg has other pixels."""


def decode_image(data: bytes | NDArray[np.uint8], *, enough: Enough | None = None) -> Image.Image:
    """Return what :meth:`Source.read` gave as an RGB image, as a person sees it.

    The EXIF orientation is applied, transparency is laid over white, the first frame stands for an
    animation. Grey of 10 to 16 bits is scaled to 8. Grey of 32 bits or floating point is taken as 0..1
    if all values lie there, else as 0..255 if all lie there, else stretched from its smallest to its
    largest value. Colour profiles are not applied, as in the pipelines that networks are trained with.

    Parameters
    ----------
    data : bytes or ndarray of shape (height, width[, 1 or 3]) of uint8
        An encoded image in one of :data:`FORMATS`, or its pixels.
    enough : callable, optional
        Is given (width, height) of a JPEG as it is seen, and what they are at 1/8, 1/4 or 1/2 of the size: at the first
        for which it returns True the JPEG is decoded, which is far less work. By default, it is wanted whole.

    Raises
    ------
    SampleError
        The data is no image, is damaged or incomplete, or has more than ``PIL.Image.MAX_IMAGE_PIXELS``
        pixels; the message is the reason, in one line.
    """
    if isinstance(data, np.ndarray):
        return Image.fromarray(_rgb_array(data))
    with _reasons():
        return _loaded(*_opened(data, enough))


def decode_pixels(data: bytes | NDArray[np.uint8], *, enough: Enough | None = None) -> NDArray[np.uint8]:
    """Return the pixels of the image that :func:`decode_image` makes of the same, as an array of its own.

    Parameters
    ----------
    data, enough
        As for :func:`decode_image`.

    Returns
    -------
    ndarray of shape (height, width, 3) and dtype uint8
        C-contiguous and writeable.

    Raises
    ------
    SampleError
        As :func:`decode_image`.
    """
    if isinstance(data, np.ndarray):
        return _rgb_array(data)
    with _reasons():
        image, scale = _opened(data, enough)
        pixels = _jpeg_pixels(data, image, scale)
        return np.array(_loaded(image, scale)) if pixels is None else pixels


def is_plain_jpeg(data: bytes) -> bool:
    """Return whether other decoders than Pillow may be given a file: an upright JPEG, grey or in colour, not too large.

    Only its header is read; what follows may be damaged.
    """
    try:
        with _reasons():
            image, _ = _opened(data, None)
            return image.format == "JPEG" and image.mode in ("L", "RGB") and _turn(image) is None
    except SampleError:
        return False


def as_seen(image: Image.Image) -> Image.Image:
    """Return an open Pillow image as :func:`decode_image` would return its file."""
    with _reasons():
        image.load()
        return _upright(image)


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


def _rgb_array(data: NDArray[Any]) -> NDArray[np.uint8]:
    channels = data.shape[2:] or (1,)
    if data.dtype != np.uint8 or data.ndim not in (2, 3) or channels[0] not in (1, 3) or not data.size:
        raise SampleError(
            f"an image array must be uint8 of shape (height, width, 3); got {data.dtype} of shape {data.shape}"
        )
    height, width = data.shape[:2]
    return np.array(np.broadcast_to(data.reshape(height, width, -1), (height, width, 3)), order="C")


def _opened(data: bytes, enough: Enough | None) -> tuple[Image.Image, int]:
    """Return an image of which only the header has been read, and by what to divide its size when it is decoded."""
    if not data:
        raise SampleError("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=_available())
    except UnidentifiedImageError as error:
        raise SampleError(f"not an image of a known format: starts with {data[:16]!r}") from error
    _check_pixels(image.size)
    if enough is None or not isinstance(image, JpegImageFile):  # an MPO is one too
        return image, 1
    size = image.size if _turn(image) not in _SWAPPING else (image.height, image.width)
    for scale in (8, 4, 2):
        if min(size) >= scale and enough(size, _divided(size, scale)):
            return image, scale
    return image, 1


def _divided(size: tuple[int, int], scale: int) -> tuple[int, int]:
    return -(-size[0] // scale), -(-size[1] // scale)


def _loaded(image: Image.Image, scale: int = 1) -> Image.Image:
    """Return an open image decoded, RGB and upright."""
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    image.load()
    _check_pixels(image.size)
    rgb = _upright(image)
    rgb.info = {}  # nobody shall turn it a second time
    return rgb


def _upright(image: Image.Image) -> Image.Image:
    rgb, turn = to_rgb(image), _turn(image)
    return rgb if turn is None else rgb.transpose(turn)


def _jpeg_pixels(data: bytes, image: Image.Image, scale: int) -> NDArray[np.uint8] | None:
    """Return the pixels of an upright JPEG that Pillow would give, sooner; None for all on which Pillow has the word.

    That is also where anything is amiss: simplejpeg refuses what libjpeg only warns of.
    """
    if (
        simplejpeg is None
        or not _SAME_LIBRARY
        or not isinstance(image, JpegImageFile)
        or image.mode not in ("L", "RGB")
    ):
        return None
    if _turn(image) is not None:
        return None
    width, height = _divided(image.size, scale)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except (ValueError, RuntimeError):
        return None
    return pixels if pixels.shape == (height, width, 3) else None


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what the EXIF data of an open image says is to be done to see it upright."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # EXIF data that cannot be read says nothing; the pixels are good
        return None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


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
