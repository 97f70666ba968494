"""One registry over all networks: where they come from, what they are called, what can be had of them."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, TypeVar

from featx.errors import BackboneError, MissingDependencyError, ParameterError, did_you_mean
from featx.spec import Preprocessing

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "AS_BUILT",
    "PROVIDERS",
    "Architecture",
    "Provider",
    "list_backbones",
    "list_weights",
    "provider",
    "resolve_name",
]


AS_BUILT = "as built"


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A network that can be built, with the preprocessing that its weights were trained with.

    Parameters
    ----------
    name : str
        Qualified name, ``PROVIDER:NAME``.
    tag : str or None
        The pretrained weights that `build` loads; None if there are none. :data:`AS_BUILT` for a network of
        the user's own, which comes with its weights.
    preprocessing : Preprocessing
        Of those weights, or of the architecture's default ones.
    build : callable
        ``build(pretrained, num_classes)`` returns the network; ``num_classes=None`` for the default.
    location : str
        Which file holds those weights, and where it is looked for: for the error when it cannot be had.
    classifier : callable
        Returns the name of the module that ends the network, whose input is the default layer; None where
        the network's own output is.
    prefix_tokens : callable
        Returns the number of tokens before those of the patches.
    trim : callable
        Takes off the network, once its weights are in, what hides the features.
    training_only : tuple of str
        Modules that serve in training only and are not built; a file may have weights for them.
    """

    name: str
    tag: str | None
    preprocessing: Preprocessing
    build: Callable[[bool, int | None], "nn.Module"]
    location: str
    classifier: Callable[["nn.Module"], str | None]
    prefix_tokens: Callable[["nn.Module"], int] = lambda network: 0
    trim: Callable[["nn.Module"], None] = lambda network: None
    training_only: tuple[str, ...] = ()


class Provider(Protocol):
    """A family of networks under one prefix. Constructing one imports nothing.

    Each method may raise MissingDependencyError; a bare name is then looked up without this provider.
    """

    def names(self) -> list[str]:
        """Return the names of all networks, without the prefix."""

    def tags(self, name: str) -> list[str]:
        """Return the tags of the pretrained weights of a network, the default one first."""

    def has(self, name: str) -> bool:
        """Whether there is a network of that name."""

    def architecture(self, name: str, tag: str | None, image_size: int | None) -> Architecture:
        """Return the network `name` with the weights `tag`, or the default ones, for images of that size."""


PROVIDERS: dict[str, Provider] = {}

_FIRST = ("embedded", "torchvision", "timm")
"""Where bare names are looked up first; ``PREFIX:NAME`` reaches the others."""

P = TypeVar("P", bound=type)


def provider(prefix: str) -> Callable[[P], P]:
    """Register a class as the provider of the names ``prefix:...``."""

    def register(cls: P) -> P:
        if prefix in PROVIDERS:
            raise ParameterError(f"a backbone provider {prefix!r} is registered already; choose another prefix")
        PROVIDERS[prefix] = cls()
        return cls

    return register


def _rank(prefix: str) -> int:
    return _FIRST.index(prefix) if prefix in _FIRST else len(_FIRST)


def _all_names() -> Iterator[str]:
    for prefix, source in PROVIDERS.items():
        with suppress(MissingDependencyError):
            yield from [f"{prefix}:{name}" for name in source.names()]


def list_backbones(pattern: str = "*") -> list[str]:
    """Return the qualified names of all known backbones that match `pattern`, sorted.

    Parameters
    ----------
    pattern : str
        A shell pattern, held against both ``prefix:name`` and ``name``; a plain word matches anywhere.
    """
    if not any(character in pattern for character in "*?["):
        pattern = f"*{pattern}*"
    return sorted(
        name for name in _all_names() if fnmatchcase(name, pattern) or fnmatchcase(name.partition(":")[2], pattern)
    )


def resolve_name(name: str) -> tuple[Provider | None, str, str]:
    """Return (provider, prefix, name in it) for a bare or qualified name; provider None for MODULE:FUNCTION.

    Raises
    ------
    BackboneError
        If no provider knows the name; the message has the nearest one.
    """
    prefix, colon, rest = name.partition(":")
    if colon and prefix in PROVIDERS:
        if PROVIDERS[prefix].has(rest):
            return PROVIDERS[prefix], prefix, rest
        hint = did_you_mean(rest, PROVIDERS[prefix].names())
        raise BackboneError(f"backbone {rest!r} is unknown to {prefix}{hint} (`featx backbones` lists all)")
    if prefix == "imported":
        raise BackboneError(
            f"backbone {name!r} stands for features computed outside featx, so there is no network to run:"
            " name one from `featx backbones`"
        )
    if colon:
        return None, prefix, rest
    for prefix, source in sorted(PROVIDERS.items(), key=lambda item: _rank(item[0])):
        with suppress(MissingDependencyError):
            if source.has(name):
                return source, prefix, name
    hint = did_you_mean(name, [known.partition(":")[2] for known in _all_names()])
    raise BackboneError(
        f"backbone {name!r} is unknown{hint} (`featx backbones` lists all; your own network is MODULE:FUNCTION)"
    )


def list_weights(name: str) -> list[str]:
    """Return the tags of the pretrained weights of a backbone, the default one first; none for your own."""
    source, _, own_name = resolve_name(name)
    return [] if source is None else source.tags(own_name)
