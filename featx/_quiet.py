"""Keeping other packages from printing: featx's library never prints."""

import io
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, cast


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Keep what a package prints, and what its `loggers` log, to itself; progress bars are for terminals only."""
    with ExitStack() as stack:
        for logger in map(logging.getLogger, loggers):
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL + 1)
        stack.enter_context(redirect_stdout(io.StringIO()))
        if not sys.stderr.isatty():
            stack.enter_context(redirect_stderr(io.StringIO()))
        yield


_lock = threading.Lock()
_inside = 0
_IGNORE = ("ignore", None, Warning, re.compile(r"PIL\.(?#featx)"), 0)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings in while any thread decodes: what matters of them is an error here.

    ``warnings.catch_warnings`` swaps the whole process's filters and is not safe among threads; this puts
    one filter in front with the first thread that enters and takes that one out with the last.
    """
    global _inside
    filters = cast("list[Any]", warnings.filters)
    with _lock:
        _inside += 1
        if _IGNORE not in filters:
            filters.insert(0, _IGNORE)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _IGNORE in warnings.filters:
                cast("list[Any]", warnings.filters).remove(_IGNORE)
