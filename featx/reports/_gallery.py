"""Pictures with their titles, as a page."""

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from featx.extraction import default_workers
from featx.reports._page import Page
from featx.sources import decode_image

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Picture", "Pixels", "data_address", "gallery_page", "small_image"]

Pixels: TypeAlias = "Image.Image | npt.NDArray[np.uint8]"

_QUALITY = 75
"""Of a thumbnail; at that WebP takes 1 to 2 KB for 64 pixels."""

_SIDE = 192
"""Most pixels of the longer side of a picture in a gallery."""

_MARKS = {True: ("right", "✓"), False: ("wrong", "✗")}


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, and what is said of it.

    Parameters
    ----------
    image : PIL.Image.Image, ndarray of shape (height, width[, 3]) and dtype uint8, callable, or None
        A callable returns one of the others, and is called when the picture is drawn; None if it is not at hand.
    lines : sequence of str
        The first is the most important.
    name : str
        What it is called, for those who do not see it; shown too, if it is none of the lines.
    right : bool, optional
        Whether an answer that the lines give is true.
    """

    image: "Pixels | Callable[[], Pixels | None] | None"
    lines: Sequence[str]
    name: str
    right: bool | None = None

    def load(self) -> "Pixels | None":
        """Return the image, if it is at hand."""
        return self.image() if callable(self.image) else self.image

    @property
    def mark(self) -> str:
        """A mark, for the end of the last line, that says whether an answer is true."""
        return "" if self.right is None else f" {_MARKS[self.right][1]}"


def gallery_page(sections: Iterable[tuple[str, Sequence[Picture]]], title: str, *, notes: Sequence[str] = ()) -> Page:
    """Return a page of pictures with their titles, in the order given.

    Parameters
    ----------
    sections : iterable of (str, sequence of Picture)
        Each with a heading, which may be empty.
    title : str
        Of the page.
    notes : sequence of str
        What a reader should know.
    """
    with ThreadPoolExecutor(default_workers()) as pool:
        shown = [{"heading": heading, "items": list(pool.map(_item, pictures))} for heading, pictures in sections]
    return Page("gallery.html", title, {"sections": shown, "notes": list(notes)})


def _item(picture: Picture) -> dict[str, Any]:
    """Return a picture as ``parts.pictures`` takes it."""
    from markupsafe import Markup

    image = picture.load()
    mark = [] if picture.right is None else [Markup('<b class="{0}">{1} {0}</b>').format(*_MARKS[picture.right])]
    name = [] if picture.name in picture.lines else [picture.name]
    return {
        "src": None if image is None else data_address(image, _SIDE),
        "alt": picture.name,
        "lines": [*picture.lines, *mark, *name],
    }


def small_image(data: bytes | npt.NDArray[np.uint8], side: int) -> "Image.Image":
    """Return what a source gave as an image that is large enough to be shown in so many pixels, soon.

    Raises
    ------
    SampleError
        If it is none.
    """
    return decode_image(data, enough=lambda whole, scaled: max(scaled) >= min(2 * side, max(whole)))


def data_address(image: Pixels, side: int) -> str:
    """Return a picture as a ``data:`` address, which a page can hold.

    Parameters
    ----------
    image : PIL.Image.Image, or ndarray of shape (height, width[, 3]) and dtype uint8
    side : int
        Most pixels of the longer side; a smaller image keeps its size.
    """
    from PIL import Image, ImageOps

    whole = decode_image(image) if isinstance(image, np.ndarray) else ImageOps.exif_transpose(image).convert("RGB")
    scale = min(1.0, side / max(whole.size))
    size = ceil(whole.width * scale), ceil(whole.height * scale)
    file = io.BytesIO()
    whole.resize(size, Image.Resampling.BOX if scale < 1 else None).save(file, "WEBP", quality=_QUALITY, method=2)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
