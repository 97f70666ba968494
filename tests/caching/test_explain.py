import os
import shutil

import pytest

from featx.caching import explain, extract, extract_layers
from featx.errors import StoreError
from featx.sources import FolderSource
from tests.tiny import BACKBONE, TinyNet, picture, write_folder


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", per_class=3)


def explained(photos, tmp_path, **options):
    (found,) = explain(photos, BACKBONE, cache=tmp_path / "cache", **options)
    return found


def test_a_hit(photos, tmp_path, monkeypatch):
    store = extract(photos, BACKBONE, cache=tmp_path / "cache")
    monkeypatch.setattr(FolderSource, "_read", None)
    forwards = TinyNet.forwards
    found = explained(photos, tmp_path)
    assert (found.hit, found.path, found.unchanged, found.spec) == (True, store.path, 9, store.spec)
    assert TinyNet.forwards == forwards


def test_which_samples_differ_is_what_extract_then_finds(photos, tmp_path):
    (photos / "red" / "bad.png").write_bytes(b"")
    extract(photos, BACKBONE, cache=tmp_path / "cache")
    (photos / "blue" / "000.png").unlink()
    picture(77).save(photos / "blue" / "new.png")
    picture(78).save(photos / "green" / "001.png")
    os.utime(photos / "red" / "002.png", ns=(5, 5))
    found = explained(photos, tmp_path)
    assert not found.hit
    assert found.new == ("blue/new.png",)
    assert found.removed == ("blue/000.png",)
    assert found.changed == ("green/001.png", "red/002.png", "red/bad.png")
    assert found.relabelled == ()
    assert found.unchanged == 6
    (made,) = extract_layers(photos, BACKBONE, cache=tmp_path / "cache")
    changes = made.changes
    assert (changes.new, changes.changed, changes.removed, changes.computed) == (1, 1, 1, 2)
    assert changes.kept == found.unchanged + 1  # what was only touched turned out to be the same


def test_other_labels_and_splits(photos, tmp_path):
    manifest = photos / "list.csv"
    files = sorted(photos.rglob("*.png"))
    lines = ["path,label,split", *(f"{file.relative_to(photos)},a,train" for file in files)]
    manifest.write_text("\n".join(lines))
    extract(manifest, BACKBONE, cache=tmp_path / "cache")
    lines[2] = lines[2].replace(",a,", ",b,")
    lines[4] = lines[4].replace("train", "test")
    manifest.write_text("\n".join(lines))
    found = explained(manifest, tmp_path)
    assert (found.hit, found.unchanged, found.new, found.changed) == (False, 9, (), ())
    assert [photos / key for key in found.relabelled] == [files[1], files[3]]


def test_which_field_differs_from_the_nearest_store(photos, tmp_path):
    extract(photos, BACKBONE, cache=tmp_path / "cache", image_size=24, dtype="float16")
    nearest = extract(photos, BACKBONE, cache=tmp_path / "cache", image_size=24)
    found = explained(photos, tmp_path, image_size=24, pool="max")
    assert (found.hit, found.nearest) == (False, nearest.path)
    assert list(found.differences) == found.spec.differences(nearest.spec)
    assert found.differences[0] == "layer: 'relu_1' against 'output'"
    assert len(found.new) == 9


def test_the_same_spec_of_another_source(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "copy")
    store = extract(tmp_path / "copy", BACKBONE, cache=tmp_path / "cache")
    found = explained(photos, tmp_path)
    assert (found.nearest, found.differences) == (store.path, ())


def test_nothing_like_it(photos, tmp_path):
    extract(write_folder(tmp_path / "other", per_class=1), BACKBONE, cache=tmp_path / "cache", image_size=20)
    found = explained(photos, tmp_path)
    assert (found.hit, found.nearest, found.unchanged, len(found.new)) == (False, None, 0, 9)


def test_several_layers_are_explained_one_by_one(photos, tmp_path):
    extract(photos, BACKBONE, layer="conv2", cache=tmp_path / "cache")
    found = explain(photos, BACKBONE, layers=["conv2", "output"], cache=tmp_path / "cache")
    assert [(one.spec.layer, one.hit) for one in found] == [("conv2", True), ("output", False)]


def test_a_file_of_ones_own(photos, tmp_path):
    out = tmp_path / "mine.h5"
    extract(photos, BACKBONE, out=out)
    assert explain(photos, BACKBONE, out=out)[0].hit
    with pytest.raises(StoreError, match=r"mine\.h5' is there and holds other features"):
        explain(photos, BACKBONE, out=out, pool="max")
    with pytest.raises(TypeError, match="poool"):
        explain(photos, BACKBONE, out=out, poool="max")


@pytest.mark.parametrize(
    ("head", "before", "after"),
    [
        ("labels", "a|b", "a"),
        ("labels", "a", "[]"),
        ("value", "1", "2"),
        ("value", "1", ""),
        ("label,group", "a,p", "a,"),
    ],
)
def test_other_labels_of_any_kind(photos, tmp_path, head, before, after):
    files = [file.relative_to(photos).as_posix() for file in sorted(photos.rglob("*.png"))]
    manifest = photos / "list.csv"
    manifest.write_text("\n".join([f"path,{head}", *(f"{file},{before}" for file in files)]))
    extract(manifest, BACKBONE, cache=tmp_path / "cache")
    assert explained(manifest, tmp_path).hit
    manifest.write_text(manifest.read_text().replace(f"{files[2]},{before}", f"{files[2]},{after}"))
    found = explained(manifest, tmp_path)
    assert (found.hit, found.unchanged, found.relabelled) == (False, 9, (files[2],))
