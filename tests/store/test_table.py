import numpy as np
import pytest

from featx.errors import ParameterError
from featx.store import SampleTable
from tests.store.helpers import make_table


def columns(**changes):
    table = make_table(4)
    names = ("keys", "labels", "classes", "splits", "sizes", "mtimes_ns", "inodes")
    return {name: getattr(table, name) for name in names} | changes


def test_lists_become_tuples_and_int64_that_nobody_can_change():
    table = SampleTable(**columns(keys=list("abcd"), labels=[0, 1, -1, 0], sizes=np.arange(4, dtype="uint8")))
    assert table.keys == ("a", "b", "c", "d")
    assert table.labels.dtype == table.sizes.dtype == np.int64
    with pytest.raises(ValueError):
        table.labels[0] = 1


def test_equality_is_by_content_and_the_given_arrays_are_copied():
    labels = np.array([0, 1, -1, 0])
    table, same = SampleTable(**columns(labels=labels)), SampleTable(**columns(labels=labels.copy()))
    labels[0] = 1
    assert table == same
    assert table != SampleTable(**columns(labels=labels))
    assert table != SampleTable(**columns(splits=[""] * 4))
    assert table != SampleTable(**columns(inodes=[0] * 4))
    assert table != "table"


def test_without_inodes_they_are_zero():
    given = columns()
    del given["inodes"]
    assert SampleTable(**given).inodes.tolist() == [0] * 4
    assert SampleTable((), [], (), (), [], []).inodes.dtype == np.int64


def test_take_keeps_rows_together():
    table = make_table(6).take([4, 1])
    assert table.keys == ("cat/4.jpg", "dog/1.jpg")
    assert table.labels.tolist() == [0, 1]
    assert table.sizes.tolist() == [1004, 1001]
    assert table.inodes.tolist() == [81, 78]
    assert table.splits == (make_table(6).splits[4], make_table(6).splits[1])
    assert len(make_table(6).take([])) == 0


@pytest.mark.parametrize("rows", [[4], [-1], [1, 1], [0.5], [[0]]])
def test_take_refuses_rows_there_are_not(rows):
    with pytest.raises(ParameterError):
        make_table(4).take(rows)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keys": ("a", "b", "a", "c")}, "keys must be unique; got 'a'"),
        ({"keys": ("a", "b", "c")}, "labels must have one entry for each of the 3 keys; got 4"),
        ({"keys": ("a", "b", "c", 4)}, "keys must be strings; got 4"),
        ({"keys": ("a", "b", "c", "d\0")}, "NUL"),
        ({"keys": ("a", "b", "c", "\ud800")}, "surrogateescape"),
        ({"keys": ("a", "b", "c", "\udcc3\udca9")}, "surrogateescape"),  # its bytes are those of "é"
        ({"labels": [0, 1, 2, 0]}, "labels must be -1 or an index into the 2 classes; got 2"),
        ({"labels": [0, 1, -2, 0]}, "got -2"),
        ({"labels": [0.0, 1.0, 0.0, 0.0]}, "labels must be one-dimensional integers"),
        ({"sizes": np.array([2**63] * 4, dtype="uint64")}, "sizes must fit into int64"),
        ({"inodes": []}, "inodes must have one entry for each of the 4 keys; got 0"),
        ({"classes": ("a", "a")}, "classes must be unique"),
        ({"splits": ("", "", "")}, "splits must have one entry"),
        ({"splits": ("", "", "", None)}, "splits must be strings"),
    ],
)
def test_columns_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(ParameterError, match=words.replace("(", r"\(")):
        SampleTable(**columns(**changes))


LABELS = {
    "classification": ["b", None, "a", "b"],
    "multilabel": [("a", "b"), None, (), ("b",)],
    "regression": [(0.1, 2.0), None, (1e-300, -0.0), (3.0, 4.0)],
}
PLACES = {"keys": "wxyz", "splits": [""] * 4, "sizes": [0] * 4, "mtimes_ns": [0] * 4}


@pytest.mark.parametrize("task", LABELS)
def test_what_samples_are_labelled_with_comes_back(task):
    table = SampleTable.of(LABELS[task], classes=("b", "a", "never"), **PLACES)
    assert table.task == task
    assert list(table.named_labels()) == LABELS[task]
    assert table.classes == (() if task == "regression" else ("b", "a", "never"))
    assert list(table.take([3, 1]).named_labels()) == [LABELS[task][3], None]
    assert table.take([3, 1]).task == task
    assert table == SampleTable.of(LABELS[task], classes=("b", "a", "never"), **PLACES)
    assert table != SampleTable.of(LABELS[task][::-1], classes=("b", "a", "never"), **PLACES)


def test_the_columns_of_several_classes_and_of_values():
    table = SampleTable.of(LABELS["multilabel"], classes=("b", "a", "never"), **PLACES)
    assert table.labels.tolist() == [-1] * 4
    assert table.indicator.dtype == np.int8
    assert table.indicator.tolist() == [[1, 1, 0], [-1, -1, -1], [0, 0, 0], [1, 0, 0]]
    table = SampleTable.of(LABELS["regression"], classes=(), **PLACES)
    assert table.labels.tolist() == [-1] * 4
    assert np.array_equal(table.targets, [[0.1, 2], [np.nan, np.nan], [1e-300, 0], [3, 4]], equal_nan=True)
    assert table.target_names == ("value0", "value1")
    assert SampleTable.of([(1.0,)] * 4, classes=(), **PLACES).target_names == ("value",)
    assert SampleTable.of([(1.0,)] * 4, classes=(), target_names=["age"], **PLACES).target_names == ("age",)
    for array in (table.targets, table.labels):
        assert not array.flags.writeable


def test_groups_belong_to_rows():
    table = SampleTable(**columns(groups=["p", "", "q", "p"]))
    assert table.take([2, 0]).groups == ("q", "p")
    assert table != SampleTable(**columns())
    assert SampleTable(**columns()).groups == ("",) * 4


def test_where_nobody_names_a_class_there_is_nothing_to_learn():
    table = SampleTable.of([(), None, (), ()], classes=(), **PLACES)
    assert (table.task, table.labels.tolist()) == ("classification", [-1] * 4)


NONE = {"labels": [-1] * 4}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": ["a"]}, "groups must have one entry for each of the 4 keys; got 1"),
        ({"groups": ["a", "b", "c", "\0"]}, "groups must not hold NUL"),
        ({"indicator": [[0, 1]] * 4}, "labels must be -1 in a table that has indicator or targets"),
        ({**NONE, "indicator": [[0, 1]] * 3}, "indicator must have one entry for each of the 4 keys; got 3"),
        ({**NONE, "indicator": [[0]] * 4}, r"a column for each of the 2 classes .*; got int64 \(4, 1\)"),
        ({**NONE, "indicator": [[0, 2]] * 4}, "indicator must be 0 or 1, or -1 throughout a row"),
        ({**NONE, "indicator": [[0, -1]] * 4}, "indicator must be 0 or 1, or -1 throughout a row"),
        ({**NONE, "indicator": np.zeros((4, 0), int), "classes": ()}, "at least one"),
        ({**NONE, "targets": [[0.5]] * 4}, "targets must be without classes and indicator"),
        ({**NONE, "targets": [0.5] * 4, "classes": ()}, r"targets must be numbers of shape \(n, t\)"),
        ({**NONE, "targets": [[0.5, np.nan]] * 4, "classes": ()}, "targets must be finite, or NaN throughout"),
        ({**NONE, "targets": [[np.inf]] * 4, "classes": ()}, "targets must be finite"),
        ({**NONE, "targets": [[0.5]] * 4, "classes": (), "target_names": "ab"}, "name the 1 columns of targets; got 2"),
        ({**NONE, "targets": [[1, 2]] * 4, "classes": (), "target_names": "aa"}, "target_names must be unique"),
        ({"target_names": ["a"]}, "name the 0 columns of targets; got 1"),
    ],
)
def test_labels_of_other_kinds_that_do_not_fit(changes, words):
    with pytest.raises(ParameterError, match=words):
        SampleTable(**columns(**changes))


def test_labels_that_are_no_class():
    with pytest.raises(ParameterError, match="labels must be among the 1 classes; got 'b'"):
        SampleTable.of(["a", "b", None, None], classes=("a",), **PLACES)
    with pytest.raises(ParameterError, match="labels must be of one kind"):
        SampleTable.of(["a", ("a",), None, None], classes=("a",), **PLACES)
