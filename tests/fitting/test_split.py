import numpy as np
import pytest

from featx.errors import ParameterError
from featx.fitting._split import choose_rows
from featx.fitting._table import Table

N = 60


def table(splits=None, labels=None, groups=None):
    labels = np.arange(N) % 3 if labels is None else np.asarray(labels)
    return Table(
        features=np.zeros((len(labels), 2), np.float32),
        axes="NC",
        task="classification",
        targets=labels,
        known=labels >= 0,
        classes=("cat", "dog", "eel"),
        digests=np.array([str(i) for i in range(len(labels))]),
        splits=np.array(splits if splits is not None else [""] * len(labels)),
        groups=np.array(groups if groups is not None else [str(i) for i in range(len(labels))]),
        keys=tuple(map(str, range(len(labels)))),
        rows=np.arange(len(labels)),
        specs=(),
    )


def choose(given, *, train=None, val=None, test=None, seed=0, need_val=True):
    return choose_rows(given, train=train, val=val, test=test, seed=seed, need_val=need_val)


def splits_of(*names):
    return [names[i // 3 % len(names)] for i in range(N)]


def rows_of(splits, name):
    return [i for i, split in enumerate(splits) if split == name]


def test_the_splits_of_the_source_are_kept():
    splits = splits_of("train", "val", "test", "extra")
    rows = choose(table(splits))
    assert rows.train.tolist() == rows_of(splits, "train")
    assert {part: found.tolist() for part, found in rows.held_out.items()} == {
        "val": rows_of(splits, "val"),
        "test": rows_of(splits, "test"),
    }
    assert rows.origin == {"train": "split train", "val": "split val", "test": "split test"}


def test_without_splits_a_fifth_is_drawn_of_each_class():
    given = table()
    rows = choose(given)
    assert np.bincount(given.targets[rows.held_out["val"]]).tolist() == [4, 4, 4]
    assert sorted([*rows.train.tolist(), *rows.held_out["val"].tolist()]) == list(range(N))
    assert rows.origin["val"] == "0.2 of all rows with a label, stratified, seed 0"
    assert choose(given).held_out["val"].tolist() == rows.held_out["val"].tolist()
    assert choose(given, seed=1).held_out["val"].tolist() != rows.held_out["val"].tolist()


def test_a_fraction_is_drawn_from_the_training_rows_alone():
    splits = splits_of("train", "test")
    rows = choose(table(splits), val=0.5)
    assert sorted([*rows.train.tolist(), *rows.held_out["val"].tolist()]) == rows_of(splits, "train")
    assert len(rows.held_out["val"]) == 15
    assert rows.held_out["test"].tolist() == rows_of(splits, "test")
    assert choose(table(splits), val="0.5").held_out["val"].tolist() == rows.held_out["val"].tolist()


def test_equal_images_are_never_on_both_sides():
    groups = [str(i // 6) + "abc"[i % 3] for i in range(N)]  # each image twice
    for seed in range(20):
        rows = choose(table(groups=groups), seed=seed)
        assert not {groups[i] for i in rows.train} & {groups[i] for i in rows.held_out["val"]}


def test_none_and_cross_validation_hold_nothing_out():
    assert choose(table(), val="none").held_out == {}
    assert choose(table(), need_val=False).held_out == {}
    assert len(choose(table(), need_val=False, val=0.2).held_out["val"]) == 12
    splits = splits_of("train", "val")
    assert choose(table(splits), val="none").held_out == {}
    assert choose(table(splits), val="none").train.tolist() == rows_of(splits, "train")


def test_without_a_split_to_train_on_it_is_all_others():
    splits = splits_of("val", "", "other")
    rows = choose(table(splits))
    assert rows.train.tolist() == sorted(rows_of(splits, "") + rows_of(splits, "other"))
    assert rows.origin["train"] == "all other rows with a label"


def test_a_split_that_is_asked_for_is_no_other_parts_default():
    splits = splits_of("train", "val", "test")
    rows = choose(table(splits), test="val")
    assert list(rows.held_out) == ["val", "test"]
    assert rows.held_out["test"].tolist() == rows_of(splits, "val")
    assert sorted([*rows.train.tolist(), *rows.held_out["val"].tolist()]) == rows_of(splits, "train")
    rows = choose(table(splits), train="test", val="train")
    assert rows.train.tolist() == rows_of(splits, "test")
    assert rows.held_out["val"].tolist() == rows_of(splits, "train")
    assert "test" not in rows.held_out


def test_a_split_may_be_called_like_a_number():
    splits = splits_of("2023", "2024", "0.5")
    rows = choose(table(splits), train="2023", val="2024", test="0.5")
    assert rows.held_out["val"].tolist() == rows_of(splits, "2024")
    assert rows.held_out["test"].tolist() == rows_of(splits, "0.5")


def test_samples_without_a_label_are_left_out():
    labels = np.where(np.arange(N) % 4 == 0, -1, np.arange(N) % 3)
    splits = splits_of("train", "test")
    rows = choose(table(splits, labels))
    used = np.concatenate([rows.train, *rows.held_out.values()])
    assert sorted(used.tolist()) == np.flatnonzero(labels >= 0).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"val": "valid"}, r"val must be one of the store's splits with labels \(test, train\); got 'valid'"),
        ({"test": "tset"}, r"test must be one of .+; got 'tset'; did you mean 'test'\?"),
        ({"train": "x"}, "train must be one of"),
        ({"val": "train", "train": "train"}, "must be different splits; got train, train"),
        ({"test": "train"}, "must be different splits; got train, train"),
        ({"val": "1.5"}, "val must be a split, none, or a fraction between 0 and 1; got '1.5'"),
        ({"val": 0}, "fraction between 0 and 1; got 0"),
        ({"val": "nan"}, "fraction between 0 and 1; got 'nan'"),
    ],
)
def test_wrong_splits_are_named(arguments, message):
    with pytest.raises(ParameterError, match=message):
        choose(table(splits_of("train", "test")), **arguments)


def test_nothing_to_train_on_is_told():
    with pytest.raises(ParameterError, match="train has no rows, since all labelled ones are of split test"):
        choose(table(["test"] * N))
    with pytest.raises(ParameterError, match="the store has no labels"):
        choose(table(labels=[-1] * N))
    with pytest.raises(ParameterError, match="two classes or more; got 'dog' alone"):
        choose(table(labels=[1] * N))
