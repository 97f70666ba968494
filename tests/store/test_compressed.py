"""Compressed features against the array they stand for."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from featx.errors import ParameterError, StoreError
from featx.store import CompressedFeatures, open_store, verify_store
from tests.store.helpers import make_features, save

SHAPES = [(1, 1), (7, 5), (64, 3), (65, 3), (200, 4), (130, 2, 3), (5, 2, 3, 4)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compressed")
    arrays = [make_features(*shape, seed=i) for i, shape in enumerate(SHAPES)]
    axes = {2: "NC", 3: "NLC", 4: "NHWC"}
    return [
        (array, save(folder / f"{i}.h5", array, compress=True, axes=axes[array.ndim]).features)
        for i, array in enumerate(arrays)
    ]


@st.composite
def indices(draw, shape):
    kind = draw(st.sampled_from(["basic", "integers", "mask", "mixed"]))
    if kind == "basic":
        return draw(hnp.basic_indices(shape, allow_newaxis=True))
    if kind == "integers":
        return draw(hnp.integer_array_indices(shape))
    if kind == "mask":
        axes = draw(st.integers(1, len(shape)))
        return draw(hnp.arrays(bool, shape[:axes]))
    length = draw(st.integers(0, 5))
    items = []
    for axis in shape[: draw(st.integers(1, len(shape)))]:
        whole = st.integers(-axis, axis - 1)
        items.append(
            draw(
                st.one_of(
                    whole,
                    st.slices(axis),
                    st.lists(whole, min_size=length, max_size=length),
                    whole.map(np.int32),
                    whole.map(np.array),
                )
            )
        )
    for extra in draw(
        st.sampled_from([(), (...,), (None,), (True,), (False,), (..., None), (None, True), (..., False)])
    ):
        items.insert(draw(st.integers(0, len(items))), extra)
    return tuple(items)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_indexing_is_numpys(pairs, data):
    array, features = pairs[data.draw(st.integers(0, len(pairs) - 1))]
    index = data.draw(indices(array.shape))
    try:
        expected = array[index]
    except IndexError:
        with pytest.raises(IndexError):
            features[index]
        return
    found = features[index]
    assert type(found) is type(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    "index",
    [
        7,
        -8,
        (0, 5),
        (0, 0, 0),
        [7],
        (slice(None), [5]),
        1.0,
        [0.5],
        "0",
        np.zeros(6, dtype=bool),
        np.zeros((7, 6), dtype=bool),
        (..., ...),
        ([0, 1], [0, 1, 2]),
        np.array([2**63], dtype=np.uint64),
        {},
    ],
)
def test_indices_that_numpy_refuses(tmp_path, index):
    array = make_features(7)
    features = save(tmp_path / "a.h5", array, compress=True).features
    for each in (array, features):
        with pytest.raises(IndexError):
            each[index]


def test_it_looks_like_an_array(tmp_path):
    array = make_features(130, 4, 3, dtype="float16")
    store = save(tmp_path / "a.h5", array, compress=True, axes="NLC")
    features = store.features
    assert isinstance(features, CompressedFeatures)
    assert store.summary()["compressed"]
    assert (features.shape, features.dtype, features.ndim) == (array.shape, array.dtype, 3)
    assert (features.size, features.nbytes, len(features), len(store)) == (array.size, array.nbytes, 130, 130)
    assert np.array_equal(np.asarray(features), array)
    assert np.asarray(features, dtype="float64").dtype == np.float64
    assert np.array_equal(np.stack(list(features)), array)
    assert np.array_equal(np.concatenate([features, features]), np.concatenate([array, array]))
    with pytest.raises(ValueError, match="without a copy"):
        np.array(features, copy=False)
    with pytest.raises(TypeError):
        features[0] = 0
    assert repr(features) == "<CompressedFeatures 130 x 4 x 3 float16>"


def test_checksums_and_contents_are_those_of_a_plain_store(tmp_path):
    array = make_features(500, 30)
    plain, packed = save(tmp_path / "a.h5", array), save(tmp_path / "b.h5", array, compress=True)
    assert packed.checksum == plain.checksum
    assert packed.samples == plain.samples
    assert np.asarray(packed.features).tobytes() == plain.features.tobytes()
    assert not plain.summary()["compressed"]


@pytest.mark.parametrize("shape", [(300, 5), (5, 300_000), (1, 1)])
def test_the_same_rows_give_the_same_bytes_in_whatever_blocks_they_come(tmp_path, shape):
    array = make_features(*shape)
    save(tmp_path / "a.h5", array, compress=True)
    save(tmp_path / "b.h5", array, compress=True, features=[array])
    save(tmp_path / "c.h5", array, compress=True, features=(array[i : i + 1] for i in range(len(array))))
    content = (tmp_path / "a.h5").read_bytes()
    assert content == (tmp_path / "b.h5").read_bytes() == (tmp_path / "c.h5").read_bytes()
    assert np.array_equal(np.asarray(open_store(tmp_path / "c.h5").features), array)


def test_only_the_chunks_asked_for_are_unpacked(tmp_path, monkeypatch):
    array = make_features(1000, 3)
    features = save(tmp_path / "a.h5", array, compress=True).features
    loaded = []
    load = type(features._chunks).load
    monkeypatch.setattr(type(features._chunks), "load", lambda *args: loaded.append(args[-1]) or load(*args))
    features[3], features[5:60], features[[70, 2, 69]]
    assert loaded == [0, 1]
    list(features)
    assert loaded[2:] == list(range(16))


def test_memory_does_not_grow_with_the_store(tmp_path):
    array = np.tile(make_features(1000, 100), (40, 1))
    features = save(tmp_path / "a.h5", array, compress=True).features
    tracemalloc.start()
    for start in range(0, len(features), 1000):
        features[start : start + 1000].sum()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6 < array.nbytes / 5


def test_compressible_features_shrink_and_others_hardly_grow(tmp_path):
    regular = np.tile(make_features(1, 2048), (640, 1))
    noise = np.random.default_rng(0).integers(0, 2**16, (640, 2048)).astype("uint16").view("float16")
    for array, low, high in ((regular, 0.0, 0.1), (np.zeros_like(regular), 0.0, 0.05), (noise, 0.9, 1.05)):
        store = save(tmp_path / "a.h5", array, compress=True)
        assert np.asarray(store.features).tobytes() == array.tobytes()
        assert low < store.path.stat().st_size / array.nbytes < high


def test_a_plain_hdf5_library_with_the_filter_reads_it(tmp_path):
    array = make_features(130, 7)
    save(tmp_path / "a.h5", array, compress=True)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["features"].chunks == (64, 7)
        assert file["features"].id.get_create_plist().get_filter(0)[0] == hdf5plugin.BLOSC2_ID
        assert np.array_equal(file["features"][:], array)


def test_rows_too_large_for_a_chunk_are_refused(tmp_path):
    huge = np.broadcast_to(np.float16(0), (1, 2**25 + 1))
    with pytest.raises(ParameterError, match="compress is not for features of"):
        save(tmp_path / "a.h5", huge, compress=True)
    assert os.listdir(tmp_path) == []


def total(features: CompressedFeatures) -> float:
    return float(features[10:200].sum())


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_several_processes_read_it(tmp_path, method):
    array = make_features(300, 6)
    features = save(tmp_path / "a.h5", array, compress=True).features
    assert total(features) == total(array)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(total, [features] * 4) == [total(array)] * 4


def test_several_threads_read_it(tmp_path):
    array = make_features(3000, 6)
    features = save(tmp_path / "a.h5", array, compress=True).features
    starts = np.random.default_rng(0).integers(0, 2900, 200).tolist()
    with ThreadPoolExecutor(4) as pool:
        blocks = list(pool.map(lambda start: features[start : start + 100], starts))
    assert all(np.array_equal(block, array[i : i + 100]) for i, block in zip(starts, blocks, strict=True))


def test_it_stays_what_it_was_when_its_file_is_replaced(tmp_path):
    features = save(tmp_path / "a.h5", make_features(130), compress=True).features
    pickled = pickle.dumps(features)
    assert np.array_equal(pickle.loads(pickled)[:], features[:])
    save(tmp_path / "a.h5", make_features(140, seed=1), compress=True)
    assert np.array_equal(features[:], make_features(130))
    with pytest.raises(StoreError, match="has been replaced"):
        pickle.loads(pickled)


def rewrite(path, array, **options):
    """Replace the features by a dataset of the same values with other properties."""
    with h5py.File(path, "r+") as file:
        attributes = dict(file["features"].attrs)
        del file["features"]
        dataset = file.create_dataset("features", data=array, **options)
        for name, value in attributes.items():
            dataset.attrs.create(name, value, dtype=h5py.string_dtype("utf-8", len(value)))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gzip_is_read_too(tmp_path, shuffle, dtype):
    array = np.tile(make_features(1, 6, dtype=dtype), (150, 1))
    save(tmp_path / "a.h5", array)
    rewrite(tmp_path / "a.h5", array, chunks=(50, 6), compression="gzip", shuffle=shuffle)
    store = open_store(tmp_path / "a.h5")
    assert np.array_equal(np.asarray(store.features), array)
    assert verify_store(tmp_path / "a.h5").ok


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chunks": (64, 6)}, "compressed by Blosc2 or gzip alone"),
        ({"chunks": (64, 6), "compression": "lzf"}, "compressed by Blosc2 or gzip alone"),
        ({"chunks": (64, 6), "compression": "gzip", "fletcher32": True}, "compressed by Blosc2 or gzip alone"),
        ({"chunks": (64, 6), "compression": "gzip", "scaleoffset": 2}, "compressed by Blosc2 or gzip alone"),
        ({"chunks": (64, 6), **hdf5plugin.LZ4()}, "compressed by Blosc2 or gzip alone"),
        ({"chunks": (64, 6), "shuffle": True, **hdf5plugin.Blosc2()}, "compressed by Blosc2 or gzip alone"),
        ({"chunks": (64, 3), "compression": "gzip"}, "a few whole rows each"),
        ({"chunks": (65, 6), "compression": "gzip"}, "a few whole rows each"),
    ],
)
def test_other_chunks_and_filters_are_refused(tmp_path, options, words):
    array = make_features(150, 6)
    save(tmp_path / "a.h5", array)
    rewrite(tmp_path / "a.h5", array, **options)
    with pytest.raises(StoreError, match=words):
        open_store(tmp_path / "a.h5")


def test_missing_chunks_are_refused(tmp_path):
    """Also those of a declared size that the file could never hold."""
    for rows in (10_000, 2**40):
        save(tmp_path / "a.h5", make_features(150, 6))
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            attributes = dict(file["features"].attrs)
            del file["features"]
            dataset = file.create_dataset("features", (rows, 6), "f4", chunks=(64, 6), compression="gzip")
            for name, value in attributes.items():
                dataset.attrs.create(name, value, dtype=h5py.string_dtype("utf-8", len(value)))
            dataset[:64] = 1
        with pytest.raises(StoreError, match=r"chunks are declared and 1 are there"):
            open_store(tmp_path / "a.h5")


def frame(array) -> bytes:
    with h5py.File("frame", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("a", data=array, chunks=array.shape, **hdf5plugin.Blosc2())
        return bytes(dataset.id.read_direct_chunk((0,) * array.ndim)[1])


ROWS = make_features(64, 6)
FORGED = {
    "short gzip": ("gzip", zlib.compress(b"abcd")),
    "long gzip": ("gzip", zlib.compress(bytes(2**26))),
    "cut gzip": ("gzip", zlib.compress(ROWS.tobytes())[:-200]),
    "no gzip": ("gzip", b"x" * 100),
    "flat frame": ("blosc2", frame(ROWS.ravel())),
    "short frame": ("blosc2", frame(ROWS[:2])),
    "short flat frame": ("blosc2", frame(ROWS[:2].ravel())),
    "long frame": ("blosc2", frame(np.zeros((6400, 600), "f4"))),
    "long flat frame": ("blosc2", frame(np.zeros(2**26, "f4"))),
    "other type": ("blosc2", frame(ROWS.view("f2"))),
    "transposed": ("blosc2", frame(np.ascontiguousarray(ROWS.T))),
    "no frame": ("blosc2", b"x" * 500),
}


@pytest.mark.parametrize("name", FORGED)
def test_chunks_that_hold_something_else_are_an_error_and_no_memory(tmp_path, name):
    kind, raw = FORGED[name]
    array = np.tile(ROWS, (3, 1))
    save(tmp_path / "a.h5", array)
    options = {"compression": "gzip"} if kind == "gzip" else dict(hdf5plugin.Blosc2())
    rewrite(tmp_path / "a.h5", array, chunks=(64, 6), **options)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["features"].id.write_direct_chunk((64, 0), raw)
    features = open_store(tmp_path / "a.h5").features
    assert np.array_equal(features[:64], ROWS)
    tracemalloc.start()
    with pytest.raises(StoreError, match=r"is damaged \(the features of rows 64 to 127 cannot be unpacked"):
        features[100]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000
    report = verify_store(tmp_path / "a.h5")
    assert report.damaged_rows == ((0, 192),)  # one block of digests


def test_chunks_that_share_their_bytes_are_refused(tmp_path):
    store = save(tmp_path / "a.h5", np.tile(make_features(1000, 6), (3, 1)), compress=True)
    places = store._layout.chunks.places
    content = store.path.read_bytes()
    last = int(places[-1, 0]).to_bytes(8, "little")
    assert content.count(last) == 1
    first = int(places[0, 0]).to_bytes(8, "little")
    store.path.write_bytes(content.replace(last, first))
    assert np.array_equal(open_store(store.path).features[:64], store.features[:64])
    report = verify_store(store.path)
    assert not report.ok


WITHOUT = """
import sys
sys.modules["hdf5plugin"] = None
from pathlib import Path
from featx.errors import MissingDependencyError
from featx.store import open_store
store = open_store(sys.argv[1])
print(store.summary()["rows"])
try:
    store.features[0]
except MissingDependencyError as error:
    print(error)
from tests.store.helpers import save
try:
    save(Path(sys.argv[1]), compress=True)
except MissingDependencyError as error:
    print(error)
"""


def test_without_hdf5plugin_the_error_says_what_to_install(tmp_path):
    save(tmp_path / "a.h5", compress=True)
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT, tmp_path / "a.h5"], capture_output=True, text=True, timeout=60, check=True
    )
    sentence = "compressed features need hdf5plugin, which is not installed: pip install featx[compress]"
    assert result.stdout.splitlines() == ["7", sentence, sentence]
    assert os.listdir(tmp_path) == ["a.h5"]


def test_no_flipped_bit_gives_wrong_rows(tmp_path):
    """Flips at random places of the file: opening, reading or verification find each that matters."""
    path, array = tmp_path / "a.h5", make_features(100, 50)
    good = save(tmp_path / "good.h5", array, compress=True)
    content = good.path.read_bytes()
    random = np.random.default_rng(1)
    for place in random.choice(len(content), 200, replace=False).tolist():
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        if verify_store(path).ok:
            store = open_store(path)
            assert np.array_equal(np.asarray(store.features), array)
            assert store.samples == good.samples
