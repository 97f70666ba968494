"""A grid of pictures, each with a title."""

from collections.abc import Iterable, Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

from featx.errors import ParameterError
from featx.plots._style import DPI, in_house_style
from featx.plots._text import Writing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure
    from PIL import Image

__all__ = ["gallery"]

_SIDE = 2.2
"""Inches within which a picture lies."""

_GAP = 0.15
"""Inches around each picture with its title."""

_FONT = 9.0
"""Size of the titles in points."""

_LINES = 4
"""Most lines of a title."""

_COLUMNS = 8
"""Most pictures side by side, unless it is said otherwise."""

_THINNEST = 0.03
"""Inches that even the narrowest picture has."""


@in_house_style
def gallery(
    images: "Iterable[Image.Image | npt.NDArray[np.uint8]]", titles: Sequence[str], *, columns: int | None = None
) -> "Figure":
    """Draw pictures in rows, each as large as it can be in its place without being distorted, with its title above it.

    Parameters
    ----------
    images : iterable of PIL.Image.Image, or ndarray of shape (height, width[, 3]) and dtype uint8
        Taken one by one, and kept in the size they are shown in.
    titles : sequence of str
        One for each picture. What is too long is wrapped, then shortened in its middle; a newline begins a new line,
        and nothing else in a title is more than text.
    columns : int, optional
        Pictures side by side; by default all of up to 4, else about as many as there are rows.

    Returns
    -------
    matplotlib.figure.Figure
        Known to no window and to no ``pyplot``; :func:`save_figure` writes it.

    Raises
    ------
    ParameterError
        If there are no pictures, or not as many as titles.
    """
    from matplotlib.figure import Figure

    pictures, sizes = [], []
    for image in map(_as_image, images):
        sizes.append(_size(*image.size))
        pictures.append(_pixels(image))
    if not pictures or len(pictures) != len(titles):
        raise ParameterError(
            f"images must be at least one, with a title each; got {len(pictures)} images and {len(titles)} titles"
        )
    if columns is None:
        columns = len(pictures) if len(pictures) <= 4 else min(_COLUMNS, ceil(sqrt(len(pictures))))
    if columns < 1:
        raise ParameterError(f"columns must be at least 1; got {columns}")
    writing = Writing(titles, _FONT)
    texts = [writing.lines(title, 72 * _SIDE, _LINES) for title in titles]
    rows = [range(first, min(first + columns, len(pictures))) for first in range(0, len(pictures), columns)]
    heads = [_GAP / 2 + max(writing.height(texts[i]) for i in row) / 72 for row in rows]
    heights = [max(sizes[i][1] for i in row) for row in rows]
    width = columns * (_SIDE + _GAP) + _GAP
    height = sum(heads) + sum(heights) + (len(rows) + 1) * _GAP
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("none")
    top = height - _GAP
    for row, head, tallest in zip(rows, heads, heights, strict=True):
        for column, i in enumerate(row):
            across, down = sizes[i]
            left = _GAP + column * (_SIDE + _GAP) + (_SIDE - across) / 2
            place = (left / width, (top - head - down) / height, across / width, down / height)
            axes = figure.add_axes(place, xticks=[], yticks=[])
            axes.imshow(pictures[i], cmap="gray", vmin=0, vmax=255, aspect="auto")
            axes.set_frame_on(False)
            axes.set_title("\n".join(texts[i]), pad=72 * _GAP / 2, loc="center", **writing.style)
        top -= head + tallest + _GAP
    return figure


def _as_image(image: Any) -> "Image.Image":
    """Return a picture as Pillow has it, as a person sees it."""
    import numpy as np
    from PIL import Image, ImageOps

    if isinstance(image, Image.Image):
        return ImageOps.exif_transpose(image).convert("RGB")
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or not array.size:
        raise ParameterError(
            f"images must be Pillow's, or uint8 arrays of shape (height, width[, 3]); got {array.dtype} of shape"
            f" {array.shape}"
        )
    return Image.fromarray(array)


def _pixels(image: "Image.Image") -> "npt.NDArray[np.uint8]":
    """Return a picture's pixels, no more of them than are shown."""
    import numpy as np
    from PIL import Image

    image.thumbnail((round(DPI * _SIDE), round(DPI * _SIDE)), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _size(width: int, height: int) -> tuple[float, float]:
    """Return the width and height in inches that a picture is shown in."""
    scale = _SIDE / max(width, height)
    return max(_THINNEST, scale * width), max(_THINNEST, scale * height)
