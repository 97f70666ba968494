"""The stages alone, for a pipeline that computes on a GPU."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from bench.contestants import Settings, cores, featx_engine, forward_alone
from bench.networks import build_network

__all__ = ["decode_alone", "engine_alone", "forward_on_device", "nvjpeg_alone"]

_LEAST = 1.0
"""Seconds that a stage is measured for."""


def _rate(work: Callable[[], int]) -> float:
    """Return how many images a second `work` does; it says how many it has done. It is run once before."""
    work()
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < _LEAST:
        done += work()
    return done / passed


def decode_alone(files: Sequence[Path]) -> float:
    """Return the images per second that as many threads as cores read and decode."""
    from featx.sources import decode_pixels

    with ThreadPoolExecutor(cores()) as pool:
        return _rate(lambda: sum(1 for _ in pool.map(lambda file: decode_pixels(file.read_bytes()), files)))


def nvjpeg_alone(files: Sequence[Path], device: str) -> float:
    """Return the images per second that torchvision decodes on the GPU; raises whatever keeps it from that."""
    import torch
    from torchvision.io import decode_jpeg

    if device == "cpu":
        raise RuntimeError("there is no GPU")
    contents = [torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8) for file in islice(files, 512)]

    def work() -> int:
        decode_jpeg(contents, device=device)
        torch.cuda.synchronize()
        return len(contents)

    return _rate(work)


def forward_on_device(settings: Settings, batch_sizes: Sequence[int]) -> tuple[float, int]:
    """Return the images per second of a network whose uint8 images lie in the device's memory, and its best batch."""
    import torch

    recipe, device = settings.recipe, settings.device
    bf16 = settings.precision == "bf16"
    batches = 1 if device == "cpu" else 4
    network = build_network(recipe).to(device, memory_format=torch.channels_last)
    mean, std = (torch.tensor(each, device=device).view(3, 1, 1) for each in (recipe.mean, recipe.std))

    def work(pixels: Any) -> int:
        # The same as a pipeline does with what it is given, and no more copying back than is needed to know the end.
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            for _ in range(batches):
                features = network(pixels.float().div(255).sub(mean).div(std))
            features[0, 0].item()
        return batches * len(pixels)

    best = (0.0, 0)
    for size in batch_sizes:
        shape = (size, 3, recipe.crop, recipe.crop)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
        best = max(best, (_rate(partial(work, pixels.contiguous(memory_format=torch.channels_last))), size))
    return best


def engine_alone(settings: Settings, files: Sequence[Path]) -> float:
    """Return the images per second of the engine that featx's last extraction chose, on images in the host's memory."""
    from featx.extraction._transform import load_pixels

    engine, batch_size, preprocessing = featx_engine(settings)
    contents = [file.read_bytes() for file in islice(files, 4 * batch_size)]
    pixels = [load_pixels(content, preprocessing, resize=not engine.resizes) for content in contents]
    forward_alone(engine, pixels[:batch_size], batch_size, cores())
    repeated = pixels * 4
    return len(repeated) / forward_alone(engine, repeated, batch_size, cores())
