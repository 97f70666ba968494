import json
import os
import pickle
import tracemalloc

import numpy as np
import pytest

from featx.errors import ParameterError, StoreError
from featx.spec import digest_of
from featx.store import FeatureStore, SampleTable, open_store
from featx.store._digests import block_digests
from tests.store.helpers import TASKS, make_digests, make_features, make_labelled, make_spec, make_table, save


def test_features_are_a_read_only_memory_map(tmp_path):
    features = make_features(7, 2, 3)
    store = save(tmp_path / "a.h5", features)
    assert isinstance(store.features, np.memmap)
    assert np.array_equal(store.features, features)
    assert store.features.flags.aligned
    assert store.features.flags.c_contiguous
    assert len(store) == 7
    with pytest.raises(ValueError):
        store.features[0] = 0


def test_opening_a_large_store_makes_no_strings(tmp_path):
    rows = 50_000
    samples = SampleTable(
        keys=[f"{i}.jpg" for i in range(rows)],
        labels=np.zeros(rows, dtype=np.int64),
        classes=["a"],
        splits=[""] * rows,
        sizes=np.zeros(rows, dtype=np.int64),
        mtimes_ns=np.zeros(rows, dtype=np.int64),
    )
    save(tmp_path / "a.h5", make_features(rows, 2), samples=samples, digests=make_digests(1) * rows)
    tracemalloc.start()
    store = open_store(tmp_path / "a.h5")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000
    assert "keys" not in vars(store)
    assert store.keys is store.keys
    assert store.samples == samples


def test_the_name_leaves_out_backbone_and_key(tmp_path):
    for file, name in {
        "photos.resnet50.0123456789ab.h5": "photos",
        "my.photos v1.resnet50.0123456789ab.h5": "my.photos v1",
        "photos.h5": "photos",
        "photos.v1.final.h5": "photos.v1.final",
        "photos.resnet50.0123456789ab": "photos.resnet50",
    }.items():
        assert save(tmp_path / file).name == name


def test_repr_is_a_line_for_people(tmp_path):
    store = save(tmp_path / "a.h5", make_features(1200, 4, 3))
    assert repr(store) == f"<FeatureStore '{tmp_path}/a.h5': 1,200 rows of 4 x 3 float32>"


def test_select_returns_the_rows_of_a_split(tmp_path):
    samples = make_table(7)
    splits = ("train", "", "val", "train", "train ", "", "val")
    columns = {name: getattr(samples, name) for name in ("keys", "labels", "classes", "sizes", "mtimes_ns")}
    store = save(tmp_path / "a.h5", samples=SampleTable(splits=splits, **columns))
    for split in set(splits):
        assert store.select(split).tolist() == [i for i in range(7) if splits[i] == split]
    assert store.select(None).tolist() == list(range(7))
    assert store.select("val").dtype == np.int64
    for wrong in ("vall", "val\0", "\udcff"):
        with pytest.raises(ParameterError, match="split must be one of 'train', 'train ', 'val'; got"):
            store.select(wrong)
    with pytest.raises(ParameterError, match="did you mean 'val'"):
        store.select("vall")


def test_select_says_when_there_are_no_splits(tmp_path):
    columns = {name: getattr(make_table(7), name) for name in ("keys", "labels", "classes", "sizes", "mtimes_ns")}
    store = save(tmp_path / "a.h5", samples=SampleTable(splits=[""] * 7, **columns))
    assert store.select("").tolist() == list(range(7))
    with pytest.raises(ParameterError, match="the store has no splits"):
        store.select("train")


def test_summary_is_json(tmp_path):
    store = save(tmp_path / "a.h5", make_features(7, dtype="float16"))
    summary = json.loads(json.dumps(store.summary()))
    assert summary["rows"] == 7
    assert summary["shape"] == [7, 5]
    assert summary["dtype"] == "float16"
    assert summary["classes"] == {"cat": 4, "dog": 3}
    assert summary["unlabelled"] == 0
    assert summary["splits"] == {"train": 4, "val": 3}
    assert summary["failures"] == 1
    assert summary["bytes"] == (tmp_path / "a.h5").stat().st_size
    assert summary["key"] == make_spec("float16").digest == digest_of(summary["spec"])
    assert summary["creation"] == {"featx": "0"}


def test_samples_without_classes_or_labels(tmp_path):
    store = save(tmp_path / "a.h5", samples=make_table(7, classes=()), failures=[])
    assert store.classes == ()
    assert store.failures == ()
    assert store.labels.tolist() == [-1] * 7
    assert store.summary()["unlabelled"] == 7


def test_pickling_opens_the_same_store_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    store = save(tmp_path.relative_to(tmp_path) / "a.h5", make_features(1000, 100))
    pickled = pickle.dumps(store)
    assert len(pickled) < 500
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = pickle.loads(pickled)
    assert isinstance(again, FeatureStore)
    assert np.array_equal(again.features, store.features)
    assert again.samples == store.samples


def test_a_pickle_of_a_store_that_was_replaced_is_refused(tmp_path):
    pickled = pickle.dumps(save(tmp_path / "a.h5"))
    save(tmp_path / "a.h5", make_features(7, seed=1))
    with pytest.raises(StoreError, match="has been replaced"):
        pickle.loads(pickled)


def test_an_open_store_stays_what_it_was_when_its_file_is_replaced(tmp_path):
    store = save(tmp_path / "a.h5", make_features(7))
    save(tmp_path / "a.h5", make_features(9, 8, seed=1))
    assert np.array_equal(store.features, make_features(7))
    assert store.samples == make_table(7)  # first read now


def test_no_descriptors_are_leaked(tmp_path):
    save(tmp_path / "a.h5")
    before = len(os.listdir("/proc/self/fd"))
    stores = [open_store(tmp_path / "a.h5") for _ in range(20)]
    del stores
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_store_on_a_read_only_medium_opens(tmp_path):
    save(tmp_path / "a.h5")
    (tmp_path / "a.h5").chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert len(open_store(str(tmp_path / "a.h5"))) == 7
    finally:
        tmp_path.chmod(0o755)


def damage(store, name):
    """Change one byte of an element, behind the back of HDF5."""
    with store.path.open("rb+") as file:
        file.seek(store._layout.elements[name].offset + 1)
        file.write(b"~")


COLUMNS = {
    "key": "keys",
    "label": "labels",
    "split": "splits",
    "digest": "digests",
    "size": "sizes",
    "mtime_ns": "mtimes_ns",
    "inode": "inodes",
    "failed_key": "failures",
    "failed_reason": "failures",
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_changed_column_is_found_when_it_is_asked_for(tmp_path, name):
    damage(save(tmp_path / "a.h5"), name)
    store = open_store(tmp_path / "a.h5")
    with pytest.raises(StoreError, match=f"is damaged \\('{name}' is not what was written\\)"):
        getattr(store, COLUMNS[name])


@pytest.mark.parametrize("name", ["classes", "spec", "source", "backbone", "creation", "checksums"])
def test_a_changed_header_is_found_on_opening(tmp_path, name):
    damage(save(tmp_path / "a.h5"), name)
    with pytest.raises(StoreError, match=f"is damaged \\('{name}' is not what was written\\)"):
        open_store(tmp_path / "a.h5")


def test_no_flipped_bit_gives_wrong_rows(tmp_path):
    """Flips at random places of the file: opening, reading or the features' digests find each that matters."""
    path, features = tmp_path / "a.h5", make_features(20, 8)
    good = save(tmp_path / "good.h5", features)
    samples, failures = good.samples, good.failures
    content = good.path.read_bytes()
    random = np.random.default_rng(0)
    outcomes = {"opening": 0, "digest": 0, "harmless": 0}
    for place in random.choice(len(content), 200, replace=False).tolist():
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            store = open_store(path)
            assert store.samples == samples
            assert store.failures == failures
            assert store.digests == good.digests
        except StoreError:
            outcomes["opening"] += 1
            continue
        stored = store.checksums["features"]
        if block_digests(store.features, stored["rows_per_block"]) != stored["blocks"]:
            outcomes["digest"] += 1
        else:
            assert np.array_equal(store.features, features)
            outcomes["harmless"] += 1
    assert min(outcomes.values()) > 0


def test_several_classes(tmp_path):
    store = save(tmp_path / "a.h5", samples=make_labelled("multilabel"), failures=[])
    assert store.task == "multilabel"
    assert store.classes == ("a", "b", "c")
    assert store.labels.tolist() == [-1] * 7
    assert store.multilabels.dtype == np.bool_
    assert store.multilabels.tolist() == [[bool(row >> bit & 1) for bit in range(3)] for row in range(6)] + [
        [False] * 3
    ]
    assert store.labelled.tolist() == [True] * 6 + [False]
    assert (store.targets, store.target_names) == (None, ())
    assert store.groups == ("", "anna", "bo\udcff", "", "anna", "bo\udcff", "")
    assert store.samples == make_labelled("multilabel")
    summary = store.summary()
    assert (summary["task"], summary["unlabelled"], summary["groups"]) == ("multilabel", 1, 2)
    assert summary["classes"] == {"a": 3, "b": 2, "c": 2}
    assert summary["targets"] == {}


def test_values_to_be_predicted(tmp_path):
    store = save(tmp_path / "a.h5", samples=make_labelled("regression"), failures=[])
    assert store.task == "regression"
    assert (store.classes, store.multilabels) == ((), None)
    assert store.labels.tolist() == [-1] * 7
    expected = [[row / 3, -1e300 * row] for row in range(6)] + [[np.nan] * 2]
    assert np.array_equal(store.targets, expected, equal_nan=True)
    assert store.target_names == ("value0", "value1")
    assert store.labelled.tolist() == [True] * 6 + [False]
    assert store.samples == make_labelled("regression")
    summary = json.loads(json.dumps(store.summary()))
    assert (summary["task"], summary["unlabelled"], summary["classes"]) == ("regression", 1, {})
    assert summary["targets"]["value0"] == {"min": 0, "mean": pytest.approx(5 / 6), "max": 5 / 3}


def test_plain_labels_know_what_is_labelled(tmp_path):
    store = save(tmp_path / "a.h5", samples=make_table(7).take(range(7)), failures=[])
    assert (store.task, store.multilabels, store.targets) == ("classification", None, None)
    assert store.labelled.all()
    assert store.groups == ("",) * 7
    assert not save(tmp_path / "b.h5", samples=make_table(7, classes=()), failures=[]).labelled.any()


@pytest.mark.parametrize("task", TASKS)
def test_nobody_can_change_what_was_read(tmp_path, task):
    store = save(tmp_path / "a.h5", samples=make_labelled(task))
    for array in (store.labelled, store.multilabels, store.targets):
        assert array is None or not array.flags.writeable
