"""The contestants that run in featx's own environment: the plain loop, timm's loader, featx, and the stages alone.

Each has a `run(folder)`, which is timed, and returns a :class:`Result`; `prepare(folder)` before each run is not
timed. Whatever they need is imported when one is made, because each peer's environment lacks something.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.networks import Recipe, build_network, build_transform

__all__ = ["Contestant", "Featx", "PlainLoop", "Result", "Settings", "Stages", "TimmLoader", "cores", "featx_engine"]


@dataclass
class Result:
    """What a run gave.

    Parameters
    ----------
    keys : list of str
        Paths of the images, relative to the folder.
    features : ndarray of shape (n, d), optional
        None for a stage alone.
    normalised : bool
        Whether the rows have length 1, because the contestant gives nothing else.
    stages : dict of str to float
        Seconds by stage, where the contestant says.
    facts : dict
        What else is worth printing.
    """

    keys: list[str]
    features: np.ndarray | None
    normalised: bool = False
    stages: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """How a contestant is to work.

    Parameters
    ----------
    recipe : Recipe
    scratch : Path
        Folder of its own; of featx and its stages alone, the same one.
    device : str
        ``cpu`` or ``cuda``.
    workers : int
        Of a DataLoader.
    batch_size : int
    precision : str
        ``fp32`` or ``bf16`` (autocast).
    channels_last : bool
    engine : str
        As `featx.extract` takes it.
    """

    recipe: Recipe
    scratch: Path
    device: str = "cpu"
    workers: int = 2
    batch_size: int = 32
    precision: str = "fp32"
    channels_last: bool = False
    engine: str = "auto"


class Contestant(Protocol):
    """What is compared."""

    def prepare(self, folder: Path) -> None:
        """Make ready for a run; not timed."""

    def run(self, folder: Path) -> Result:
        """Return the features of all images in a folder."""


def cores() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0))


class _Network:
    """A network in eager torch, on a device, as one precision."""

    def __init__(self, settings: Settings) -> None:
        import torch

        self.settings = settings
        self.network = build_network(settings.recipe).to(settings.device)
        if settings.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)

    def prepare(self, folder: Path) -> None:
        """Nothing is left over from the run before."""

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute without gradients, in the precision that is wanted."""
        import torch

        bf16 = torch.autocast(self.settings.device, dtype=torch.bfloat16)
        with torch.inference_mode(), bf16 if self.settings.precision == "bf16" else nullcontext():
            yield

    def __call__(self, images: Any) -> np.ndarray:
        """Return the features of a batch that has been normalised."""
        import torch

        if self.settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.network(images).float().cpu().numpy()

    def save(self, rows: list[np.ndarray]) -> np.ndarray:
        """Write the rows as everybody does, and return them."""
        features = np.concatenate(rows)
        self.settings.scratch.mkdir(parents=True, exist_ok=True)
        np.save(self.settings.scratch / "features.npy", features)
        return features


class PlainLoop(_Network):
    """The loop everybody writes: ImageFolder, DataLoader, an eager network; its fp32 features are the reference."""

    def run(self, folder: Path) -> Result:
        """Extract, and save what came out."""
        from torch.utils.data import DataLoader
        from torchvision.datasets import ImageFolder

        settings = self.settings
        dataset = ImageFolder(str(folder), build_transform(settings.recipe))
        on_gpu = settings.device != "cpu"
        loader = DataLoader(dataset, settings.batch_size, num_workers=settings.workers, pin_memory=on_gpu)
        with self.computing():
            rows = [self(images.to(settings.device, non_blocking=on_gpu)) for images, _ in loader]
        keys = [Path(path).relative_to(folder).as_posix() for path, _ in dataset.samples]
        return Result(keys, self.save(rows))


class TimmLoader(_Network):
    """timm's loader and prefetcher: bytes cross from the workers, and are normalised on the device."""

    def run(self, folder: Path) -> Result:
        """Extract, and save what came out."""
        import torch
        from timm.data import ImageDataset, create_loader

        settings, recipe = self.settings, self.settings.recipe
        dataset = ImageDataset(str(folder))
        loader = create_loader(
            dataset,
            (3, recipe.crop, recipe.crop),
            settings.batch_size,
            interpolation=recipe.interpolation,
            mean=tuple(recipe.mean),
            std=tuple(recipe.std),
            crop_pct=recipe.crop / (recipe.resize + 1e-4),  # it takes crop / crop_pct, rounded down
            num_workers=settings.workers,
            pin_memory=settings.device != "cpu",
            device=torch.device(settings.device),
            use_prefetcher=True,
            persistent_workers=False,
        )
        with self.computing():
            rows = [self(images) for images, _ in loader]
        return Result([Path(name).as_posix() for name in dataset.filenames()], self.save(rows))


class Featx:
    """featx as it is used: one call, and a store."""

    def __init__(self, settings: Settings) -> None:
        import featx

        self._extract = featx.extract
        self._settings = settings

    def prepare(self, folder: Path) -> None:
        """Delete the stores; what featx remembers of network and machine stays."""
        for store in self._settings.scratch.glob("*.h5"):
            store.unlink()

    def run(self, folder: Path) -> Result:
        """Extract into a store."""
        settings = self._settings
        store = self._extract(
            folder,
            settings.recipe.backbone,
            weights=settings.recipe.weights,
            engine=settings.engine,
            device=settings.device,
            cache=settings.scratch,
        )
        facts = {key: store.creation.get(key) for key in ("engine", "batch_size", "workers", "device")}
        features = np.asarray(store.features)
        return Result(list(store.keys), features, stages=dict(store.creation.get("stages", {})), facts=facts)


def featx_engine(settings: Settings) -> tuple[Any, int, Any]:
    """Return the engine that featx's last extraction into the scratch folder used, its batch size and preprocessing."""
    from featx.caching._network import Network
    from featx.store import list_stores, open_store

    stores = list_stores(settings.scratch)
    if not stores:
        raise RuntimeError(f"the stages alone need an extraction of featx before them in {settings.scratch}")
    creation = open_store(stores[0]).creation
    recipe = settings.recipe
    network = Network(settings.scratch, recipe.backbone, weights=recipe.weights, device=settings.device)
    wanted = network.resolved.wanted
    return network.engine(creation["engine"], wanted), creation["batch_size"], wanted[0].spec.preprocessing


def forward_alone(engine: Any, images: list[np.ndarray], batch_size: int, workers: int) -> float:
    """Return the seconds that an engine takes for images in memory, as many batches in flight as in featx's loop."""
    with ThreadPoolExecutor(workers) as pool:
        began = time.perf_counter()
        started: deque[Callable[[], Any]] = deque()
        for first in range(0, len(images), batch_size):
            started.append(engine.start(images[first : first + batch_size], pool.submit))
            if len(started) > workers:
                started.popleft()()
        while started:
            started.popleft()()
        return time.perf_counter() - began


class Stages:
    """The stages alone: decoding and transforming in one thread, and the network on images in memory."""

    def __init__(self, settings: Settings) -> None:
        self._engine, self._batch_size, self._preprocessing = featx_engine(settings)

    def prepare(self, folder: Path) -> None:
        """Nothing is left over from the run before."""

    def run(self, folder: Path) -> Result:
        """Return the processor seconds of decoding and transforming, and the wall seconds of the network."""
        from featx.extraction import load_pixels
        from featx.sources import open_source

        source = open_source(folder)
        contents = [source.read(index) for index in range(len(source))]
        began = time.thread_time()
        images = [load_pixels(content, self._preprocessing) for content in contents]
        decode = time.thread_time() - began
        forward_alone(self._engine, images[: self._batch_size], self._batch_size, cores())  # loads what is not loaded
        forward = forward_alone(self._engine, images, self._batch_size, cores())
        keys = [sample.key for sample in source.samples]
        return Result(keys, None, stages={"decode and transform": decode, "forward": forward})
