"""Networks of the user's own: from a factory, or as they are."""

import copy
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from torch import nn

from featx.backbones._registry import AS_BUILT, PROVIDERS, Architecture
from featx.errors import BackboneError, did_you_mean, first_line
from featx.spec import Preprocessing

__all__ = ["own_factory", "own_network"]


def _architecture(name: str, build: Callable[[bool, int | None], nn.Module]) -> Architecture:
    return Architecture(
        name=name,
        tag=AS_BUILT,
        preprocessing=Preprocessing(),
        build=build,
        location="the network itself",
        classifier=lambda network: None,
        prefix_tokens=lambda network: int(getattr(network, "num_prefix_tokens", 0) or 0),
    )


def own_factory(module_name: str, function: str) -> Architecture:
    """Describe the network that ``MODULE:FUNCTION`` returns, with its output as default layer.

    Raises
    ------
    BackboneError
        If there is no such function, or, when it is called, if it returns no network.
    """
    path = f"{module_name}:{function}"
    folder = str(Path.cwd())
    if folder not in sys.path:  # as `python -m` has it; a console script has not
        sys.path.insert(0, folder)
    try:
        factory = getattr(importlib.import_module(module_name), function)
    except Exception as error:  # the module's own code runs here
        hint = did_you_mean(module_name, PROVIDERS)
        raise BackboneError(
            f"backbone {path!r} must be MODULE:FUNCTION, importable from here ({first_line(error)}){hint}:"
            " check both names, or set PYTHONPATH"
        ) from error

    def build(pretrained: bool, num_classes: int | None) -> nn.Module:
        try:
            network = factory()
        except Exception as error:
            raise BackboneError(
                f"backbone {path!r} must return a torch.nn.Module when called without arguments;"
                f" it raised {type(error).__name__} ({first_line(error)})"
            ) from error
        if not isinstance(network, nn.Module):
            raise BackboneError(f"backbone {path!r} must return a torch.nn.Module; got {type(network).__name__}")
        return network

    return _architecture(path, build)


def own_network(network: nn.Module) -> Architecture:
    """Describe a frozen copy of `network`, named after its class."""
    name = f"{type(network).__module__}:{type(network).__qualname__}"

    def build(pretrained: bool, num_classes: int | None) -> nn.Module:
        if not pretrained:
            raise BackboneError(
                f"weights cannot be given beside a network that has its own ({name}):"
                " load them into it first, or pass a factory MODULE:FUNCTION"
            )
        return copy.deepcopy(network)

    return _architecture(name, build)
