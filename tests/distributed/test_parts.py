"""Parts that come through a folder which need not be a file system's."""

import pickle

import fsspec
import pytest

from featx.distributed._parts import PartsFolder
from featx.errors import MissingDependencyError, ParameterError, StoreError
from featx.store import Workspace
from tests.store.helpers import make_part, same_part


@pytest.fixture
def workspace(tmp_path):
    return Workspace.open(tmp_path / "cache" / "photos.net.0123", {"keys": ["a"]})


@pytest.fixture(params=["memory://parts/deep", "file", "plain"])
def url(request, tmp_path):
    yield {"file": f"file://{tmp_path}/par%20ts", "plain": f"{tmp_path}/par ts#1"}.get(request.param, request.param)
    fsspec.filesystem("memory").store.clear()


def folder_of(url, workspace):
    return pickle.loads(pickle.dumps(PartsFolder(url, workspace.folder.name)))


def listed(url):
    files, root = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    return sorted(path.rpartition("/")[2] for path in files.find(root)) if files.exists(root) else []


def test_a_part_that_is_left_is_taken_once(url, workspace):
    part = make_part(0, 4, failed=(1,))
    folder_of(url, workspace).leave(part, workspace.digest)
    (name,) = listed(url)
    assert name == workspace.file_of(0, 4).name
    assert folder_of(url, workspace).take(name, workspace)
    assert same_part(next(workspace.parts()), part)
    assert listed(url) == []
    folder_of(url, workspace).remove()
    assert not workspace.folder.with_name("nothing").exists()


def test_a_part_that_is_left_twice_is_one(url, workspace):
    for _ in range(2):
        folder_of(url, workspace).leave(make_part(0, 4), workspace.digest)
    assert folder_of(url, workspace).take_all(workspace) == 1
    assert workspace.ranges() == [(0, 4)]


def test_all_that_was_left_is_taken_but_what_is_damaged_or_of_other_work(url, workspace, tmp_path):
    folder = folder_of(url, workspace)
    assert folder.take_all(workspace) == 0  # there is nothing yet
    for start in (0, 4, 8):
        folder.leave(make_part(start, start + 4), workspace.digest)
    folder.leave(make_part(12, 16), "0" * 64)
    files, root = fsspec.core.url_to_fs(url)
    damaged = f"{root}/{workspace.folder.name}/{workspace.file_of(4, 8).name}"
    files.pipe_file(damaged, files.cat_file(damaged)[:-30])
    files.pipe_file(f"{root}/{workspace.folder.name}/notes.txt", b"mine")
    assert folder.take_all(workspace) == 2
    assert workspace.ranges() == [(0, 4), (8, 12)]
    assert listed(url) == ["notes.txt"]
    folder.remove()
    assert listed(url) == ["notes.txt"]


def test_an_empty_folder_is_removed(tmp_path, workspace):
    folder = folder_of(str(tmp_path / "parts"), workspace)
    folder.leave(make_part(0, 4), workspace.digest)
    folder.leave(make_part(4, 8), workspace.digest)
    folder.take(workspace.file_of(0, 4).name, workspace)
    folder.leave(make_part(0, 4), workspace.digest)  # by another worker
    folder.remove()
    folder.remove()
    assert list((tmp_path / "parts").iterdir()) == []


def test_what_cannot_be_reached_is_told_in_one_sentence(tmp_path, workspace):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"parts in '.*file' cannot be written \(.+\): see that every machine"):
        folder_of(str(tmp_path / "file"), workspace).leave(make_part(0, 4), workspace.digest)
    with pytest.raises(StoreError, match=r"cannot be read \(FileNotFoundError"):
        folder_of(str(tmp_path), workspace).take(workspace.file_of(0, 4).name, workspace)
    assert workspace.ranges() == []


def test_only_what_fsspec_knows_is_a_url(monkeypatch):
    with pytest.raises(ParameterError, match=r"parts must be a folder or a URL that fsspec knows.*got 'nowhere://x'"):
        PartsFolder("nowhere://x", "work")

    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(
        MissingDependencyError, match=r"not installed \(Install s3fs to access S3\): install it on every"
    ):
        PartsFolder("s3://bucket", "work")
