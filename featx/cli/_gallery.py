"""Pictures with titles, as commands write them: drawn, or as a page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from featx.cli._options import OutputFile
from featx.cli._output import plain, tell
from featx.plots import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from featx.reports import Picture, Pixels

__all__ = ["SIDE", "gallery_type", "most_pictures", "write_gallery"]

SIDE = 330
"""Most pixels of a picture's longer side."""

_PAGE = ".html"


def gallery_type() -> click.ParamType:  # type: ignore[type-arg]
    """Return the type of an option that names a file for a gallery."""
    return OutputFile(*PICTURE_SUFFIXES, _PAGE)


def most_pictures(path: str) -> int:
    """Return how many pictures a gallery has room for."""
    return 500 if path.lower().endswith(_PAGE) else 48


def write_gallery(
    path: str,
    sections: "Sequence[tuple[str, Sequence[Picture]]]",
    title: str,
    *,
    columns: int | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write pictures in sections with headings: as a page with a title, or drawn, without title and headings.

    What a reader should know is on the page, and told to the person at the terminal.
    """
    if path.lower().endswith(_PAGE):
        from featx.reports import gallery_page, write_page

        write_page(gallery_page(sections, title, notes=notes), path)
    else:
        from featx.plots import gallery, save_figure

        pictures = [picture for _, section in sections for picture in section]
        titles = ["\n".join(map(plain, picture.lines)) + picture.mark for picture in pictures]
        save_figure(gallery(map(_drawn, pictures), titles, columns=columns), path)
    for note in notes:
        tell(f"note: {note}")


def _drawn(picture: "Picture") -> "Pixels":
    """Return a picture as it is drawn: a question mark where it is not at hand."""
    from PIL import Image, ImageDraw

    image = picture.load()
    if image is not None:
        return image
    blank = Image.new("RGB", (SIDE, SIDE), "#dddddd")
    ImageDraw.Draw(blank).text((SIDE / 2, SIDE / 2), "?", "#555555", anchor="mm", font_size=SIDE / 4)
    return blank
