import os
from pathlib import Path

import pytest

from featx.errors import ParameterError, StoreError
from featx.store import cache_folder, find_store, list_stores, open_store, store_path, workspace_folder
from tests.store.helpers import make_features, make_spec, save


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATX_CACHE", raising=False)
    return tmp_path


@pytest.fixture
def stores(here):
    """Three stores in the cache, two of them of one name."""
    found = {}
    for number, (name, layer) in enumerate([("photos", "a"), ("photos", "b"), ("v1.2_pets", "c")]):
        path = Path("cache") / f"{name}.toy.{layer * 12}.h5"
        found[layer] = save(path, make_features(4, seed=number), spec=make_spec(layer=layer))
    return found


def test_the_cache_is_what_is_given_else_of_the_environment_else_here(monkeypatch):
    assert cache_folder() == Path("cache")
    monkeypatch.setenv("FEATX_CACHE", "")
    assert cache_folder() == Path("cache")
    monkeypatch.setenv("FEATX_CACHE", "/data")
    assert cache_folder() == Path("/data")
    assert cache_folder("mine") == Path("mine")


def path_of(name="photos", identity="folder:/photos", **changes):
    return store_path(Path("cache"), name=name, identity=identity, spec=make_spec(**changes))


def test_a_path_says_source_and_backbone_and_has_a_key_of_source_and_spec():
    name, backbone, key, ending = path_of(backbone="torchvision:resnet50").name.split(".")
    assert (name, backbone, ending) == ("photos", "resnet50", "h5")
    assert len(key) == 12
    keys = {
        path.name.split(".")[-2]
        for path in (path_of(), path_of(identity="folder:/other"), path_of(layer="x"), path_of(dtype="float16"))
    }
    assert len(keys) == 4
    assert path_of(name="other").name.split(".")[-2] == path_of().name.split(".")[-2]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("my photos", "my_photos"),
        ("a[/b].jpg\n", "a_b_jpg"),
        ("../../etc", "etc"),
        ("größe-日本", "größe-日本"),
        ("caf\udce9", "caf"),
        ("..", "source"),
        ("", "source"),
    ],
)
def test_names_need_no_quoting(name, slug):
    assert path_of(name=name).name.split(".")[0] == slug
    assert path_of(name=name).parent == Path("cache")


def test_names_of_any_length_and_script_fit_into_a_file_name():
    path = path_of(name="\U00020000" * 300, backbone="m:" + "ü" * 300)
    assert len(os.fsencode(path.name)) <= 200
    assert path.name.startswith("\U00020000" * 15)
    save(path)
    assert find_store(path).path == path


def test_a_store_under_another_name_is_taken_for_what_it_is():
    other = path_of(name="other")
    save(other)
    assert path_of() == other
    save(Path("cache") / path_of(name="photos", identity="x").name)
    assert path_of() == other


def test_stores_are_listed_by_name(stores):
    assert [path.name for path in list_stores()] == [
        "photos.toy.aaaaaaaaaaaa.h5",
        "photos.toy.bbbbbbbbbbbb.h5",
        "v1.2_pets.toy.cccccccccccc.h5",
    ]
    assert list_stores("nowhere") == []


def test_work_in_progress_lies_beside_the_store():
    assert workspace_folder(Path("deep/photos.toy.aa.h5")) == Path("deep/.work/photos.toy.aa")


@pytest.mark.parametrize(
    "word",
    [f"v1.2_pets{rest}" for rest in ("", ".toy", ".toy.cccccccccccc", ".toy.cccccccccccc.h5")]
    + ["cccc", "cccccccccccc", "cache/v1.2_pets.toy.cccccccccccc.h5"],
)
def test_a_store_is_found_by_file_name_or_key(stores, word):
    assert find_store(word).spec.layer == "c"


def test_an_open_store_is_itself(stores):
    assert find_store(stores["a"]) is stores["a"]
    assert find_store(stores["a"].path).checksum == stores["a"].checksum


def test_a_name_of_several_is_refused_and_the_files_named(stores):
    with pytest.raises(ParameterError, match=r"2 stores \(photos\.toy\.a{12}\.h5, photos\.toy\.b{12}\.h5\)"):
        find_store("photos")
    assert find_store("bbbbb").spec.layer == "b"


@pytest.mark.parametrize("word", ["", "ccc", "pets", "toy", "h5", "x" * 5000, "a\0b", "*"])
def test_other_words_are_no_store(stores, word):
    with pytest.raises(StoreError, match="is neither a file nor a store in cache"):
        find_store(word)


def test_a_near_name_is_suggested(stores):
    with pytest.raises(StoreError, match=r"did you mean 'v1\.2_pets'\?"):
        find_store("v1.2_pet")


def test_the_folder_of_the_images_does_not_hide_the_store_that_is_named_after_it(stores):
    os.mkdir("v1.2_pets")
    assert find_store("v1.2_pets").spec.layer == "c"


def test_a_file_that_is_no_store_is_named(stores):
    Path("notes.txt").write_text("nothing")
    with pytest.raises(StoreError, match=r"notes\.txt"):
        find_store("notes.txt")


def test_a_foreign_file_in_the_cache_goes_by_its_own_name(stores):
    save(Path("cache/mine.h5"))
    assert find_store("mine").path == Path("cache/mine.h5")
    assert open_store("cache/mine.h5").name == "mine"
