"""Names as fixed-width bytes: exact for every string that names a file or came from decoded text."""

from collections.abc import Iterator, Sequence
from itertools import islice
from operator import lt

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.store._format import LONGEST_REASON

Bytes = npt.NDArray[np.bytes_]

_AT_ONCE = 2**16
_IS_DIGIT = np.zeros(256, dtype=bool)
_IS_DIGIT[list(b"0123456789abcdef")] = True


def check_names(parameter: str, names: Sequence[str], *, unique: bool) -> None:
    """Raise ParameterError unless every name can be stored exactly (and, if `unique`, occurs once)."""
    for start in range(0, len(names), _AT_ONCE):
        _check_text(parameter, names[start : start + _AT_ONCE])
    if unique and not all(map(lt, names, islice(names, 1, None))) and len(set(names)) != len(names):
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise ParameterError(f"{parameter} must be unique; got {name!r} more than once")
            seen.add(name)


def _check_text(parameter: str, names: Sequence[str]) -> None:
    """Raise ParameterError unless every name can be stored exactly."""
    try:
        text = "\n".join(names)
    except TypeError:
        wrong = next(name for name in names if not isinstance(name, str))
        raise ParameterError(f"{parameter} must be strings; got {wrong!r}") from None
    if "\0" in text:
        wrong = next(name for name in names if "\0" in name)
        raise ParameterError(f"{parameter} must not hold NUL characters; got {wrong!r}: rename it")
    try:
        text.encode()
    except UnicodeEncodeError:
        _check_escapes(parameter, names)


def _check_escapes(parameter: str, names: Sequence[str]) -> None:
    """Raise ParameterError for surrogates that are not what decoding a file name's bytes leaves."""
    for name in names:
        if not _is_exact(name):
            raise ParameterError(
                f"{parameter} must be text, or bytes decoded with 'surrogateescape' as os.fsdecode does; got {name!r}"
            )


def _is_exact(name: str) -> bool:
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") == name
    except UnicodeEncodeError:
        return False


def clean_reason(reason: str) -> str:
    """Return a failure's reason as it is stored: short, and with what cannot be stored written as escapes.

    A message is for people, so an odd character in it must not cost anyone the extraction.
    """
    text = reason[:LONGEST_REASON].replace("\0", "\\x00")
    return text if _is_exact(text) else text.encode("utf-8", "backslashreplace").decode()


def encode(names: Sequence[str]) -> Bytes:
    """Return checked names as an array of dtype ``S`` just wide enough (at least 1 byte)."""
    width = max(map(len, _encoded(names)), default=1)  # twice, so that a million of them are never held as objects
    return np.fromiter(_encoded(names), dtype=f"S{max(1, width)}", count=len(names))


def _encoded(names: Sequence[str]) -> Iterator[bytes]:
    return (name.encode("utf-8", "surrogateescape") for name in names)


def decode(raw: Bytes) -> tuple[str, ...]:
    """Return the strings that :func:`encode` was given."""
    return tuple(value.decode("utf-8", "surrogateescape") for value in raw.tolist())


def digest_column(digests: Sequence[str] | Bytes) -> Bytes:
    """Return digests as an array of dtype ``S64``, shape (n,), or raise ParameterError for what is none."""
    column = digests if isinstance(digests, np.ndarray) else encode(digests)
    for start in range(0, len(column), _AT_ONCE):
        some = np.ascontiguousarray(column[start : start + _AT_ONCE])
        if some.dtype == "S64":
            wrong = ~_IS_DIGIT[some.view(np.uint8).reshape(-1, 64)].all(axis=1)
        else:
            wrong = np.char.str_len(some) != 64
        if wrong.any():
            got = decode(some[wrong][:1])[0]
            raise ParameterError(f"digests must be SHA-256 in 64 lower-case hex digits; got {got!r}")
    return column
