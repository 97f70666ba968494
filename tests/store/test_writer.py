import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from featx.errors import ParameterError, StoreError
from featx.store import SampleTable, open_store, write_store
from featx.store import _format as names
from featx.store._digests import block_digests
from tests.store.helpers import TASKS, make_digests, make_features, make_labelled, make_spec, make_table, save

HERE = Path(__file__).parents[2]
file_names = st.binary(max_size=12).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))
int64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def stores(draw):
    """Arguments of write_store, and the features they stream."""
    keys = draw(st.lists(file_names, min_size=1, max_size=12, unique=True))
    failed = draw(st.lists(file_names.filter(lambda key: key not in keys), max_size=3, unique=True))
    rows = len(keys)
    classes = draw(st.lists(file_names, max_size=3, unique=True))
    dtype = draw(st.sampled_from(["float32", "float16"]))
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple))
    elements = st.floats(width=int(dtype[-2:]), allow_nan=True, allow_infinity=True)
    features = draw(hnp.arrays(dtype, (rows, *shape), elements=elements))
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=4)))
    json = st.dictionaries(
        st.text(st.characters(categories=None), max_size=3), st.none() | st.floats(-1, 1), max_size=2
    )
    return features, {
        "spec": make_spec(dtype),
        "samples": SampleTable(
            keys=keys,
            labels=draw(st.lists(st.integers(-1, len(classes) - 1), min_size=rows, max_size=rows)),
            classes=classes,
            splits=draw(st.lists(st.sampled_from(["", "train", "é ", "\udcff"]), min_size=rows, max_size=rows)),
            sizes=draw(st.lists(int64, min_size=rows, max_size=rows)),
            mtimes_ns=draw(st.lists(int64, min_size=rows, max_size=rows)),
            inodes=draw(st.lists(int64, min_size=rows, max_size=rows)),
        ),
        "digests": make_digests(rows),
        "features": np.split(features, cuts),
        "feature_shape": shape,
        "axes": "NHWC"[: features.ndim],
        "failures": [(key, draw(file_names)) for key in failed],
        "source": draw(json),
        "backbone": draw(json),
        "creation": draw(json),
        "compress": draw(st.booleans()),
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stores())
def test_whatever_is_written_is_read_back_exactly(tmp_path, case):
    features, arguments = case
    write_store(tmp_path / "a.h5", **arguments)
    store = open_store(tmp_path / "a.h5")
    assert store.features.dtype == features.dtype
    assert store.features.shape == features.shape
    assert np.asarray(store.features).tobytes() == features.tobytes()
    assert store.samples == arguments["samples"]
    assert store.digests == tuple(arguments["digests"])
    assert store.failures == tuple(arguments["failures"])
    assert store.axes == arguments["axes"]
    assert store.spec == arguments["spec"]
    for name in ("source", "backbone", "creation"):
        assert getattr(store, name) == arguments[name]
    write_store(tmp_path / "b.h5", **arguments | {"features": [features]})
    assert (tmp_path / "b.h5").read_bytes() == (tmp_path / "a.h5").read_bytes()


def test_the_same_arguments_give_the_same_bytes_at_another_time(tmp_path):
    save(tmp_path / "a.h5")
    time.sleep(1.1)  # HDF5 keeps times in whole seconds
    save(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_plain_hdf5_library_reads_every_element(tmp_path):
    store = save(tmp_path / "a.h5", make_features(300, 7, 4, 3))
    with h5py.File(tmp_path / "a.h5") as file:
        assert set(file) == set(names.ELEMENTS)
        assert np.array_equal(file["features"][:], store.features)
        assert file["features"].attrs["axes"] == b"NHWC"
        assert file["features"].id.get_offset() % names.PAGE == 0
        assert tuple(file["key"].asstr(errors="surrogateescape")[:]) == store.keys
        assert file["digest"].asstr()[:].tolist() == make_digests(300)
        assert file["spec"][()].decode() == store.spec.to_json()
        assert file["spec"].attrs["digest"].decode() == store.spec.digest
        assert file["key"].attrs["encoding"].decode() == names.TEXT_ENCODING
        assert file.attrs["format_version"] == 1


def test_no_space_is_left_reserved(tmp_path):
    save(tmp_path / "a.h5")
    assert (tmp_path / "a.h5").stat().st_size < 30_000
    assert (tmp_path / "a.h5").stat().st_blocks * 512 < 60_000


def test_long_json_and_many_classes_are_no_obstacle(tmp_path):
    classes = tuple(f"class {i:05d}" for i in range(20_000))
    labels = [0, 19_999, -1]
    samples = SampleTable(("a", "b", "c"), labels, classes, ("", "", ""), [1, 2, 3], [1, 2, 3])
    creation = {"log": "x" * 1_000_000}
    store = save(tmp_path / "a.h5", make_features(3), samples=samples, creation=creation)
    assert store.classes == classes
    assert store.creation == creation
    assert store.labels.tolist() == labels


def test_blocks_may_be_views_of_any_strides(tmp_path):
    features = make_features(6, 4)
    store = save(tmp_path / "a.h5", features, features=[features[:3, ::-1], features[3:][::-1]])
    assert np.array_equal(store.features, np.concatenate([features[:3, ::-1], features[3:][::-1]]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"digests": make_digests(6)}, "digests must have one entry for each of 7 rows; got 6"),
        ({"digests": ["A" * 64] * 7}, "digests must be SHA-256"),
        ({"axes": "CN"}, "axes must be 2 different capital letters, N first"),
        ({"axes": "NCC"}, "axes must be"),
        ({"axes": "NN"}, "axes must be"),
        ({"axes": "NV"}, "axes must begin with NV, for as many views, just where the spec has several; got 'NV'"),
        ({"spec": make_spec(views=2, augment="hflip")}, "axes must begin with NV"),
        ({"spec": make_spec(views=4, augment="hflip"), "axes": "NV"}, "for a spec with views 4"),
        ({"feature_shape": ()}, "feature_shape must hold lengths of at least 1"),
        ({"feature_shape": (0,)}, "feature_shape must hold lengths of at least 1"),
        ({"feature_shape": (4,)}, "features must come in blocks"),
        ({"features": [make_features(6)]}, "features must have 7 rows, one for each sample; got 6"),
        ({"features": [make_features(4), make_features(4)]}, "at row 4"),
        ({"features": [make_features(7).astype("float64")]}, "got float64"),
        ({"features": []}, "got 0"),
        ({"failures": [("cat/0.jpg", "x")]}, "failures must name samples that have no row; got 'cat/0.jpg'"),
        ({"failures": [("a", "x"), ("a", "y")]}, "keys of failures must be unique"),
        ({"failures": [("a\0", "x")]}, "NUL"),
        ({"source": {"x": float("nan")}}, "source must be a mapping that JSON can hold"),
        ({"creation": {"x": object()}}, "creation must be"),
        ({"backbone": 3}, "backbone must be"),
    ],
)
def test_arguments_that_do_not_fit_leave_the_old_file(tmp_path, changes, words):
    path = tmp_path / "a.h5"
    path.write_text("old")
    with pytest.raises(ParameterError, match=words):
        save(path, **changes)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.h5"]


def test_a_store_without_rows_is_refused(tmp_path):
    samples = make_table(0)
    arguments = {"samples": samples, "digests": [], "features": [], "feature_shape": (5,)}
    with pytest.raises(StoreError, match=r"no sample could be extracted; the first of 1 failures: cut short"):
        save(tmp_path / "a.h5", **arguments)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(5, "a sample's disk failed"), KeyboardInterrupt(), ValueError("x")])
def test_what_the_features_raise_is_passed_on(tmp_path, error):
    def blocks():
        yield make_features(3)
        raise error

    path = tmp_path / "a.h5"
    path.write_text("old")
    with pytest.raises(type(error)) as caught:
        save(path, features=blocks())
    assert caught.value is error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.h5"]


def test_a_store_cannot_replace_a_folder(tmp_path):
    (tmp_path / "a.h5").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        save(tmp_path / "a.h5")
    assert os.listdir(tmp_path) == ["a.h5"]


def run(code: str, *arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r})\n{code}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


FULL_DISK = """
import resource
from pathlib import Path
from tests.store.helpers import *
from featx.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    save(Path(sys.argv[1]), make_features(1000, 2048), compress=sys.argv[3] == "True")
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("limit", [4096, 100_000, 8_000_000, 8_300_000])
def test_a_quota_reached_at_any_stage_is_one_sentence_and_no_crash(tmp_path, limit, compress):
    result = run(FULL_DISK, tmp_path / "a.h5", limit, compress)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{tmp_path / 'a.h5'} cannot be written because the disk (or the quota) is full")
    assert os.listdir(tmp_path) == []


KILLED = """
from itertools import count
from pathlib import Path
from tests.store.helpers import *
save(Path(sys.argv[1]), make_features(400, 512, seed=0))
for i in count(1):
    print(i, flush=True)
    save(Path(sys.argv[1]), make_features(400, 512, seed=i % 2), compress=i % 4 > 1)
"""


def test_a_kill_leaves_the_old_store_or_the_new_one(tmp_path):
    path = tmp_path / "a.h5"
    expected = [make_features(400, 512, seed=seed).tobytes() for seed in (0, 1)]
    code = f"import sys; sys.path.insert(0, {str(HERE)!r})\n{KILLED}"
    for delay in np.random.default_rng(0).uniform(0, 0.06, size=8):
        with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        store = open_store(path)
        stored = store.checksums["features"]
        assert np.asarray(store.features).tobytes() in expected
        assert block_digests(store.features, stored["rows_per_block"]) == stored["blocks"]
        assert store.samples == make_table(400)
    save(path)  # clears up after the last one killed
    assert os.listdir(tmp_path) == ["a.h5"]


MEMORY = """
import resource
from pathlib import Path
import numpy as np
from tests.store.helpers import *
save(Path(sys.argv[1]))  # whatever is loaded on first use
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
block = make_features(500, 2048)
save(Path(sys.argv[1]), samples=make_table(25_000), digests=make_digests(25_000),
     features=(block for _ in range(50)), feature_shape=(2048,))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_rows(tmp_path):
    result = run(MEMORY, tmp_path / "a.h5")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a.h5").stat().st_size > 200e6
    assert int(result.stdout) < 50_000  # KiB, for 200 MB


def test_the_version_is_the_oldest_that_can_say_it(tmp_path):
    tables = {1: [make_table(7)], 2: [make_labelled(task) for task in TASKS]}
    tables[2].append(replace(make_table(7), groups=["p"] * 7))
    for version, those in tables.items():
        for samples in those:
            save(tmp_path / "a.h5", samples=samples)
            with h5py.File(tmp_path / "a.h5") as file:
                assert file.attrs["format_version"] == version


def test_a_plain_hdf5_library_reads_labels_of_other_kinds(tmp_path):
    save(tmp_path / "a.h5", samples=make_labelled("multilabel"))
    with h5py.File(tmp_path / "a.h5") as file:
        assert set(file) == {*names.ELEMENTS, "group", "indicator"}
        assert file["indicator"].dtype == "int8"
        assert file["indicator"][:].tolist() == make_labelled("multilabel").indicator.tolist()
        assert tuple(file["group"].asstr(errors="surrogateescape")[:]) == make_labelled("multilabel").groups
    save(tmp_path / "a.h5", samples=make_labelled("regression"))
    with h5py.File(tmp_path / "a.h5") as file:
        assert set(file) == {*names.ELEMENTS, "group", "target", "target_name"}
        assert file["target"].dtype == "<f8"
        assert np.array_equal(file["target"][:], make_labelled("regression").targets, equal_nan=True)
        assert file["target_name"].asstr()[:].tolist() == ["value0", "value1"]
