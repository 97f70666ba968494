"""Far and sharded sources from end to end: the same images have the same features, whatever they lie in."""

import io
import json
import tarfile

import numpy as np
import pytest

from featx.caching import extract, recompute, reopen_source
from featx.errors import SourceError
from featx.fitting._commands import source_words
from featx.sources import ParquetSource, WebDatasetSource, _remote, open_source
from tests.caching.helpers import extracted
from tests.sources.helpers import write_tar, write_zip
from tests.sources.server import serve
from tests.tiny import BACKBONE, write_folder

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("set") / "photos", splits=("train", "val"), per_class=3)


@pytest.fixture(scope="module")
def expected(photos, tmp_path_factory):
    return rows_of(extract(photos, BACKBONE, cache=tmp_path_factory.mktemp("cache")))


def rows_of(store):
    """Return what is known of each image, and its features, by its content."""
    labels = store.samples.named_labels()
    rows = zip(store.digests, labels, store.splits, np.array(store.features), strict=True)
    return {digest: (label, split, row) for digest, label, split, row in rows}


def assert_rows(store, expected):
    found = rows_of(store)
    assert {digest: row[:2] for digest, row in found.items()} == {digest: row[:2] for digest, row in expected.items()}
    for digest, (_, _, features) in found.items():
        np.testing.assert_allclose(features, expected[digest][2], rtol=1e-4, atol=1e-5)


def images_of(photos):
    """Return split, class and bytes of each image by its path."""
    return {
        str(path.relative_to(photos)): (*path.relative_to(photos).parts[:2], path.read_bytes())
        for path in sorted(photos.rglob("*.png"))
    }


def shard(images, first=0):
    """Return images as the files of a shard of WebDataset."""
    files = {}
    for number, (_, label, data) in enumerate(images):
        files |= {f"{first + number:06d}.png": data, f"{first + number:06d}.cls": label.encode()}
    return files


def tar_bytes(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def make(kind, photos, tmp_path, memory):
    """Put the images where `kind` says; return what names them."""
    images = images_of(photos)
    of_split = {split: [image for image in images.values() if image[0] == split] for split in ("train", "val")}
    if kind == "file":
        return photos.as_uri()
    if kind == "memory":
        for path, (_, _, data) in images.items():
            memory.pipe_file(f"/photos/{path}", data)
        return "memory://photos"
    if kind == "zip":
        memory.pipe_file("/p.zip", write_zip(tmp_path / "p.zip", {k: v[2] for k, v in images.items()}).read_bytes())
        return "memory://p.zip"
    if kind == "tar":
        memory.pipe_file("/p.tar", write_tar(tmp_path / "p.tar", {k: v[2] for k, v in images.items()}).read_bytes())
        return "memory://p.tar"
    if kind == "manifest":
        rows = []
        for number, (split, label, data) in enumerate(images.values()):
            memory.pipe_file(f"/web/{number}", data)
            rows.append({"url": f"memory://web/{number}", "label": label, "split": split, "size": len(data)})
        (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / "list.jsonl"
    if kind == "webdataset":
        for split, those in of_split.items():
            write_tar(tmp_path / f"{split}-000000.tar", shard(those[:5]))
            write_tar(tmp_path / f"{split}-000001.tar", shard(those[5:], 5))
        return f"{tmp_path}/{{train,val}}-{{000000..000001}}.tar"
    if kind == "webdataset-url":
        for split, those in of_split.items():
            memory.pipe_file(f"/w/{split}/0.tar", tar_bytes(shard(those)))
        return "memory://w"
    (tmp_path / "p").mkdir()
    for split, those in of_split.items():
        columns = {
            "image": [{"bytes": data, "path": None} for _, _, data in those],
            "class": [label for _, label, _ in those],
        }
        with (tmp_path / "p" / f"{split}-00000-of-00001.parquet").open("wb") as file:
            parquet.write_table(pyarrow.table(columns), file, row_group_size=4)
        memory.put(str(tmp_path / "p" / f"{split}-00000-of-00001.parquet"), f"/p/data/{split}-00000-of-00001.parquet")
    return tmp_path / "p" if kind == "parquet" else "memory://p"


KINDS = ["file", "memory", "zip", "tar", "manifest", "webdataset", "webdataset-url", "parquet", "parquet-url"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_images_from_anywhere(kind, photos, expected, tmp_path, memory, monkeypatch):
    given = make(kind, photos, tmp_path, memory)
    cache = tmp_path / "cache"
    ((extraction,), _, images) = extracted(given, cache)
    assert (extraction.changes.computed, images) == (18, 18)
    assert_rows(extraction.store, expected)

    source = open_source(given)
    monkeypatch.setattr(type(source), "_read", lambda self, index: pytest.fail("an image was opened"))
    ((again,), _, images) = extracted(given, cache)
    assert (again.hit, images) == (True, 0)
    monkeypatch.undo()

    words = source_words(extraction.store)
    assert open_source(words[0]).identity == source.identity
    report = recompute(extraction.store, 4)
    assert (report.ok, report.checked, report.skipped) == (True, 4, ())


def test_what_is_known_of_unchanged_shards_is_not_read_again(photos, expected, tmp_path, memory, monkeypatch):
    given = make("webdataset", photos, tmp_path, memory)
    first = given.replace("{000000..000001}", "000000")
    folder = tmp_path / "shards"
    folder.mkdir()
    for path in tmp_path.glob("*-000000.tar"):
        path.rename(folder / path.name)
    ((one,), _, _) = extracted(folder, tmp_path / "cache")
    assert first.endswith("{train,val}-000000.tar")
    for path in tmp_path.glob("*-000001.tar"):
        path.rename(folder / path.name)
    read = []
    real = WebDatasetSource._read
    monkeypatch.setattr(WebDatasetSource, "_read", lambda self, i: read.append(self.samples[i].key) or real(self, i))
    ((both,), _, images) = extracted(folder, tmp_path / "cache")
    assert (one.changes.computed, both.changes.computed, both.changes.kept) == (10, 8, 10)
    assert images == 8
    assert all("-000001/" in key for key in read)
    assert_rows(both.store, expected)


def test_rows_of_unchanged_tables_are_not_read_again(photos, tmp_path, memory, monkeypatch):
    folder = make("parquet", photos, tmp_path, memory)
    extracted(folder, tmp_path / "cache")
    (folder / "train-00000-of-00001.parquet").rename(folder / "train-more.parquet")  # other keys, the same content
    read = []
    real = ParquetSource._read
    monkeypatch.setattr(ParquetSource, "_read", lambda self, i: read.append(self.samples[i].key) or real(self, i))
    ((again,), _, images) = extracted(folder, tmp_path / "cache")
    assert images == 0
    assert {key.partition("/")[0] for key in read} == {"train-more"}
    assert len(again.store) == 18


def test_bad_images_on_the_web_are_recorded_with_the_reason(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(_remote, "WAIT", 0.001)
    images = list(images_of(photos).values())[:4]
    with serve({f"{number}.png": data for number, (_, _, data) in enumerate(images)} | {"5.png": b"<html>"}) as web:
        web.trouble = {"0.png": [500, 503], "1.png": [500] * 3}
        names = [f"{web.url}/{number}.png" for number in range(6)]
        (tmp_path / "list.csv").write_text("\n".join(["url", *names]))
        store = extract(tmp_path / "list.csv", BACKBONE, cache=tmp_path / "cache")
        assert store.keys == (names[0], names[2], names[3])
        assert [(key, reason[:32]) for key, reason in store.failures] == [
            (names[1], "cannot be read: 500 internal ser"),
            (names[4], "cannot be read: no such file or "),
            (names[5], "not an image of a known format: "),
        ]
        again = extract(tmp_path / "list.csv", BACKBONE, cache=tmp_path / "cache", rehash=True)
        assert again.keys == (names[0], names[1], names[2], names[3])


def test_one_of_several_images_in_a_shard(tmp_path, photos):
    image = next(iter(images_of(photos).values()))[2]
    write_tar(tmp_path / "0.tar", {"a.left.png": image, "a.right.png": image, "a.cls": b"x"})
    store = extract(WebDatasetSource(tmp_path / "0.tar", image="left.png"), BACKBONE, limit=1, cache=tmp_path)
    assert reopen_source(store).identity == store.source["identity"] == f"webdataset:{tmp_path}/0.tar#image=left.png"
    assert source_words(store)[0] == "SOURCE"


def test_sources_that_are_gone(photos, tmp_path, memory):
    for kind in ("memory", "webdataset"):
        store = extract(make(kind, photos, tmp_path, memory), BACKBONE, cache=tmp_path / "cache")
        memory.store.clear()
        for path in tmp_path.glob("*.tar"):
            path.unlink()
        with pytest.raises(SourceError, match="no such file or directory"):
            reopen_source(store)
