import os
import platform
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from featx.caching._lock import locked
from featx.errors import StoreError, StoreLockedError
from tests.caching.helpers import extracted
from tests.tiny import write_folder

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from featx.caching._lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
EXTRACT = """
import sys
from featx.caching import extract
from tests.tiny import BACKBONE
def progress(done, total):
    print("held", flush=True)
    sys.stdin.read()
extract(sys.argv[1], BACKBONE, cache=sys.argv[2], progress=progress)
"""


@pytest.fixture
def holder():
    """Start a process that holds a lock until its standard input is closed."""
    started = []

    def start(script, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_second_is_told_who_holds_it(tmp_path, holder):
    path = tmp_path / "work" / "photos.net.0123.lock"
    process = holder(HOLD, path)
    with (
        pytest.raises(
            StoreLockedError,
            match=rf"^store 'photos\.net\.0123' is being written by process {process.pid} on"
            rf" {re.escape(platform.node())} since 20\d\d-",
        ),
        locked(path),
    ):
        pass
    process.communicate("", timeout=60)
    with locked(path):
        assert path.exists()
    assert not path.parent.exists()


def test_a_killed_holder_is_no_obstacle(tmp_path, holder):
    path = tmp_path / "a.lock"
    process = holder(HOLD, path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    assert path.exists()
    with locked(path):
        pass
    assert not path.exists()


def test_a_damaged_note_costs_the_name_alone(tmp_path, holder):
    path = tmp_path / "a.lock"
    holder(HOLD, path)
    path.with_suffix(".holder.json").write_text("{")
    with pytest.raises(StoreLockedError, match="process unknown on an unknown host"), locked(path):
        pass


def test_an_error_inside_gives_the_lock_back(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "work" / "a.lock"):
        raise ZeroDivisionError
    with locked(tmp_path / "work" / "a.lock"):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file cannot be written"), locked(tmp_path / "file" / "a.lock"):
        pass


def test_a_folder_with_other_work_in_it_stays(tmp_path):
    with locked(tmp_path / "a.lock"):
        (tmp_path / "b.lock").touch()
    assert os.listdir(tmp_path) == ["b.lock"]


def test_never_two_at_once(tmp_path):
    """Locks that come and go with their file and folder still shut each other out."""
    inside, most, done = 0, 0, 0
    guard = threading.Lock()

    def work():
        nonlocal inside, most, done
        while done < 200:
            try:
                with locked(tmp_path / "work" / "a.lock"):
                    with guard:
                        inside += 1
                        most = max(most, inside)
                    with guard:
                        inside -= 1
                        done += 1
            except StoreLockedError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_two_extractions_of_one_store(tmp_path, holder):
    photos = write_folder(tmp_path / "photos", per_class=2)
    process = holder(EXTRACT, photos, tmp_path / "cache")
    with pytest.raises(StoreLockedError, match=f"process {process.pid} on {re.escape(platform.node())}"):
        extracted(photos, tmp_path / "cache")
    (other, *_), *_ = extracted(photos, tmp_path / "cache", layers=["conv2"])  # another store is free
    assert len(other.store) == 6
    process.communicate("", timeout=60)
    assert process.returncode == 0
    ((extraction,), forwards, _) = extracted(photos, tmp_path / "cache")
    assert extraction.hit
    assert forwards == 0
