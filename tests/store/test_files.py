import errno
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from featx.errors import StoreError
from featx.store import _files
from featx.store._files import disk_errors, remove_stale, replacing, temporary_path


@pytest.fixture
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_replacing_puts_the_whole_file_in_place(tmp_path):
    path = tmp_path / "new" / "file"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_replacing_leaves_nothing_behind_when_interrupted(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_of_the_greatest_length_is_no_obstacle(tmp_path):
    with replacing(tmp_path / ("ü" * 127)) as temporary:
        temporary.write_text("new")
    assert len(os.listdir(tmp_path)) == 1


def test_only_what_dead_processes_of_this_host_left_is_removed(tmp_path, dead_pid, monkeypatch):
    mine = temporary_path(tmp_path / "a")
    monkeypatch.setattr(os, "getpid", lambda: dead_pid)
    dead, other = temporary_path(tmp_path / "a"), temporary_path(tmp_path / "b")
    monkeypatch.setattr(_files.socket, "gethostname", lambda: "elsewhere")
    far = temporary_path(tmp_path / "a")
    monkeypatch.undo()
    for path in (mine, dead, other, far, tmp_path / ".featx-note.tmp"):
        path.write_text("")
    remove_stale(tmp_path, "a")
    assert not dead.exists()
    assert mine.exists()
    assert other.exists()
    assert far.exists()
    remove_stale(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([mine.name, far.name, ".featx-note.tmp"])


def test_errors_of_the_disk_are_one_sentence():
    with pytest.raises(StoreError, match=r"the disk \(or the quota\) is full"), disk_errors(Path("x.h5")):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StoreError, match=r"x\.h5 cannot be written \(Permission denied\)"), disk_errors(Path("x.h5")):
        raise PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(StoreError, match="full"), disk_errors(Path("x.h5")):
        raise OSError("Can't write (file write failed: errno = 28, error message = 'No space left on device')")


def test_a_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"), replacing(tmp_path / "file" / "store.h5"):
        pass


def test_too_little_space_is_foreseen(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 5, 5))
    with pytest.raises(StoreError, match="6 bytes are needed and 5 are free"):
        _files.require_space(tmp_path / "a", 6)
    _files.require_space(tmp_path / "a", 5)


def test_file_systems_that_cannot_reserve_are_written_all_the_same(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    _files.reserve(0, 10)
    monkeypatch.delattr(os, "posix_fallocate")
    _files.reserve(0, 10)
