import hashlib
import inspect
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import featx
from featx.caching import extract, extract_layers
from featx.errors import ParameterError, SourceError, StoreError
from featx.sources import FolderSource
from tests.caching.helpers import assert_same, extracted, plain_features
from tests.tiny import BACKBONE, COLOURS, TinyNet, picture, tiny_net, write_folder


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", splits=("train", "val"), per_class=4)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def nothing_opened(monkeypatch):
    """Make reading an image an error."""

    def forbid():
        def refuse(self, index):
            raise AssertionError(f"{self.samples[index].key} was opened")

        monkeypatch.setattr(FolderSource, "_read", refuse)

    return forbid


def files_of(root, store):
    return [root / key for key in store.keys]


def test_rows_are_those_of_plain_torch(photos, cache):
    ((extraction,), _, images) = extracted(photos, cache)
    store = extraction.store
    files = sorted(photos.rglob("*.png"))
    assert [photos / key for key in store.keys] == files
    assert (extraction.hit, extraction.changes.computed, extraction.changes.kept, images) == (False, 24, 0, 24)
    np.testing.assert_allclose(store.features, plain_features(files)["output"], rtol=1e-4, atol=1e-5)
    assert store.axes == "NC"
    assert store.features.dtype == np.float32
    assert [store.classes[label] for label in store.labels] == [file.parent.name for file in files]
    assert list(store.splits) == [file.parent.parent.name for file in files]
    assert list(store.digests) == [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert store.sizes.tolist() == [file.stat().st_size for file in files]
    assert store.mtimes_ns.tolist() == [file.stat().st_mtime_ns for file in files]
    assert store.inodes.tolist() == [file.stat().st_ino for file in files]


def test_a_second_extract_is_a_hit_that_runs_nothing_and_opens_nothing(photos, cache, nothing_opened):
    ((first,), *_) = extracted(photos, cache)
    before = first.store.path.stat()
    nothing_opened()
    ((again,), forwards, _) = extracted(photos, cache)
    assert (again.hit, again.changes.computed, again.changes.kept, again.seconds, forwards) == (True, 0, 24, 0.0, 0)
    assert again.store.path.stat() == before
    assert_same(again.store, first.store)


def add(photos):
    picture(900, COLOURS["red"]).save(photos / "train" / "red" / "0000-new.png")
    picture(901, COLOURS["blue"]).save(photos / "val" / "blue" / "zz-new.png")
    return 2


def remove(photos):
    (photos / "train" / "green" / "001.png").unlink()
    return 0


def rename(photos):
    (photos / "train" / "green" / "001.png").rename(photos / "train" / "green" / "zzz.png")
    return 0


def relabel(photos):
    (photos / "val" / "red" / "002.png").rename(photos / "val" / "blue" / "from-red.png")
    return 0


def change(photos):
    picture(902, COLOURS["green"]).save(photos / "train" / "green" / "000.png")
    os.utime(photos / "train" / "green" / "000.png", ns=(1, 1))
    return 1


def add_a_class(photos):
    shutil.copytree(photos / "train" / "red", photos / "train" / "a first class")
    return 0


def damage(photos):
    (photos / "train" / "blue" / "003.png").write_bytes(b"no image")
    return 0


CHANGES = [add, remove, rename, relabel, change, add_a_class, damage]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_after_a_change_only_what_is_new_is_computed_and_all_stays_aligned(photos, cache, tmp_path, change):
    extracted(photos, cache, batch_size=1)
    new = change(photos)
    ((extraction,), _, images) = extracted(photos, cache, batch_size=1)
    assert images == new
    assert not extraction.hit
    ((fresh,), *_) = extracted(photos, tmp_path / "fresh", batch_size=1)
    assert_same(extraction.store, fresh.store)
    changes = extraction.changes
    assert changes.kept + changes.new + changes.changed == len(list(photos.rglob("*.png")))
    assert changes.computed == new


def test_labels_from_a_manifest_can_change_without_the_network(photos, cache):
    manifest = photos / "list.csv"
    lines = ["path,label,split", *(f"{file.relative_to(photos)},a,train" for file in sorted(photos.rglob("*.png")))]
    manifest.write_text("\n".join(lines))
    extracted(manifest, cache)
    lines[1:3] = [line.replace(",a,train", ",b,test") for line in lines[1:3]]
    manifest.write_text("\n".join(lines))
    ((extraction,), forwards, _) = extracted(manifest, cache)
    assert (forwards, extraction.changes.computed, extraction.changes.kept) == (0, 0, 24)
    store = extraction.store
    assert [store.classes[label] for label in store.labels] == ["b"] * 2 + ["a"] * 22
    assert store.splits == ("test",) * 2 + ("train",) * 22


def test_layers_in_one_pass_are_stores_of_their_own(photos, cache):
    found, forwards, _ = extracted(photos, cache, layers=["conv2", "output"], pool=None, batch_size=24)
    assert forwards == 1
    expected = plain_features(files_of(photos, found[0].store))
    assert [extraction.store.spec.layer for extraction in found] == ["conv2", "output"]
    assert found[0].store.path != found[1].store.path
    np.testing.assert_allclose(
        found[0].store.features, expected["conv2"].mean(axis=(2, 3)), rtol=1e-4, atol=1e-5
    )  # a map's default pooling is the average
    np.testing.assert_allclose(found[1].store.features, expected["output"], rtol=1e-4, atol=1e-5)

    third, forwards, _ = extracted(photos, cache, layers=["conv2", "relu_1", "output"], batch_size=24)
    assert [extraction.hit for extraction in third] == [True, False, True]
    assert forwards == 1
    np.testing.assert_allclose(third[1].store.features, expected["relu_1"].mean(axis=(2, 3)), rtol=1e-4, atol=1e-5)


def test_layers_of_unequal_progress_are_joined_right(photos, cache, tmp_path):
    extracted(photos, cache, layers=["conv2"], batch_size=1)
    add(photos)
    extracted(photos, cache, layers=["output"], batch_size=1)
    remove(photos)
    found, _, images = extracted(photos, cache, layers=["conv2", "output"], batch_size=1)
    assert images == 2  # the two that conv2 has not seen
    fresh, *_ = extracted(photos, tmp_path / "fresh", layers=["conv2", "output"], batch_size=1)
    for mine, theirs in zip(found, fresh, strict=True):
        assert_same(mine.store, theirs.store)


def test_maps_are_stored_channels_last(photos, cache):
    ((extraction,), *_) = extracted(photos, cache, layers=["conv2"], pool="none")
    store = extraction.store
    assert (store.axes, store.features.shape) == ("NHWC", (24, 8, 8, 16))
    expected = plain_features(files_of(photos, store))["conv2"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(store.features, expected, rtol=1e-4, atol=1e-5)


def test_float16_is_float32_rounded(photos, cache):
    ((full,), *_) = extracted(photos, cache)
    ((half,), *_) = extracted(photos, cache, dtype="float16")
    assert half.store.path != full.store.path
    assert half.store.features.dtype == np.float16
    assert half.store.features.tobytes() == full.store.features.astype(np.float16).tobytes()


def test_limit_takes_the_first_and_is_a_store_of_its_own(photos, cache):
    ((some,), _, images) = extracted(photos, cache, limit=5)
    ((whole,), *_) = extracted(photos, cache)
    assert images == len(some.store) == 5
    assert some.store.keys == whole.store.keys[:5]
    assert some.store.path != whole.store.path
    np.testing.assert_allclose(some.store.features, whole.store.features[:5], rtol=1e-5, atol=1e-6)


def test_the_file_is_the_same_whatever_runs_it_and_however_it_is_named(photos, cache, monkeypatch):
    ((first,), *_) = extracted(photos, cache, batch_size=3, workers=1)
    monkeypatch.chdir(photos)
    for source, options in ((".", {"batch_size": 7}), (f"../{photos.name}/", {"workers": 3}), (photos, {})):
        ((again,), *_) = extracted(source, cache, **options)
        assert again.hit
        assert again.store.path == first.store.path


def test_where_stores_go(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATX_CACHE", raising=False)
    by_default = extract(photos, BACKBONE)
    assert by_default.path.parent == Path("cache")
    assert by_default.path.name.split(".")[:2] == ["photos", "tiny_net"]
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path / "elsewhere"))
    assert extract(photos, BACKBONE).path.parent == tmp_path / "elsewhere"
    named = extract(photos, BACKBONE, cache=tmp_path / "third", name="my photos")
    assert named.path.parent == tmp_path / "third"
    assert named.name == "my_photos"
    out = extract(photos, BACKBONE, out=tmp_path / "deep" / "er" / "mine.h5")
    assert out.path == tmp_path / "deep" / "er" / "mine.h5"
    assert os.listdir(out.path.parent) == ["mine.h5"]  # nothing of the work is left
    assert_same(out, by_default)


def test_out_is_brought_up_to_date_but_never_something_else(photos, tmp_path):
    out = tmp_path / "mine.h5"
    extract(photos, BACKBONE, out=out)
    add(photos)
    before = TinyNet.images
    assert len(extract(photos, BACKBONE, out=out)) == 26
    assert TinyNet.images == before + 2
    other = write_folder(tmp_path / "other", per_class=2)
    for source, options in ((other, {}), (photos, {"layer": "conv2"}), (photos, {"limit": 3})):
        with pytest.raises(StoreError, match=r"out '.*mine\.h5' is there and holds other features"):
            extract(source, BACKBONE, out=out, **options)
    foreign = tmp_path / "thesis.h5"
    foreign.write_text("years of work")
    with pytest.raises(StoreError, match=r"thesis\.h5"):
        extract(photos, BACKBONE, out=foreign)
    assert foreign.read_text() == "years of work"
    assert len(featx.open_store(out)) == 26


def test_out_is_one_file_for_one_layer(photos, tmp_path):
    with pytest.raises(ParameterError, match="2 layers make as many stores"):
        extract_layers(photos, BACKBONE, layers=["conv2", "output"], out=tmp_path / "a.h5")


def test_a_damaged_store_in_the_cache_is_named(photos, cache):
    ((extraction,), *_) = extracted(photos, cache)
    path = extraction.store.path
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(StoreError, match=path.name):
        extracted(photos, cache)


def test_bad_images_are_recorded_and_shift_nothing(photos, cache, tmp_path):
    for name in ("train/blue/000.png", "train/green/002.png", "val/red/003.png"):
        (photos / name).write_bytes(b"<html>")
    ((extraction,), *_) = extracted(photos, cache, batch_size=4)
    store = extraction.store
    assert [key for key, _ in store.failures] == ["train/blue/000.png", "train/green/002.png", "val/red/003.png"]
    assert all(reason for _, reason in store.failures)
    assert len(store) == 21
    np.testing.assert_allclose(store.features, plain_features(files_of(photos, store))["output"], rtol=1e-4, atol=1e-5)
    ((again,), forwards, _) = extracted(photos, cache)
    assert again.hit
    assert forwards == 0
    assert again.store.failures == store.failures


def test_only_bad_images_is_an_error_that_says_why(tmp_path, cache):
    folder = tmp_path / "bad"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.jpg").write_text("no image")
    with pytest.raises(StoreError, match="no sample could be extracted; the first of 3 failures: "):
        extract(folder, BACKBONE, cache=cache)
    assert list(cache.glob("*.h5")) == []


def test_a_network_as_an_object_is_named_after_its_class(photos, cache):
    store = extract(photos, tiny_net(), cache=cache)
    where = {"depth": {"output": 1.0}, "early": "conv2", "changes": {}}
    assert store.backbone == {"name": "tests.tiny:TinyNet", "weights": None, "reloadable": False, **where}
    named = extract(photos, BACKBONE, cache=cache)
    changed = extract(photos, BACKBONE, image_size=40, mean=(0.5, 0.5, 0.5), cache=cache)
    assert changed.backbone["changes"] == {"image_size": 40, "mean": [0.5, 0.5, 0.5]}
    assert named.backbone == {"name": BACKBONE, "weights": None, "reloadable": True, **where}
    assert store.features.tobytes() == named.features.tobytes()


def test_arrays_are_extracted_as_files_are(photos, cache):
    from PIL import Image

    files = sorted(photos.rglob("*.png"))
    images = np.stack([np.asarray(Image.open(file)) for file in files])
    store = extract((images, [file.parent.name for file in files]), BACKBONE, cache=cache)
    np.testing.assert_allclose(store.features, plain_features(files)["output"], rtol=1e-4, atol=1e-5)
    before = TinyNet.forwards
    extract((images, [file.parent.name for file in files]), BACKBONE, cache=cache)
    assert TinyNet.forwards == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; got 0"),
        ({"batch_size": 2.5}, "batch_size must be"),
        ({"workers": -1}, "workers must be"),
        ({"workers": True}, "workers must be"),
        ({"engine": "tensorflow"}, "engine must be one of auto, torch, compile, onnxruntime"),
        ({"limit": 0}, "limit must be"),
        ({"device": "tpu"}, "device must be"),
        ({"precision": "int8"}, "precision must be"),
        ({"dtype": "float64"}, "dtype must be"),
    ],
)
def test_wrong_values_are_named_before_anything_is_run(photos, cache, options, message):
    with pytest.raises(ParameterError, match=message):
        extract(photos, BACKBONE, cache=cache, **options)
    assert not cache.exists()


def test_a_misspelt_option_is_an_error_and_not_ignored(photos, cache):
    with pytest.raises(TypeError, match="batchsize"):
        extract(photos, BACKBONE, cache=cache, batchsize=3)
    with pytest.raises(TypeError, match="layer"):
        extract_layers(photos, BACKBONE, cache=cache, layer="conv2")


def test_extract_and_extract_layers_take_the_same_options():
    one, many = (inspect.signature(f).parameters for f in (extract, extract_layers))
    assert [(p.name, p.default) for p in one.values() if p.name != "layer"] == [
        (p.name, p.default) for p in many.values() if p.name != "layers"
    ]


def test_there_is_no_such_source(cache):
    with pytest.raises(SourceError, match="there is no file or folder"):
        extract("nowhere", BACKBONE, cache=cache)


def test_progress_counts_every_sample_once(photos, cache):
    seen = []
    extract(photos, BACKBONE, cache=cache, batch_size=7, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 24), (7, 24), (14, 24), (21, 24), (24, 24)]


def test_a_disk_that_will_be_too_small_is_foreseen(photos, cache, monkeypatch):
    monkeypatch.setattr("featx.store._files.free_space", lambda folder: 24 * 2 * 5 * 4 - 1)
    forwards = TinyNet.forwards
    with pytest.raises(StoreError, match="the disk is full: 960 bytes are needed and 959 are free"):
        extract(photos, BACKBONE, cache=cache)
    assert TinyNet.forwards <= forwards + 1  # the one that lists the nodes
    assert not list(cache.glob("*.h5"))


def test_other_labels_values_and_groups_cost_no_feature(tmp_path):
    photos = write_folder(tmp_path / "photos", per_class=2)
    files = [file.relative_to(photos).as_posix() for file in sorted(photos.rglob("*.png"))]
    manifest = photos / "list.csv"

    def extracted_with(head, fields):
        lines = [f"{file},{field}" for file, field in zip(files, fields, strict=True)]
        manifest.write_text("\n".join([f"path,{head}", *lines]))
        ((found,), ran, _) = extracted(manifest, tmp_path / "cache")
        return found, ran

    plain, ran = extracted_with("label", "ababab")
    assert (ran > 0, plain.store.task) == (True, "classification")
    features = plain.store.features.tobytes()
    tasks = []
    for head, fields in (
        ("labels", ["a|b", "[]", "", "a", "b", "c"]),
        ("labels", ["a|b", "[]", "", "a", "b", "b|c"]),
        ("value", ["1", "2.5", "", "0", "0", "-1"]),
        ("value,group", ["1,p", "2.5,p", ",", "0,q", "0,q", "-1,"]),
        ("value,group", ["1,p", "2.5,p", ",", "0,q", "0,p", "-1,"]),
    ):
        found, ran = extracted_with(head, fields)
        assert (ran, found.hit, found.changes.kept) == (0, False, 6)
        assert found.store.features.tobytes() == features
        assert extracted_with(head, fields)[0].hit
        tasks.append(found.store.task)
    assert tasks == ["multilabel"] * 2 + ["regression"] * 3
    assert found.store.targets[:, 0].tolist() == [1, 2.5, pytest.approx(np.nan, nan_ok=True), 0, 0, -1]
    assert found.store.groups == ("p", "p", "", "q", "p", "")
