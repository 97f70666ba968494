"""Who may ask: the person at this computer who was given the address, from the studio's own pages."""

import secrets

from flask import Request, Response

__all__ = ["HOST", "Guard"]

HOST = "127.0.0.1"
"""All that is listened on, whatever is asked for."""

_HEADER = "X-Featx-Token"


class Guard:
    """Refuses requests, and seals answers.

    Parameters
    ----------
    port : int
        That is listened on.

    Attributes
    ----------
    token : str
        The secret of this start: in the address that is given to the person, in a cookie from then on, and in a header
        that only scripts of the studio's own pages can send.
    """

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(32)
        self._tickets: set[str] = set()
        self._cookie = f"featx-studio-{port}"
        self._hosts = {f"{name}:{port}".removesuffix(":80") for name in (HOST, "localhost")}

    def ticket(self) -> str:
        """Return a token that opens the studio once: other people can see what programs are started with."""
        made = secrets.token_urlsafe(32)
        self._tickets.add(made)
        return made

    def refusal(self, request: Request) -> str | None:
        """Return why a request is not answered; None if it is."""
        if request.headers.get("Host", "") not in self._hosts:
            return "this is not the name of the studio: open the address that `featx studio` printed"
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if origin not in (None, f"http://{request.headers['Host']}") or site not in (None, "none", "same-origin"):
            return "requests from other pages are not answered"
        given = request.headers.get(_HEADER, "")
        if request.method in ("GET", "HEAD"):
            given = given or request.cookies.get(self._cookie, "")
        if not _same(given, self.token):
            return "the studio was started again, or this is not its address: open the one that `featx studio` printed"
        return None

    def admits(self, request: Request) -> bool:
        """Return whether a request brings the token, or a ticket, in its address, as the first one does."""
        if request.headers.get("Host", "") not in self._hosts or request.method != "GET" or request.path != "/":
            return False
        given = request.args.get("token", "")
        if given in self._tickets:
            self._tickets.discard(given)
            return True
        return _same(given, self.token)

    def admit(self, response: Response) -> Response:
        """Have the browser go on without the token in its address, which it would remember.

        A redirection would not do: after a link from another site the cookie is not sent along with that.
        """
        response.set_cookie(self._cookie, self.token, httponly=True, samesite="Strict")
        response.headers["Refresh"] = "0; url=/"
        return response

    def seal(self, response: Response, policy: str) -> Response:
        """Say what browsers may do with an answer: show it on its own, and keep it from everybody else."""
        response.headers.setdefault("Content-Security-Policy", f"{policy}; frame-ancestors 'none'")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"
        return response


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode(errors="surrogateescape"), secret.encode())
