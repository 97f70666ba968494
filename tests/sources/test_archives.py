import gzip
import io
import os
import pickle
import stat
import struct
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.errors import SampleError, SourceError
from featx.sources import FolderSource, TarSource, ZipSource, open_source

from .helpers import ODD_NAMES, RawZipInfo, contents, listing, write_folder, write_tar, write_zip

FILES = {"set/train/cat/1.jpg": b"one" * 99, "set/train/dog/2.jpg": b"", "set/val/cat/3.jpg": b"three"}
WRITERS = {"zip": (write_zip, ZipSource), "tar": (write_tar, TarSource)}

parts = st.one_of(
    st.sampled_from(["cat", "dog", "train", "val", "a.jpg"]),
    st.binary(min_size=1, max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text(min_size=1, max_size=8).map(lambda text: text.encode("utf-8", "ignore").decode()),
).filter(lambda part: part not in ("", ".", "..") and not set(part) & {"/", "\0"})
trees = st.dictionaries(
    st.tuples(st.lists(parts, max_size=3), parts).map(lambda path: "/".join([*path[0], path[1] + ".jpg"])),
    st.binary(max_size=40),
    min_size=1,
    max_size=8,
)


def is_a_tree(files):
    return not any(f"{a}/" in b for a in files for b in files if b.startswith(f"{a}/"))


@settings(max_examples=80)
@given(files=trees.filter(is_a_tree), form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_folder_zip_and_tar_are_the_same(files, form):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        made = [
            FolderSource(write_folder(root / "x", files)),
            ZipSource(write_zip(root / "x.zip", files, raw=True)),
            TarSource(write_tar(root / "x.tar", files, form=form)),
        ]
        try:
            expected = listing(made[0])
        except SourceError:  # no images, or splits among strangers: then so for all
            for source in made[1:]:
                with pytest.raises(SourceError):
                    source.samples  # noqa: B018
            return
        for source in made[1:]:
            assert listing(source) == expected
            assert contents(source) == contents(made[0])
            assert source.classes == made[0].classes
        assert {source.name for source in made} == {"x"}


@pytest.fixture(params=WRITERS)
def archive(request, tmp_path):
    write, _ = WRITERS[request.param]
    return write(tmp_path / f"set.{request.param}", FILES)


def test_listing_and_reading(archive):
    source = open_source(archive)
    assert listing(source) == [
        ("set/train/cat/1.jpg", "cat", "train", 297),
        ("set/train/dog/2.jpg", "dog", "train", 0),
        ("set/val/cat/3.jpg", "cat", "val", 5),
    ]
    assert contents(source) == list(FILES.values())
    assert {sample.mtime_ns for sample in source.samples} == {archive.stat().st_mtime_ns}
    assert source.identity == f"{archive.suffix[1:]}:{os.path.realpath(archive)}"


def test_odd_names(archive):
    write, kind = WRITERS[archive.suffix[1:]]
    files = {f"c/{name}": name.encode("utf-8", "surrogateescape") for name in ODD_NAMES}
    source = kind(write(archive, files))
    assert dict(zip((sample.key for sample in source.samples), contents(source), strict=True)) == files


def test_many_threads_read_right(archive):
    files = {f"c/{i}.jpg": os.urandom(20_000) for i in range(40)}
    write, kind = WRITERS[archive.suffix[1:]]
    source = kind(write(archive, files))
    keys = [sample.key for sample in source.samples]
    order = [i for _ in range(20) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert [files[keys[i]] for i in order] == list(pool.map(source.read, order))


def test_pickled_sources_read_on_and_notice_another_archive(archive):
    source = open_source(archive)
    source.read(0)
    text = pickle.dumps(source)
    assert contents(pickle.loads(text)) == list(FILES.values())
    WRITERS[archive.suffix[1:]][0](archive, {**FILES, "set/val/cat/4.jpg": b"new"})
    with pytest.raises(SampleError, match="changed"):
        pickle.loads(text).read(0)
    archive.unlink()
    with pytest.raises(SampleError, match="no such file"):
        pickle.loads(text).read(0)
    assert source.read(0) == FILES["set/train/cat/1.jpg"]


def test_forked_processes_do_not_disturb_each_other(archive):
    files = {f"c/{i}.jpg": bytes([i]) * 5000 for i in range(50)}
    write, kind = WRITERS[archive.suffix[1:]]
    source = kind(write(archive, files))
    keys = [sample.key for sample in source.samples]
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            good = all(source.read(i) == files[keys[i]] for _ in range(20) for i in range(50))
            os._exit(0 if good else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]


def test_names_that_climb_or_start_at_the_root_are_only_names(archive, tmp_path):
    write, kind = WRITERS[archive.suffix[1:]]
    before = sorted(tmp_path.rglob("*"))
    source = kind(write(archive, {"../../up.jpg": b"1", "/abs.jpg": b"2", "./here//x.jpg": b"3"}))
    assert [sample.key for sample in source.samples] == ["../../up.jpg", "abs.jpg", "here/x.jpg"]
    assert contents(source) == [b"1", b"2", b"3"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_with_one_name_the_last_counts(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.jpg", b"first")
        archive.writestr("a.jpg", b"the last")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for data in (b"first", b"the last"):
            info = tarfile.TarInfo("./a.jpg")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    for suffix in WRITERS:
        source = open_source(tmp_path / f"x.{suffix}")
        assert listing(source) == [("a.jpg", None, None, 8)]
        assert contents(source) == [b"the last"]


@pytest.mark.parametrize("cut", [10, 700, 2000])
def test_truncated_archives(archive, cut):
    os.truncate(archive, min(cut, archive.stat().st_size - 30))
    with pytest.raises(SourceError, match=r"damaged|no images"):
        open_source(archive)


@pytest.mark.parametrize("data", [b"", b"no archive at all " * 100])
def test_what_is_no_archive(archive, data):
    archive.write_bytes(data)
    with pytest.raises(SourceError, match=r"is no (zip|tar) archive"):
        open_source(archive)


def test_an_archive_without_images(archive):
    WRITERS[archive.suffix[1:]][0](archive, {"a.txt": b""})
    with pytest.raises(SourceError, match="holds no images"):
        open_source(archive)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_methods_and_damaged_members(tmp_path, method):
    good, bad = os.urandom(3000), os.urandom(3000)
    path = write_zip(tmp_path / "x.zip", {"bad.jpg": bad, "good.jpg": good}, method=method)
    data = bytearray(path.read_bytes())
    data[1500] ^= 0xFF
    path.write_bytes(data)
    source = open_source(path)
    assert source.read(1) == good
    with pytest.raises(SampleError, match="damaged"):
        source.read(0)


def test_zip_of_unknown_method(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"a.jpg": b"1"})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"PK\1\2\x14\x03\x14\0\0\0\x08\0", b"PK\1\2\x14\x03\x14\0\0\0\x60\0"))
    with pytest.raises(SampleError, match="damaged"):
        open_source(path).read(0)


def test_encrypted_zip(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"a.jpg": b"1"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="encrypted"):
        open_source(path)


def test_declared_size_above_the_limit(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"a.jpg": b"1" * 2000})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2") + 24
    data[at : at + 4] = struct.pack("<I", (1 << 30) + 1)
    path.write_bytes(data)
    with pytest.raises(SampleError, match="too large"):
        open_source(path).read(0)


@pytest.mark.parametrize(
    ("raw", "system", "key"),
    [
        ("é.jpg".encode(), 3, "é.jpg"),
        ("é.jpg".encode(), 0, "é.jpg"),
        ("é.jpg".encode("cp437"), 0, "é.jpg"),
        (b"\xff.jpg", 3, "\udcff.jpg"),
    ],
)
def test_zip_names_without_the_utf8_flag(tmp_path, raw, system, key):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = RawZipInfo("placeholder")
        info.raw, info.create_system = raw, system
        archive.writestr(info, b"1")
    source = open_source(tmp_path / "x.zip")
    assert source.samples[0].key == key
    assert source.read(0) == b"1"


def test_links_in_archives_are_not_followed(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("link.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in [("d.jpg", tarfile.CHRTYPE), ("h.jpg", tarfile.LNKTYPE), ("s.jpg", tarfile.SYMTYPE)]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    for suffix, n in (("zip", 1), ("tar", 3)):
        source = open_source(tmp_path / f"x.{suffix}")
        assert len(source) == n
        for row in range(n):
            with pytest.raises(SampleError, match="not followed"):
                source.read(row)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar"])
def test_compressed_tars_are_refused_with_the_way_on(tmp_path, suffix):
    plain = write_tar(tmp_path / "plain.tar", FILES)
    packed = tmp_path / f"x{suffix}"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(SourceError, match=r"compressed .*in place.*gunzip"):
        open_source(packed)


def test_a_damaged_header_in_a_tar_loses_nothing_quietly(tmp_path):
    path = write_tar(tmp_path / "x.tar", {"a.jpg": b"1", "b.jpg": b"2", "c.jpg": b"3"})
    data = bytearray(path.read_bytes())
    data[1024 + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="damaged at byte 1,024"):
        open_source(path)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_formats_and_long_names(tmp_path, form):
    key = "/".join(["d" * 60, "e" * 60, "f" * 60 + ".jpg"])
    source = open_source(write_tar(tmp_path / "x.tar", {key: b"1"}, form=form))
    assert source.samples[0].key == key


@settings(max_examples=150)
@given(
    suffix=st.sampled_from(["zip", "tar"]),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damage_anywhere_is_an_error_of_featx_or_harmless(suffix, edits):
    with tempfile.TemporaryDirectory() as name:
        path = WRITERS[suffix][0](Path(name, f"x.{suffix}"), FILES)
        data = bytearray(path.read_bytes())
        for position, value in edits:
            data[position % len(data)] = value
        path.write_bytes(data)
        try:
            source = open_source(path)
        except SourceError:
            return
        for row in range(len(source)):
            try:
                source.read(row)
            except SampleError as error:
                reason = str(error)
                assert reason.splitlines() == [reason]
