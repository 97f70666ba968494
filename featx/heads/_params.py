"""Parameters as text: ``--set KEY=VALUE`` of the command line, read without evaluating anything."""

import ast
import warnings
from collections.abc import Sequence
from typing import Any

from featx.errors import ParameterError

__all__ = ["parse_params"]

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
