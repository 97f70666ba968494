import hashlib
import os
import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featx.errors import ParameterError, SpecMismatchError, StoreError
from featx.labels import class_names, class_order
from featx.store import SampleTable, open_store, verify_store
from featx.store._merge import merge_stores
from tests.store.helpers import make_digests, make_features, make_spec, make_table, save


def row_of(key, content=0):
    """Return the features of a key: as a network's are, they depend on nothing but the content."""
    seed = int.from_bytes(hashlib.sha256(f"{key!r}{content}".encode()).digest()[:4], "little")
    return np.random.default_rng(seed).standard_normal(4).astype(np.float32)


def make(path, rows, failures=(), **changes):
    """Write a store of rows {key: (label or None, split)}; `content` in `changes` makes another content of it."""
    content = changes.pop("content", 0)
    classes = class_order(label for label, _ in rows.values() if label is not None)
    samples = SampleTable(
        keys=tuple(rows),
        labels=np.array([-1 if label is None else classes.index(label) for label, _ in rows.values()], dtype=np.int64),
        classes=classes,
        splits=tuple(split for _, split in rows.values()),
        sizes=np.arange(len(rows)),
        mtimes_ns=np.arange(len(rows)) + 10,
    )
    digests = [hashlib.sha256(f"{key!r}{content}".encode()).hexdigest() for key in rows]
    features = np.array([row_of(key, content) for key in rows])
    return save(
        path, features, samples=samples, digests=digests, failures=[(key, "bad") for key in failures], **changes
    )


def read(store):
    names = [store.classes[label] if label >= 0 else None for label in store.labels]
    return dict(zip(store.keys, zip(names, store.splits, strict=True), strict=True))


def test_two_stores_become_one(tmp_path):
    a = make(tmp_path / "a.h5", {"x": ("dog", "train"), "y": (None, "")}, ["z", "w"], source={"name": "one"})
    b = make(tmp_path / "b.h5", {"v": ("ant", "val"), "z": ("cat", "val")}, ["u", "w"], source={"name": "two"})
    merged = merge_stores([a, b], tmp_path / "c.h5")
    assert merged.keys == ("x", "y", "v", "z")
    assert merged.classes == ("ant", "cat", "dog")
    assert merged.labels.tolist() == [2, -1, 0, 1]
    assert merged.splits == ("train", "", "val", "val")
    assert merged.digests == a.digests + b.digests
    assert np.array_equal(merged.features, np.concatenate([a.features, b.features]))
    assert merged.sizes.tolist() == [0, 1, 0, 1]
    assert merged.mtimes_ns.tolist() == [10, 11, 10, 11]
    assert merged.failures == (("u", "bad"), ("w", "bad"))
    assert merged.spec == a.spec
    assert merged.backbone == a.backbone
    assert merged.source["name"] == "c"
    assert merged.source["merged"] == [{"name": "one", "checksum": a.checksum}, {"name": "two", "checksum": b.checksum}]
    assert merged.creation["merged"] == ["a.h5", "b.h5"]


def test_compressed_stores_are_merged_and_merged_stores_are_compressed(tmp_path):
    features = make_features(70, 300)
    a = save(
        tmp_path / "a.h5", features[:40], samples=make_table(40), digests=make_digests(40), failures=[], compress=True
    )
    b = save(tmp_path / "b.h5", features, failures=[], compress=True)
    for compress in (False, True):
        merged = merge_stores([a, b], tmp_path / "c.h5", compress=compress, overwrite=True)
        assert np.array_equal(merged.features[:], features)
        assert isinstance(merged.features, np.ndarray) is not compress


keys = st.sampled_from(["a", "b", "c", "a/b", "\udcff", "é", "a\nb"])
rows = st.dictionaries(keys, st.tuples(st.none() | st.sampled_from(["10", "9", "-1"]), st.sampled_from(["", "train"])))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables=st.lists(rows.filter(bool), min_size=2, max_size=4), failed=st.lists(keys, max_size=3, unique=True))
def test_merging_is_what_a_dict_would_do(tmp_path, tables, failed):
    stores = [
        make(tmp_path / f"{number}.h5", table, [key for key in failed if key not in table])
        for number, table in enumerate(tables)
    ]
    expected, conflict = {}, False
    for table in tables:
        for key, theirs in table.items():
            mine = expected.setdefault(key, theirs)
            conflict |= any(a and b and a != b for a, b in zip(mine, theirs, strict=True))
            expected[key] = (mine[0] or theirs[0], mine[1] or theirs[1])
    if conflict:
        with pytest.raises(ParameterError, match=r"must agree about each sample; the (label|split) of"):
            merge_stores(stores, tmp_path / "merged.h5", overwrite=True)
        return
    merged = merge_stores(stores, tmp_path / "merged.h5", overwrite=True)
    assert list(read(merged).items()) == list(expected.items())
    assert np.array_equal(merged.features, [row_of(key) for key in expected])
    assert {key for key, _ in merged.failures} == set(failed) - set(expected)
    prefixed = merge_stores(stores, tmp_path / "merged.h5", prefix=True, overwrite=True)
    assert read(prefixed) == {f"{i}/{key}": row for i, table in enumerate(tables) for key, row in table.items()}


def test_another_content_under_the_same_key_is_an_error_that_names_both_files(tmp_path):
    a = make(tmp_path / "a.h5", {"x": ("dog", ""), "k": ("dog", "")})
    b = make(tmp_path / "b.h5", {"k": ("dog", "")}, content=1)
    with pytest.raises(ParameterError, match=rf"the content of 'k' differs between {a.path} and {b.path}"):
        merge_stores([a, b], tmp_path / "c.h5")
    assert not (tmp_path / "c.h5").exists()
    merged = merge_stores([a, b], tmp_path / "c.h5", prefix=True)
    assert merged.keys == ("a/x", "a/k", "b/k")
    assert np.array_equal(merged.features[2], row_of("k", 1))


def test_rows_that_differ_in_the_last_bits_are_the_same_and_others_are_not(tmp_path):
    features = make_features(2)
    a = save(tmp_path / "a.h5", features, failures=[])
    b = save(tmp_path / "b.h5", features * np.float32(1.0001), failures=[])
    assert np.array_equal(merge_stores([a, b], tmp_path / "c.h5").features, features)
    b = save(tmp_path / "b.h5", features * np.float32(1.1), failures=[])
    with pytest.raises(ParameterError, match=r"the features, from the same content, of 'cat/0.jpg' differs between"):
        merge_stores([a, b], tmp_path / "d.h5")


def test_stores_of_other_specs_or_shapes_are_refused(tmp_path):
    a = save(tmp_path / "a.h5")
    b = save(tmp_path / "b.h5", spec=make_spec(layer="layer3", pool="max"))
    with pytest.raises(SpecMismatchError, match=r"layer: 'flatten' against 'layer3'; pool: 'avg' against 'max'"):
        merge_stores([a, b], tmp_path / "c.h5")
    with pytest.raises(ParameterError, match=r"rows of one shape; .* NC \(5,\) and .* NHW \(2, 2\)"):
        merge_stores([a, save(tmp_path / "b.h5", make_features(7, 2, 2))], tmp_path / "c.h5")
    with pytest.raises(ParameterError, match="must be at least two; got 1"):
        merge_stores([a], tmp_path / "c.h5")


def test_prefixes_are_names_that_differ(tmp_path):
    for folder in ("p", "q"):
        (tmp_path / folder).mkdir()
    a = make(tmp_path / "p" / "photos.net.0123456789ab.h5", {"x": (None, "")})
    b = make(tmp_path / "p" / "photos.net.0123456789ac.h5", {"x": (None, "")})
    merged = merge_stores([a, b], tmp_path / "c.h5", prefix=True)
    assert merged.keys == ("photos.net.0123456789ab/x", "photos.net.0123456789ac/x")
    same = make(tmp_path / "q" / "photos.net.0123456789ab.h5", {"x": (None, "")})
    with pytest.raises(ParameterError, match="must have different file names for prefix"):
        merge_stores([a, same], tmp_path / "d.h5", prefix=True)


def test_a_file_that_is_there_stays_unless_it_may_go(tmp_path):
    a, b = make(tmp_path / "a.h5", {"x": (None, "")}), make(tmp_path / "b.h5", {"y": (None, "")})
    (tmp_path / "c.h5").write_text("old")
    with pytest.raises(ParameterError, match=r"c\.h5 is there already"):
        merge_stores([a, b], tmp_path / "c.h5")
    with pytest.raises(ParameterError, match=r"b\.h5 is the store that is to be read"):
        merge_stores([a, b], tmp_path / "b.h5", overwrite=True)
    assert merge_stores([a, b], tmp_path / "c.h5", name="both", overwrite=True).source["name"] == "both"
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "b.h5", "c.h5"]


def test_damage_is_not_merged(tmp_path):
    a = save(tmp_path / "a.h5", make_features(50, 8), failures=[])
    b = make(tmp_path / "b.h5", {"x": (None, "")})
    content = a.path.read_bytes()
    place = content.index(a.features[20].tobytes())
    a.path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    b = save(tmp_path / "b.h5", make_features(60, 8), failures=[])
    with pytest.raises(StoreError, match=r"a\.h5 is damaged \(the features of rows 0 to 49"):
        merge_stores([open_store(a.path), b], tmp_path / "c.h5", prefix=True)
    assert not (tmp_path / "c.h5").exists()


def test_memory_does_not_grow_with_the_features(tmp_path):
    stores = []
    for number in range(2):
        table = make_table(4000)
        samples = SampleTable(
            keys=tuple(f"{number}/{key}" for key in table.keys),
            labels=table.labels,
            classes=table.classes,
            splits=table.splits,
            sizes=table.sizes,
            mtimes_ns=table.mtimes_ns,
        )
        features = make_features(4000, 2000, seed=number)
        stores.append(
            save(tmp_path / f"{number}.h5", features, samples=samples, digests=make_digests(4000), failures=[])
        )
        del features
    tracemalloc.start()
    merged = merge_stores(stores, tmp_path / "c.h5")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6  # for 64 MB
    assert np.array_equal(merged.features[4000:], stores[1].features)


def make_of(path, labels, groups=(), **options):
    """Write a store of rows {key: label}."""
    samples = SampleTable.of(
        list(labels.values()),
        classes=class_order(class_names(labels.values())),
        keys=tuple(labels),
        splits=[""] * len(labels),
        groups=groups,
        sizes=np.zeros(len(labels), dtype=np.int64),
        mtimes_ns=np.zeros(len(labels), dtype=np.int64),
        **options,
    )
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in labels]
    return save(path, np.array([row_of(key) for key in labels]), samples=samples, digests=digests, failures=[])


def read_of(store):
    return dict(zip(store.keys, store.samples.named_labels(), strict=True))


@pytest.mark.parametrize(
    ("first", "second", "classes"),
    [
        ({"x": ("b", "c"), "y": None, "z": ()}, {"y": ("a",), "w": ("a", "c"), "z": ()}, ("a", "b", "c")),
        ({"x": (1.0, 2.0), "y": None, "z": (0.0, 0.5)}, {"y": (3.0, 4.0), "w": None}, ()),
    ],
)
def test_labels_of_other_kinds_are_merged(tmp_path, first, second, classes):
    stores = [make_of(tmp_path / "a.h5", first), make_of(tmp_path / "b.h5", second)]
    stores.append(make(tmp_path / "c.h5", {"u": (None, "")}))  # knows nothing, so it disagrees with nothing
    merged = merge_stores(stores, tmp_path / "d.h5")
    assert read_of(merged) == {key: label or second.get(key, label) for key, label in first.items()} | {
        "w": second["w"],
        "u": None,
    }
    assert (merged.task, merged.classes) == (stores[0].task, classes)


def test_groups_are_merged(tmp_path):
    a = make_of(tmp_path / "a.h5", {"x": "cat", "y": "cat"}, ["p", ""])
    b = make_of(tmp_path / "b.h5", {"y": "cat", "z": "cat"}, ["q", "q"])
    assert merge_stores([a, b], tmp_path / "c.h5").groups == ("p", "q", "q")
    other = make_of(tmp_path / "d.h5", {"x": "cat"}, ["r"])
    with pytest.raises(ParameterError, match="the group of 'x' differs"):
        merge_stores([a, other], tmp_path / "e.h5")


def test_stores_for_other_ends_are_not_merged(tmp_path):
    a = make_of(tmp_path / "a.h5", {"x": ("cat",)})
    b = make_of(tmp_path / "b.h5", {"y": (1.0,)})
    named = make_of(tmp_path / "c.h5", {"z": (1.0,)}, target_names=["age"])
    with pytest.raises(ParameterError, match=r"a\.h5 is for multilabel and .*b\.h5 for regression of value"):
        merge_stores([a, b], tmp_path / "d.h5")
    with pytest.raises(ParameterError, match=r"for regression of value and .*c\.h5 for regression of age"):
        merge_stores([b, named], tmp_path / "d.h5")
    with pytest.raises(ParameterError, match="the label of 'x' differs"):
        merge_stores([a, make_of(tmp_path / "e.h5", {"x": ("cat", "dog")})], tmp_path / "d.h5")


def test_stores_in_shards_are_merged_and_merged_stores_are_put_into_shards(tmp_path):
    rows = {f"{i}.jpg": ("cat", "train") for i in range(12)}
    few, others = dict(list(rows.items())[:5]), dict(list(rows.items())[3:])
    plain = merge_stores([make(tmp_path / "a.h5", few), make(tmp_path / "b.h5", others)], tmp_path / "c.h5")
    first, second = make(tmp_path / "d.h5", few, shards=2), make(tmp_path / "e.h5", others, shards=4)
    store = merge_stores([first, second], tmp_path / "f.h5", shards=3)
    assert [len(each.shards) for each in (first, second, store)] == [2, 3, 3]
    assert (store.samples, store.digests) == (plain.samples, plain.digests)
    assert np.array_equal(np.asarray(store.features), plain.features)


def folder_of_two(tmp_path, **options):
    rows = {f"{i:02d}.jpg": (("cat", "dog")[i % 2], "train") for i in range(12)}
    names = list(rows)
    first = make(tmp_path / "a.h5", {name: rows[name] for name in names[:5]}, ["bad.jpg"], **options)
    second = make(tmp_path / "sub" / "b.h5", {name: rows[name] for name in names[5:]}, shards=3)
    return first, second


@pytest.mark.parametrize("compress", [False, True])
def test_a_virtual_merge_copies_nothing(tmp_path, compress):
    first, second = folder_of_two(tmp_path, compress=compress)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.h5")}
    copied = merge_stores([first, second], tmp_path / "copied.h5")
    store = merge_stores([first, second], tmp_path / "all.h5", virtual=True)
    assert store.shards == (first.path, *second.shards)
    assert store.row_counts == (5, 3, 3, 1)
    assert (store.samples, store.digests, store.failures) == (copied.samples, copied.digests, copied.failures)
    assert np.array_equal(np.asarray(store.features), copied.features)
    assert verify_store(store.path).ok
    assert {path: path.read_bytes() for path in files} == files
    assert store.summary()["compressed"] == compress
    again = merge_stores([store, make(tmp_path / "c.h5", {"z": ("cat", "")})], tmp_path / "more.h5", virtual=True)
    assert again.shards == (*store.shards, tmp_path / "c.h5")
    if not compress:
        with h5py.File(store.path) as file:
            assert np.array_equal(file["features"][:], copied.features)


def test_stores_that_others_name_are_missed_and_their_shards_kept(tmp_path):
    first, second = folder_of_two(tmp_path)
    second = second.path.rename(tmp_path / "b.h5"), (tmp_path / "sub" / "b.shards").rename(tmp_path / "b.shards")
    store = merge_stores([first, open_store(tmp_path / "b.h5")], tmp_path / "all.h5", virtual=True)
    make(tmp_path / "b.h5", {"new": ("cat", "")}, shards=1)
    assert np.array_equal(np.asarray(open_store(store.path).features), np.asarray(store.features))
    make(tmp_path / "a.h5", {"new": ("cat", "")})
    with pytest.raises(StoreError, match="is another file than it was written with"):
        open_store(store.path)
    assert verify_store(store.path).problems


def test_what_cannot_be_merged_without_a_copy(tmp_path):
    first, second = folder_of_two(tmp_path)
    same = make(tmp_path / "same.h5", {"00.jpg": ("cat", "train"), "x": ("cat", "")})
    for stores, out, options, words in (
        ([first, same], "out.h5", {}, "must have no sample in common; '00.jpg' of"),
        ([first, second], "sub/out.h5", {}, "must lie in the folder of the new one, or below"),
        ([first, second], "out.h5", {"compress": True}, "virtual must be without compress and shards"),
        ([first, second], "out.h5", {"shards": 2}, "virtual must be without compress and shards"),
    ):
        with pytest.raises(ParameterError, match=words):
            merge_stores(stores, tmp_path / out, virtual=True, **options)
        assert not (tmp_path / out).exists()
    store = merge_stores([first, same], tmp_path / "out.h5", virtual=True, prefix=True)
    assert len(store) == 7
    assert store.keys[0] == "a/00.jpg"
