"""Reading the state of a stored head: every fact is looked at before it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError

__all__ = ["HeadState"]


class HeadState:
    """Parameters and arrays of a stored head, which may be damaged or forged.

    Parameters
    ----------
    title : str
        Of the head, for messages.
    params : mapping
        Facts, of plain JSON.
    arrays : mapping of str to ndarray
        Arrays.
    names : set of str
        The facts there must be.

    Raises
    ------
    HeadError
        Other facts are there than these. All methods raise it for what is missing or wrong.
    """

    def __init__(
        self, title: str, params: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], names: set[str]
    ) -> None:
        self._title, self._params, self._arrays = title, params, arrays
        self.rule(set(params) == names, f"the parameters {', '.join(sorted(names))}")

    def rule(self, kept: bool, rule: str) -> None:
        """Raise unless a rule is kept; `rule` ends the words "must have"."""
        if not kept:
            self._refuse(rule)

    def _refuse(self, rule: str) -> NoReturn:
        raise HeadError(f"a stored {self._title} must have {rule}; this one has not: fit the head again")

    def has(self, name: str) -> bool:
        """Return whether there is such an array."""
        return name in self._arrays

    def array(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """Return an array of one of some kinds of dtype and of a shape (None: any length above 0), all finite."""
        array = self._arrays.get(name)
        if (
            not isinstance(array, np.ndarray)
            or array.dtype.kind not in kinds
            or array.ndim != len(shape)
            or not all(have == want or (want is None and have) for have, want in zip(array.shape, shape, strict=True))
            or (array.dtype.kind == "f" and not np.isfinite(array).all())
        ):
            self._refuse(f"a finite array {name} of the right type and shape")
        return array

    def classes(self, *, least: int = 2) -> npt.NDArray[np.int64]:
        """Return the labels, increasing."""
        classes = self.array("classes", "iu", (None,)).astype(np.int64)
        self.rule(classes.size >= least and bool((np.diff(classes) > 0).all()), f"{least} or more increasing classes")
        return classes

    def number(self, name: str, *, least: float) -> float:
        """Return a finite number that is not below `least`."""
        value = self._params[name]
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value < np.inf
        self.rule(good, f"a number of {least:g} or more as its parameter {name}")
        return float(value)

    def integer(self, name: str, *, least: int) -> int:
        """Return an integer that is not below `least`."""
        value = self._params[name]
        good = isinstance(value, int) and not isinstance(value, bool) and value >= least
        self.rule(good, f"an integer of {least} or more as its parameter {name}")
        return int(value)

    def choice(self, name: str, values: tuple[Any, ...]) -> Any:
        """Return a parameter that is one of some values of the same type."""
        value = self._params[name]
        good = any(type(value) is type(known) and value == known for known in values)
        self.rule(good, f"one of {', '.join(map(str, values))} as its parameter {name}")
        return value
