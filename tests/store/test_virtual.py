"""Virtual features that name files: which are taken, and that no other is ever opened."""

import os
import shutil

import h5py
import numpy as np
import pytest
from h5py import h5d, h5f, h5p, h5s, h5t
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import StoreError
from featx.store import open_store
from featx.store._virtual import Piece, read_virtual, virtual
from tests.store.helpers import make_features, save
from tests.store.test_audit import refusal, replace

ROWS = 7
WHOLE = "all of it"


def remap(path, mappings, name="features", shape=(ROWS, 5), dtype="f4"):
    """Give a store other virtual features: (file, dataset, start and rows here, start and rows there)."""

    def other(file, name, _):
        properties = h5p.create(h5p.DATASET_CREATE)
        for source, dataset, (start, rows), there in mappings:
            here = h5s.create_simple(shape)
            here.select_hyperslab((start,) + (0,) * (len(shape) - 1), (rows, *shape[1:]))
            if there == WHOLE:
                space = h5s.create_simple((rows, *shape[1:]))
            else:
                space = h5s.create_simple((100, *shape[1:]))
                space.select_hyperslab((there[0],) + (0,) * (len(shape) - 1), (there[1], *shape[1:]))
            properties.set_virtual(here, os.fsencode(source), dataset.encode(), space)
        h5d.create(file.id, name.encode(), h5t.py_create(np.dtype(dtype)), h5s.create_simple(shape), properties)

    replace(path, name, other)


@pytest.fixture
def store(tmp_path):
    return save(tmp_path / "a.h5", shards=2)  # of four rows and three


@pytest.fixture
def shards(store):
    return [str(shard.relative_to(store.path.parent)) for shard in store.shards]


def test_the_same_mapping_made_by_another_library_is_taken(store, shards):
    for there in (WHOLE, None):
        remap(
            store.path,
            [(shards[0], "features", (0, 4), there or (0, 4)), (shards[1], "features", (4, 3), there or (0, 3))],
        )
        assert np.array_equal(np.asarray(open_store(store.path).features), make_features(ROWS))


@pytest.mark.parametrize("name", ["../{}", "/{}", "./{}", "x/../{}", "x//{}", "{}/", ".", ".."])
def test_names_of_files_elsewhere_are_refused(store, shards, name):
    first, second = (name.format(shard) for shard in shards)
    remap(store.path, [(first, "features", (0, 4), WHOLE), (second, "features", (4, 3), WHOLE)])
    assert f"it names {first!r}, which is no file below its own folder" in refusal(store.path)


@pytest.mark.parametrize(
    ("mappings", "words"),
    [
        ([("{0}", "features", (0, 4), WHOLE), ("{1}", "label", (4, 3), WHOLE)], "are not the features of other files"),
        ([("{0}", "features", (0, 4), (0, 4)), ("{1}", "features", (4, 3), (1, 3))], "than all of them"),
        ([("{0}", "features", (3, 4), WHOLE), ("{1}", "features", (0, 3), WHOLE)], "one after the other"),
        ([("{0}", "features", (0, 4), WHOLE), ("{1}", "features", (3, 3), WHOLE)], "one after the other"),
        ([("{0}", "features", (0, 4), WHOLE)], "7 rows are declared and files are named for 4"),
        ([("{1}", "features", (0, 4), WHOLE), ("{0}", "features", (4, 3), WHOLE)], "another file than it was"),
        ([("{0}", "features", (0, 7), WHOLE)], "another file than it was"),
        ([("{0}", "features", (0, 4), WHOLE), ("a.h5", "features", (4, 3), WHOLE)], "has shards itself"),
    ],
)
def test_mappings_of_other_rows_are_refused(store, shards, mappings, words):
    remap(store.path, [(source.format(*shards), *rest) for source, *rest in mappings])
    assert words in refusal(store.path)


def test_columns_of_features_are_no_shards(store, shards):
    def columns(file, name, values):
        layout = h5py.VirtualLayout((ROWS, 5), "f4")
        layout[:, :2] = h5py.VirtualSource(shards[0], name, (ROWS, 2))
        layout[:, 2:] = h5py.VirtualSource(shards[1], name, (ROWS, 3))
        file.create_virtual_dataset(name, layout)

    replace(store.path, "features", columns)
    assert "are not the features of other files" in refusal(store.path)


def test_every_second_row_is_no_shard(store, shards):
    def striped(file, name, values):
        layout = h5py.VirtualLayout((8, 5), "f4")
        layout[::2] = h5py.VirtualSource(shards[0], name, (4, 5))
        layout[1::2] = h5py.VirtualSource(shards[1], name, (4, 5))
        file.create_virtual_dataset(name, layout)

    replace(store.path, "features", striped)
    assert "are not the features of other files" in refusal(store.path)


def test_files_without_number_are_refused(store, shards):
    def unlimited(file, name, values):
        properties = h5p.create(h5p.DATASET_CREATE)
        here, there = h5s.create_simple((ROWS, 5), (h5s.UNLIMITED, 5)), h5s.create_simple((1, 5), (h5s.UNLIMITED, 5))
        for space in (here, there):
            space.select_hyperslab((0, 0), (1, 1), block=(h5s.UNLIMITED, 5))
        properties.set_virtual(here, os.fsencode(shards[0]), b"features", there)
        space = h5s.create_simple((ROWS, 5), (h5s.UNLIMITED, 5))
        h5d.create(file.id, name.encode(), h5t.IEEE_F32LE, space, properties)

    replace(store.path, "features", unlimited)
    assert "are not the features of other files" in refusal(store.path)


def test_too_many_files_are_refused(tmp_path):
    array = make_features(256)
    store = save(tmp_path / "a.h5", array, shards=256)
    assert len(store.shards) == 256
    rows = [(str(store.shards[0].relative_to(tmp_path)), "features", (row, 1), WHOLE) for row in range(257)]
    remap(store.path, rows, shape=(257, 5))
    assert "its rows lie in 257 files, and at most 256 are opened" in refusal(store.path)


def test_only_features_may_be_virtual_and_only_from_version_3_on(tmp_path, store, shards):
    content = store.path.read_bytes()
    remap(store.path, [(shards[0], "label", (0, 4), WHOLE)], name="label", shape=(ROWS,), dtype="i8")
    assert "'label' (it is a virtual dataset)" in refusal(store.path)
    store.path.write_bytes(content)
    with h5py.File(store.path, "r+") as file:
        file.attrs.modify("format_version", np.int64(2))
    assert "'features' (it is a virtual dataset)" in refusal(store.path)


def test_a_shard_of_another_shape_or_type(tmp_path, store, shards):
    for shape, dtype in (((4, 6), "f4"), ((5, 5), "f4"), ((4, 5), "f2")):
        other = save(tmp_path / "b.h5", make_features(*shape, dtype={"f4": "float32", "f2": "float16"}[dtype]))
        shutil.copy(other.path, store.shards[0])
        assert "is another file than it was written with" in refusal(store.path)


def test_pipes_folders_and_links(tmp_path, store):
    shard = store.shards[0]
    elsewhere = shard.rename(tmp_path / "elsewhere")
    shard.symlink_to(elsewhere)
    assert np.array_equal(np.asarray(open_store(store.path).features), make_features(ROWS))
    shard.unlink()
    for make, remove in ((os.mkfifo, os.unlink), (os.mkdir, os.rmdir)):  # to open a pipe would wait for ever
        make(shard)
        with pytest.raises(StoreError, match="must be a file") as caught:
            open_store(store.path)
        assert str(shard) in str(caught.value)
        remove(shard)


plain = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=5).filter(
    lambda name: name not in (".", "..")
)


@given(
    st.lists(
        st.tuples(st.lists(plain, min_size=1, max_size=3).map("/".join), st.integers(1, 9)), min_size=1, max_size=5
    )
)
def test_whatever_names_are_written_are_read(pieces):
    wanted = tuple(Piece(*piece) for piece in pieces)
    shape = (sum(piece.rows for piece in wanted), 2)
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fapl_core(2**16, False)
    access.set_libver_bounds(h5f.LIBVER_V110, h5f.LIBVER_V110)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    file = h5f.create(b"in memory", h5f.ACC_TRUNC, fapl=access)
    try:
        properties = virtual(wanted, shape, np.dtype("<f4"))
        h5d.create(file, b"features", h5t.IEEE_F32LE, h5s.create_simple(shape), properties)
        assert read_virtual(h5d.open(file, b"features").get_create_plist()) == wanted
    finally:
        file.close()
