"""Files that are no stores, and files made to read what they should not: one sentence, no array."""

import os

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t

from featx.errors import StoreError
from featx.store import _format as names
from featx.store import open_store
from tests.store.helpers import TASKS, make_features, make_labelled, make_spec, save


@pytest.fixture
def path(tmp_path):
    save(tmp_path / "a.h5")
    return tmp_path / "a.h5"


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret").write_bytes(os.urandom(4096))
    return tmp_path / "secret"


def replace(path, name, make):
    """Take a dataset's place, keeping its attributes, with what `make(file, name, old values)` makes."""
    with h5py.File(path, "r+") as file:
        old = file[name]
        values, attributes = old[()], dict(old.attrs)
        del file[name]
        make(file, name, values)
        if name in file and isinstance(file.get(name, getlink=True), h5py.HardLink):
            for attribute, value in attributes.items():
                text = h5py.string_dtype("utf-8", len(value))
                file[name].attrs.create(attribute, value, dtype=text)


def refusal(path):
    with pytest.raises(StoreError) as caught:
        open_store(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_no_such_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.h5")


def test_a_folder_and_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "must be a file" in refusal(tmp_path / "pipe")
    assert "must be a file" in refusal(tmp_path)


def test_files_of_other_kinds(tmp_path):
    for content, words in ((b"", "is empty"), (b"\x89PNG\r\n", "no HDF5"), (b"\x89HDF\r\n\x1a\n", "damaged or cut")):
        (tmp_path / "a").write_bytes(content)
        assert words in refusal(tmp_path / "a")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["features"] = np.zeros((3, 3))
    assert "another kind of HDF5 file" in refusal(tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file.attrs.create("format", b"other", dtype=h5py.string_dtype("utf-8", 5))
    assert "must have the format 'featx-store'; got 'other'" in refusal(tmp_path / "b.h5")


def test_every_truncation_is_found(path):
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        refusal(path)
    path.write_bytes(content[:-1])
    refusal(path)


def test_an_extended_file_is_found(path):
    path.write_bytes(path.read_bytes() + b"\0" * 10)
    assert "10 bytes follow its end" in refusal(path)


def test_a_newer_version_asks_for_an_upgrade(path):
    with h5py.File(path, "r+") as file:
        file.attrs.modify("format_version", np.int64(names.FORMAT_VERSION + 1))
        file["something new"] = 1
    assert "upgrade featx" in refusal(path)


@pytest.mark.parametrize("value", [np.int64(0), np.float64(1), np.array([1, 1]), "1"])
def test_a_version_that_is_none_is_damage(path, value):
    with h5py.File(path, "r+") as file:
        del file.attrs["format_version"]
        file.attrs["format_version"] = value
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("name", names.ELEMENTS)
def test_a_missing_element_is_incomplete(path, name):
    with h5py.File(path, "r+") as file:
        del file[name]
    assert f"is incomplete ('{name}' is missing)" in refusal(path)


@pytest.mark.parametrize(
    ("owner", "name"), [("/", "checksum"), ("features", "axes"), ("spec", "digest"), ("key", "type")]
)
def test_a_missing_or_wrong_attribute(path, owner, name):
    with h5py.File(path, "r+") as file:
        del file[owner].attrs[name]
    assert f"attribute '{name}' is missing" in refusal(path)
    with h5py.File(path, "r+") as file:
        file[owner].attrs[name] = "of variable length"
    assert "another type than fixed-width text" in refusal(path)
    with h5py.File(path, "r+") as file:
        del file[owner].attrs[name]
        file[owner].attrs.create(name, b"wrong", dtype=h5py.string_dtype("utf-8", 5))
    refusal(path)


def test_unknown_names(path):
    with h5py.File(path, "r+") as file:
        file["extra"] = 1
    assert "'extra' (no store of its version has an element of that name)" in refusal(path)


def test_links(path, secret):
    other = path.with_name("b.h5")
    save(other)
    for link in (h5py.SoftLink("/label"), h5py.ExternalLink(str(other), "/size"), h5py.ExternalLink(str(secret), "/")):
        with h5py.File(path, "r+") as file:
            del file["size"]
            file["size"] = link
        assert "'size' (it is a link)" in refusal(path)


def test_a_group_in_place_of_a_dataset(path):
    replace(path, "size", lambda file, name, values: file.create_group(name))
    assert "'size' (it is no dataset)" in refusal(path)


def test_external_storage(path, secret):
    def external(file, name, values):
        places = [(str(secret), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset(name, values.shape, values.dtype, external=places)

    for name in ("features", "size"):
        save(path)
        replace(path, name, external)
        assert f"'{name}' (it is stored in another file)" in refusal(path)


def test_virtual_datasets(path):
    other = path.with_name("b.h5")
    save(other)

    def virtual(file, name, values):
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        layout[:] = h5py.VirtualSource(other, name, values.shape)
        file.create_virtual_dataset(name, layout)

    replace(path, "features", virtual)
    assert "'features' (it is a virtual dataset)" in refusal(path)


CHUNKS = [{"chunks": (7,)}, {"chunks": (7,), "compression": "gzip"}, {"maxshape": (None,)}]


@pytest.mark.parametrize("options", CHUNKS)
def test_only_features_may_be_in_chunks(path, options):
    replace(path, "label", lambda file, name, values: file.create_dataset(name, data=values, **options))
    assert "'label' (it is not laid out contiguously)" in refusal(path)


def test_compact_datasets(path):
    def compact(file, name, values):
        layout = h5p.create(h5p.DATASET_CREATE)
        layout.set_layout(h5d.COMPACT)
        h5d.create(file.id, name.encode(), h5t.STD_I64LE, h5s.create_simple(values.shape), layout)
        file[name][:] = values

    replace(path, "label", compact)
    assert "'label' (it is not laid out contiguously)" in refusal(path)


@pytest.mark.parametrize("shape", [(2**40, 5), (2**62, 2**62), (2**32, 2**32, 4)])
def test_more_is_declared_than_the_file_holds(path, shape):
    def bomb(file, name, values):
        late = h5p.create(h5p.DATASET_CREATE)
        late.set_alloc_time(h5d.ALLOC_TIME_LATE)
        h5d.create(file.id, name.encode(), h5t.IEEE_F32LE, h5s.create_simple(shape), late)

    replace(path, "features", bomb)
    assert "'features'" in refusal(path)


def test_datasets_never_written(path):
    replace(path, "features", lambda file, name, values: file.create_dataset(name, values.shape, values.dtype))
    assert "bytes are declared" in refusal(path)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("features", "<f8"),
        ("features", ">f4"),
        ("features", "<i4"),
        ("features", "<c8"),
        ("features", "<f2"),
        ("features", [("a", "<f4")]),
        ("label", "<i4"),
        ("label", "<u8"),
        ("label", ">i8"),
        ("label", "<f8"),
        ("label", h5py.ref_dtype),
        ("label", h5py.vlen_dtype(np.int64)),
        ("key", h5py.string_dtype()),
        ("key", "<i8"),
        ("key", "V8"),
    ],
)
def test_types_that_are_not_the_right_ones(path, name, dtype):
    shape = (7, 5) if name == "features" else (7,)

    def other(file, name, values):
        file.create_dataset(name, shape, dtype)

    replace(path, name, other)
    assert name in refusal(path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("features", (7,)),
        ("features", (7, 5, 1)),
        ("features", (0, 5)),
        ("features", (6, 5)),
        ("features", ()),
        ("label", (6,)),
        ("label", (7, 1)),
        ("label", ()),
        ("key", (8,)),
        ("classes", (1, 2)),
        ("failed_reason", (2,)),
        ("spec", (1,)),
    ],
)
def test_shapes_that_do_not_fit(path, name, shape):
    def other(file, name, values):
        data = np.zeros(shape, dtype=values.dtype if values.dtype.kind != "O" else "S3")
        if data.dtype.kind == "S":
            data = data.astype(h5py.string_dtype("utf-8", data.dtype.itemsize))
        file.create_dataset(name, data=data)

    replace(path, name, other)
    assert name in refusal(path)


def test_text_padded_otherwise(path):
    def padded(file, name, values):
        datatype = h5t.C_S1.copy()
        datatype.set_size(values.dtype.itemsize)
        datatype.set_strpad(h5t.STR_SPACEPAD)
        h5d.create(file.id, name.encode(), datatype, h5s.create_simple(values.shape)).write(
            h5s.ALL, h5s.ALL, values, mtype=datatype
        )

    replace(path, "key", padded)
    assert "'key' (it is not fixed-width text padded with NULs)" in refusal(path)


def test_a_user_block_is_refused(tmp_path, path):
    content = path.read_bytes()
    (tmp_path / "b.h5").write_bytes(bytes(512) + content)
    assert "no HDF5" in refusal(tmp_path / "b.h5")


def test_features_of_another_type_than_the_spec_says(path):
    other = save(path.with_name("b.h5"), make_features(7, dtype="float16"))

    def swap(file, name, values):
        file.create_dataset(name, data=other.features)

    replace(path, "features", swap)
    assert "damaged" in refusal(path)


def test_other_views_than_the_spec_says(tmp_path):
    spec = make_spec(views=3, augment="hflip")
    save(tmp_path / "b.h5", make_features(7, 3, 5), spec=spec, axes="NVC")
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file["features"].attrs.modify("axes", np.bytes_(b"NLC"))
    assert "damaged ('features' is not what was written)" in refusal(tmp_path / "b.h5")


@pytest.fixture(params=TASKS)
def labelled(request, tmp_path):
    save(tmp_path / "a.h5", samples=make_labelled(request.param))
    return tmp_path / "a.h5"


def test_version_1_has_no_labels_of_other_kinds(labelled):
    with h5py.File(labelled, "r+") as file:
        file.attrs.modify("format_version", np.int64(1))
    assert "'group' (no store of its version has an element of that name)" in refusal(labelled)


def test_an_optional_element_that_was_taken_away_is_missed(labelled):
    for name in names.OPTIONAL:
        with h5py.File(labelled, "r+") as file:
            if name not in file:
                continue
            kept, attributes = file[name][()], dict(file[name].attrs)
            del file[name]
        refusal(labelled)
        with h5py.File(labelled, "r+") as file:
            file.create_dataset(name, data=kept)
            for attribute, value in attributes.items():
                file[name].attrs.create(attribute, value, dtype=h5py.string_dtype("utf-8", len(value)))
    open_store(labelled)


def test_one_that_was_added_is_refused(path, tmp_path):
    save(tmp_path / "b.h5", samples=make_labelled("multilabel"))
    with h5py.File(path, "r+") as file, h5py.File(tmp_path / "b.h5") as other:
        file.attrs.modify("format_version", np.int64(2))
        other.copy("group", file)
    assert "'checksums' is not what was written" in refusal(path)


WRONG = {
    "group": [np.array([b"a"] * 6), np.zeros(7, "<i8")],
    "indicator": [
        *[np.zeros(shape, "i1") for shape in [(7,), (6, 3), (7, 2), (7, 3, 1)]],
        *[np.zeros((7, 3), dtype) for dtype in ("u1", "<i2", "<f4")],
    ],
    "target": [
        *[np.zeros(shape, "<f8") for shape in [(7,), (6, 2), (7, 3), (7, 0)]],
        *[np.zeros((7, 2), dtype) for dtype in ("<f4", ">f8", "<i8")],
    ],
    "target_name": [np.array([b"a"]), np.array([[b"a", b"b"]]), np.zeros(2, "<i8")],
}


@pytest.mark.parametrize(
    ("task", "name"),
    [("multilabel", "group"), ("multilabel", "indicator"), ("regression", "target"), ("regression", "target_name")],
)
def test_optional_elements_of_another_shape_or_type(tmp_path, task, name):
    path = save(tmp_path / "a.h5", samples=make_labelled(task)).path
    content = path.read_bytes()
    for values in WRONG[name]:
        path.write_bytes(content)
        replace(path, name, lambda file, name, _, values=values: file.create_dataset(name, data=values))
        assert "is refused because of" in refusal(path)


def test_two_tasks_in_one_store(tmp_path):
    both = [save(tmp_path / f"{task}.h5", samples=make_labelled(task)).path for task in TASKS]
    with h5py.File(both[0], "r+") as file, h5py.File(both[1]) as other:
        other.copy("target", file)
        other.copy("target_name", file)
    assert "'target' (there are classes besides)" in refusal(both[0])


def test_a_hostile_size_of_a_table_of_classes(labelled):
    def huge(file, name, _):
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_layout(h5d.CONTIGUOUS)
        properties.set_alloc_time(h5d.ALLOC_TIME_LATE)
        width = 3 if name == "indicator" else 2
        datatype = h5t.STD_I8LE if name == "indicator" else h5t.IEEE_F64LE
        h5d.create(file.id, name.encode(), datatype, h5s.create_simple((7, width)), properties)

    with h5py.File(labelled) as file:
        name = "indicator" if "indicator" in file else "target"
    replace(labelled, name, huge)
    assert "bytes are declared" in refusal(labelled)


@pytest.mark.parametrize(("task", "name", "value"), [("multilabel", "indicator", 2), ("regression", "target", np.inf)])
def test_values_that_cannot_be_are_damage_even_under_right_checksums(tmp_path, task, name, value):
    samples = make_labelled(task)
    column = "indicator" if task == "multilabel" else "targets"
    wrong = getattr(samples, column).copy()
    wrong[2, 1] = value
    object.__setattr__(samples, column, wrong)
    store = save(tmp_path / "a.h5", samples=samples)
    with pytest.raises(StoreError, match=f"damaged .'{name}' is not what was written"):
        _ = store.labelled
