"""The command line: each command parses, makes one library call, and prints."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``featx`` and exit with its code."""
    from featx.cli._app import main as run

    sys.exit(run(arguments))
