"""The network that is asked for, loaded no sooner than it is needed."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypedDict

from featx.backbones import find_network
from featx.caching._cluster import Cluster, ThisMachine
from featx.caching._recall import Resolved, recall, remember, request_of
from featx.caching._targets import Wanted, wanted_of
from featx.errors import EngineError
from featx.extraction import Engine, Features, Image, OnnxEngine, Submit, augmentation_for, graph_key
from featx.spec import ExtractionSpec, Preprocessing
from featx.store import GRAPHS

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
    interpolation: str | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    decode: str | None
    dtype: str
    device: str
    precision: str
    views: int
    augment: str | None
    augment_seed: int


class Network:
    """The network that is asked for; it is loaded when something has to be computed, or was never asked for before."""

    def __init__(
        self,
        cache: Path,
        backbone: "str | nn.Module | Backbone",
        *,
        layers: Sequence[str] = (),
        weights: str | os.PathLike[str] | None = None,
        preprocessing: Preprocessing | None = None,
        pool: str | None = None,
        image_size: int | None = None,
        resize: str | None = None,
        interpolation: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        decode: str | None = None,
        dtype: str = "float32",
        device: str = "auto",
        precision: str = "auto",
        views: int = 1,
        augment: str | None = None,
        augment_seed: int = 0,
        cluster: Cluster | None = None,
    ) -> None:
        cluster = ThisMachine() if cluster is None else cluster
        device = cluster.device(device)
        augmentation = augmentation_for(views, augment, augment_seed)
        changes: dict[str, Any] = {
            "image_size": image_size,
            "resize": resize,
            "interpolation": interpolation,
            "mean": None if mean is None else tuple(mean),
            "std": None if std is None else tuple(std),
            "decode": decode,
        }
        tuned = find_network(backbone)
        if tuned is not None and weights is None:  # remembered as what it stands for: another may take its place
            backbone, weights, preprocessing = tuned.backbone, tuned.weights, preprocessing or tuned.preprocessing
            changes["image_size"] = image_size or preprocessing.side
        self._backbone = backbone
        self._weights = weights
        self._preprocessing = preprocessing
        self._layers = tuple(layers)
        self._pool = pool
        self._device = device
        self._precision = precision
        self._dtype = dtype
        self._views: dict[str, Any] = {
            "views": views,
            "augment": "" if augmentation is None else str(augmentation),
            "augment_seed": augment_seed,
        }
        self._changes = changes
        self.machine = cluster.machine
        self._cache = cache
        self._loaded: tuple[Backbone, dict[ExtractionSpec, Output]] | None = None
        self._engine: _LazyEngine | None = None
        request = request_of(
            backbone,
            weights,
            preprocessing,
            machine=self.machine,
            layers=tuple(layers),
            pool=pool,
            device=device,
            precision=precision,
            dtype=dtype,
            **self._views,
            **changes,
        )
        self._remembered = request is not None
        resolved = recall(cache, request)
        if resolved is None:
            resolved = cluster.ask(self._resolve)
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
            **self._views,
        )
        self._loaded = network, {output.spec: output for output in outputs}
        return Resolved(
            tuple(wanted_of(output) for output in outputs),
            device,
            {
                "name": network.name,
                "weights": network.origin,
                "reloadable": network.reloadable,
                "depth": {output.node.name: round(network.depth(output.node.name), 3) for output in outputs},
                "early": network.early_map,
                "changes": {
                    name: list(value) if isinstance(value, tuple) else value
                    for name, value in self._changes.items()
                    if value is not None
                },
            },
        )

    @property
    def weight_bytes(self) -> int:
        """Size of the network's tensors; it is loaded for that."""
        backbone, _ = self._load(())
        return sum(tensor.nbytes for tensor in backbone.network.state_dict().values())

    def on(self, device: str, *, keeping: bool = True) -> "Network":
        """Return this network for another process, on one of the devices that its own stands for.

        With `keeping` off, it keeps nothing in the cache folder, which need not be there.
        """
        other = copy(self)
        other.resolved = replace(self.resolved, device=device)
        other._cache = self._cache.absolute()
        other._remembered = self._remembered and keeping
        if self._weights is not None and os.path.exists(self._weights):
            other._weights = os.path.abspath(self._weights)
        other._loaded = other._engine = None
        return other

    def memory_file(self, name: str) -> Path | None:
        """Return a file in the cache folder for what is found out of this network; None for one that may change."""
        return self._cache / name if self._remembered else None

    def engine(self, name: str, wanted: Sequence[Wanted]) -> Engine:
        """Return what computes the given ones of the wanted features; it loads the network at its first batch.

        Raises
        ------
        EngineError
            If the engine does not run on the device.
        """
        if name == "onnxruntime" and self.resolved.device != "cpu":
            raise EngineError(
                f"engine onnxruntime runs on device cpu; got device {self.resolved.device!r}: use torch or compile"
            )
        specs = tuple(one.spec for one in wanted)
        if self._engine is None or (self._engine.name, self._engine.specs) != (name, specs):
            self._engine = _LazyEngine(name, self.resolved.device, specs, self._make_engine)
        return self._engine

    def _make_engine(self, name: str, specs: Sequence[ExtractionSpec]) -> Engine:
        if name == "onnxruntime":
            return self._onnx_engine(specs)
        from featx.extraction import load_engine

        network, outputs = self._load(specs)
        return load_engine(name, network, outputs, device=self.resolved.device)

    def _onnx_engine(self, specs: Sequence[ExtractionSpec]) -> Engine:
        """Return an engine on the exported graph, which is kept: the next time needs neither network nor torch."""
        kept = self.memory_file(f"{GRAPHS}/{graph_key(specs)}.onnx")
        if kept is not None and kept.exists():
            with suppress(EngineError, OSError):  # damaged: it is made anew
                engine = OnnxEngine(kept, specs)
                kept.touch()  # `featx prune` goes by it
                return engine
        from featx.extraction import export_graph  # which takes torch

        with TemporaryDirectory() as folder:
            path = Path(folder) / "graph.onnx" if kept is None else kept
            path.parent.mkdir(parents=True, exist_ok=True)
            export_graph(*self._load(specs), path)
            return OnnxEngine(path, specs)

    def _load(self, specs: Sequence[ExtractionSpec]) -> "tuple[Backbone, list[Output]]":
        if self._loaded is None:
            self._resolve()
        assert self._loaded is not None
        network, outputs = self._loaded
        return network, [outputs[spec] for spec in specs]


class _LazyEngine:
    """An engine that is made when it is first used."""

    def __init__(
        self,
        name: str,
        device: str,
        specs: tuple[ExtractionSpec, ...],
        make: Callable[[str, Sequence[ExtractionSpec]], Engine],
    ) -> None:
        self.name = name
        self.device = device
        self.specs = specs
        self.resizes = device != "cpu"
        self._make = make
        self._engine: Engine | None = None

    def load(self) -> None:
        """Make the engine."""
        if self._engine is None:
            self._engine = self._make(self.name, self.specs)

    def start(self, images: Sequence[Image], submit: Submit) -> Callable[[], Features]:
        """Begin with a batch."""
        self.load()
        assert self._engine is not None
        return self._engine.start(images, submit)
