"""The studio's pages, and what they ask for."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from flask import Flask, Response, jsonify, make_response, request
from werkzeug.exceptions import HTTPException

from featx.errors import FeatxError, printable
from featx.reports import Page, Report, page_policy, render_page, run_report, store_report
from featx.store import open_store
from featx.studio._answers import Answerer
from featx.studio._front import front_page
from featx.studio._guard import Guard
from featx.studio._listing import Listing, version_of
from featx.studio._once import Once

__all__ = ["MOST_BYTES", "Pages"]

MOST_BYTES = 64 << 20
"""Of an image that is dropped."""

_TEMPLATES = Path(str(files("featx.studio"))) / "templates"
_KEPT_REPORTS, _KEPT_RUNS = 8, 3
_PATIENCE = 0.5
"""Seconds for which a report is waited for, before a page says that it is being made."""

_WORDS = {
    404: "There is no such page.",
    405: "That cannot be asked of this page.",
    413: f"The file is too large: images have at most {MOST_BYTES >> 20} MB here.",
    500: "That is a bug; where `featx studio` runs it says more. Please report it.",
}


class Pages:
    """What is answered to which request.

    Parameters
    ----------
    listing : Listing
    guard : Guard

    Attributes
    ----------
    app : flask.Flask
    """

    def __init__(self, listing: Listing, guard: Guard) -> None:
        self.app = Flask(__name__, static_folder=None)
        self.app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
        self.app.url_map.merge_slashes = False  # an address that is not one of these leads nowhere
        self._listing = listing
        self._guard = guard
        self._reports: Once[str] = Once(_KEPT_REPORTS)
        self._answerers: Once[Answerer] = Once(_KEPT_RUNS)
        self.app.before_request(self._let_in)
        self.app.after_request(lambda response: guard.seal(response, page_policy(served=True)))
        self.app.register_error_handler(HTTPException, _told)
        self.app.register_error_handler(FeatxError, lambda error: _refused(422, str(error)))
        for address, view in (
            ("/", self._front),
            ("/studio.css", lambda: _own_file("studio.css", "text/css")),
            ("/studio.js", lambda: _own_file("studio.js", "text/javascript")),
            ("/stores/<wanted>", self._store),
            ("/runs/<wanted>", self._run),
        ):
            self.app.add_url_rule(address, address, view, methods=["GET"])
        self.app.add_url_rule("/runs/<wanted>/answer", view_func=self._answer, endpoint="answer", methods=["POST"])

    def close(self, *, wait: bool) -> None:
        """Begin nothing new."""
        self._reports.close(wait=wait)
        self._answerers.close(wait=wait)

    @property
    def idle(self) -> bool:
        """Whether nothing is being made."""
        return self._reports.idle and self._answerers.idle

    def _let_in(self) -> Response | None:
        if self._guard.admits(request):
            return self._guard.admit(_page("message.html", "featx studio", message="One moment."))
        refusal = self._guard.refusal(request)
        return None if refusal is None else _refused(403, refusal)

    def _front(self) -> Response:
        return _html(front_page(self._listing, self._guard.token, MOST_BYTES))

    def _store(self, wanted: str) -> Response:
        path = self._listing.store(wanted)
        return _gone("store") if path is None else self._report(path, lambda: store_report(open_store(path)))

    def _run(self, wanted: str) -> Response:
        path = self._listing.run(wanted)
        return _gone("run") if path is None else self._report(path, lambda: run_report(path, cache=self._listing.cache))

    def _report(self, path: Path, make: Callable[[], Report]) -> Response:
        """Return the page that is asked for, or meanwhile one that asks again by itself."""
        html = self._reports.get(
            (path, version_of(path)), lambda: render_page(make().page, home="/"), patience=_PATIENCE
        )
        if html is None:
            message = "The report is being made; this page goes on to it by itself."
            waiting = _page("message.html", path.name, message=message, status=202)
            waiting.headers["Refresh"] = "1"
            return waiting
        response = make_response(html)
        response.headers["Content-Security-Policy"] = f"{page_policy()}; frame-ancestors 'none'"
        return response

    def _answer(self, wanted: str) -> Response:
        path = self._listing.run(wanted)
        if path is None:
            return _gone("run")
        answerer = self._answerers.get((path, version_of(path)), lambda: Answerer(path, self._listing.cache))
        assert answerer is not None
        return jsonify(answerer.answer(request.get_data(cache=False)))


def _page(template: str, title: str, *, status: int = 200, **values: object) -> Response:
    return _html(Page(template, title, values), status)


def _html(page: Page, status: int = 200) -> Response:
    return make_response(render_page(page, templates=[_TEMPLATES]), status)


def _own_file(name: str, kind: str) -> Response:
    return Response((_TEMPLATES / name).read_text(encoding="utf-8"), mimetype=kind)


def _gone(kind: str) -> Response:
    return _refused(404, f"There is no such {kind} now: it may have been replaced, or deleted.")


def _told(error: HTTPException) -> Response:
    code = error.code or 500
    return _refused(code, _WORDS.get(code) or str(error.description))


def _refused(code: int, why: str) -> Response:
    """Return why a request is not answered, as what has sent it can show it."""
    if request.method == "POST":
        return make_response(jsonify(error=printable(why)), code)
    return _page("message.html", "featx studio", message=why, status=code)
