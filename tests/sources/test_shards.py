import pytest
from braceexpand import braceexpand
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.errors import SourceError
from featx.sources import _shards
from featx.sources._shards import Shards, expand, has_braces, splits_of

from .helpers import write_folder

ranges = st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from(["", "..2", "..5"]), st.integers(0, 4)).map(
    lambda parts: f"{{{parts[0]:0{parts[3]}d}..{parts[1]:0{parts[3]}d}{parts[2]}}}"
)
words = st.text("abc-_. /", max_size=4)
lists = st.lists(words, min_size=2, max_size=3, unique=True).map(lambda each: f"{{{','.join(each)}}}")
nested = st.tuples(words, ranges | lists).map(lambda pair: f"{{{pair[0]},x{pair[1]}}}")
patterns = st.lists(words | ranges | lists | nested, max_size=3).map("".join)


@settings(max_examples=150)
@given(patterns)
def test_braces_are_as_other_shells_expand_them(pattern):
    assert sorted(expand(pattern)) == sorted(set(braceexpand(pattern)))
    assert has_braces(pattern) == (expand(pattern) != [pattern])


@pytest.mark.parametrize("pattern", ["plain", "{}", "{a}", "}{", "{1..}", "a{b}c", "{1...3}"])
def test_braces_that_are_just_braces(pattern):
    assert expand(pattern) == [pattern]
    assert not has_braces(pattern)


def test_braces_may_count_down_and_take_steps():
    assert expand("{03..01}") == ["03", "02", "01"]
    assert expand("{0..9..4}") == ["0", "4", "8"]
    assert expand("{train,val}/{0..1}.tar") == ["train/0.tar", "train/1.tar", "val/0.tar", "val/1.tar"]


@pytest.mark.parametrize("pattern", ["{0..99999999999}", "{0..9999}{0..9999}"])
def test_braces_that_stand_for_too_much(pattern, monkeypatch):
    monkeypatch.setattr(_shards, "_MOST", 1000)
    with pytest.raises(SourceError, match="more than 1,000 files"):
        expand(pattern)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train/0", "val/0"], ["train", "val"]),
        (["train-0000", "imagenet1k-validation-0001"], ["train", "val"]),
        (["data/train-00000-of-00002-9f8e", "data/test-00000-of-00001"], ["train", "test"]),
        (["test/train-0", "train/val-0"], ["test", "train"]),  # the folder counts
        (["Training.0", "TEST2017"], ["train", "test"]),
        (["0000", "0001"], [None, None]),
        (["train-0", "extra-0"], [None, None]),
        (["train_val-0", "test-0"], [None, None]),
        (["trainer-0", "latest-0"], [None, None]),
    ],
)
def test_splits_are_read_from_names_if_all_have_one(names, splits):
    assert splits_of(names) == dict(zip(names, splits, strict=True))


def test_splits_beside_strangers_are_an_error():
    with pytest.raises(SourceError, match=r"shards named like splits.*got 'extra-0'"):
        splits_of(["train-0", "val-0", "extra-0"])


@pytest.fixture
def folder(tmp_path):
    names = ["a.tar", "b/c.TAR", "b/d.tar", "x.txt", ".hidden.tar", "odd{0..1}.tar"]
    return write_folder(tmp_path / "set", dict.fromkeys(names, b""))


def located(shards):
    return {name: location.text for name, location in shards.files().items()}


def test_files_of_a_folder(folder):
    shards = Shards(folder, ".tar")
    assert located(shards) == {
        "a": f"{folder}/a.tar",
        "b/c": f"{folder}/b/c.TAR",
        "b/d": f"{folder}/b/d.tar",
        "odd{0..1}": f"{folder}/odd{{0..1}}.tar",
    }
    assert (shards.name, shards.text) == ("set", str(folder))


@pytest.mark.parametrize(
    ("given", "names", "name", "text"),
    [
        ("set/a.tar", ["a"], "a", "set/a.tar"),
        ("set/odd{0..1}.tar", ["odd{0..1}"], "odd{0..1}", "set/odd{0..1}.tar"),  # which is there
        ("set/{a,b/d}.tar", ["a", "b/d"], "set", "set/{a,b/d}.tar"),
        ("set/../set/x-{00..02}.tar", ["x-00", "x-01", "x-02"], "x", "set/x-{00..02}.tar"),
        ("{set,none}/a.tar", ["none/a", "set/a"], "a", "{set,none}/a.tar"),
    ],
)
def test_what_is_named(folder, monkeypatch, given, names, name, text):
    monkeypatch.chdir(folder.parent)
    shards = Shards(given, ".tar")
    monkeypatch.chdir("/")
    assert list(located(shards)) == names
    assert (shards.name, shards.text) == (name, f"{folder.parent}/{text}")


def test_urls():
    shards = Shards("S3://bucket/set/{train,val}-{0..1}.tar", ".tar")
    assert located(shards) == {
        f"{split}-{i}": f"s3://bucket/set/{split}-{i}.tar" for split in ("train", "val") for i in range(2)
    }
    assert (shards.name, shards.text) == ("set", "s3://bucket/set/{train,val}-{0..1}.tar")
    assert located(Shards("https://host/a/x.tar?sig=1", ".tar")) == {"x": "https://host/a/x.tar?sig=1"}


def test_no_files_and_files_that_differ_in_their_ending_alone(tmp_path):
    with pytest.raises(SourceError, match=r"holds no file that ends in \.tar"):
        Shards(write_folder(tmp_path / "none", {"a.txt": b""}), ".tar").files()
    with pytest.raises(SourceError, match=r"has 'a\.tar' twice"):
        Shards(write_folder(tmp_path / "twice", {"a.tar": b"", "a.TAR": b""}), ".tar").files()
    with pytest.raises(SourceError, match="no such file"):
        Shards(tmp_path / "gone", ".tar").files()
