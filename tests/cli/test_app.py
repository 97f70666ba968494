"""What all commands share: interruptions, closed pipes, terminals, bugs."""

import io
import os
import pty
import signal
import subprocess
import sys
import time

import click
import pytest

import featx as library
from featx.cli import _app, _output
from featx.cli._app import main
from tests.cli.helpers import ROOT, python_process
from tests.tiny import BACKBONE, write_folder


@pytest.fixture
def failing(monkeypatch):
    """Make ``featx heads`` raise what is given."""

    def install(error):
        def fail():
            raise error

        monkeypatch.setitem(_app.featx.commands, "heads", click.Command("heads", callback=fail))

    return install


def test_interrupted_is_130(featx, failing):
    failing(KeyboardInterrupt())
    answer = featx("heads", code=130)
    assert answer.out == ""
    assert answer.err.strip().startswith("featx: interrupted; what is extracted is kept")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (library.FeatxError("one\ntwo \x1b[31m"), "featx: one\\ntwo \\x1b[31m\n"),
        (PermissionError(13, "Permission denied", "a\nb"), "featx: a\\nb: Permission denied\n"),
        (OSError(28, "No space left on device"), "featx: No space left on device\n"),
        (MemoryError(), "featx: there is not enough memory: try a smaller --batch-size\n"),
        (
            ZeroDivisionError("x"),
            "featx: a bug (ZeroDivisionError: x): run it again as `featx --debug ...` and report what that shows\n",
        ),
        (
            OSError("odd"),
            "featx: a bug (OSError: odd): run it again as `featx --debug ...` and report what that shows\n",
        ),
    ],
)
def test_errors_are_one_line_and_debug_raises_them(capsys, failing, error, words):
    failing(error)
    assert main(["heads"]) == 1
    assert capsys.readouterr() == ("", words)
    with pytest.raises(type(error)):
        main(["--debug", "heads"])


def test_ctrl_c_in_the_middle_keeps_what_is_done(here):
    write_folder(here / "photos", per_class=4)
    script = (
        "import os, signal, sys\n"
        "from featx.caching import _work\n"
        "from featx.cli import _extract, main\n"
        "from contextlib import contextmanager\n"
        "@contextmanager\n"
        "def bar(label):\n"
        "    yield lambda done, total: os.kill(os.getpid(), signal.SIGINT) if done == 8 else None\n"
        "_extract.progress_bar = bar\n"
        "main(sys.argv[1:])\n"
    )
    words = ["extract", "photos", "--backbone", BACKBONE, "--batch-size", "4"]
    answer = python_process("-c", script, *words, cwd=here)
    assert answer.returncode == 130, answer.stderr
    assert answer.stdout == b""
    assert answer.stderr.strip().splitlines() == [
        b"featx: interrupted; what is extracted is kept, and the same command goes on from there"
    ]
    (extraction,) = library.extract_layers("photos", BACKBONE, batch_size=4)
    assert (extraction.changes.computed, extraction.changes.resumed) == (4, 8)


def test_a_reader_that_goes_away_is_no_trouble(here):
    process = subprocess.Popen(
        [sys.executable, "-m", "featx", "backbones"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    first = process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert b":" in first
    assert error == b""
    assert process.wait(timeout=60) in (0, 1)


def test_progress_is_shown_on_a_terminal_and_nowhere_else(monkeypatch):
    with _output.progress_bar("photos") as progress:
        assert progress is None

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with _output.progress_bar("a[/b]\n") as progress:
        for done in range(0, 51, 10):
            progress(done, 50)
            time.sleep(0.1)
    text = terminal.getvalue()
    assert "a[/b]\\n" in text
    assert "50/50" in text
    assert "img/s" in text


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal")
def test_on_a_real_terminal(here):
    write_folder(here / "photos", per_class=3)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "featx", "extract", "photos", "--backbone", BACKBONE],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while piece := terminal.read(1024):
                shown += piece
        except OSError:  # how Linux says that the other side is closed
            pass
    with process.stdout:  # a few lines, which the pipe holds; a terminal holds less, and must be read meanwhile
        out = process.stdout.read()
    assert process.wait(timeout=60) == 0
    assert b"photos" in shown
    assert out.startswith(b"cache/photos.")
    assert b"\x1b" not in out


def test_signals_are_as_they_were():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain ü 日本 😀 שלום", "plain ü 日本 😀 שלום"),
        ("a\nb\r\t", "a\\nb\\r\\t"),
        ("a\\nb", "a\\\\nb"),
        ("\udcff\x1b[0m\x00\x7f", "\\udcff\\x1b[0m\\x00\\x7f"),
        ("\u2028\u2029\u202e\u2066", "\\u2028\\u2029\\u202e\\u2066"),
        (7, "7"),
    ],
)
def test_plain_is_one_printable_line(text, line):
    assert _output.plain(text) == line


def test_no_two_names_look_alike():
    names = ["a\nb", "a\\nb", "a\\\\nb", "\udcff", "\\udcff", "\\", "\\\\"]
    assert len({_output.plain(name) for name in names}) == len(names)


def test_tables_show_names_as_they_are(capsys):
    _output.print_table(["name", "n"], [("[bold]x[/bold]", 1), (":smile: a\nb", 20)], right=["n"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name              n"
    assert lines[2:] == ["[bold]x[/bold]    1", ":smile: a\\nb     20"]
    _output.print_table(["name"], [("x" * 5000,)])
    assert capsys.readouterr().out.splitlines()[-1] == "x" * 5000


def test_figures_for_people():
    assert [_output.figure(0.12345), _output.figure(None), _output.figure(1.0, 1)] == ["0.123", "–", "1.0"]


def test_demo_is_the_whole_way(featx, here, monkeypatch):
    """With the tiny network in place of the embedded one, which takes a minute."""
    from featx import caching

    whole = caching.extract_layers
    monkeypatch.setattr(caching, "extract_layers", lambda source, **options: whole(source, BACKBONE, **options))
    lines = featx("demo").out.splitlines()
    assert sum(line.startswith("$ featx ") for line in lines) == 4
    store = library.find_store("digits")
    assert store.summary()["splits"] == {"test": 359, "train": 1438}
    assert len(store.classes) == 10
    folders = list((here / "runs").iterdir())
    assert len(folders) == 1
    assert sum(line.startswith("cache/demo/digits/test/") for line in lines) == 6
    page = here / f"report-{folders[0].name}.html"
    assert lines[-1].endswith(f"open {page.as_uri()} in a browser")
    assert folders[0].name in page.read_text(encoding="utf-8")
