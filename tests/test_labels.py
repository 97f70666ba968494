import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import ParameterError
from featx.labels import (
    class_names,
    class_order,
    class_set,
    label_column,
    label_table,
    label_text,
    numbers,
    target_names_for,
    task_of,
)


def test_classes_are_sorted_by_name_and_integers_by_value():
    assert class_order(["dog", "cat", "10", "9"]) == ("10", "9", "cat", "dog")
    assert class_order(["10", "9", "-1", "9"]) == ("-1", "9", "10")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(3, "3"), (3.0, "3"), (0.5, "0.5"), (np.int64(7), "7"), (np.float32(2), "2"), (True, "True")],
        *[("x", "x"), (b"\xff", "\udcff"), (np.str_("y"), "y"), (None, None), ("", None), (float("nan"), None)],
    ],
)
def test_label_text(value, text):
    assert label_text(value) == text


def test_label_text_refuses_lists():
    with pytest.raises(ParameterError, match="list"):
        label_text([1, 2])


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([], "classification"),
        ([None, None], "classification"),
        ([None, "a", "b"], "classification"),
        ([("a",), None, ()], "multilabel"),
        ([()], "multilabel"),
        ([(1.0, 2.0), None, (0.5, 1.0)], "regression"),
    ],
)
def test_what_is_to_be_learned(labels, task):
    assert task_of(labels) == task


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["a", ("a",)], "got a class and a list of classes: keep one"),
        ([(1.0,), None, ()], "got a list of classes and numbers"),
        ([(1.0,), (1.0, 2.0)], "as many numbers for each sample; got 1 and 2"),
    ],
)
def test_labels_of_two_kinds_are_refused(labels, words):
    with pytest.raises(ParameterError, match=words):
        task_of(labels)


def test_names():
    assert class_names(["a", None, ("b", "c"), (), (1.0,)]) == {"a", "b", "c"}
    assert target_names_for(1) == ("value",)
    assert target_names_for(3) == ("value0", "value1", "value2")


@pytest.mark.parametrize(
    ("field", "names"),
    [
        *[(None, None), ("", None), ([], ()), ("[]", ()), ("cat", ("cat",)), ("dog|cat", ("cat", "dog"))],
        *[('["a|b", "a"]', ("a", "a|b")), ("[odd]|x", ("[odd]", "x")), (["b", "a", "b"], ("a", "b")), (3, ("3",))],
        *[([1, 2.0], ("1", "2")), (np.array(["z", "y"]), ("y", "z")), (b"a|\xff", ("a", "\udcff"))],
    ],
)
def test_several_classes_in_a_field(field, names):
    assert class_set(field) == names


@given(st.lists(st.text(min_size=1, max_size=4).filter(lambda name: "|" not in name), min_size=1))
def test_names_with_bars_between_are_those_names(names):
    text = "|".join(names)
    if not text.lstrip().startswith("["):
        assert class_set(text) == tuple(sorted(set(names)))


@pytest.mark.parametrize("field", ["a||b", "|", ["a", None], ["a", [1]], {"a": 1}])
def test_classes_without_a_name_are_refused(field):
    with pytest.raises(ParameterError, match="must"):
        class_set(field)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        *[(None, None), ("", None), (0, (0.0,)), ("1e3", (1000.0,)), ("1|-2.5", (1.0, -2.5)), ("[1, 2]", (1.0, 2.0))],
        *[([0.1, 3], (0.1, 3.0)), (np.float32(0.5), (0.5,)), (np.array([1, 2]), (1.0, 2.0))],
    ],
)
def test_numbers_in_a_field(field, values):
    assert numbers(field) == values


@pytest.mark.parametrize("field", ["nan", float("nan"), float("inf"), "1|", "x", True, [1, None], [], 10**400, {}])
def test_what_is_no_number_is_refused(field):
    with pytest.raises(ParameterError, match="a value must be"):
        numbers(field)


def test_a_column_has_one_value_for_each_row():
    assert label_column("labels", None, 2, "images") == [None, None]
    assert label_column("labels", np.array([[1], [2]]), 2, "images") == [1, 2]
    with pytest.raises(ParameterError, match="labels must be as many as the images, 2; got 1"):
        label_column("labels", [1], 2, "images")
    with pytest.raises(ParameterError, match=r"one value for each of the images; got shape \(2, 2\)"):
        label_column("labels", np.zeros((2, 2)), 2, "images")


@pytest.mark.parametrize(
    "column",
    [[1, 0, 1], [1.0, 2.0, np.nan], ["a", "b", None], [[1], [0], [1]], [True, False, True], [["a"], ["b"], ["a"]]],
)
@pytest.mark.parametrize("as_array", [False, True])
def test_columns_of_classes_are_no_tables(column, as_array):
    assert (
        label_table(np.array(column, dtype=object if None in column else None) if as_array else column, 3, "") is None
    )


TABLE = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [-1, -1, -1]])
MEMBERS = [("x", "z"), (), ("y",), None]


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32", "object"])
def test_a_table_of_classes(dtype):
    assert label_table(TABLE.astype(dtype), 4, "rows", classes=["x", "y", "z"]) == (MEMBERS, ("x", "y", "z"))
    labels, names = label_table(TABLE.astype(dtype), 4, "rows")
    assert (labels[0], names) == (("0", "2"), ("0", "1", "2"))
    assert label_table(TABLE[:3].astype(bool), 3, "rows", classes=["x", "y", "z"])[0] == MEMBERS[:3]


def test_lists_of_names_are_a_table_of_classes():
    labels, names = label_table([["z", "x"], [], ("y",), None], 4, "rows")
    assert (labels, names) == (MEMBERS, ())
    assert label_table([["z", "x"], ["x", "y"]], 2, "rows")[0] == [("x", "z"), ("x", "y")]


def test_one_hot_rows_are_taken_only_when_they_are_meant():
    for one_hot in (np.eye(3), np.eye(3, dtype=int), np.eye(3).tolist()):
        with pytest.raises(ParameterError, match="argmax"):
            label_table(one_hot, 3, "rows")
    expected = [("0",), ("1",), ("2",)]
    assert label_table(np.eye(3, dtype=bool), 3, "rows")[0] == expected
    assert label_table(np.eye(3), 3, "rows", role="multilabels")[0] == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 1, None], [(0.5,), (1.0,), None]),
        (np.array([0.5, -3, np.nan], np.float32), [(0.5,), (-3.0,), None]),
        (np.array([[0.5], [1.0], [np.nan]]), [(0.5,), (1.0,), None]),
        (np.array([[7.0, 8], [1, 2], [np.nan, np.nan]]), [(7.0, 8.0), (1.0, 2.0), None]),
    ],
)
def test_values_to_be_predicted(values, expected):
    assert label_table(values, 3, "rows") == (expected, ())


def test_whole_numbers_are_values_where_they_are_said_to_be():
    assert label_table(np.array([3, 4]), 2, "rows", role="values") == ([(3.0,), (4.0,)], ())
    assert label_table(np.array([[1.0, 0], [0, 1]]), 2, "rows", role="values") == ([(1.0, 0.0), (0.0, 1.0)], ())


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (TABLE[:3], {}, "labels must be as many as the rows, 4; got 3"),
        ([["a", "b"], []], {}, "labels must be as many as the rows, 4; got 2"),
        (TABLE, {"classes": ["a"]}, "classes must name the 3 columns of the labels; got 1"),
        (np.where(TABLE == 1, -1, TABLE), {}, "0 or 1 in a table of classes"),
        (TABLE * 5, {}, "0 or 1 in a table of classes.*got int64 from -5 to 5"),
        (np.array([[0.5, np.nan]] * 4), {}, r"values must be finite.*got \[0.5, nan\] in row 0"),
        (np.array([0.5, 1, 2, np.inf]), {}, r"got \[inf\] in row 3"),
        (np.zeros((4, 2, 2)), {}, r"one row of numbers for each of the rows; got shape \(4, 2, 2\)"),
        (np.array([["a", "b"]] * 4), {"role": "values"}, "values must be one row of numbers"),
    ],
)
def test_what_cannot_be_understood(values, options, words):
    with pytest.raises(ParameterError, match=words):
        label_table(values, 4, "rows", **options)
