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
