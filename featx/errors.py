"""The exceptions featx raises, all below :class:`FeatxError`.

::

    FeatxError
    ├── ParameterError          a parameter has a value it cannot have (also a ValueError)
    ├── MissingDependencyError  an optional package is needed and not installed (also an ImportError)
    ├── SourceError             a source cannot be opened, or holds nothing
    │   └── SampleError         one sample cannot be read or decoded (recorded unless ``strict``)
    ├── BackboneError           a backbone is unknown, or does not do what is asked of it
    │   ├── WeightsError        weights do not fit the network
    │   │   └── WeightsUnavailableError   weights cannot be found or downloaded
    │   └── NodeError           no such layer, or a pooling that cannot be applied to it
    ├── EngineError             an engine cannot run a backbone on this machine; another may
    ├── StoreError              a file is no feature store, is damaged, or is newer than this featx
    │   └── StoreLockedError    another process is writing the store
    ├── SpecMismatchError       features and head come from different extraction specs
    ├── HeadError               a head is unknown, cannot be fitted, or cannot be stored
    └── RunError                a folder is no run, or is damaged

Every message is one sentence that names the parameter, the rule, what was received and what to do.
"""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "BackboneError",
    "EngineError",
    "FeatxError",
    "HeadError",
    "MissingDependencyError",
    "NodeError",
    "ParameterError",
    "RunError",
    "SampleError",
    "SourceError",
    "SpecMismatchError",
    "StoreError",
    "StoreLockedError",
    "WeightsError",
    "WeightsUnavailableError",
    "did_you_mean",
    "first_line",
    "printable",
]


class FeatxError(Exception):
    """Base class of every error that featx raises on purpose."""


class ParameterError(FeatxError, ValueError):
    """A parameter has a value it cannot have."""


class MissingDependencyError(FeatxError, ImportError):
    """An optional package is needed and not installed."""


class SourceError(FeatxError):
    """A source cannot be opened, or holds nothing."""


class SampleError(SourceError):
    """One sample cannot be read or decoded; the message is the reason recorded in the store."""


class BackboneError(FeatxError):
    """A backbone is unknown, or does not do what is asked of it."""


class WeightsError(BackboneError):
    """Weights do not fit the network."""


class WeightsUnavailableError(WeightsError):
    """Weights cannot be found or downloaded."""


class NodeError(BackboneError):
    """No such layer, or a pooling that cannot be applied to it."""


class EngineError(FeatxError):
    """An engine cannot run a backbone on this machine; another may."""


class StoreError(FeatxError):
    """A file is no feature store, is damaged, or is newer than this featx."""


class StoreLockedError(StoreError):
    """Another process is writing the store."""


class SpecMismatchError(FeatxError):
    """Features and head come from different extraction specs."""


class HeadError(FeatxError):
    """A head is unknown, cannot be fitted, or cannot be stored."""


class RunError(FeatxError):
    """A folder is no run, or is damaged."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of `known`, or an empty string."""
    match = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else ""


def first_line(error: BaseException) -> str:
    """Return the first line of another package's message, for a message of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, of lone surrogates, and of separators of lines and paragraphs."""

_REORDERING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Classes of the marks that show the rest of a line in another order than it has."""


def printable(text: str) -> str:
    """Return `text` as one line in which what cannot be shown, or would change how the rest is shown, is escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape", "surrogatepass").decode("ascii")
        if unicodedata.category(character) in _UNPRINTABLE or unicodedata.bidirectional(character) in _REORDERING
        else character
        for character in text
    )
