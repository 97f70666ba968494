"""Weights: from a file into a network, strictly; from a network to a digest."""

import hashlib
import re
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from featx.errors import WeightsError, WeightsUnavailableError

__all__ = ["classes_in", "digest_weights", "is_weights_file", "load_into", "parse_seed", "read_state_dict"]

StateDict = dict[str, torch.Tensor]

WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")
"""What torch.compile and DataParallel, either one about the other, put before every name."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")


def is_weights_file(weights: str) -> bool:
    """Whether `weights` means a file rather than a tag: by its suffix, or because it is there."""
    return weights.endswith(WEIGHT_SUFFIXES) or Path(weights).is_file()


def parse_seed(weights: str) -> int | None:
    """Return the seed in ``random:SEED``, or None if `weights` is nothing of that form."""
    kind, _, seed = weights.partition(":")
    if kind != "random":
        return None
    if not re.fullmatch("[0-9]{1,20}", seed) or int(seed) >= 2**64:
        raise WeightsError(f"weights {weights!r} must be random:SEED with a whole number below 2**64, such as random:0")
    return int(seed)


def read_state_dict(path: str) -> StateDict:
    """Read a state dict from a ``.safetensors`` file, or from what ``torch.save`` wrote.

    The usual wrappers (``{"state_dict": ...}`` and the like) and the prefixes of DataParallel and
    torch.compile are taken off. Only tensors are read, never code: ``torch.load`` runs with ``weights_only=True``.

    Raises
    ------
    WeightsUnavailableError
        If there is no such file.
    WeightsError
        If the file holds no state dict.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsUnavailableError(f"weights {path!r}: there is no such file; give the path of a state dict")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # each torch release raises other types here
        raise WeightsError(
            f"weights {path!r} cannot be read as tensors ({str(error).splitlines()[0] if str(error) else error!r}):"
            " save the state dict alone, torch.save(model.state_dict(), FILE) or safetensors"
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not (
        isinstance(content, dict)
        and content
        and all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items())
    ):
        raise WeightsError(
            f"weights {path!r} hold no state dict (a mapping of names to tensors):"
            " save one with torch.save(model.state_dict(), FILE)"
        )
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in content):
            content = {key.removeprefix(prefix): value for key, value in content.items()}
    state: StateDict = content
    return state


def classes_in(state: StateDict, network: nn.Module) -> int | None:
    """Return the number of classes of `state` if it fits `network` but for another number of classes."""
    own = network.state_dict()
    if own.keys() != state.keys():
        return None
    different = [key for key, value in own.items() if state[key].shape != value.shape]
    sizes = {state[key].shape[0] for key in different if state[key].ndim}
    same_but_first = all(state[key].shape[1:] == own[key].shape[1:] and state[key].ndim for key in different)
    heads = {own[key].shape[0] for key in different if own[key].ndim}
    return sizes.pop() if len(sizes) == len(heads) == 1 and same_but_first else None


def _some(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown


def load_into(network: nn.Module, state: StateDict, *, path: str, name: str) -> None:
    """Load `state` into `network`; raise WeightsError, naming the keys, unless every tensor has its place."""
    own = network.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = [
        f"{len(found)} {what} ({_some(found)})"
        for what, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if found
    ]
    if problems:
        raise WeightsError(
            f"weights {path!r} do not fit {name}: {'; '.join(problems)} of {len(own)} tensors:"
            " give the file of this architecture, or the backbone the file was saved from"
        )
    with torch.no_grad():  # load_state_dict would ask for metadata, which not every file has (MNASNet insists on it)
        for key, tensor in own.items():
            tensor.copy_(state[key])


def digest_weights(network: nn.Module) -> str:
    """Return the SHA-256 hex digest of all tensors of `network`: names, types, shapes and bytes.

    Those are its parameters and all of its buffers, also the ones that a state dict leaves out.
    """
    tensors = chain(network.named_parameters(remove_duplicate=False), network.named_buffers(remove_duplicate=False))
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
