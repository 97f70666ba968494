"""Started and stopped: which ports, which threads, which process."""

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from featx.errors import ParameterError
from featx.studio import Studio, _studio
from tests.cli.helpers import ROOT


def fetch(url, **headers):
    """Return the status of an address, asked without any cookie."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith(("featx", "waitress"))}


def test_it_serves_until_it_is_closed(home):
    before = threads()
    with Studio(home / "cache", home / "runs", port=0) as studio:
        assert studio.address == f"http://127.0.0.1:{studio.port}/"
        assert fetch(studio.url) == 200
        assert fetch(studio.address) == 403
        assert fetch(studio.ticket()) == 200
        assert threads() > before
    with pytest.raises(OSError, match="refused"):
        fetch(studio.url)
    assert threads() == before
    studio.wait()  # returns, as it is closed
    assert studio.close()


def test_it_listens_on_this_computer_alone(studio):
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", studio.port), timeout=10):
        pass
    with socket.create_connection(("127.0.0.1", studio.port), timeout=10):
        pass


def test_several_at_once_know_their_own_address_only(home):
    with Studio(home / "cache", home / "runs", port=0) as one, Studio(home / "cache", home / "runs", port=0) as other:
        assert one.port != other.port
        secrets = [each.url.partition("=")[2] for each in (one, other)]
        assert fetch(f"{one.address}?token={secrets[0]}") == fetch(f"{other.address}?token={secrets[1]}") == 200
        assert fetch(f"{one.address}?token={secrets[1]}") == fetch(f"{other.address}?token={secrets[0]}") == 403


def test_the_usual_port_or_the_next_that_is_free(home, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(_studio, "_PORT", port)
        with Studio(home / "cache", home / "runs") as studio:
            assert studio.port != port
            assert fetch(studio.url) == 200
        with pytest.raises(ParameterError, match=rf"^port {port} cannot be had \(address already in use\): choose"):
            Studio(home / "cache", home / "runs", port=port)
        monkeypatch.setattr(_studio, "_TRIED", 1)
        with Studio(home / "cache", home / "runs") as studio:
            assert studio.port != port


def test_folders_that_are_given_are_there(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=r"^cache must be a folder that is there; got '.*nothing'"):
        Studio(tmp_path / "nothing")
    with pytest.raises(ParameterError, match=r"^runs must be a folder that is there; got 'nothing'"):
        Studio(home / "cache", "nothing")
    monkeypatch.delenv("FEATX_CACHE", raising=False)
    monkeypatch.delenv("FEATX_RUNS", raising=False)
    with Studio(port=0) as studio:  # the default ones may come later
        assert fetch(studio.url) == 200


def test_large_and_chunked_requests_are_refused_before_they_are_read(studio):
    with socket.create_connection(("127.0.0.1", studio.port), timeout=30) as connection:
        head = f"POST /runs/0/answer HTTP/1.1\r\nHost: 127.0.0.1:{studio.port}\r\nContent-Length: {1 << 40}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 413"


class Process:
    """``featx studio`` in a process of its own."""

    def __init__(self, *words, code="from featx.cli._app import main; raise SystemExit(main())", **environment):
        names = {
            name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "studio", *map(str, words)],
            env={**names, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        self.url = self.process.stdout.readline().strip()
        assert self.url, self.process.stderr.read()
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


def test_ctrl_c_stops_it(home):
    with Process(home / "cache", "--runs", home / "runs", "--port", 0) as studio:
        assert fetch(studio.url) == 200
        assert studio.interrupt() == (0, "", "")
        with pytest.raises(OSError, match="refused"):
            fetch(studio.url)


SLOW = """
import time
from featx.cli._app import main
from featx.studio import _app

def slow(run, **more):
    print("begun", flush=True)
    time.sleep(1000)

_app.run_report = slow
raise SystemExit(main())
"""


def test_ctrl_c_does_not_wait_for_a_report(home):
    from featx.studio._listing import Listing

    run = Listing(home / "cache", home / "runs").runs()[0].id
    with Process(home / "cache", "--runs", home / "runs", "--port", 0, "--no-browser", code=SLOW) as studio:
        address, token = studio.url.split("?token=")
        assert fetch(f"{address}runs/{run}", **{"X-Featx-Token": token}) == 202
        assert studio.process.stdout.readline() == "begun\n"
        assert fetch(address, **{"X-Featx-Token": token}) == 200  # meanwhile, others are served
        assert studio.interrupt() == (0, "", "")


def test_the_browser_is_given_an_address_of_one_use(home, tmp_path):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/made && mv {tmp_path}/made {tmp_path}/opened\n')
    browser.chmod(0o755)
    with Process(home / "cache", "--runs", home / "runs", "--port", 0, BROWSER=str(browser)) as studio:
        for _ in range(600):
            if (tmp_path / "opened").exists():
                break
            threading.Event().wait(0.05)
        opened = (tmp_path / "opened").read_text().strip()
        assert opened.split("=")[0] == studio.url.split("=")[0]
        assert opened != studio.url
        assert fetch(opened) == 200
        assert fetch(opened) == 403
        assert fetch(studio.url) == fetch(studio.url) == 200
        assert studio.interrupt()[0] == 0


def test_errors_are_one_line(home, tmp_path):
    from tests.cli.helpers import python_process

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = python_process("-m", "featx", "studio", str(home / "cache"), "--port", str(port))
    assert (answer.returncode, answer.stdout) == (1, b"")
    assert answer.stderr.decode().startswith(f"featx: port {port} cannot be had")
    assert answer.stderr.count(b"\n") == 1
