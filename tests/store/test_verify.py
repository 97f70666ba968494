import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from featx.store import _format as names
from featx.store import open_store, verify_store
from featx.store._text import encode
from tests.store.helpers import make_features, make_table, save


def flip(store, name, byte=1):
    """Change one byte of an element, behind the back of HDF5."""
    with store.path.open("rb+") as file:
        file.seek(store._layout.elements[name].offset + byte)
        old = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([old ^ 1]))


@pytest.mark.parametrize("compress", [False, True])
def test_a_sound_store(tmp_path, compress):
    store = save(tmp_path / "a.h5", make_features(1000, 700), compress=compress)
    report = verify_store(str(tmp_path / "a.h5"))
    assert report.ok
    assert (report.path, report.problems, report.damaged_rows, report.damaged_keys) == (store.path, (), (), ())
    assert report.rows == 1000
    elements = store._layout.elements
    assert report.bytes == sum(elements[name].nbytes for name in names.ELEMENTS if name != "checksums")


def test_damaged_features_are_named_row_by_row(tmp_path):
    array = make_features(1500, 700)
    store = save(tmp_path / "a.h5", array)
    block = store.checksums["features"]["rows_per_block"]
    assert block == 320
    for row in (5, 330, 1490):
        flip(store, "features", row * 2800 + 17)
    report = verify_store(store.path)
    assert not report.ok
    assert report.damaged_rows == ((0, 640), (1280, 1500))
    assert report.damaged_keys == store.keys[:640] + store.keys[1280:]
    assert report.problems == (
        f"{store.path} is damaged (the features of rows 0 to 639, 'cat/0.jpg' to 'dog/639.jpg', are not what was"
        " written): extract these again",
        f"{store.path} is damaged (the features of rows 1280 to 1499, 'cat/1280.jpg' to 'dog/1499.jpg', are not what"
        " was written): extract these again",
    )


def test_a_row_alone(tmp_path):
    store = save(tmp_path / "a.h5", make_features(3, 300_000))
    flip(store, "features", 300_000 * 4)
    report = verify_store(store.path)
    assert report.damaged_rows == ((1, 2),)
    assert "the features of row 1, 'dog/1.jpg', are not" in report.problems[0]


def test_damaged_chunks_are_named_too(tmp_path):
    store = save(tmp_path / "a.h5", make_features(1500, 700), compress=True)
    offset, size, _ = store._layout.chunks.places[6].tolist()
    content = bytearray(store.path.read_bytes())
    content[offset : offset + size] = os.urandom(size)
    store.path.write_bytes(content)
    report = verify_store(store.path)
    assert report.damaged_rows == ((320, 640),)
    assert report.damaged_keys == store.keys[320:640]


@pytest.mark.parametrize("name", ["key", "label", "split", "digest", "size", "mtime_ns", "inode", "failed_key"])
def test_every_damaged_column_is_named(tmp_path, name):
    store = save(tmp_path / "a.h5")
    flip(store, name)
    report = verify_store(store.path)
    assert report.problems == (
        f"{store.path} is damaged ({name!r} is not what was written): delete it and extract again",
    )
    assert report.damaged_rows == ()


def test_damaged_names_do_not_hide_damaged_features(tmp_path):
    store = save(tmp_path / "a.h5")
    flip(store, "key")
    flip(store, "features")
    report = verify_store(store.path)
    assert len(report.problems) == 2
    assert "the features of rows 0 to 6, are not" in report.problems[1]
    assert (report.damaged_rows, report.damaged_keys) == (((0, 7),), ())


def test_files_that_are_no_stores_are_reports(tmp_path):
    store = save(tmp_path / "whole.h5")
    content = store.path.read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[:-1])
    (tmp_path / "empty.h5").write_bytes(b"")
    (tmp_path / "text.h5").write_text("hello")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    flip(store, "spec")
    for name, words in {
        "cut.h5": "damaged or cut short",
        "empty.h5": "is empty",
        "text.h5": "no HDF5 file",
        "foreign.h5": "another kind of HDF5 file",
        "whole.h5": "'spec' is not what was written",
        "none.h5": "does not exist",
        ".": "must be a file",
    }.items():
        report = verify_store(tmp_path / name)
        assert not report.ok
        assert len(report.problems) == 1
        assert words in report.problems[0]
        assert (report.rows, report.bytes) == (0, 0)


@pytest.mark.parametrize("compress", [False, True])
def test_truncations_and_flips_are_all_found(tmp_path, compress):
    """At 200 places: found on opening or by verification, or nothing of the contents has changed."""
    array = make_features(120, 33)
    good = save(tmp_path / "good.h5", array, compress=compress)
    content = good.path.read_bytes()
    path = tmp_path / "a.h5"
    random = np.random.default_rng(2)
    for place in random.choice(len(content), 200, replace=False).tolist():
        path.write_bytes(content[:place])
        assert not verify_store(path).ok
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        if verify_store(path).ok:
            store = open_store(path)
            assert np.asarray(store.features).tobytes() == array.tobytes()
            assert store.samples == good.samples
            assert (store.digests, store.failures, store.creation) == (good.digests, good.failures, good.creation)


MEMORY = """
import sys
from pathlib import Path
from featx.store import verify_store
from tests.store.helpers import save
def anonymous():
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0])
verify_store(sys.argv[1])  # whatever is loaded on first use
before = anonymous()
assert verify_store(sys.argv[2]).ok
print(anonymous() - before)
"""


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_store(tmp_path, compress):
    block = make_features(500, 512)
    save(tmp_path / "small.h5", block, compress=compress)
    samples = make_table(25_000)
    digests = [f"{i:064x}" for i in range(25_000)]
    save(
        tmp_path / "large.h5",
        samples=samples,
        digests=digests,
        features=(block for _ in range(50)),
        feature_shape=(512,),
        compress=compress,
    )
    command = [sys.executable, "-c", MEMORY, tmp_path / "small.h5", tmp_path / "large.h5"]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, cwd=Path(__file__).parents[2]
    )
    assert int(result.stdout) < 8_000  # KiB, for 51 MB


def test_keys_that_are_no_utf8_are_named(tmp_path):
    store = save(tmp_path / "a.h5", make_features(2))
    table = make_table(2)
    odd = ("a\udcff\n", "ü")
    samples = type(table)(odd, table.labels, table.classes, table.splits, table.sizes, table.mtimes_ns)
    store = save(tmp_path / "a.h5", make_features(2), samples=samples)
    assert encode(odd).tolist() == [b"a\xff\n", "ü".encode()]
    flip(store, "features")
    report = verify_store(store.path)
    assert report.damaged_keys == odd
    assert "\n" not in report.problems[0]
