"""The network that is asked for, loaded no sooner than it is needed."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt

from featx.caching._recall import Resolved, recall, remember, request_of
from featx.caching._targets import Wanted
from featx.extraction import Engine
from featx.spec import ExtractionSpec, Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from featx.backbones import Backbone
    from featx.extraction import Output

__all__ = ["Network", "NetworkSettings"]


class NetworkSettings(TypedDict, total=False):
    """What decides the numbers, beside backbone and layers; :func:`featx.extract` says what each means."""

    weights: str | os.PathLike[str] | None
    preprocessing: Preprocessing | None
    pool: str | None
    image_size: int | None
    resize: str | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    dtype: str
    device: str
    precision: str


class Network:
    """The network that is asked for; it is loaded when something has to be computed, or was never asked for before."""

    def __init__(
        self,
        cache: Path,
        backbone: "str | nn.Module",
        *,
        layers: Sequence[str] = (),
        weights: str | os.PathLike[str] | None = None,
        preprocessing: Preprocessing | None = None,
        pool: str | None = None,
        image_size: int | None = None,
        resize: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        dtype: str = "float32",
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        changes: dict[str, Any] = {
            "image_size": image_size,
            "resize": resize,
            "mean": None if mean is None else tuple(mean),
            "std": None if std is None else tuple(std),
        }
        self._backbone = backbone
        self._weights = weights
        self._preprocessing = preprocessing
        self._layers = tuple(layers)
        self._pool = pool
        self._device = device
        self._precision = precision
        self._dtype = dtype
        self._changes = changes
        self._loaded: tuple[Backbone, dict[ExtractionSpec, Output]] | None = None
        request = request_of(
            backbone,
            weights,
            preprocessing,
            layers=tuple(layers),
            pool=pool,
            device=device,
            precision=precision,
            dtype=dtype,
            **changes,
        )
        resolved = recall(cache, request)
        if resolved is None:
            resolved = self._resolve()
            remember(cache, request, resolved)
        self.resolved = resolved

    def _resolve(self) -> Resolved:
        from featx.backbones import load_backbone
        from featx.extraction import plan_outputs, resolve_device, resolve_precision

        network = load_backbone(
            self._backbone, weights=self._weights, preprocessing=self._preprocessing, **self._changes
        )
        device = resolve_device(self._device)
        outputs = plan_outputs(
            network,
            layers=self._layers,
            pool=self._pool,
            precision=resolve_precision(self._precision, device),
            dtype=self._dtype,
        )
        self._loaded = network, {output.spec: output for output in outputs}
        return Resolved(
            tuple(Wanted(output.spec, output.shape, output.axes) for output in outputs),
            device,
            {"name": network.name, "weights": network.origin, "reloadable": isinstance(self._backbone, str)},
        )

    def engine(self, name: str, wanted: Sequence[Wanted]) -> Engine:
        """Return what computes the given ones of the wanted features; it loads the network at its first batch."""

        def make() -> Engine:
            from featx.extraction import ENGINES

            if self._loaded is None:
                self._resolve()
            assert self._loaded is not None
            network, outputs = self._loaded
            return ENGINES[name](network, [outputs[one.spec] for one in wanted], device=self.resolved.device)

        return _LazyEngine(name, self.resolved.device, make)


class _LazyEngine:
    """An engine that is made when it is first used."""

    def __init__(self, name: str, device: str, make: Callable[[], Engine]) -> None:
        self.name = name
        self.device = device
        self._make = make
        self._engine: Engine | None = None

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[Any], ...]:
        """Run the engine."""
        if self._engine is None:
            self._engine = self._make()
        return self._engine(pixels)
