"""Figures as files, complete or not there at all."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from featx.errors import ParameterError
from featx.plots._style import DPI, house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURE_SUFFIXES", "save_figure", "save_figures"]

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")
"""What a file with a figure may end in."""


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> Path:
    """Write a figure to a file, in the format that its name ends in.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path
        In a folder that is there; a file of that name is replaced.

    Returns
    -------
    Path

    Raises
    ------
    ParameterError
        If the name ends in none of :data:`PICTURE_SUFFIXES`.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise ParameterError(f"path must end in one of {', '.join(PICTURE_SUFFIXES)}; got {str(path)!r}")
    if not target.parent.is_dir():
        raise ParameterError(f"path must be in a folder that is there; got {str(path)!r}: make {str(target.parent)!r}")
    scratch = target.with_name(f".{secrets.token_hex(8)}{suffix}")
    undated = {} if suffix == ".png" else {"Date" if suffix == ".svg" else "CreationDate": None}
    try:
        with house_style():
            figure.savefig(scratch, format=suffix[1:], dpi=DPI, metadata=undated)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    return target


def save_figures(figures: "Mapping[str, Figure]", folder: str | os.PathLike[str]) -> list[Path]:
    """Write each figure as PNG and SVG under its name.

    Parameters
    ----------
    figures : mapping of str to matplotlib.figure.Figure
    folder : path
        Made if it is not there.

    Returns
    -------
    list of Path
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    return [
        save_figure(figure, place / f"{name}{suffix}")
        for name, figure in figures.items()
        for suffix in (".png", ".svg")
    ]
