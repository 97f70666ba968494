"""Running the command line, in this process and in one of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from featx.cli._app import main

ROOT = Path(__file__).parents[2]


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


class Command:
    """``featx`` in this process; `capture` is pytest's capsys or capfd."""

    def __init__(self, capture):
        self._capture = capture

    def __call__(self, *words: object, code: int = 0) -> Answer:
        """Run the command and hold its exit code against `code`."""
        self._capture.readouterr()
        got = main([str(word) for word in words])
        answer = Answer(got, *self._capture.readouterr())
        assert answer.code == code, answer
        assert "Traceback" not in answer.err
        assert "a bug" not in answer.err
        return answer

    def fails(self, *words: object, code: int = 1) -> str:
        """Run a command that is to fail with one line; return the line."""
        answer = self(*words, code=code)
        assert answer.out == ""
        lines = answer.err.splitlines()
        if code == 1:
            assert len(lines) == 1, answer.err
            assert lines[0].startswith("featx: ")
        return lines[-1]


def python_process(*words: str, cwd: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run Python in a process of its own, in which featx and these tests can be imported."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        timeout=120,
        check=False,
    )
