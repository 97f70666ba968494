import hashlib
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from featx.errors import ParameterError, SourceError
from featx.fitting import fit_head
from featx.spec import digest_of
from featx.store import find_store
from featx.store._export import export_store
from featx.store._import import import_features
from tests.store.helpers import make_features, save
from tests.store.test_export import same_numbers, ugly_stores, without_nan_signs


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_an_npz_becomes_a_store(tmp_path):
    features = make_features(4, 3)
    path = write_npz(
        tmp_path / "clip.npz",
        X=features,
        y=np.array([2, 0, -1, 2]),
        classes=np.array(["ant", "bee", "cat"]),
        keys=np.array(["a", "b", "c", "d"]),
        splits=np.array(["train", "", "val", "train"]),
        other=np.array([{}]),
    )
    store = import_features(path, tmp_path / "out.h5", name="clip")
    assert np.array_equal(store.features, features)
    assert store.axes == "NC"
    assert store.keys == ("a", "b", "c", "d")
    assert store.labels.tolist() == [2, 0, -1, 2]
    assert store.classes == ("ant", "bee", "cat")
    assert store.splits == ("train", "", "val", "train")
    assert store.digests == tuple(hashlib.sha256(row.tobytes()).hexdigest() for row in features)
    assert store.sizes.tolist() == [12] * 4
    assert store.spec.backbone == "imported:clip"
    assert (store.spec.layer, store.spec.pool, store.spec.dtype) == ("features", "none", "float32")
    assert store.backbone == {"name": "imported:clip", "weights": None, "reloadable": False}
    assert store.source == {"name": "clip", "identity": f"import:{os.path.realpath(path)}", "samples": 4}
    assert store.creation["imported_dtype"] == "float32"


def test_float64_becomes_float32_and_says_so(tmp_path):
    features = make_features(5, 2, 3, dtype="float64")
    np.save(tmp_path / "a.npy", features)
    store = import_features(tmp_path / "a.npy", tmp_path / "out.h5")
    assert store.features.dtype == np.float32
    assert np.array_equal(store.features, features.astype(np.float32))
    assert store.axes == "NLC"
    assert store.creation["imported_dtype"] == "float64"
    assert store.keys == ("00000000", "00000001", "00000002", "00000003", "00000004")
    assert store.labels.tolist() == [-1] * 5
    assert store.classes == ()


@pytest.mark.parametrize("dtype", ["<f2", ">f2", ">f4", ">f8"])
def test_any_byte_order_is_the_same_features(tmp_path, dtype):
    features = make_features(3, 2, 2, 2, dtype="float16")
    np.save(tmp_path / "a.npy", np.asfortranarray(features.astype(dtype)))
    store = import_features(tmp_path / "a.npy", tmp_path / "out.h5")
    assert store.axes == "NHWC"
    assert np.array_equal(store.features, features.astype(store.spec.dtype))
    assert store.spec.dtype == ("float16" if dtype.endswith("2") else "float32")


def test_stores_have_one_spec_if_they_are_named_the_same(tmp_path):
    a = write_npz(tmp_path / "a.npz", features=make_features(4))
    b = write_npz(tmp_path / "b.npz", features=make_features(4, seed=1))
    specs = [
        import_features(path, tmp_path / "out.h5", name=name, overwrite=True).spec
        for path in (a, b)
        for name in ("x", "y", None)
    ]
    assert specs[0] == specs[3]
    assert specs[1] == specs[4]
    assert len({spec.digest for spec in specs}) == 4
    assert specs[0].weights == digest_of(["imported", "x"])
    (tmp_path / "elsewhere").mkdir()
    copy = write_npz(tmp_path / "elsewhere" / "a.npz", features=make_features(4))
    assert import_features(copy, tmp_path / "out.h5", overwrite=True).spec == specs[2]
    other = write_npz(tmp_path / "elsewhere" / "a.npz", features=make_features(4, seed=1))
    assert import_features(other, tmp_path / "out.h5", overwrite=True).spec != specs[2]


def test_without_out_it_goes_into_the_cache_and_the_same_file_replaces_it(tmp_path):
    path = write_npz(tmp_path / "clip.npz", features=make_features(4))
    store = import_features(path, name="ViT-B/32", cache=tmp_path / "cache")
    assert store.path.parent == tmp_path / "cache"
    assert store.path.name.startswith("clip.ViT-B_32.")
    write_npz(path, features=make_features(5))
    again = import_features(path, name="ViT-B/32", cache=tmp_path / "cache")
    assert again.path == store.path
    assert len(find_store("clip", tmp_path / "cache")) == 5


LABELS = ["ant", "", "bee", "ant"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.txt", "ant\n\nbee\nant\n"),
        ("l.txt", "\ufeffant\n\nbee\nant"),
        ("l.json", json.dumps(["ant", None, "bee", "ant"])),
        ("l.json", json.dumps({"labels": [0, -1, 1, 0], "classes": ["ant", "bee"]})),
        ("l.csv", 'label\r\nant\r\n""\r\nbee\r\nant\r\n'),
        ("l.csv", "other,Label\n1,ant\n2,\n3,bee\n4,ant\n"),
    ],
)
def test_labels_may_lie_in_a_file_of_their_own(tmp_path, name, content):
    np.save(tmp_path / "a.npy", make_features(4))
    (tmp_path / name).write_text(content)
    store = import_features(tmp_path / "a.npy", tmp_path / "out.h5", labels=tmp_path / name)
    assert store.classes == ("ant", "bee")
    assert store.labels.tolist() == [0, -1, 1, 0]


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ([3, 1, 10, 3], None, (("1", "3", "10"), [1, 0, 2, 1])),
        ([-1, 1, 1, -1], None, (("-1", "1"), [0, 1, 1, 0])),
        ([1.0, 2.0, float("nan"), 1.0], None, (("1", "2"), [0, 1, -1, 0])),
        (["b", "a", None, "b"], None, (("a", "b"), [1, 0, -1, 1])),
        (["b", "a", "", "b"], ["b", "c", "a"], (("b", "c", "a"), [0, 2, -1, 0])),
        ([[0], [1], [-1], [0]], ["b", "c", "a"], (("b", "c", "a"), [0, 1, -1, 0])),
        ([True, False, True, True], ["no", "yes"], (("no", "yes"), [1, 0, 1, 1])),
        (["1", "0", "1", "1"], ["1", "0"], (("1", "0"), [0, 1, 0, 0])),
    ],
)
@pytest.mark.parametrize("as_array", [False, True])
def test_what_labels_mean(tmp_path, labels, classes, expected, as_array):
    np.save(tmp_path / "a.npy", make_features(4))
    if as_array:
        labels = np.array(labels, dtype=object if None in labels else None)
    store = import_features(tmp_path / "a.npy", tmp_path / "out.h5", labels=labels, classes=classes)
    assert (store.classes, store.labels.tolist()) == expected


def test_what_is_given_counts_instead_of_what_is_in_the_file(tmp_path):
    path = write_npz(tmp_path / "a.npz", embeddings=make_features(2), labels=[0, 1], classes=["a", "b"])
    store = import_features(path, tmp_path / "out.h5", labels=["x", "y"], classes=["y", "x"], splits=["train", None])
    assert store.labels.tolist() == [1, 0]
    assert store.splits == ("train", "")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"data": make_features(3)}, r"must hold an array named features, x, embeddings"),
        ({"x": make_features(3), "features": make_features(3)}, r"'x' and 'features' are both: keep one"),
        ({"x": np.array([{}, {}])}, r"cannot be read \(.*without Python objects"),
        ({"x": np.arange(6).reshape(3, 2)}, r"floating point; got int64: use features.astype"),
        ({"x": make_features(3)[0]}, r"got \(5,\): give a single row as x\[None\]"),
        ({"x": np.empty((0, 3), np.float32)}, r"without empty axes; got \(0, 3\)"),
        ({"x": np.empty((3, 0), np.float32)}, r"without empty axes"),
        ({"x": make_features(2, 1, 1, 1, 1)}, r"got \(2, 1, 1, 1, 1\)"),
        ({"x": np.array([[0.0], [1.0], [np.nan]])}, r"features must be finite in float32; row 2 is not"),
        ({"x": np.array([[0.0], [1e39]])}, r"features must be finite in float32; row 1 is not"),
        (
            {"x": make_features(3), "y": np.eye(3)},
            r"got shape \(3, 3\) \(one-hot rows become labels with labels.argmax",
        ),
        ({"x": make_features(3), "y": [0, 1]}, r"labels must be as many as the rows of features, 3; got 2"),
        ({"x": make_features(3), "splits": ["a"]}, r"splits must be as many"),
        ({"x": make_features(3), "keys": ["a", "b", "a"]}, r"keys must be unique; got 'a' more than once"),
        ({"x": make_features(3), "keys": ["a", "", "c"]}, r"keys must name every row; row 1 has none"),
        ({"x": make_features(2), "y": [0, 2], "classes": ["a", "b"]}, r"among the 2 classes, by name or index; got 2"),
        ({"x": make_features(2), "y": ["a", "x"], "classes": ["a", "b"]}, r"by name or index; got 'x'"),
        ({"x": make_features(2), "y": [0, 0], "classes": ["a", "a"]}, r"classes must be unique"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, arrays, words):
    path = write_npz(tmp_path / "a.npz", **arrays)
    with pytest.raises((ParameterError, SourceError), match=words):
        import_features(path, tmp_path / "out.h5")
    assert os.listdir(tmp_path) == ["a.npz"]


def test_files_that_cannot_be_read_are_named(tmp_path):
    out = tmp_path / "out.h5"
    for name, content, words in (
        ("a.npz", b"PK\x03\x04", "give an intact .npz file"),
        ("a.npy", b"", "give an intact .npy file"),
        ("a.npy", b"\x80\x04.", "give an intact .npy file"),
        ("a.csv", b"", r"must end in one of .npz, .npy"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=words):
            import_features(tmp_path / name, out)
    with pytest.raises(SourceError, match="No such file"):
        import_features(tmp_path / "none.npy", out)
    np.save(tmp_path / "a.npy", make_features(2))
    for name, content, words in (
        ("l.csv", "name\na\n", "must have labels under one of labels, label, y"),
        ("l.csv", "label,key\na\n", "line 2 has 1 fields, the header 2"),
        ("l.json", "3", "must be a list of labels"),
        ("l.json", "{", "cannot be read"),
        ("l.h5", "", r"must end in one of .npy, .csv, .txt, .json"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(SourceError, match=words):
            import_features(tmp_path / "a.npy", out, labels=tmp_path / name)
    with pytest.raises(ParameterError, match="name must say"):
        import_features(tmp_path / "a.npy", out, name=" ")


def test_labels_in_another_order_are_refused(tmp_path):
    path = write_npz(tmp_path / "a.npz", x=make_features(2), keys=["a", "b"])
    (tmp_path / "l.csv").write_text("key,label\nb,1\na,0\n")
    with pytest.raises(ParameterError, match="row 0 is 'a' there and 'b' in"):
        import_features(path, tmp_path / "out.h5", labels=tmp_path / "l.csv")


def test_a_store_that_is_there_stays_unless_it_may_go(tmp_path):
    path = write_npz(tmp_path / "a.npz", x=make_features(2))
    import_features(path, tmp_path / "out.h5")
    with pytest.raises(ParameterError, match=r"out\.h5 is there already"):
        import_features(path, tmp_path / "out.h5")


@pytest.mark.parametrize("to", ["npz", "memmap"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=ugly_stores())
def test_what_was_exported_comes_back(tmp_path, to, case):
    features, samples = case
    assume("" not in samples.keys + samples.classes)  # there, an empty name is none
    features = np.nan_to_num(without_nan_signs(features), posinf=1, neginf=-1)
    store = save(tmp_path / "a.h5", features, samples=samples, failures=[])
    path = export_store(store, tmp_path / {"npz": "a.npz", "memmap": "a.npy"}[to], to=to, overwrite=True)
    labels = tmp_path / "a.npy.json" if to == "memmap" else None
    again = import_features(path, tmp_path / "b.h5", labels=labels, overwrite=True)
    assert same_numbers(again.features, store.features)
    for name in ("keys", "classes", "splits", "groups", "target_names"):
        assert getattr(again, name) == getattr(store, name)
    assert list(again.samples.named_labels()) == list(store.samples.named_labels())


def test_heads_are_fitted_on_it(tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = np.eye(3)[labels] * 4 + random.normal(size=(60, 3))
    path = write_npz(tmp_path / "a.npz", X=features, y=labels)
    run = fit_head(import_features(path, tmp_path / "out.h5"), "logistic")
    assert run.classes == ("0", "1", "2")
    assert run.metrics["val"].accuracy > 0.8


TABLE = np.array([[1, 1, 0], [0, 0, 0], [-1, -1, -1], [0, 1, 0]])
MEMBERS = [("a", "b"), (), None, ("a",)]


@pytest.mark.parametrize(
    "arrays",
    [
        {"labels": TABLE, "classes": ["b", "a", "c"]},
        {"y": TABLE.astype(float), "classes": ["b", "a", "c"]},
        {"multilabels": TABLE.astype("int8"), "class_names": ["b", "a", "c"]},
    ],
)
def test_a_table_of_classes_comes_in(tmp_path, arrays):
    path = write_npz(tmp_path / "a.npz", x=make_features(4), groups=["p", "p", "", "q"], **arrays)
    store = import_features(path, tmp_path / "out.h5")
    assert (store.task, store.classes, store.groups) == ("multilabel", ("b", "a", "c"), ("p", "p", "", "q"))
    assert list(store.samples.named_labels()) == MEMBERS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.json", json.dumps([["b", "a"], [], None, ["a"]])),
        ("l.json", json.dumps({"multilabels": [["b", "a"], [], None, ["a"]]})),
        ("l.csv", 'multilabels,group\nb|a,p\n[],\n,\n"[""a""]",\n'),
    ],
)
def test_lists_of_classes_come_in(tmp_path, name, content):
    np.save(tmp_path / "a.npy", make_features(4))
    (tmp_path / name).write_text(content)
    store = import_features(tmp_path / "a.npy", tmp_path / "out.h5", labels=tmp_path / name)
    assert (store.task, store.classes) == ("multilabel", ("a", "b"))
    assert list(store.samples.named_labels()) == MEMBERS
    assert store.groups[0] == ("p" if "csv" in name else "")


@pytest.mark.parametrize(
    "arrays",
    [{"y": [0.5, 2, np.nan, -1]}, {"values": [[0.5], [2], [np.nan], [-1]]}, {"targets": [0.5, 2, np.nan, -1]}],
)
def test_values_come_in(tmp_path, arrays):
    store = import_features(write_npz(tmp_path / "a.npz", x=make_features(4), **arrays), tmp_path / "out.h5")
    assert (store.task, store.target_names, store.classes) == ("regression", ("value",), ())
    assert np.array_equal(store.targets, [[0.5], [2], [np.nan], [-1]], equal_nan=True)


def test_whole_values_come_in_where_they_are_named(tmp_path):
    path = write_npz(tmp_path / "a.npz", x=make_features(2), y=[[30, 180], [40, 170]], target_names=["age", "height"])
    store = import_features(path, tmp_path / "out.h5")
    assert (store.target_names, store.targets.tolist()) == (("age", "height"), [[30, 180], [40, 170]])
    (tmp_path / "l.csv").write_text("key,score\na,1|2\nb,\n")
    np.save(tmp_path / "b.npy", make_features(2))
    store = import_features(tmp_path / "b.npy", tmp_path / "out.h5", labels=tmp_path / "l.csv", overwrite=True)
    assert list(store.samples.named_labels()) == [(1.0, 2.0), None]
    store = import_features(path, tmp_path / "out.h5", labels=["x", "y"], overwrite=True)
    assert (store.task, store.classes) == ("classification", ("x", "y"))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": [0, 1], "multilabels": TABLE[:2]}, "one array of labels or multilabels"),
        ({"y": TABLE[:2], "classes": ["a"]}, "classes must name the 3 columns"),
        ({"values": ["x", "y"]}, "values must be one row of numbers"),
        ({"values": [0.5, np.inf]}, "values must be finite"),
        ({"y": [0.5, 1.5], "target_names": ["a", "b"]}, "target_names must name the 1 columns"),
        ({"y": [0, 1], "groups": ["a"]}, "groups must be as many as the rows of features, 2; got 1"),
    ],
)
def test_labels_of_other_kinds_that_do_not_fit(tmp_path, arrays, words):
    with pytest.raises(ParameterError, match=words):
        import_features(write_npz(tmp_path / "a.npz", x=make_features(2), **arrays), tmp_path / "out.h5")


def test_imported_features_may_be_put_into_shards(tmp_path):
    features = make_features(9, 3)
    store = import_features(write_npz(tmp_path / "clip.npz", X=features), tmp_path / "out.h5", shards=4)
    assert len(store.shards) == 3
    assert np.array_equal(np.asarray(store.features), features)
