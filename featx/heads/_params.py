"""Parameters as text: ``--set KEY=VALUE`` and ``--grid KEY=V1,V2``, read without evaluating anything."""

import ast
import warnings
from collections.abc import Sequence
from typing import Any

from featx.errors import ParameterError

__all__ = ["parse_grid", "parse_params"]

_WORDS = {"true": True, "false": False, "none": None, "null": None}
_OPENING = ("(", "[", "{", "'", '"')


def parse_params(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` pairs into a dict of Python values.

    A value is a whole number, a decimal number, ``true``, ``false``, ``none`` (in any case), a Python list, tuple
    or dict (``[1, 2]``, ``128,64``), or else the text itself. Only literals are read, nothing is evaluated.

    Parameters
    ----------
    pairs : sequence of str
        Such as ``["C=0.1", "class_weight=balanced"]``; the value may hold further ``=``.

    Returns
    -------
    dict
        Values by key, in the order given.

    Raises
    ------
    ParameterError
        A pair has no ``=`` or no usable key, a key is given twice, or a bracket or quote is not closed.
    """
    params: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise ParameterError(f"a parameter must be given as KEY=VALUE, such as C=0.1; got {pair!r}")
        if key in params:
            raise ParameterError(f"parameter {key!r} must be given once; got {params[key]!r} and {text!r}")
        params[key] = _parse_value(key, text.strip())
    return params


def _parse_value(key: str, text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own remarks on texts such as "1if"
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if text.startswith(_OPENING):
            raise ParameterError(
                f"the value of {key!r} starts like a list, tuple, dict or quoted text and must be one Python"
                f" literal; got {text!r}"
            ) from None
        return text
    return value if isinstance(value, (list, tuple, dict, str)) else text


def parse_grid(pairs: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """Read ``KEY=V1,V2`` or ``HEAD.KEY=V1,V2`` into the values to try of each parameter of each head.

    The values are separated by commas outside brackets and quotes, and each is read as :func:`parse_params` reads it:
    ``alphas=(0.1,1),(10,)`` are two tuples, ``layers=conv(100,2) gap dense,dense`` two texts.

    Parameters
    ----------
    pairs : sequence of str
        Such as ``["C=0.1,1,10", "knn.n_neighbors=5,10"]``.

    Returns
    -------
    dict of str to dict of str to list
        Values by parameter by head, in the order given; head ``""`` is of those given without one.

    Raises
    ------
    ParameterError
        A pair has no ``=`` or no usable key, a key is given twice, a value is missing or is no whole literal.
    """
    grid: dict[str, dict[str, list[Any]]] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        head, dot, key = name.strip().rpartition(".")
        if not equals or not key.isidentifier() or (dot and not _is_head(head)):
            raise ParameterError(
                f"a grid must be given as KEY=V1,V2 or HEAD.KEY=V1,V2, such as C=0.1,1,10; got {pair!r}"
            )
        values = grid.setdefault(head.replace("-", "_"), {})
        if key in values:
            raise ParameterError(f"the grid of {name.strip()!r} must be given once; got it twice")
        items = [item.strip() for item in _split(text)]
        if not all(items):
            raise ParameterError(f"the grid of {name.strip()!r} must name values between its commas; got {text!r}")
        values[key] = [_parse_value(key, item) for item in items]
    return grid


def _is_head(name: str) -> bool:
    return all(part.replace("-", "_").isidentifier() for part in name.split("."))


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no bracket and no quotes."""
    items, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth <= 0:
            items.append("")
            continue
        items[-1] += character
    return items
