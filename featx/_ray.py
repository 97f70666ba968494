"""Ray itself: imported when it is needed, connected to or started, and kept quiet."""

import os
import re
import socket
import warnings
from types import ModuleType
from typing import Any

from featx.errors import EngineError, MissingDependencyError, first_line

__all__ = ["address_of", "connect", "disconnect", "load_ray"]

_OBJECTS = 512 * 2**20
"""Bytes of memory for what the workers of a cluster of this machine alone share; what is more goes to disk."""

_ANSWER_SECONDS = 10.0

_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Nothing is sent to Ray's makers, and no advice printed."""


def load_ray() -> ModuleType:
    """Import Ray.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "a Ray cluster needs Ray, which is not installed: pip install 'featx[ray]', or do without it"
        ) from error
    module: ModuleType = ray
    return module


def address_of(asked: str | None) -> str | None:
    """Return the address of the cluster that is asked for, else of the one that the environment names, if it does."""
    return asked or os.environ.get("RAY_ADDRESS") or None


def connect(address: str | None, cpus: int) -> bool:
    """Connect to the cluster at an address, or start one with so many processors; return False if there was one before.

    Raises
    ------
    EngineError
        If there is none.
    """
    ray: Any = load_ray()
    if ray.is_initialized():
        return False
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    where: dict[str, Any] = {"address": address}
    if address is None:
        where = {"address": "local", "num_cpus": cpus, "object_store_memory": _OBJECTS, "include_dashboard": False}
    try:
        _knock(address or "")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(**where, log_to_driver=False, logging_level="critical")
    except Exception as error:  # Ray raises every kind of exception here
        raise EngineError(
            f"no Ray cluster can be reached at address {address!r} ({first_line(error)}): start one with"
            " `ray start --head`, or leave address out for one of this machine alone"
        ) from error
    _set_printing(False)
    return True


def disconnect() -> None:
    """Leave the cluster; one of this machine alone ends."""
    load_ray().shutdown()
    _set_printing(True)


def _set_printing(on: bool) -> None:
    """Have Ray print to standard output which workers were lost, as it does if nobody asks it not to."""
    worker: Any = load_ray()._private.worker
    worker._worker_logs_enabled = on


def _knock(address: str) -> None:
    """Raise OSError if nobody answers at HOST:PORT: Ray would take minutes to say so."""
    match = re.fullmatch(r"([^:/]+):(\d+)", address)
    if match is not None:
        socket.create_connection((match[1], int(match[2])), timeout=_ANSWER_SECONDS).close()
