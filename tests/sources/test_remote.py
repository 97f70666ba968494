import builtins
import os
import pickle
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from featx.errors import MissingDependencyError, SampleError, SourceError
from featx.sources import FolderSource, NpzSource, TarSource, ZipSource, _remote, open_images, open_source

from .helpers import ODD_NAMES, contents, encoded, listing, path_bytes, write_folder, write_tar, write_zip
from .server import serve

FILES = {
    "train/cat/1.jpg": b"one" * 99,
    "train/dog/2.jpg": b"",
    "val/cat/3.jpg": b"three",
    "val/notes.txt": b"-",
    ".git/x.jpg": b"hidden",
}


def fill(filesystem, files, root="/photos"):
    for name, data in files.items():
        filesystem.pipe_file(f"{root}/{name}", data)


def test_a_folder_in_memory_is_as_one_on_disk(memory, tmp_path):
    fill(memory, FILES)
    source = open_source("memory://photos/")
    on_disk = FolderSource(write_folder(tmp_path / "photos", FILES))
    assert listing(source) == listing(on_disk)
    assert contents(source) == contents(on_disk)
    assert (source.classes, source.name) == (on_disk.classes, "photos")
    assert source.identity == "folder:memory://photos"
    created = memory.info("/photos/val/cat/3.jpg")["created"].timestamp()
    assert abs(source.samples[2].mtime_ns - created * 1e9) < 1000


def test_a_folder_by_its_file_url_is_as_one_on_disk(tmp_path):
    files = {**{f"c/{name}": str(i).encode() for i, name in enumerate(ODD_NAMES)}, "c::d://e.jpg": b"chained?"}
    folder = write_folder(tmp_path / "odd", files)
    source, on_disk = open_source(folder.as_uri()), open_source(folder)
    assert listing(source) == listing(on_disk)
    assert contents(source) == contents(on_disk)
    before = source.samples[0]
    replaced = tmp_path / "other"
    replaced.write_bytes(b"x" * before.size)
    path = os.path.join(path_bytes(folder), path_bytes(before.key))
    os.utime(replaced, ns=(os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns))
    os.replace(replaced, path)
    after = open_source(folder.as_uri()).samples[0]
    assert (after.size, after.mtime_ns) == (before.size, before.mtime_ns)
    assert after.inode != before.inode


def test_what_is_listed_again_is_not_remembered(memory):
    fill(memory, {"a.jpg": b"1"})
    assert listing(open_source("memory://photos")) == [("a.jpg", None, None, 1)]
    fill(memory, {"a.jpg": b"22", "b.jpg": b"3"})
    assert [size for *_, size in listing(open_source("memory://photos"))] == [2, 1]


def test_a_web_folder_is_listed_by_its_pages(tmp_path):
    files = {f"set/{name}": data for name, data in FILES.items()}
    files |= {f"set/val/dog/{name}": str(i).encode() for i, name in enumerate(ODD_NAMES)}
    with serve(files) as web:
        source = open_source(f"{web.url}/set/")
        on_disk = open_source(write_folder(tmp_path / "x", files) / "set")
        assert [row[:3] for row in listing(source)] == [row[:3] for row in listing(on_disk)]
        assert contents(source) == contents(on_disk)
        assert source.identity == f"folder:{web.url}/set"
        assert {sample.size for sample in source.samples} == {-1}  # no page says


@pytest.mark.parametrize(("write", "kind"), [(write_zip, ZipSource), (write_tar, TarSource)])
@pytest.mark.parametrize("parts", [True, False])
def test_archives_on_the_web_are_read_in_place(tmp_path, write, kind, parts):
    path = write(tmp_path / "set.x", FILES)
    with serve({f"data/set.{kind._kind}": path.read_bytes()}) as web:
        web.gives_parts = parts  # small files are had as a whole
        source = open_source(f"{web.url}/data/set.{kind._kind}")
        on_disk = kind(path)
        assert type(source) is kind
        assert (source.name, source.identity) == ("set", f"{kind._kind}:{web.url}/data/set.{kind._kind}")
        assert listing(source) == listing(on_disk)
        assert contents(source) == contents(on_disk)
        assert {sample.inode for sample in source.samples} != {0}  # by the server's tag


def large(tmp_path, write, name, n=40):
    rng = np.random.default_rng(0)
    files = {f"c/{i:03d}.jpg": rng.bytes(int(size)) for i, size in enumerate(rng.integers(2000, 9000, n))}
    return files, write(tmp_path / name, files).read_bytes()


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_remote, "BLOCK", 30_000)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("write", "name"), [(write_zip, "set.zip"), (write_tar, "set.tar")])
def test_images_that_follow_each_other_cost_one_request_for_many(tmp_path, write, name):
    files, data = large(tmp_path, write, name)
    with serve({name: data}) as web:
        source = pickle.loads(pickle.dumps(open_source(f"{web.url}/{name}")))
        web.requests.clear()
        assert contents(source) == list(files.values())
        assert len(web.parts(name)) <= len(data) // 30_000 + 2
        assert "" not in web.parts(name)  # never as a whole


@pytest.mark.usefixtures("small_blocks")
def test_one_image_somewhere_costs_no_more_than_itself(tmp_path):
    files, data = large(tmp_path, write_tar, "set.tar")
    with serve({"set.tar": data}) as web:
        source = pickle.loads(pickle.dumps(open_source(f"{web.url}/set.tar")))
        web.requests.clear()
        assert source.read(20) == files["c/020.jpg"]
        (asked,) = web.parts("set.tar")
        start, stop = map(int, asked.removeprefix("bytes=").split("-"))
        assert data[start : stop + 1] == files["c/020.jpg"]


@pytest.mark.usefixtures("small_blocks")
def test_any_order_from_any_thread_is_right(tmp_path):
    files, data = large(tmp_path, write_tar, "set.tar")
    with serve({"set.tar": data}) as web:
        source = open_source(f"{web.url}/set.tar")
        order = np.random.default_rng(1).integers(0, len(files), 300).tolist()
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(source.read, order)) == [list(files.values())[row] for row in order]
        web.requests.clear()
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(source.read, range(len(files)))) == list(files.values())
        assert len(web.parts("set.tar")) <= len(data) // 30_000 + 10


@pytest.mark.usefixtures("small_blocks")
def test_a_server_without_parts_is_told_of(tmp_path):
    _, data = large(tmp_path, write_tar, "set.tar")
    with serve({"set.tar": data}) as web:
        web.gives_parts = False
        with pytest.raises(SourceError, match=r"set.tar' cannot be read \(its server gave [0-9,]+ bytes for 512"):
            open_source(f"{web.url}/set.tar")


def test_an_archive_that_changes_is_not_read_on(tmp_path):
    path = write_tar(tmp_path / "set.tar", FILES)
    with serve({"set.tar": path.read_bytes()}) as web:
        source = pickle.loads(pickle.dumps(open_source(f"{web.url}/set.tar")))
        web.files["set.tar"] = path.read_bytes().replace(b"three", b"THREE")  # of the same size, with another tag
        with pytest.raises(SampleError, match="changed since it was listed"):
            source.read(2)


def test_trouble_that_passes_is_sat_out(memory):
    with serve({"a.jpg": b"A", "b.jpg": b"BBBB", "c.jpg": b"C"}) as web:
        memory.pipe_file("/m.csv", f"path\n{web.url}/a.jpg\n{web.url}/b.jpg\n{web.url}/c.jpg\n".encode())
        source = open_source("memory://m.csv")
        web.trouble = {"a.jpg": [503, 429], "b.jpg": ["cut"], "c.jpg": [500] * 3}
        assert [source.read(0), source.read(1)] == [b"A", b"BBBB"]
        assert len(web.parts("a.jpg")) == 3
        with pytest.raises(SampleError, match=r"^cannot be read: 500 internal server error$"):
            source.read(2)
        assert len(web.parts("c.jpg")) == 3
        assert source.read(2) == b"C"


def test_trouble_that_stays_is_told_in_a_line(monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}/x.jpg"
        with serve({"a.jpg": b"A", "slow.jpg": b"S"}) as web:
            source = open_images([f"{web.url}/{name}.jpg" for name in ("none", "a", "a", "slow")] + [closed])
            web.trouble = {"a.jpg": [403, 451], "slow.jpg": ["hang"] * 3}
            monkeypatch.setattr(_remote, "DEADLINE", 0.3)
            reasons = []
            for row in range(5):
                with pytest.raises(SampleError) as caught:
                    source.read(row)
                reasons.append(str(caught.value))
            assert len(web.parts("none.jpg")) == 1  # asked once: it will not come back
    assert reasons[:4] == [
        "cannot be read: no such file or directory",
        "cannot be read: 403 forbidden",
        "cannot be read: 451 unavailable for legal reasons",
        "cannot be read: no answer within 0.3 seconds",
    ]
    assert "cannot connect" in reasons[4]
    assert all(reason.splitlines() == [reason] for reason in reasons)


def test_an_image_above_the_limit_is_not_taken(memory, monkeypatch):
    from featx.sources import _files

    fill(memory, {"a.jpg": b"123"})
    source = open_source("memory://photos")
    monkeypatch.setattr(_files, "MAX_SAMPLE_BYTES", 2)
    with pytest.raises(SampleError, match="too large: 3 bytes"):
        source.read(0)


def test_arrays_behind_a_url(memory, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 6), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=["a", "b", "a"])
    memory.pipe_file("/data/x.npz", (tmp_path / "x.npz").read_bytes())
    source = open_source("memory://data/x.npz")
    assert type(source) is NpzSource
    assert source.identity == "npz:memory://data/x.npz"
    assert [sample.label for sample in source.samples] == ["a", "b", "a"]
    assert (source.read(1)[..., 0] == images[1]).all()


def test_nothing_is_asked_of_a_source_that_is_only_built():
    assert "nowhere.invalid" in FolderSource("http://nowhere.invalid/photos").identity


@pytest.mark.parametrize(
    ("given", "identity"),
    [
        ("MEMORY://photos//", "folder:memory://photos"),
        ("https://me:secret@host/photos/", "folder:https://host/photos"),
        ("https://token@host/photos", "folder:https://host/photos"),
        ("sftp://me:secret@host/photos", "folder:sftp://me@host/photos"),
        ("abfs://container@account/photos", "folder:abfs://container@account/photos"),
    ],
)
def test_identities_are_of_one_spelling_and_keep_no_secret(given, identity):
    source = FolderSource(given)
    assert source.identity == identity
    assert "secret" not in repr(source)


def test_messages_keep_no_secret(tmp_path):
    source = open_images("http://me:secret@[bad/x.jpg")
    with pytest.raises(SampleError) as caught:
        source.read(0)
    assert "secret" not in str(caught.value)


def test_headers_of_the_users_are_sent_along():
    with serve({"a.jpg": b"A"}) as web:
        source = FolderSource(f"{web.url}/", storage_options={"headers": {"X-Token": "t"}})
        web.wanted_header = ("X-Token", "t")
        assert contents(source) == [b"A"]
        web.wanted_header = ("X-Token", "other")
        with pytest.raises(SampleError, match="401"):
            source.read(0)


def test_options_are_for_fsspec_and_no_part_of_the_identity(memory):
    fill(memory, FILES)
    apart = MemoryFileSystem(global_store=False)
    source = FolderSource("memory://photos", storage_options={"global_store": True, "use_listings_cache": False})
    assert source.identity == open_source("memory://photos").identity
    assert len(source) == 3
    assert apart.store == {}
    with pytest.raises(SourceError, match="cannot be listed"):
        FolderSource("memory://photos", storage_options={"global_store": False}).samples  # noqa: B018


def test_a_source_is_pickled_without_its_connections(memory):
    fill(memory, FILES)
    source = open_source("memory://photos")
    state = pickle.dumps(source)
    assert b"fsspec" not in state
    assert contents(pickle.loads(state)) == contents(source)


def test_a_forked_process_has_connections_of_its_own(tmp_path):
    path = write_tar(tmp_path / "set.tar", FILES)
    with serve({"set.tar": path.read_bytes(), "a.jpg": b"A"}) as web:
        archive, image = open_source(f"{web.url}/set.tar"), open_images(f"{web.url}/a.jpg")
        expected = contents(archive)
        child = os.fork()
        if not child:
            try:
                os._exit(0 if contents(archive) == expected and image.read(0) == b"A" else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert contents(archive) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("memoriy://photos", "protocol that fsspec does not know; did you mean 'memory'"),
        ("memory://none", r"folder 'memory://none' cannot be listed \(no such file or directory\)"),
        ("memory://none.zip", r"'memory://none.zip' cannot be read \(no such file or directory\)"),
        ("memory://none.csv", "no such file or directory"),
        ("memory://none.parquet", "no such file or directory"),
        ("memory://photos/cat.jpg", "is a single image: give the folder"),
        ("memory://empty", "'memory://empty' holds no images"),
    ],
)
def test_wrong_urls(memory, given, message):
    memory.pipe_file("/empty/notes.txt", b"")
    with pytest.raises(SourceError, match=message):
        open_source(given)


def test_a_folder_that_cannot_be_listed_is_no_quiet_loss(memory, monkeypatch):
    fill(memory, FILES)
    real = MemoryFileSystem.ls

    def ls(self, path, **options):
        if path.endswith("/dog"):
            raise PermissionError(13, "Permission denied")
        return real(self, path, **options)

    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    with pytest.raises(SourceError, match=r"folder 'memory://photos/train/dog' .*permission denied"):
        open_source("memory://photos")


def test_pages_that_lead_ever_deeper_come_to_an_end(memory, monkeypatch):
    def ls(self, path, **options):
        return [{"name": f"{path}/more", "type": "directory", "size": 0}]

    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    with pytest.raises(SourceError, match="more than 64 deep"):
        open_source("memory://photos")


@pytest.mark.parametrize(
    ("missing", "url", "message"),
    [
        ("fsspec", "memory://photos", r"'memory://photos' needs fsspec.*pip install featx\[remote\]"),
        ("s3fs", "s3://bucket/photos/", r"'s3://bucket/photos' needs .* \(Install s3fs to access S3\): install it"),
        ("s3fs", "s3://bucket/photos.tar", "Install s3fs"),
        ("s3fs", "s3://bucket/photos.npz", "Install s3fs"),
        ("s3fs", "s3://bucket/{0..3}.tar", "Install s3fs"),
        ("s3fs", "s3://bucket/{0..3}.parquet", "Install s3fs"),
        ("s3fs", "s3://bucket/photos.csv", "Install s3fs"),
    ],
)
def test_packages_that_are_missing_are_named(monkeypatch, missing, url, message):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == missing:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingDependencyError, match=message):
        open_source(url)


@pytest.mark.parametrize(
    ("info", "stamp"),
    [
        ({"size": 5, "LastModified": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)}, 1767323045678901000),
        ({"size": 5, "mtime": 1767323045.5}, 1767323045500000000),
        ({"size": 5, "updated": "2026-01-02T03:04:05.500Z"}, 1767323045500000000),
        ({"size": 5, "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT"}, 1767323045000000000),
        ({"size": 5, "last_modified": datetime(2026, 1, 2, 3, 4, 5)}, 1767323045000000000),
        ({"size": 5, "modified": "yesterday"}, 0),
        ({"size": 5}, 0),
    ],
)
def test_times_in_all_forms(info, stamp):
    assert _remote._stamp(info) == (5, stamp, 0)


def test_tags_tell_what_size_and_time_do_not():
    tags = [{"ETag": "1"}, {"ETag": "2"}, {"md5Hash": "x"}, {}]
    stamps = [_remote._stamp({"size": None, **tag}) for tag in tags]
    assert len(set(stamps)) == 4
    assert all(stamp[0] == -1 and -(2**63) <= stamp[2] < 2**63 for stamp in stamps)


def test_images_by_url_among_others(memory, tmp_path, monkeypatch):
    fill(memory, FILES)
    write_folder(tmp_path, {"a.jpg": b"a"})
    monkeypatch.chdir(tmp_path)
    with serve({"x.jpg": b"x", "image": b"no ending", "set.tar": write_tar(tmp_path / "t", FILES).read_bytes()}) as web:
        given = ["a.jpg", "memory://photos/val", f"{web.url}/x.jpg", f"{web.url}/image?id=3", f"{web.url}/set.tar"]
        source = open_images(given)
        assert [sample.key for sample in source.samples] == [
            "a.jpg",
            "memory://photos/val/cat/3.jpg",
            f"{web.url}/x.jpg",
            f"{web.url}/image?id=3",
            *(f"{web.url}/set.tar/{key}" for key in ("train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg")),
        ]
        assert contents(source)[:4] == [b"a", b"three", b"x", b"no ending"]


def test_listings_come_from_several_threads(memory, monkeypatch):
    fill(memory, {f"c{i:02d}/a.jpg": b"" for i in range(32)})
    threads = set()
    real = MemoryFileSystem.ls

    def ls(self, path, **options):
        threads.add(threading.get_ident())
        return real(self, path, **options)

    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    assert len(open_source("memory://photos")) == 32
    assert len(threads) > 1


def test_opening_what_is_on_disk_loads_no_fsspec(tmp_path):
    import subprocess

    write_folder(tmp_path, {"a/1.png": encoded(np.zeros((2, 2), np.uint8)), "x.csv": b"path\na/1.png\n"})
    code = (
        "import sys; from featx.sources import open_source; open_source('a'); open_source('x.csv');"
        "print({'fsspec', 'aiohttp', 'pyarrow'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
    )
    assert done.stdout.strip() == "set()"
