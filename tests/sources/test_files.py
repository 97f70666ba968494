import os
import socket
import time

import pytest

from featx.errors import SampleError, SourceError
from featx.sources import FileSource, FolderSource, _files, open_source

from .helpers import ODD_NAMES, contents, listing, path_bytes, write_folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "pets", {"cat/a.jpg": b"A", "dog/b.jpg": b"BB", "dog/notes.txt": b"-"})


def test_listing_and_reading(folder):
    source = FolderSource(folder)
    assert source.name == "pets"
    assert listing(source) == [("cat/a.jpg", "cat", None, 1), ("dog/b.jpg", "dog", None, 2)]
    assert source.classes == ("cat", "dog")
    assert contents(source) == [b"A", b"BB"]
    status = (folder / "cat/a.jpg").stat()
    assert (source.samples[0].mtime_ns, source.samples[0].inode) == (status.st_mtime_ns, status.st_ino)


def test_a_file_replaced_by_one_of_the_same_size_and_time_has_another_inode(folder):
    before = FolderSource(folder).samples[0]
    path = folder / "cat/a.jpg"
    (folder / "new").write_bytes(b"Z")
    os.utime(folder / "new", ns=(before.mtime_ns, before.mtime_ns))
    (folder / "new").replace(path)
    after = FolderSource(folder).samples[0]
    assert (after.size, after.mtime_ns) == (before.size, before.mtime_ns)
    assert after.inode == path.stat().st_ino != before.inode


def test_inodes_of_64_bits_are_kept_as_signed_numbers(folder, monkeypatch):
    real = os.stat

    def with_inode(path, **options):
        status = list(real(path, **options))
        return os.stat_result([status[0], 2**64 - 3, *status[2:]])

    monkeypatch.setattr(os, "stat", with_inode)
    assert FileSource(folder / "cat/a.jpg").samples[0].inode == -3


def test_identity_is_the_same_however_it_is_spelled(folder, monkeypatch):
    (folder.parent / "link").symlink_to(folder)
    monkeypatch.chdir(folder.parent)
    spellings = [folder, f"{folder}/", "pets", "./pets/../pets", "link"]
    assert {FolderSource(each).identity for each in spellings} == {f"folder:{os.path.realpath(folder)}"}
    source = FolderSource("pets")
    monkeypatch.chdir("/")
    assert contents(source) == [b"A", b"BB"]


def test_building_touches_nothing(tmp_path):
    source = FolderSource(tmp_path / "not there")
    with pytest.raises(SourceError, match="no such file"):
        source.samples  # noqa: B018


def test_no_file_is_opened_for_the_listing(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("opened")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    assert len(FolderSource(folder)) == 2


def test_odd_names(tmp_path):
    files = {f"c/{name}": str(i).encode() for i, name in enumerate(ODD_NAMES)}
    source = FolderSource(write_folder(tmp_path / "odd", files))
    assert dict(zip((sample.key for sample in source.samples), contents(source), strict=True)) == files
    assert [sample.key for sample in source.samples] == sorted(files)


def test_root_that_is_not_utf8(tmp_path):
    root = os.fsdecode(path_bytes(tmp_path) + b"/r\xff")
    os.mkdir(os.fsencode(root))
    with open(os.fsencode(root) + b"/a.jpg", "wb") as file:
        file.write(b"A")
    source = open_source(root)
    assert contents(source) == [b"A"]
    assert source.name == "r"


def test_links_are_followed_but_not_in_circles(folder):
    (folder / "dog/up").symlink_to(folder)
    (folder / "dog/self.jpg").symlink_to(folder / "dog/self.jpg")
    (folder / "bird").symlink_to(folder / "cat")
    (folder / "cat/linked.jpg").symlink_to(folder / "dog/b.jpg")
    source = FolderSource(folder)
    keys = ["bird/a.jpg", "bird/linked.jpg", "cat/a.jpg", "cat/linked.jpg", "dog/b.jpg", "dog/self.jpg"]
    assert [sample.key for sample in source.samples] == keys
    assert source.read(3) == b"BB"
    assert (source.samples[5].size, source.samples[5].mtime_ns, source.samples[5].inode) == (-1, 0, 0)
    with pytest.raises(SampleError, match="symbolic links"):
        source.read(5)


def test_what_is_no_readable_file_is_listed_and_says_why(folder):
    os.mkfifo(folder / "cat/fifo.jpg")
    (folder / "cat/gone.jpg").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(folder / "cat/socket.jpg"))
    (folder / "cat/device.jpg").symlink_to("/dev/zero")
    (folder / "cat/empty.jpg").touch()
    (folder / "cat/vanishes.jpg").write_bytes(b"x")
    source = open_source(folder)
    (folder / "cat/vanishes.jpg").unlink()
    rows = {sample.key.removeprefix("cat/"): i for i, sample in enumerate(source.samples)}
    start = time.monotonic()
    assert source.read(rows["empty.jpg"]) == b""
    for name, reason in [
        *[("fifo.jpg", "not a regular"), ("socket.jpg", "not a regular"), ("device.jpg", "not a regular")],
        *[("gone.jpg", "no such file"), ("vanishes.jpg", "no such file")],
    ]:
        with pytest.raises(SampleError, match=reason) as caught:
            source.read(rows[name])
        assert str(folder) not in str(caught.value)
    assert time.monotonic() - start < 5


def test_too_large(folder):
    os.truncate(folder / "cat/a.jpg", (1 << 30) + 1)
    with pytest.raises(SampleError, match="too large"):
        FolderSource(folder).read(0)


def test_a_folder_that_cannot_be_listed_is_no_quiet_loss(folder, monkeypatch):
    real = os.scandir

    def scandir(path):
        if path.endswith(b"dog/"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(_files.os, "scandir", scandir)
    with pytest.raises(SourceError, match=r"dog.*permission denied"):
        FolderSource(folder).samples  # noqa: B018


@pytest.mark.parametrize("files", [{}, {"notes.txt": b""}, {".hidden/a.jpg": b""}])
def test_a_folder_without_images(tmp_path, files):
    with pytest.raises(SourceError, match=r"holds no images: .*\.jpg"):
        open_source(write_folder(tmp_path / "none", files))


def test_a_single_file_keeps_the_path_it_was_given(folder, monkeypatch):
    monkeypatch.chdir(folder)
    source = FileSource("./cat/../cat/a.jpg")
    monkeypatch.chdir("/")
    assert listing(source) == [("./cat/../cat/a.jpg", None, None, 1)]
    assert source.read(0) == b"A"
    assert source.identity == f"file:{os.path.realpath(folder)}/cat/a.jpg"


def test_many_files_are_listed_fast(tmp_path):
    write_folder(tmp_path / "many", {f"c{i % 3}/{i}.jpg": b"" for i in range(3000)})
    start = time.perf_counter()
    assert len(FolderSource(tmp_path / "many")) == 3000
    assert time.perf_counter() - start < 2
