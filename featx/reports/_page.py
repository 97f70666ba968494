"""Pages: one HTML file each, with all that is in it, in which every name stays text."""

import base64
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.errors import ParameterError, printable

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Page", "Report", "page_policy", "render_page", "write_page"]

_TEMPLATES = files("featx.reports") / "templates"


@dataclass(frozen=True, eq=False)
class Page:
    """What a page shows: a template of ``featx/reports/templates`` and the values for it.

    Parameters
    ----------
    template : str
        Name of the file, such as ``run.html``.
    title : str
    values : dict
        Text, numbers, and containers of them; text that is HTML already is a :class:`markupsafe.Markup`.
    """

    template: str
    title: str
    values: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class Report:
    """A page, and the figures that are in it.

    Attributes
    ----------
    page : Page
        For :func:`write_page` or :func:`render_page`.
    figures : dict of str to matplotlib.figure.Figure
        By names that can be those of files, such as ``confusion-matrix``; for :func:`featx.plots.save_figures`.
    """

    page: Page
    figures: Mapping[str, Any] = field(default_factory=dict, repr=False)


def render_page(page: Page, *, templates: Sequence[Path] = (), home: str | None = None) -> str:
    """Return a page as HTML that loads nothing: its style, script and pictures are in it.

    A policy in the page forbids any connection, and any script but its own. Names are escaped, and what cannot be shown
    in them, or would change the order of what is shown, is written as escapes.

    Parameters
    ----------
    page : Page
    templates : sequence of Path
        Folders whose templates go before those of ``featx/reports/templates``.
    home : str, optional
        Address of what the page is a part of, for a link at its top.
    """
    html: str = (
        environment(*templates)
        .get_template(page.template)
        .render(
            title=page.title,
            version=version("featx"),
            style=_text("page.css"),
            script=_text("page.js"),
            policy=page_policy(),
            home=home,
            **page.values,
        )
    )
    return html


def page_policy(*, served: bool = False) -> str:
    """Return the Content-Security-Policy of pages: nothing is loaded, and no script runs but the page's own.

    Parameters
    ----------
    served : bool
        Whether it is for a page that a server has more for: scripts, styles and answers of the same origin.
    """
    digest = base64.b64encode(hashlib.sha256(_text("page.js").encode()).digest()).decode()
    own, asked = (" 'self'", "connect-src 'self'; ") if served else ("", "")
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'{own}; script-src 'sha256-{digest}'{own};"
        f" {asked}base-uri 'none'; form-action 'none'"
    )


def write_page(page: Page, path: str | os.PathLike[str]) -> Path:
    """Write a page to a file, complete or not at all.

    Parameters
    ----------
    page : Page
    path : path
        Ends in ``.html`` and is in a folder that is there; a file of that name is replaced.

    Raises
    ------
    ParameterError
        If the name ends otherwise, or the folder is not there.
    """
    target = Path(path)
    if target.suffix.lower() != ".html":
        raise ParameterError(f"path must end in .html; got {str(path)!r}")
    if not target.parent.is_dir():
        raise ParameterError(f"path must be in a folder that is there; got {str(path)!r}: make {str(target.parent)!r}")
    scratch = target.with_name(f".{secrets.token_hex(8)}.html")
    try:
        scratch.write_text(render_page(page), encoding="utf-8")
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    return target


@lru_cache
def environment(*folders: Path) -> "Environment":
    """Return what renders templates: everything is escaped, and a name that is not there is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([*folders, str(_TEMPLATES)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters["breakable"] = _breakable
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": True, "sort_keys": False, "separators": (",", ":")}
    return made


def _shown(value: Any) -> Any:
    """Return a value as it is written into a page: text as one line of characters that can be shown."""
    return printable(value) if type(value) is str else value


def _breakable(text: Any) -> Any:
    """Return the text of a path such that a line may end after each of its slashes."""
    from markupsafe import Markup

    return Markup("/<wbr>").join(map(printable, text.split("/"))) if type(text) is str else text


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
