"""The server: started, stopped, and where it is found."""

import logging
import os
import socket
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from waitress.server import create_server
from waitress.wasyncore import close_all

from featx.errors import ParameterError
from featx.fitting import runs_folder
from featx.store import cache_folder
from featx.studio._app import MOST_BYTES, Pages
from featx.studio._guard import HOST, Guard
from featx.studio._listing import Listing

__all__ = ["Studio"]

_PORT = 8765
_TRIED = 20
"""Ports that are looked at, where none is asked for."""

_THREADS = 8
"""More than a browser opens connections, so that none waits for a report."""

_SECONDS = 0.3
"""For which requests are waited for when the server stops at once."""


class Studio:
    """A local web page over a cache and the runs; serves from its making to :meth:`close`, or in a ``with`` block.

    It listens on 127.0.0.1 alone, and answers nobody who does not have :attr:`url`.

    Parameters
    ----------
    cache : path, optional
        Folder of the stores; by default the environment's FEATX_CACHE, else ``cache``.
    runs : path, optional
        Folder of the runs; by default the environment's FEATX_RUNS, else ``runs``.
    port : int, optional
        By default 8765, or the next one that is free; 0 for any.

    Attributes
    ----------
    port : int
    address : str
        Where it is, such as ``http://127.0.0.1:8765/``.
    url : str
        The same with the secret that opens it.

    Raises
    ------
    ParameterError
        If a folder that is given is not there, or the port is in use.

    Examples
    --------
    >>> with Studio("cache", "runs") as studio:
    ...     print(studio.url)
    ...     studio.wait()
    """

    def __init__(
        self,
        cache: str | os.PathLike[str] | None = None,
        runs: str | os.PathLike[str] | None = None,
        *,
        port: int | None = None,
    ) -> None:
        for name, folder in (("cache", cache), ("runs", runs)):
            if folder is not None and not os.path.isdir(folder):
                raise ParameterError(f"{name} must be a folder that is there; got {os.fspath(folder)!r}")
        listing = Listing(cache_folder(cache), runs_folder() if runs is None else Path(runs))
        listener = _listener(port)
        self.port: int = listener.getsockname()[1]
        self.address = f"http://{HOST}:{self.port}/"
        self._guard = Guard(self.port)
        self.url = f"{self.address}?token={self._guard.token}"
        self._pages = Pages(listing, self._guard)
        logging.getLogger("waitress").setLevel(logging.ERROR)  # it warns of requests that wait, and of such as are cut
        self._sockets: dict[int, object] = {}
        self._server = create_server(
            self._pages.app,
            map=self._sockets,
            sockets=[listener],
            threads=_THREADS,
            max_request_body_size=2 * MOST_BYTES,  # up to which the page itself says what is too large
            ident="featx",
        )
        self._stopped = Event()
        self._thread = Thread(target=self._server.run, name="featx-studio-server", daemon=True)
        self._thread.start()

    def ticket(self) -> str:
        """Return an address that opens the studio once, for a program: others can see what that is started with."""
        return f"{self.address}?token={self._guard.ticket()}"

    def wait(self) -> None:
        """Return when the studio is closed; Ctrl-C interrupts."""
        while not self._stopped.wait(0.5):  # without an end, Windows would not hear Ctrl-C
            pass

    def close(self, *, wait: bool = True) -> bool:
        """Stop listening, and answer nothing more.

        Parameters
        ----------
        wait : bool
            Whether to wait for answers and reports in the making, which cannot be stopped.

        Returns
        -------
        bool
            Whether all threads have ended.
        """
        if not self._thread.is_alive():
            return True
        self._pages.close(wait=wait)
        workers = self._server.task_dispatcher
        workers.shutdown(timeout=float("inf") if wait else _SECONDS)
        self._server.trigger.pull_trigger(lambda: close_all(self._sockets))
        self._thread.join()
        self._stopped.set()
        return not workers.threads and self._pages.idle

    def __enter__(self) -> "Studio":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _listener(port: int | None) -> socket.socket:
    """Return a socket that is bound to a port, by default to the first free one from the usual one on."""
    wanted = range(_PORT, _PORT + _TRIED) if port is None else [port]
    for each in [*wanted, *([0] if port is None else [])]:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere it would let two programs have the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, each))
            return listener
        except OSError as error:
            listener.close()
            if port is not None:
                raise ParameterError(
                    f"port {port} cannot be had ({(error.strerror or str(error)).lower()}): choose another, or leave it"
                    " out for the next one that is free"
                ) from error
    raise AssertionError("port 0 is any that is free")
