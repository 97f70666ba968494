import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import SourceError
from featx.sources import arrange

SPELLINGS = {"train": ["train", "Training"], "val": ["val", "VALID", "validation"], "test": ["test", "testing"]}
names = st.sampled_from(["cat", "dog", "été", "10", "9", "a b", "x.jpg", "\udcff"])
files = st.sampled_from(["1.jpg", "2.PNG", "-.webp", "é.tiff", "n\n.jpeg"])
ignorable = st.sampled_from(
    ["Thumbs.db", "desktop.ini", "notes.txt", ".hidden.jpg", ".git/a.jpg", "__MACOSX/c/._1.jpg", "jpg", ".jpg"]
)


def triples(paths):
    return [tuple(place) for place in arrange(paths)]


def test_class_folders_with_nested_and_loose_images():
    assert triples(["dog/b.jpg", "cat/deep/er/a.jpg", "loose.png", "cat/a.jpg"]) == [
        ("cat/a.jpg", "cat", None),
        ("cat/deep/er/a.jpg", "cat", None),
        ("dog/b.jpg", "dog", None),
        ("loose.png", None, None),
    ]


def test_flat_folder_has_no_labels():
    assert triples(["b.jpg", "a.jpg"]) == [("a.jpg", None, None), ("b.jpg", None, None)]


def test_split_folders_may_be_flat_and_spelled_in_other_ways():
    assert triples(["Training/cat/1.jpg", "VALID/dog/x/2.jpg", "testing/3.jpg"]) == [
        ("Training/cat/1.jpg", "cat", "train"),
        ("VALID/dog/x/2.jpg", "dog", "val"),
        ("testing/3.jpg", None, "test"),
    ]


def test_a_single_folder_with_images_is_a_class_not_a_wrapper():
    assert triples(["cat/1.jpg", "cat/more/2.jpg"]) == [
        ("cat/1.jpg", "cat", None),
        ("cat/more/2.jpg", "cat", None),
    ]


def test_a_single_split_folder_is_a_split():
    assert triples(["train/cat/1.jpg"]) == [("train/cat/1.jpg", "cat", "train")]


@pytest.mark.parametrize("other", ["truck", "plane/deep"])
def test_a_class_may_be_called_like_one_split(other):
    assert [place.label for place in arrange(["train/1.jpg", f"{other}/2.jpg"])] == sorted(
        ["train", other.split("/")[0]], key=lambda label: ("plane", "train", "truck").index(label)
    )


def test_a_strange_folder_beside_splits_is_named():
    with pytest.raises(SourceError, match="'backup'"):
        arrange(["train/cat/1.jpg", "val/cat/2.jpg", "backup/cat/3.jpg"])


def test_splits_inside_classes_are_not_looked_for():
    assert triples(["cat/train/1.jpg", "dog/test/2.jpg"]) == [
        ("cat/train/1.jpg", "cat", None),
        ("dog/test/2.jpg", "dog", None),
    ]


def test_names_that_only_climb_are_names():
    assert triples(["../../evil/1.jpg"])[0][0] == "../../evil/1.jpg"


@given(
    wrappers=st.lists(names, max_size=3),
    splits=st.lists(st.sampled_from(list(SPELLINGS)), max_size=3, unique=True),
    entries=st.lists(st.tuples(st.integers(0, 2), names, st.lists(names, max_size=2), files), min_size=1),
    choice=st.integers(0, 5),
    junk=st.lists(ignorable),
    data=st.data(),
)
def test_what_is_built_is_what_is_found(wrappers, splits, entries, choice, junk, data):
    """Any tree of classes, with or without splits, below any wrappers and among any rubbish."""
    expected = {}
    labels = {label for _, label, _, _ in entries}
    if not splits and len(labels) == 1:  # a lone class folder: keep an image in it, or it is a wrapper
        entries = [(which, label, [], name) for which, label, _, name in entries]
    for which, label, nested, name in entries:
        folders, split = [*wrappers], None
        if splits:
            split = splits[which % len(splits)]
            folders.append(SPELLINGS[split][choice % len(SPELLINGS[split])])
        expected["/".join([*folders, label, *nested, name])] = (label, split)
    paths = [*expected, *junk, *("/".join([*wrappers, each]) for each in junk)]
    paths = data.draw(st.permutations(paths))
    assert triples(paths) == [(key, *expected[key]) for key in sorted(expected)]


@given(st.lists(st.lists(names | st.just("train") | st.just("test"), max_size=4).map("/".join)), ignorable)
def test_never_anything_but_an_order_of_what_was_given(folders, junk):
    paths = [f"{folder}/1.jpg" if folder else "1.jpg" for folder in folders]
    try:
        places = arrange(paths)
    except SourceError:
        return
    assert [place.key for place in places] == sorted(set(paths))
    assert places == arrange([*reversed(paths), junk])
    assert all(place.label is None or place.label in place.key.split("/")[:-1] for place in places)
