import io
import os
import pickle
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.errors import SampleError, SourceError
from featx.sources import FolderSource, ManifestSource, ParquetSource, _parquet, open_source
from featx.sources._location import _DiskFile

from .helpers import ODD_NAMES, contents, listing, write_folder
from .server import serve

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

IMAGES = [b"zero", b"one", None, b"", b"four"]


def structs(images, path="x.jpg"):
    return [image if image is None else {"bytes": image, "path": path} for image in images]


def write(path, columns, *, rows=2, metadata=None, **options):
    table = pyarrow.table(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows, **options)
    return path


def test_a_file_of_structs(tmp_path):
    path = write(tmp_path / "set.parquet", {"image": structs(IMAGES), "label": ["b", "a", None, "b", "a"]})
    source = open_source(path)
    assert type(source) is ParquetSource
    assert (source.name, source.identity) == ("set", f"parquet:{path}")
    assert [(sample.key, sample.label, sample.split) for sample in source.samples] == [
        (f"set/{row:08d}", label, None) for row, label in enumerate(["b", "a", None, "b", "a"])
    ]
    assert {sample.mtime_ns for sample in source.samples} == {path.stat().st_mtime_ns}
    assert source.classes == ("a", "b")
    assert [source.read(row) for row in (0, 1, 3, 4)] == [b"zero", b"one", b"", b"four"]
    with pytest.raises(SampleError, match="there is no image in this row"):
        source.read(2)


def test_structs_without_bytes_hold_no_image(tmp_path):
    rows = [{"bytes": b"A", "path": None}, {"bytes": None, "path": "/etc/passwd"}]
    source = open_source(write(tmp_path / "x.parquet", {"image": rows}))
    assert source.read(0) == b"A"
    with pytest.raises(SampleError, match="no image in this row"):
        source.read(1)


@pytest.mark.parametrize(
    "kind", [pyarrow.binary(), pyarrow.large_binary(), pyarrow.dictionary(pyarrow.int32(), pyarrow.binary())]
)
def test_columns_of_bytes(tmp_path, kind):
    column = pyarrow.array([b"1", b"22", b"1"], pyarrow.binary()).cast(kind)
    path = write(tmp_path / "x.parquet", {"jpg": column, "caption": ["a", "b", "c"]})
    assert contents(open_source(path)) == [b"1", b"22", b"1"]


@pytest.fixture
def folder(tmp_path):
    for name, n in (
        ("train-00000-of-00002-9f", 3),
        ("train-00001-of-00002-8e", 2),
        ("more/validation-00000-of-00001", 4),
    ):
        images = [f"{name} {row}".encode() for row in range(n)]
        write(tmp_path / "set" / f"{name}.parquet", {"image": structs(images), "label": list(range(n))})
    write_folder(tmp_path / "set", {"README.md": b"", ".hidden.parquet": b""})
    return tmp_path / "set"


NAMES = [
    *(f"more/validation-00000-of-00001 {row}" for row in range(4)),
    *(f"train-00000-of-00002-9f {row}" for row in range(3)),
    *(f"train-00001-of-00002-8e {row}" for row in range(2)),
]


def test_a_folder_of_files(folder):
    source = open_source(folder)
    assert type(source) is ParquetSource
    assert (source.name, source.identity) == ("set", f"parquet:{folder}")
    assert [sample.key for sample in source.samples] == [f"{n.split()[0]}/{int(n.split()[1]):08d}" for n in NAMES]
    assert [sample.split for sample in source.samples] == ["val"] * 4 + ["train"] * 5
    assert contents(source) == [name.encode() for name in NAMES]
    assert source.classes == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    "given", ["set/train-{00000-of-00002-9f,00001-of-00002-8e}.parquet", "parquet:set", "set/more/"]
)
def test_what_is_taken_for_such_files(folder, monkeypatch, given):
    monkeypatch.chdir(folder.parent)
    source = open_source(given)
    assert type(source) is ParquetSource
    monkeypatch.chdir("/")
    assert set(contents(pickle.loads(pickle.dumps(source)))) <= {name.encode() for name in NAMES}


def test_a_folder_with_an_image_is_a_folder_of_images(folder):
    write_folder(folder, {"cat/a.jpg": b"A"})
    assert type(open_source(folder)) is FolderSource


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"path": ["a.jpg"], "label": ["x"]}, ManifestSource),
        ({"path": ["a.jpg"], "embedding": [b"\0"]}, ManifestSource),
        ({"image": ["a.jpg"]}, ManifestSource),
        ({"path": [b"a.jpg"]}, ManifestSource),
        ({"url": ["memory://a.jpg"], "exif": [b"\0"]}, ManifestSource),
        ({"path": ["a.jpg"], "image": [b"A"]}, ParquetSource),
        ({"path": ["a.jpg"], "face": structs([b"A"])}, ParquetSource),
        ({"blob": [b"A"]}, ParquetSource),
        ({"other": [1.0], "webp": [b"A"], "blob": [b"B"]}, ParquetSource),
        ({"image": structs([b"A"]), "mask": structs([b"B"]), "blob": [b"C"]}, ParquetSource),
    ],
)
def test_manifests_of_paths_and_columns_of_images_are_told_apart(tmp_path, columns, kind):
    write_folder(tmp_path, {"a.jpg": b"A"})
    source = open_source(write(tmp_path / "x.parquet", columns))
    assert type(source) is kind


@settings(max_examples=40)
@given(
    images=st.lists(st.binary(max_size=60), min_size=1, max_size=40),
    rows=st.integers(1, 12),
    is_struct=st.booleans(),
    order=st.randoms(use_true_random=False),
    compression=st.sampled_from(["none", "snappy", "zstd"]),
    budget=st.sampled_from([1, 200, 1 << 20]),
)
def test_row_groups_of_any_size_in_any_order(images, rows, is_struct, order, compression, budget):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_parquet._GROUPS, "_budget", budget)
        column = structs(images) if is_struct else images
        path = write(
            Path(name, "x.parquet"),
            {"image": column, "label": [str(len(i)) for i in images]},
            rows=rows,
            compression=compression,
        )
        source = open_source(path)
        assert [sample.label for sample in source.samples] == [str(len(image)) for image in images]
        indices = list(range(len(images))) * 2
        order.shuffle(indices)
        assert [source.read(row) for row in indices] == [images[row] for row in indices]


def test_rows_that_follow_each_other_cost_one_read_for_a_group(tmp_path, monkeypatch):
    images = [os.urandom(3000) for _ in range(40)]
    path = write(tmp_path / "x.parquet", {"image": structs(images), "label": [0] * 40}, rows=10, compression="none")
    source = pickle.loads(pickle.dumps(open_source(path)))
    read = []
    real = _DiskFile.pread
    monkeypatch.setattr(_DiskFile, "pread", lambda self, size, offset: read.append(size) or real(self, size, offset))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(source.read, range(40))) == images
    assert sum(30_000 < size < 40_000 for size in read) == 4
    assert sum(read) < 1.5 * sum(map(len, images)) + 2 * 65536  # the footer may be read a bit generously


def test_images_are_not_read_to_list_them(tmp_path, monkeypatch):
    images = [os.urandom(50_000) for _ in range(40)]
    path = write(tmp_path / "x.parquet", {"image": structs(images), "label": [0] * 40}, rows=10)
    read = []
    real = _DiskFile.pread
    monkeypatch.setattr(_DiskFile, "pread", lambda self, size, offset: read.append(size) or real(self, size, offset))
    source = open_source(path)
    assert sum(read) < 400_000
    assert sum(sample.size for sample in source.samples) == pytest.approx(40 * 50_000, rel=0.01)


def test_any_order_from_any_thread_is_right(tmp_path, monkeypatch):
    monkeypatch.setattr(_parquet._GROUPS, "_budget", 10_000)
    images = [os.urandom(int(size)) for size in np.random.default_rng(0).integers(0, 2000, 300)]
    for number in range(3):
        write(tmp_path / "set" / f"{number}.parquet", {"image": images[number * 100 : number * 100 + 100]}, rows=7)
    source = open_source(tmp_path / "set")
    order = np.random.default_rng(1).integers(0, 300, 1500).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, order)) == [images[row] for row in order]


def test_keys_in_a_column(tmp_path):
    keys = ["000000012", "a/b.jpg", *ODD_NAMES[2:5]]
    for column in ("key", "__key__", "KEY"):
        path = write(tmp_path / "x.parquet", {column: keys, "jpg": [key.encode() for key in keys]})
        source = open_source(path)
        found = dict(zip((sample.key for sample in source.samples), contents(source), strict=True))
        assert found == {f"x/{key}": key.encode() for key in keys}
    path = write(tmp_path / "x.parquet", {"key": [3, 1, 2], "jpg": [b"3", b"1", b"2"]})
    assert contents(open_source(path)) == [b"1", b"2", b"3"]


FEATURES = (
    b'{"info": {"features": {"image": {"_type": "Image"}, "%s": %s,'
    b' "other": {"names": ["x", "y"], "_type": "ClassLabel"}, "gone": {"names": ["z"], "_type": "ClassLabel"}}}}'
)
CLASSES = b'{"names": ["cat", "dog", "bird"], "_type": "ClassLabel"}'


@pytest.mark.parametrize(
    ("name", "feature", "values", "expected"),
    [
        ("label", CLASSES, [1, 0, -1, None], ["dog", "cat", None, None]),
        ("labels", CLASSES, [1, 0, 2, 1], ["dog", "cat", "bird", "dog"]),
        ("fine_label", CLASSES, [1, 0, 2, 1], ["dog", "cat", "bird", "dog"]),
        (
            "label",
            b'{"feature": %s, "_type": "List"}' % CLASSES,
            [[1, 0], [], None, [2]],
            [("cat", "dog"), (), None, ("bird",)],
        ),
        ("labels", b"[%s]" % CLASSES, [[1, 0], [], None, [2]], [("cat", "dog"), (), None, ("bird",)]),
    ],
)
def test_classes_that_hugging_face_declares(tmp_path, name, feature, values, expected):
    columns = {"image": structs([b"x"] * 4), name: values, "other": [0, 1, 0, 1]}
    metadata = {b"huggingface": FEATURES % (name.encode(), feature)}
    source = open_source(write(tmp_path / "x.parquet", columns, metadata=metadata))
    assert [sample.label for sample in source.samples] == expected
    assert source.classes == ("bird", "cat", "dog")


def test_a_table_that_hugging_faces_own_package_wrote(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    columns = {"img": structs([b"A", b"B", None], None), "label": [1, 0, -1]}
    stream = io.BytesIO()
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns, features).to_parquet(stream)
    (tmp_path / "test.parquet").write_bytes(stream.getvalue())
    source = open_source(tmp_path)
    assert [(sample.label, sample.split) for sample in source.samples] == [("b", "test"), ("a", "test"), (None, "test")]
    assert [source.read(0), source.read(1)] == [b"A", b"B"]


@pytest.mark.parametrize("metadata", [b"no json", b"[]", b'{"info": 3}', b'{"info": {"features": {"label": 3}}}'])
def test_metadata_that_says_something_else(tmp_path, metadata):
    columns = {"image": structs([b"x"]), "label": [2]}
    source = open_source(write(tmp_path / "x.parquet", columns, metadata={b"huggingface": metadata}))
    assert source.samples[0].label == "2"


def test_labels_splits_and_groups_as_in_manifests(tmp_path):
    columns = {
        "image": [b"x"] * 3,
        "Labels": [["b", "a"], [], None],
        "Subset": ["training", None, "fold1"],
        "group_id": [7, None, 8],
    }
    source = open_source(write(tmp_path / "val.parquet", columns))
    assert [(sample.label, sample.split, sample.group) for sample in source.samples] == [
        (("a", "b"), "train", "7"),
        ((), "val", None),
        (None, "fold1", "8"),
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [b"x"], "label": [1], "score": [2.0]}, r"x\.parquet' is wrong in row 1: a row must have one of"),
        ({"image": [b"x"] * 2, "key": ["a", None]}, "wrong in row 2: a key must stand in every row"),
        ({"image": [b"x"] * 2, "key": ["a", "a"]}, "must give each key once; 'a' stands there again"),
        ({"a": structs([b"x"]), "b": structs([b"y"])}, r"one column of encoded images; got 'a\.bytes', 'b\.bytes'"),
        ({"a": [b"x"], "b": [b"y"]}, "one column of encoded images; got 'a', 'b': choose"),
        ({"image": pyarrow.array([], pyarrow.binary())}, "holds no images"),
    ],
)
def test_wrong_tables(tmp_path, columns, message):
    with pytest.raises(SourceError, match=message):
        open_source(write(tmp_path / "x.parquet", columns))


def test_folders_of_tables_without_images(tmp_path):
    write(tmp_path / "set" / "x.parquet", {"url": ["a"], "caption": ["b"]})
    with pytest.raises(
        SourceError, match=r"set/x\.parquet' must have one column of encoded images; got 'url', 'caption'"
    ):
        open_source(tmp_path / "set")


def test_a_class_that_is_not_declared(tmp_path):
    columns = {"image": structs([b"x"]), "label": [3]}
    metadata = {b"huggingface": FEATURES % (b"label", CLASSES)}
    with pytest.raises(SourceError, match=r"x\.parquet' an integer label must be an index into the 3 classes"):
        open_source(write(tmp_path / "x.parquet", columns, metadata=metadata))


def test_one_of_several_images_is_chosen(tmp_path):
    columns = {"left": structs([b"L"]), "right": structs([b"R"]), "raw": [b"B"]}
    path = write(tmp_path / "x.parquet", columns)
    for image, data in (("right", b"R"), ("raw", b"B")):
        source = ParquetSource(path, image=image)
        assert contents(source) == [data]
        assert source.identity == f"parquet:{path}#image={image}"
    with pytest.raises(SourceError, match="must have one column of encoded images"):
        ParquetSource(path, image="none").samples  # noqa: B018


def test_row_groups_that_are_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(_parquet, "_LARGEST", 1000)
    path = write(tmp_path / "x.parquet", {"image": [os.urandom(600)] * 4}, rows=2, use_dictionary=False)
    with pytest.raises(SourceError, match=r"row groups of at most 1,000 bytes.*group 0 has 2,4.*row_group_size"):
        open_source(path)


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"PAR1 no", lambda data: b""])
def test_damaged_files_are_named(folder, damage):
    path = folder / "train-00001-of-00002-8e.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SourceError, match=r"8e\.parquet' is no Parquet file, or is damaged"):
        open_source(folder)


def test_a_damaged_row_group_costs_its_own_rows_alone(tmp_path):
    images = [os.urandom(3000) for _ in range(6)]
    path = write(tmp_path / "x.parquet", {"image": images}, compression="gzip")
    data = bytearray(path.read_bytes())
    data[4:900] = bytes(896)
    path.write_bytes(data)
    source = open_source(path)
    assert [source.read(row) for row in range(2, 6)] == images[2:]
    with pytest.raises(SampleError, match="its row group cannot be read: ") as caught:
        source.read(0)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_changes_or_goes_is_not_read_on(folder):
    source = pickle.loads(pickle.dumps(open_source(folder)))
    os.utime(folder / "train-00000-of-00002-9f.parquet", ns=(1, 1))
    (folder / "train-00001-of-00002-8e.parquet").unlink()
    assert source.read(0) == NAMES[0].encode()
    with pytest.raises(SampleError, match="its file has changed since it was listed"):
        source.read(4)
    with pytest.raises(SampleError, match="its file cannot be read: no such file"):
        source.read(8)


def test_files_behind_urls(folder, memory):
    for path in folder.rglob("[a-z]*.parquet"):
        memory.pipe_file(f"/far/set/{path.relative_to(folder)}", path.read_bytes())
    on_disk = open_source(folder)
    for url in ("memory://far/set", "parquet:memory://far/set"):
        source = open_source(url)
        assert (source.name, source.identity) == ("set", "parquet:memory://far/set")
        assert listing(source) == listing(on_disk)
        assert contents(pickle.loads(pickle.dumps(source))) == contents(on_disk)
    with serve({path.name: path.read_bytes() for path in folder.glob("train*.parquet")}) as web:
        source = open_source(f"{web.url}/train-{{00000-of-00002-9f,00001-of-00002-8e}}.parquet")
        assert contents(source) == contents(on_disk)[4:]
        one = open_source(f"{web.url}/train-00000-of-00002-9f.parquet")
        assert contents(one) == contents(on_disk)[4:7]
