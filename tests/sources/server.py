"""A web server in a thread: files that can be had in parts, pages that list folders, and trouble on request."""

import gzip
import hashlib
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

from .helpers import path_bytes


class Web:
    """What is served, and what was asked for.

    Attributes
    ----------
    files : dict of str to bytes
        By their paths, which are not quoted.
    trouble : dict of str to list
        What the next requests for a path get instead: a status, or "hang" or "cut".
    requests : list of (str, str, str)
        Method, path and range of each request.
    gives_parts : bool
    tells_tags : bool
    wanted_header : tuple of (str, str)
        Without which nothing is given.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.trouble: dict[str, list[int | str]] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.gives_parts = True
        self.tells_tags = True
        self.wanted_header = ("Host", "")
        self.url = ""

    def parts(self, path: str) -> list[str]:
        """Return the ranges that were asked for of a file, an empty text for all of it."""
        return [asked for method, name, asked in self.requests if (method, name) == ("GET", path)]


@contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[Web]:
    """Serve files on this machine for a ``with`` block."""
    web = Web(files)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            name = unquote(self.path.partition("?")[0].lstrip("/"), errors="surrogateescape")
            asked = self.headers.get("Range", "") if with_body else ""
            web.requests.append((self.command, name, asked))
            header, value = web.wanted_header
            if value not in self.headers.get(header, ""):
                self.send_error(401)
                return
            trouble = web.trouble.get(name)
            what = trouble.pop(0) if trouble and with_body else None
            if what == "hang":
                time.sleep(1)
            if isinstance(what, int):
                self.send_error(what)
                return
            if name in web.files:
                self.send(web.files[name], asked, with_body=with_body, cut=what == "cut")
            elif any(path.startswith(name) for path in web.files) and self.path.endswith("/"):
                self.send(page(web.files, name), "", with_body=with_body, kind="text/html")
            else:
                self.send_error(404)

        def send(self, data: bytes, asked: str, *, with_body: bool, cut: bool = False, kind: str = "") -> None:
            compresses = "gzip" in self.headers.get("Accept-Encoding", "")  # what many servers do with text
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked) if web.gives_parts and not compresses else None
            start, stop = (int(match[1]), int(match[2] or len(data)) + 1) if match else (0, len(data))
            part = data[start:stop]
            self.send_response(206 if match else 200)
            if compresses:
                part = gzip.compress(part)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(part)))
            if kind:
                self.send_header("Content-Type", kind)
            if web.tells_tags:
                self.send_header("ETag", hashlib.md5(data).hexdigest())
            self.end_headers()
            with suppress(ConnectionError):  # it was waited for no longer
                if with_body:
                    self.wfile.write(part[: len(part) // 2] if cut else part)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def page(files: Mapping[str, bytes], folder: str) -> bytes:
    """Return a page that links what is in a folder, as web servers make them."""
    below = {path[len(folder) :] for path in files if path.startswith(folder)}
    names = sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in below})
    links = "".join(f'<a href="{quote(path_bytes(name))}">x</a>\n' for name in names)
    return f'<html><a href="../">up</a><a href="?C=N;O=D">by name</a>{links}</html>'.encode()
