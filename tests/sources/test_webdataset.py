import gzip
import io
import json
import os
import pickle
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.errors import SampleError, SourceError
from featx.sources import FolderSource, TarSource, WebDatasetSource, open_images, open_source

from .helpers import ODD_NAMES, contents, listing, write_folder, write_tar
from .server import serve

SHARD = {
    "0000.jpg": b"zero",
    "0000.cls": b"3\n",
    "0000.json": b'{"group": "p1", "caption": "x", "WIDTH": 5}',
    "0001.txt": b"a caption first",
    "0001.PNG": b"one",
    "0001.cls": b"7",
    "0002.jpeg": b"",
    "deep/0003.jpg": b"three",
    "deep/0003.cls": "größer".encode(),
    "words.txt": b"no image at all",
    "__meta__": b"-",
    ".hidden.jpg": b"-",
    "noending": b"-",
}
LISTED = [
    ("0000", "3", 4),
    ("0001", "7", 3),
    ("0002", None, 0),
    ("deep/0003", "größer", 5),
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set" / "more").mkdir(parents=True)
    for name in ("train-000", "train-001", "more/val-000"):
        write_tar(tmp_path / "set" / f"{name}.tar", SHARD)
    write_folder(tmp_path / "set", {"train-000.parquet": b"what img2dataset writes", "train-000_stats.json": b"{}"})
    return tmp_path / "set"


def shard_listing(name, split):
    return [(f"{name}/{base}", label, split, size) for base, label, size in LISTED]


def test_a_folder_of_shards(folder):
    source = open_source(folder)
    assert type(source) is WebDatasetSource
    assert (source.name, source.identity) == ("set", f"webdataset:{folder}")
    assert listing(source) == [
        *shard_listing("more/val-000", "val"),
        *shard_listing("train-000", "train"),
        *shard_listing("train-001", "train"),
    ]
    assert contents(source) == [b"zero", b"one", b"", b"three"] * 3
    assert [sample.group for sample in source.samples] == ["p1", None, None, None] * 3
    assert source.classes == ("3", "7", "größer")
    assert source.samples[-1].mtime_ns == (folder / "train-001.tar").stat().st_mtime_ns


@pytest.mark.parametrize(
    ("given", "kind", "n"),
    [
        ("set/train-{000..001}.tar", WebDatasetSource, 8),
        ("set/{train-000,more/val-000}.tar", WebDatasetSource, 8),
        ("webdataset:set", WebDatasetSource, 12),
        ("webdataset:set/train-000.tar", WebDatasetSource, 4),
        ("set/train-000.tar", WebDatasetSource, 4),  # by the files of classes in it
        ("set/plain.tar", TarSource, 1),
        ("webdataset:set/plain.tar", WebDatasetSource, 1),
    ],
)
def test_what_is_taken_for_shards(folder, monkeypatch, given, kind, n):
    monkeypatch.chdir(folder.parent)
    if "plain" in given:
        write_tar(folder / "plain.tar", {"cat/0000.jpg": b"x", "cat/0000.json": b"{}"})
    source = open_source(given)
    assert type(source) is kind
    assert len(source) == n
    assert source.identity == f"{'tar' if kind is TarSource else 'webdataset'}:{folder.parent}/{given.split(':')[-1]}"
    monkeypatch.chdir("/")
    assert contents(pickle.loads(pickle.dumps(source))) == contents(source)


def test_a_folder_with_an_image_is_a_folder_of_images(folder):
    write_folder(folder, {"cat/a.jpg": b"A"})
    source = open_source(folder)
    assert type(source) is FolderSource
    assert listing(source) == [("cat/a.jpg", "cat", None, 1)]


def test_shards_among_images_to_be_answered(folder):
    for path in (f"webdataset:{folder}/train-000.tar", f"{folder}/train-{{000..000}}.tar"):
        keys = [sample.key for sample in open_images([path]).samples]
        assert keys == [f"{path}/train-000/{base}" for base, _, _ in LISTED]


bases = st.lists(
    st.text(st.sampled_from("ab01 _-é"), min_size=1, max_size=4).filter(lambda base: not base.startswith("__")),
    unique=True,
    max_size=6,
)
extras = st.sets(st.sampled_from(["cls", "json", "txt", "seg.png"]))
shards = st.lists(
    bases.flatmap(
        lambda names: st.fixed_dictionaries({name: st.tuples(st.binary(max_size=700), extras) for name in names})
    ),
    min_size=1,
    max_size=3,
)


def yielded(path):
    """Return the samples that WebDataset itself makes of a shard."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    with open(path, "rb") as stream:
        return list(group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}])))


@settings(max_examples=60)
@given(shards=shards, form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_what_is_read_is_what_webdataset_yields(shards, form):
    with tempfile.TemporaryDirectory() as name:
        expected = {}
        for number, shard in enumerate(shards):
            files = {}
            for base, (image, fields) in shard.items():
                more = {"cls": str(len(image)).encode(), "json": b'{"split": "fold1"}', "txt": b"t", "seg.png": b"mask"}
                files |= {f"{base}.jpg": image} | {f"{base}.{field}": more[field] for field in sorted(fields)}
            path = write_tar(Path(name, f"{number:03d}.tar"), files, form=form)
            for sample in yielded(path):
                label = sample["cls"].decode() if "cls" in sample else None
                split = json.loads(sample["json"])["split"] if "json" in sample else None
                expected[f"{number:03d}/{sample['__key__']}"] = (sample["jpg"], label, split)
        if not expected:
            with pytest.raises(SourceError, match="holds no images"):
                open_source(name)
            return
        source = open_source(name)
        found = {
            sample.key: (source.read(row), sample.label, sample.split) for row, sample in enumerate(source.samples)
        }
        assert found == expected
        assert [sample.key for sample in source.samples] == sorted(expected)


def test_only_headers_and_labels_are_read_to_list_a_shard(tmp_path, monkeypatch):
    from featx.sources._location import _DiskFile

    files = {}
    for i in range(20):
        files |= {f"{i:04d}.jpg": os.urandom(50_000), f"{i:04d}.cls": b"1"}
    write_tar(tmp_path / "0.tar", files)
    read = []
    real = _DiskFile.pread
    monkeypatch.setattr(_DiskFile, "pread", lambda self, size, offset: read.append(size) or real(self, size, offset))
    assert len(open_source(f"webdataset:{tmp_path}/0.tar")) == 20
    assert sum(read) == (40 + 1) * 512 + 20


def test_labels_splits_and_groups_in_json(tmp_path):
    rows = {
        "a": {"Label": "cat", "split": "validation", "group": 7},
        "b": {"label": 3, "class": "ignored"},
        "c": {"caption": "nothing that counts"},
    }
    files = {f"{base}.jpg": b"x" for base in rows} | {
        f"{base}.json": json.dumps(row).encode() for base, row in rows.items()
    }
    source = open_source(f"webdataset:{write_tar(tmp_path / 'train-0.tar', files)}")
    assert [(sample.label, sample.split, sample.group) for sample in source.samples] == [
        ("cat", "val", "7"),
        ("3", "train", None),
        (None, "train", None),
    ]


@pytest.mark.parametrize(
    ("row", "label"), [({"labels": ["b", "a"]}, ("a", "b")), ({"values": [1, 2.5]}, (1.0, 2.5)), ({"labels": []}, ())]
)
def test_several_labels_and_values_in_json(tmp_path, row, label):
    path = write_tar(tmp_path / "0.tar", {"a.jpg": b"x", "a.json": json.dumps(row).encode()})
    assert open_source(f"webdataset:{path}").samples[0].label == label


def test_a_class_counts_more_than_what_json_says(tmp_path):
    row = b'{"label": "no", "labels": ["no"], "score": 3, "split": "test"}'
    path = write_tar(tmp_path / "0.tar", {"a.jpg": b"x", "a.json": row, "a.cls": b" yes \n"})
    (sample,) = open_source(f"webdataset:{path}").samples
    assert (sample.label, sample.split) == ("yes", "test")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jpg": b"", "a.json": b"{"}, r"0\.tar' is wrong in 'a': is no JSON"),
        ({"a.jpg": b"", "a.json": b"[1]"}, "is wrong in 'a': must be a JSON object"),
        ({"a.jpg": b"", "a.json": b'{"label": {"x": 1}}'}, "a label must be text or a number; got dict"),
        ({"a.jpg": b"", "a.json": b'{"label": 1, "score": 1}'}, "one of label, labels, value; got label and value"),
        ({"a.jpg": b"", "a.cls": b"1" * (1 << 20 | 1)}, "a file of at most 1,048,576 bytes"),
        ({"a.jpg": b"", "a.png": b""}, r"'0/a' has jpg and png: choose one .*WebDatasetSource\(\.\.\., image='jpg'\)"),
        ({"IMG.1.jpg": b"", "IMG.2.jpg": b""}, r"'0/IMG' has 1\.jpg and 2\.jpg"),
        ({"a.jpg": b"", "./a.JPG": b""}, r"it holds 'a\.JPG' twice"),
        ({"a.jpg": b"", "a.cls": b"1", "b.jpg": b"", "b.json": b'{"score": 1}'}, "of one kind for all samples"),
        ({"a.txt": b""}, "holds no images"),
    ],
)
def test_wrong_shards(tmp_path, files, message):
    path = write_tar(tmp_path / "0.tar", files)
    with pytest.raises(SourceError, match=message):
        open_source(f"webdataset:{path}")


def test_one_of_several_images_is_chosen(tmp_path):
    files = {"a.jpg": b"photo", "a.Left.png": b"left", "a.cls": b"1", "b.jpg": b"alone"}
    path = write_tar(tmp_path / "0.tar", files)
    assert contents(WebDatasetSource(path)) == [b"photo", b"alone"]  # the plain one, if there is one
    source = WebDatasetSource(path, image="left.png")
    assert (listing(source), contents(source)) == ([("0/a", "1", None, 4)], [b"left"])
    assert source.identity == f"webdataset:{path}#image=left.png"


def test_odd_names(tmp_path):
    names = [name for name in ODD_NAMES if not name.startswith(".")]
    files = {}
    for i, name in enumerate(names):
        files |= {
            f"c/{name}": str(i).encode(),
            f"c/{name.removesuffix('.jpg')}.cls": name.encode("utf-8", "surrogateescape"),
        }
    folder = tmp_path / os.fsdecode(b"set \xff")
    folder.mkdir()
    write_tar(folder / "[0].tar", files)
    source = open_source(folder)
    assert [sample.key for sample in source.samples] == sorted(f"[0]/c/{name.partition('.')[0]}" for name in names)
    found = dict(zip((sample.key for sample in source.samples), contents(source), strict=True))
    assert found == {f"[0]/c/{name.partition('.')[0]}": str(i).encode() for i, name in enumerate(names)}
    assert {sample.key: sample.label for sample in source.samples} == {
        f"[0]/c/{name.partition('.')[0]}": name.strip() for name in names
    }


def test_links_are_not_followed(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for name in ("a.jpg", "b.cls"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    with pytest.raises(SampleError, match="not followed"):
        open_source(tmp_path).read(0)
    with tarfile.open(tmp_path / "0.tar", "a") as archive:
        archive.addfile(tarfile.TarInfo("b.jpg"))
    with pytest.raises(SourceError, match="is wrong in 'b': what describes an image must be a file"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:700], r"1\.tar' is no uncompressed tar archive, or is damaged \(ends at byte 700"),
        (lambda data: b"", "ends at byte 0"),
        (gzip.compress, "damaged at byte 0"),
    ],
)
def test_a_damaged_shard_is_named(folder, damage, message):
    path = folder / "train-001.tar"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SourceError, match=message):
        open_source(folder)


def test_a_shard_that_is_missing_is_named(folder):
    with pytest.raises(SourceError, match=r"train-002\.tar' cannot be read \(no such file or directory\)"):
        open_source(f"{folder}/train-{{000..002}}.tar")


def test_a_shard_that_changes_or_goes_is_not_read_on(folder):
    source = pickle.loads(pickle.dumps(open_source(folder)))
    os.utime(folder / "train-000.tar", ns=(1, 1))
    (folder / "train-001.tar").unlink()
    rows = {sample.key: row for row, sample in enumerate(source.samples)}
    assert source.read(rows["more/val-000/0000"]) == b"zero"
    with pytest.raises(SampleError, match="its file has changed since it was listed"):
        source.read(rows["train-000/0000"])
    with pytest.raises(SampleError, match="its file cannot be read: no such file"):
        source.read(rows["train-001/0000"])


def many_shards(root, shards=30, n=20):
    rng = np.random.default_rng(0)
    files = {f"{shard:03d}/{i:04d}": rng.bytes(int(rng.integers(0, 3000))) for shard in range(shards) for i in range(n)}
    root.mkdir()
    for shard in range(shards):
        own = {f"{key.partition('/')[2]}.jpg": data for key, data in files.items() if key.startswith(f"{shard:03d}/")}
        write_tar(root / f"{shard:03d}.tar", own)
    return files


def test_any_order_from_any_thread_is_right(tmp_path, monkeypatch):
    from featx.sources import _shards

    monkeypatch.setattr(_shards, "OPEN", 4)  # so that files are closed while others read
    files = many_shards(tmp_path / "set")
    source = open_source(tmp_path / "set")
    assert [sample.key for sample in source.samples] == list(files)
    order = np.random.default_rng(1).integers(0, len(files), 3000).tolist()
    expected = list(files.values())
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, order)) == [expected[row] for row in order]
    descriptors = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    ]
    assert sum(str(tmp_path) in path for path in descriptors) <= 4


def test_shards_behind_urls(folder, memory):
    for path in folder.rglob("*.tar"):
        memory.pipe_file(f"/far/set/{path.relative_to(folder)}", path.read_bytes())
    on_disk = open_source(folder)
    source = open_source("memory://far/set")
    assert (source.name, source.identity) == ("set", "webdataset:memory://far/set")
    assert listing(source) == listing(on_disk)
    assert contents(pickle.loads(pickle.dumps(source))) == contents(on_disk)
    with serve({str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.tar")}) as web:
        source = open_source(f"{web.url}/{{train-{{000..001}},more/val-000}}.tar")
        assert listing(source) == listing(on_disk)
        assert contents(source) == contents(on_disk)


def test_a_sweep_over_a_far_shard_costs_few_requests(tmp_path):
    files = {f"{i:04d}.{end}": os.urandom(2000) for i in range(50) for end in ("jpg", "cls")}
    files |= {name: b"1" for name in files if name.endswith("cls")}
    with serve({"0.tar": write_tar(tmp_path / "0.tar", files).read_bytes()}) as web:
        source = open_source(f"webdataset:{web.url}/0.tar")
        assert len(web.parts("0.tar")) == 1
        web.requests.clear()
        assert contents(pickle.loads(pickle.dumps(source))) == [
            data for name, data in files.items() if name.endswith("jpg")
        ]
        assert len(web.parts("0.tar")) == 1


def test_extra_files_between_are_passed_over(tmp_path):
    """A shard as a stream of bytes, made by hand."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        archive.add(tmp_path, "folder", recursive=False)
        for name in ("folder/a.jpg", "folder/a.cls"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"5"))
    (tmp_path / "0.tar").write_bytes(stream.getvalue())
    assert listing(open_source(tmp_path)) == [("0/folder/a", "5", None, 1)]
