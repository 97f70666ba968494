"""The command line: each command parses, makes one library call, and prints."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``featx`` and exit with its code."""
    from featx.cli._app import main as run

    if isinstance(sys.stdout, TextIOWrapper):  # a name that the terminal cannot show is escaped, not an error
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(arguments))
