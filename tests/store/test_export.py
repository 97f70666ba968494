import csv
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyarrow import parquet

from featx.errors import MissingDependencyError, ParameterError, StoreError
from featx.labels import numbers
from featx.store import SampleTable, open_store
from featx.store._export import EXPORT_SUFFIXES, checked_rows, export_store
from tests.store.helpers import make_digests, make_features, make_table, save

names = st.binary(max_size=10).map(lambda raw: os.fsdecode(raw.replace(b"\0", b""))) | st.sampled_from(
    ['a"b', "a,b", "a\r\nb", "\r", "=cmd()", " ", "é\u0301", "\u202e", "'"]
)


@st.composite
def ugly_stores(draw):
    """Arguments for `save`: features of any value and shape, names of any bytes."""
    keys = draw(st.lists(names, min_size=1, max_size=8, unique=True))
    classes = draw(st.lists(names, max_size=3, unique=True))
    dtype = draw(st.sampled_from(["float32", "float16"]))
    shape = (len(keys), *draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    features = draw(hnp.arrays(dtype, shape, elements=st.floats(width=int(dtype[-2:]))))
    finite = st.floats(allow_nan=False, allow_infinity=False)
    several = st.lists(st.sampled_from(classes), unique=True) if classes else st.just([])
    kinds = [
        st.sampled_from(classes or [None]),
        several.map(lambda some: tuple(sorted(some))),
        st.tuples(finite),
        st.tuples(finite, finite),
    ]
    label = draw(st.sampled_from(kinds))
    each = {"min_size": len(keys), "max_size": len(keys)}
    return features, SampleTable.of(
        draw(st.lists(st.none() | label, **each)),
        classes=classes,
        keys=tuple(keys),
        splits=draw(st.lists(st.just("") | names, **each)),
        groups=draw(st.just([""] * len(keys)) | st.lists(st.just("") | names, **each)),
        sizes=np.zeros(len(keys), dtype=np.int64),
        mtimes_ns=np.zeros(len(keys), dtype=np.int64),
    )


def read_npz(path):
    with np.load(path, allow_pickle=False) as arrays:
        classes = arrays["classes"].tolist()
        if "labels" in arrays:
            labels = [classes[label] if label >= 0 else None for label in arrays["labels"]]
        elif "multilabels" in arrays:
            rows = arrays["multilabels"]
            labels = [
                None if row.min() < 0 else tuple(sorted(name for name, one in zip(classes, row, strict=True) if one))
                for row in rows
            ]
        else:
            assert arrays["targets"].shape[1:] == arrays["target_names"].shape
            labels = [None if np.isnan(row).any() else tuple(row.tolist()) for row in arrays["targets"]]
        return {
            "features": arrays["features"],
            "keys": arrays["keys"].tolist(),
            "labels": labels,
            "splits": arrays["splits"].tolist(),
            "groups": arrays["groups"].tolist() if "groups" in arrays else None,
            "digests": arrays["digests"].tolist(),
        }


def as_label(value):
    """Return a label as parquet or JSON holds it."""
    if isinstance(value, list):
        return tuple(as_label(each) for each in value)
    return text(value)


def text(value):
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def read_parquet(path):
    table = parquet.read_table(path)
    facts = json.loads(table.schema.metadata[b"featx"])
    column = table["features"].combine_chunks()
    (label_name,) = {"label", "labels", "value"} & set(table.column_names)
    width = table.schema.field("features").type.list_size
    assert width == np.prod(facts["shape"])
    values = column.values.to_numpy(zero_copy_only=False)
    return {
        "features": values.reshape(-1, *facts["shape"]),
        "keys": [text(key) for key in table["key"].to_pylist()],
        "labels": [
            (label,) if isinstance(label, float) else as_label(label) for label in table[label_name].to_pylist()
        ],
        "splits": [text(split) or "" for split in table["split"].to_pylist()],
        "groups": [text(group) or "" for group in table["group"].to_pylist()]
        if "group" in table.column_names
        else None,
        "digests": table["digest"].to_pylist(),
    }


def read_csv(path, like):
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        head, *rows = csv.reader(file, strict=True)
    first = head.index("f0")
    columns = dict(zip(head[:first], zip(*(row[:first] for row in rows), strict=True), strict=True))
    assert head[first:] == [f"f{i}" for i in range(len(head) - first)]
    read = {"label": lambda name: name, "labels": lambda cell: tuple(json.loads(cell)), "value": numbers}
    (label_name,) = read.keys() & columns.keys()
    return {
        "features": np.array([[float(value) for value in row[first:]] for row in rows]).astype(like.dtype),
        "keys": list(columns["key"]),
        "labels": [read[label_name](value) if value else None for value in columns[label_name]],
        "splits": list(columns["split"]),
        "groups": list(columns["group"]) if "group" in columns else None,
        "digests": list(columns["digest"]),
    }


def read_memmap(path):
    facts = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="ascii"))
    features = np.load(path, mmap_mode="r", allow_pickle=False)
    assert isinstance(features, np.memmap)
    assert list(features.shape) == facts["shape"]
    assert features.dtype.name == facts["dtype"]
    if "labels" in facts:
        labels = [facts["classes"][label] if label >= 0 else None for label in facts["labels"]]
    else:
        labels = [as_label(label) for label in facts["multilabels" if "multilabels" in facts else "targets"]]
    columns = {name: facts.get(name) for name in ("keys", "splits", "groups", "digests")}
    return {"features": features, "labels": labels, **columns}


def same_numbers(a, b):
    """Equal bit by bit, but for which NaN it is."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a), np.signbit(b))


def without_nan_signs(features):
    return np.where(np.isnan(features), features.dtype.type("nan"), features)


@pytest.mark.parametrize("to", EXPORT_SUFFIXES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=ugly_stores(), data=st.data())
def test_whatever_is_exported_is_read_back_exactly(tmp_path, to, case, data):
    features, samples = case
    features = without_nan_signs(features)
    store = save(tmp_path / "a.h5", features, samples=samples, failures=[])
    split = data.draw(st.none() | st.sampled_from(store.splits))
    rows = store.select(split)
    path = export_store(store, tmp_path / f"a{EXPORT_SUFFIXES[to]}", to=to, split=split, overwrite=True)
    if to == "csv":
        read = read_csv(path, features)
    else:
        read = {"npz": read_npz, "parquet": read_parquet, "memmap": read_memmap}[to](path)
    assert same_numbers(read.pop("features"), features[rows])
    labels = list(store.samples.take(rows).named_labels())
    assert read == {
        "keys": [store.keys[row] for row in rows],
        "labels": [None if label == "" else label for label in labels] if to == "csv" else labels,
        "splits": [store.splits[row] for row in rows],
        "groups": [store.groups[row] for row in rows] if any(store.groups) else None,
        "digests": [store.digests[row] for row in rows],
    }


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_numbers_in_csv_are_exact_for_whatever_reads_them_as_doubles(tmp_path, dtype):
    bits = np.random.default_rng(0).integers(0, 2 ** (8 * np.dtype(dtype).itemsize), 40_000)
    values = bits.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
    edges = np.array([0.0, -0.0, np.inf, -np.inf, np.finfo(dtype).max, np.finfo(dtype).tiny], dtype=dtype)
    features = np.concatenate([edges, values[~np.isnan(values)]])[:30_000].reshape(-1, 100)
    store = save(tmp_path / "a.h5", features)
    read = read_csv(export_store(store, tmp_path / "a.csv", to="csv"), features)
    assert read["features"].tobytes() == features.tobytes()


def test_csv_looks_as_documented(tmp_path):
    table = make_table(3)
    samples = SampleTable(["a,b", "=c", "é"], [1, -1, 0], ("", "x"), ("train", "", ""), table.sizes, table.mtimes_ns)
    features = np.array([[0.1, 2], [-0.0, 1e-30], [np.nan, 3]], dtype=np.float32)
    path = export_store(save(tmp_path / "a.h5", features, samples=samples), tmp_path / "a.csv", to="csv")
    digests = make_digests(3)
    assert path.read_bytes().decode().split("\r\n") == [
        "key,label,split,digest,f0,f1",
        f'"a,b","x","train",{digests[0]},0.100000001,2',
        f'"=c",,,{digests[1]},-0,1e-30',
        f'"é","",,{digests[2]},nan,3',
        "",
    ]


@pytest.mark.parametrize("to", ["npz", "csv"])
def test_a_compressed_store_is_exported_like_any_other(tmp_path, to):
    features = make_features(700, 300)
    plain, packed = save(tmp_path / "a.h5", features), save(tmp_path / "b.h5", features, compress=True)
    paths = [export_store(store, store.path.with_suffix(".out"), to=to, split="val") for store in (plain, packed)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_parquet_columns_are_text_unless_a_name_is_not(tmp_path):
    store = save(tmp_path / "a.h5", make_features(7, 2, 3, dtype="float16"))
    schema = parquet.read_schema(export_store(store, tmp_path / "a.parquet", to="parquet"))
    assert schema.field("key").type == pa.string()
    assert schema.field("features").type.value_type == pa.float16()
    assert schema.field("features").type.list_size == 6
    facts = json.loads(schema.metadata[b"featx"])
    assert facts["classes"] == ["cat", "dog"]
    assert facts["spec"] == json.loads(store.spec.to_json())
    table = make_table(2)
    samples = SampleTable(["a", "\udcff"], [0, 1], ("x", "y"), ("", ""), table.sizes, table.mtimes_ns)
    odd = save(tmp_path / "b.h5", make_features(2), samples=samples)
    read = parquet.read_table(export_store(odd, tmp_path / "b.parquet", to="parquet"))
    assert read["key"].to_pylist() == [b"a", b"\xff"]
    assert read["label"].to_pylist() == ["x", "y"]
    assert read["split"].to_pylist() == [None, None]


def test_parquet_is_written_in_row_groups(tmp_path):
    store = save(tmp_path / "a.h5", make_features(5000, 2048))
    with parquet.ParquetFile(export_store(store, tmp_path / "a.parquet", to="parquet")) as file:
        assert file.metadata.num_row_groups == 3
        assert np.array_equal(file.read_row_group(0)["features"][0].values.to_numpy(), store.features[0])


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install featx\[parquet\]"):
        export_store(save(tmp_path / "a.h5"), tmp_path / "a.parquet", to="parquet")
    assert os.listdir(tmp_path) == ["a.h5"]


def test_the_same_store_gives_the_same_npz(tmp_path):
    store = save(tmp_path / "a.h5", make_features(7, 2, 3))
    paths = [export_store(store, tmp_path / name, to="npz") for name in ("a.npz", "b.npz")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with np.load(paths[0]) as arrays:
        assert arrays["spec"].item() == store.spec.to_json()
        assert arrays["axes"].item() == "NHW"
        assert arrays["classes"].tolist() == ["cat", "dog"]


@pytest.mark.parametrize("to", EXPORT_SUFFIXES)
def test_a_file_that_is_there_stays_unless_it_may_go(tmp_path, to):
    store = save(tmp_path / "a.h5")
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(ParameterError, match="is there already"):
        export_store(store, path, to=to)
    assert path.read_text() == "old"
    export_store(store, path, to=to, overwrite=True)
    assert path.read_bytes() != b"old"
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "out", "out.json"][: 3 if to == "memmap" else 2]
    with pytest.raises(ParameterError, match="is the store"):
        export_store(store, store.path, to=to, overwrite=True)


def test_a_sidecar_that_is_there_stays(tmp_path):
    (tmp_path / "a.npy.json").write_text("old")
    with pytest.raises(ParameterError, match=r"a\.npy\.json is there already"):
        export_store(save(tmp_path / "a.h5"), tmp_path / "a.npy", to="memmap")
    assert not (tmp_path / "a.npy").exists()


def test_wrong_words_are_named(tmp_path):
    store = save(tmp_path / "a.h5")
    with pytest.raises(ParameterError, match="to must be one of npz, parquet, csv, memmap; got 'parket'; did you mean"):
        export_store(store, tmp_path / "x", to="parket")
    with pytest.raises(ParameterError, match="did you mean 'train'"):
        export_store(store, tmp_path / "x", to="npz", split="trian")
    with pytest.raises(ParameterError, match="has none of split ''"):
        export_store(store, tmp_path / "x", to="npz", split="")
    assert os.listdir(tmp_path) == ["a.h5"]


@pytest.mark.parametrize("to", EXPORT_SUFFIXES)
def test_damaged_features_are_not_passed_on(tmp_path, to):
    store = save(tmp_path / "a.h5", make_features(1000, 600))
    content = store.path.read_bytes()
    place = content.index(store.features[0].tobytes())
    store.path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    store = open_store(store.path)
    last = store.checksums["features"]["rows_per_block"] - 1
    with pytest.raises(StoreError, match=f"features of rows 0 to {last} are not what was written"):
        export_store(store, tmp_path / "out", to=to)
    assert os.listdir(tmp_path) == ["a.h5"]


@pytest.fixture(scope="module")
def long_store(tmp_path_factory):
    return save(tmp_path_factory.mktemp("long") / "a.h5", make_features(1200, 600))


@settings(max_examples=30)
@given(rows=st.sets(st.integers(0, 1199)))
def test_rows_are_checked_and_in_order(long_store, rows):
    index = np.array(sorted(rows), dtype=np.int64)
    blocks = list(checked_rows(long_store, index))
    assert all(0 < len(block) < 500 for block in blocks)
    assert np.array_equal(np.concatenate([long_store.features[:0], *blocks]), long_store.features[index])


def test_memory_does_not_grow_with_the_rows(tmp_path):
    store = save(tmp_path / "a.h5", make_features(12_000, 1000))
    _ = store.keys, store.splits, store.digests, store.labels
    before = pa.total_allocated_bytes()
    for to in ("npz", "memmap", "parquet"):
        tracemalloc.start()
        export_store(store, tmp_path / to, to=to)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < (40e6 if to == "parquet" else 10e6)  # for 48 MB
    assert pa.total_allocated_bytes() - before < 1e6


QUOTA = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from featx.errors import StoreError
from featx.store import open_store
from featx.store._export import export_store
store = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    export_store(store, sys.argv[1] + ".out", to=sys.argv[2])
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("to", EXPORT_SUFFIXES)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, to):
    path = save(tmp_path / "a.h5", make_features(1000, 200)).path
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    command = [sys.executable, "-c", QUOTA, str(path), to, root]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{path}.out cannot be written because the disk (or the quota) is full")
    assert os.listdir(tmp_path) == ["a.h5"]


@pytest.mark.parametrize("to", ["npz", "csv", "memmap"])
def test_a_store_in_shards_is_exported_like_any_other(tmp_path, to):
    array = make_features(60, 10)
    paths = []
    for name, shards in (("a", None), ("b", 7)):
        store = save(tmp_path / f"{name}.h5", array, shards=shards)
        paths.append(export_store(store, tmp_path / f"{name}{EXPORT_SUFFIXES[to]}", to=to, split="train"))
    assert paths[0].read_bytes() == paths[1].read_bytes()
