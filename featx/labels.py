"""What a sample is labelled with, and how tables and arrays say it."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from featx.errors import ParameterError

__all__ = [
    "Label",
    "Task",
    "class_names",
    "class_order",
    "class_set",
    "label_column",
    "label_table",
    "label_text",
    "label_words",
    "numbers",
    "target_names_for",
    "task_of",
]

Label: TypeAlias = str | tuple[str, ...] | tuple[float, ...]
"""The name of a class; those of all classes a sample is of, sorted and maybe none; or one or several numbers."""

Task: TypeAlias = Literal["classification", "multilabel", "regression"]

_KINDS: Mapping[Task, str] = {
    "classification": "a class",
    "multilabel": "a list of classes",
    "regression": "numbers",
}


def task_of(labels: Iterable[Label | None]) -> Task:
    """Return what is to be learned from the labels of some samples; "classification" if there are none.

    Parameters
    ----------
    labels : iterable of Label or None
        None where nothing is known of a sample.

    Raises
    ------
    ParameterError
        If they are not of one kind, or not as many numbers for each sample.
    """
    found = {(_task(label), _width(label)) for label in labels if label is not None}
    tasks = sorted({task for task, _ in found})
    if len(tasks) > 1:
        raise ParameterError(
            f"labels must be of one kind for all samples; got {' and '.join(_KINDS[task] for task in tasks)}:"
            " keep one of them"
        )
    if len(found) > 1:
        raise ParameterError(
            f"values must be as many numbers for each sample; got {' and '.join(sorted(str(n) for _, n in found))}"
        )
    return tasks[0] if tasks else "classification"


def _task(label: Label) -> Task:
    if isinstance(label, str):
        return "classification"
    return "regression" if label and not isinstance(label[0], str) else "multilabel"


def _width(label: Label) -> int:
    """Return how many numbers a label holds."""
    return len(label) if _task(label) == "regression" else 0


def target_names_for(count: int) -> tuple[str, ...]:
    """Return the names of so many numbers that nobody has named."""
    return ("value",) if count == 1 else tuple(f"value{i}" for i in range(count))


def class_names(labels: Iterable[Label | None]) -> set[str]:
    """Return the names of the classes that occur in some labels."""
    names: set[str] = set()
    for label in labels:
        if isinstance(label, str):
            names.add(label)
        elif label is not None:
            names.update(name for name in label if isinstance(name, str))
    return names


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct names sorted, or by value if all are integers."""
    distinct = set(names)
    if all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))


def label_text(value: object, parameter: str = "a label") -> str | None:
    """Return a label as text: whole numbers without a point, nothing for None, NaN and empty text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    if value is None or value == "":
        return None
    if isinstance(value, (str, bool, int, float)):
        return str(value)
    raise ParameterError(f"{parameter} must be text or a number; got {type(value).__name__} ({str(value)[:60]!r})")


def label_words(label: Label) -> str:
    """Return a label as people read it."""
    if isinstance(label, str):
        return label
    return ", ".join(one if isinstance(one, str) else f"{one:.4g}" for one in label) or "none"


def class_set(value: object) -> tuple[str, ...] | None:
    """Return the names in a field that holds several: a list, or text with ``|`` between them.

    A text that is a JSON list is read as that, so that names can hold a ``|``. Nothing and an empty text mean that
    the classes are not known, an empty list that there are none.
    """
    items = _items(value)
    if items is None:
        return None
    names = [label_text(item) for item in items]
    if None in names:
        raise ParameterError(f"labels must name a class in every place; got {value!r}: remove what is empty")
    return tuple(sorted(set(filter(None, names))))


def numbers(value: object) -> tuple[float, ...] | None:
    """Return the numbers in a field that holds one or several: a number, a list, or text with ``|`` between them.

    Nothing and an empty text mean that they are not known.
    """
    items = _items(value)
    if items is None:
        return None
    result = tuple(map(_number, items))
    if not result:
        raise ParameterError("a value must be a number, or a list of at least one; got an empty list: leave it out")
    return result


def _items(value: object) -> Sequence[object] | None:
    """Return what stands in a field that may hold several things; None if it is empty."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        listed = _json_list(value)
        value = value.split("|") if value and listed is None else listed
    if isinstance(value, (list, tuple)):
        return value
    return None if value is None else [value]


def _json_list(text: str) -> list[object] | None:
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _number(value: object) -> float:
    if isinstance(value, np.generic):
        value = value.item()
    try:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            result = float(value)
            if math.isfinite(result):
                return result
    except (ValueError, OverflowError):
        pass
    raise ParameterError(f"a value must be a finite number; got {value!r}: leave it empty where it is not known")


def label_column(parameter: str, values: Any, n: int, rows: str) -> Sequence[object]:
    """Return one plain value for each row, or Nones if there are no values.

    Parameters
    ----------
    parameter : str
        What the values are called in an error.
    values : array-like of shape (n,) or (n, 1), or None
    n : int
    rows : str
        What each value belongs to, in the plural.

    Raises
    ------
    ParameterError
        If they have another shape, or are not n.
    """
    if values is None:
        return [None] * n
    array = _array(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ParameterError(f"{parameter} must be one value for each of the {rows}; got shape {array.shape}")
    _check_count(parameter, len(array), n, rows)
    column: list[object] = array.tolist()
    return column


def label_table(
    values: Any, n: int, rows: str, *, classes: Sequence[str] | None = None, role: str = "labels"
) -> tuple[list[Label | None], tuple[str, ...]] | None:
    """Return labels that are more than one class for each row; None if they are a column of classes.

    Parameters
    ----------
    values : array-like or None
        Of shape (n, k), k > 1, of 0 and 1 (-1 throughout a row that is not known): which of k classes each row is of.
        A sequence of sequences of names: the same. Floating point of shape (n,) with a fraction somewhere, or of
        shape (n, t) with other numbers than those: values to be predicted (NaN throughout a row that is not known).
    n : int
    rows : str
        What each value belongs to, in the plural.
    classes : sequence of str, optional
        The names of the k classes; by default their positions.
    role : {"labels", "multilabels", "values"}
        What the values are called where that decides what they are: a table of classes that may have just one in each
        row, or numbers that may be whole.

    Returns
    -------
    labels : list of Label or None, length n
    classes : tuple of str
        Those that a table has, whether they occur or not.

    Raises
    ------
    ParameterError
        If the shape is another, or a table has a single class in every row, as one-hot ones do.
    """
    if values is None:
        return None
    if role != "values" and _are_lists_of_names(values):
        _check_count(role, len(values), n, rows)
        return [class_set(value) for value in values], ()
    array = _array(values)
    table = _as_numbers(array)
    if table is None or array.ndim not in (1, 2):
        if role == "labels" and (array.ndim < 2 or array.shape[1:] == (1,)):
            return None
        raise ParameterError(f"{role} must be one row of numbers for each of the {rows}; got shape {array.shape}")
    if role == "labels" and (table.ndim == 1 or table.shape[1] == 1):
        if classes is not None or table.dtype.kind != "f" or not _has_fractions(table):
            return None
        role = "values"
    _check_count(role, len(table), n, rows)
    if role == "multilabels" or (role == "labels" and bool(np.isin(table, (-1, 0, 1)).all())):
        if role == "labels" and table.dtype.kind != "b" and bool(((table == 1).sum(axis=1) == 1).all()):
            raise ParameterError(
                f"labels must be one value for each of the {rows}, or a table in which not all have one class; got"
                f" shape {table.shape} (one-hot rows become labels with labels.argmax(axis=1), and bool stays)"
            )
        return _from_indicator(table.reshape(n, -1), classes)
    if role == "labels" and table.dtype.kind != "f":
        raise ParameterError(
            f"labels must be 0 or 1 in a table of classes, with -1 throughout a row that is not known; got"
            f" {table.dtype} from {table.min()} to {table.max()}: make it floating point if these are values to predict"
        )
    return _from_values(table.reshape(n, -1)), ()


def _from_indicator(table: NDArray[Any], classes: Sequence[str] | None) -> tuple[list[Label | None], tuple[str, ...]]:
    names = tuple(map(str, range(table.shape[1]))) if classes is None else tuple(classes)
    if len(names) != table.shape[1]:
        raise ParameterError(
            f"classes must name the {table.shape[1]} columns of the labels; got {len(names)}: match them"
        )
    unknown = (table == -1).all(axis=1)
    if not np.isin(table[~unknown], (0, 1)).all():
        raise ParameterError("labels must be 0 or 1 in a table of classes, with -1 throughout a row that is not known")
    members = [tuple(sorted(names[i] for i in np.flatnonzero(row).tolist())) for row in table]
    return [None if skip else row for skip, row in zip(unknown.tolist(), members, strict=True)], names


def _from_values(table: NDArray[Any]) -> list[Label | None]:
    table = table.astype(np.float64)
    unknown = np.isnan(table).all(axis=1)
    wrong = ~unknown & ~np.isfinite(table).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ParameterError(
            f"values must be finite, or NaN throughout a row that is not known; got {table[row].tolist()} in row {row}"
        )
    return [None if skip else tuple(row) for skip, row in zip(unknown.tolist(), table.tolist(), strict=True)]


def _array(values: Any) -> NDArray[Any]:
    return values if isinstance(values, np.ndarray) else np.asarray(values, dtype=object)


def _are_lists_of_names(values: Any) -> TypeGuard[Sequence[Sequence[str] | None]]:
    """Whether each of some values is a list of names (or nothing), and not each of just one."""
    if isinstance(values, (str, bytes)) or not (
        isinstance(values, (list, tuple)) or (isinstance(values, np.ndarray) and values.dtype.kind in "OUS")
    ):
        return False
    lists = [value for value in values if value is not None]
    return (
        all(isinstance(value, (list, tuple, np.ndarray)) for value in lists)
        and any(isinstance(name, str) for value in lists for name in value)
        and any(len(value) != 1 for value in lists)
    )


def _as_numbers(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return an array of numbers as one; objects too if each is a number, or None, which becomes NaN."""
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind != "O":
        return None
    flat = array.ravel().tolist()
    if not all(value is None or isinstance(value, (bool, int, float, np.number, np.bool_)) for value in flat):
        return None
    kind = bool if flat and all(isinstance(value, (bool, np.bool_)) for value in flat) else np.float64
    whole = all(isinstance(value, (int, np.integer)) for value in flat)
    try:
        return array.astype(np.int64 if whole and kind is not bool else kind)
    except OverflowError:
        return None


def _has_fractions(table: NDArray[Any]) -> bool:
    finite = table[np.isfinite(table)]
    return bool((finite != np.rint(finite)).any())


def _check_count(parameter: str, count: int, n: int, rows: str) -> None:
    if count != n:
        raise ParameterError(f"{parameter} must be as many as the {rows}, {n}; got {count}: match them")
