"""The engine for a GPU: decoded images of any sizes in, rows out, and nobody waits for the device in between.

A batch goes to the device in one copy from pinned memory, is resized, cropped and normalised there, goes through the
network and comes back to pinned memory; all of that is only launched. What differs on a processor, where the tests
run the same code, is :class:`featx.extraction._device.Processor`.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as PillowImage
from torch import nn

from featx._quiet import quiet
from featx.backbones import Backbone
from featx.errors import EngineError, SampleError, first_line
from featx.extraction._capture import PixelsToRows
from featx.extraction._device import Gpu, Processor, Rows, Staging, full_precision
from featx.extraction._loop import Features, Image, Submit
from featx.extraction._outputs import Output
from featx.extraction._resample import Resampling, is_resampled
from featx.extraction._transform import Cropped, preprocess
from featx.sources import decode_image
from featx.spec import Preprocessing

__all__ = ["CudaEngine", "DecodeJpegs"]

DecodeJpegs = Callable[[list[bytes]], list[torch.Tensor]]
"""Decodes JPEG files into tensors of shape (height, width, 3) and dtype uint8, on the engine's device."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_CHUNK = 256 << 20
"""Bytes of pixels that are sent to the device at a time; a batch of large photographs has gigabytes of them."""

_COPIERS = 4
"""Threads that copy images into pinned memory, so that the one that launches is not kept from it for long."""


def _compiled(module: nn.Module, pixels: torch.Tensor) -> Callable[[torch.Tensor], tuple[torch.Tensor, ...]]:
    """Return `module` compiled for as many images as `pixels`; on a GPU it is replayed as one CUDA graph.

    Raises
    ------
    EngineError
        If that cannot be done.
    """
    try:
        with quiet("torch"), torch.inference_mode(False), torch.no_grad():
            # The export follows hooks, and the exception that ends the network early; the compiler does not.
            example = torch.zeros(pixels.shape, dtype=pixels.dtype, device=pixels.device)
            graph = torch.export.export(module, (example,), strict=False).module()
        run = torch.compile(graph, mode="reduce-overhead" if pixels.is_cuda else None, dynamic=False)
        with quiet("torch"):
            run(pixels)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # networks, the export and the compiler raise every kind of exception here
        raise EngineError(
            f"torch.compile cannot compile the network on this machine ({first_line(error)}): use engine torch"
        ) from error
    return run


def _nvjpeg(device: torch.device) -> DecodeJpegs:
    """Return torchvision's decoder for JPEG files on a GPU; raise EngineError if there is none."""
    from torchvision.io import ImageReadMode, decode_jpeg

    def decode(files: list[bytes]) -> list[torch.Tensor]:
        encoded = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]
        images = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device)
        return [image.permute(1, 2, 0) for image in images]

    probe = BytesIO()
    PillowImage.new("RGB", (16, 16)).save(probe, "JPEG")
    try:
        decode([probe.getvalue()])
    except Exception as error:
        raise EngineError(
            f"torchvision cannot decode JPEG files on {device} ({first_line(error)}): decode them on the processor"
        ) from error
    return decode


class CudaEngine:
    """The network on a GPU, in channels-last memory; it resizes and crops the images itself, as Pillow does.

    Batches that do not fit into the device's memory are computed in pieces, and so are later ones.

    Parameters
    ----------
    backbone : Backbone
        Its network is moved to `device`.
    outputs : sequence of Output
        All of one precision.
    device : str
        ``cuda`` or ``cuda:N``; ``cpu`` does the same more slowly, for tests.
    compiled : bool
        Whether ``torch.compile`` makes it faster, and on a GPU a CUDA graph of it; the first batch of a size is slow.
    decode_jpegs : callable, optional
        Instead of torchvision's decoder.
    """

    resizes = True

    def __init__(
        self,
        backbone: Backbone,
        outputs: Sequence[Output],
        *,
        device: str,
        compiled: bool = False,
        decode_jpegs: DecodeJpegs | None = None,
    ) -> None:
        self.name = "compile" if compiled else "torch"
        self.device = device
        self._backbone = backbone
        self._outputs = tuple(outputs)
        self._precision = _DTYPES[outputs[0].spec.precision]
        self._compiles = compiled
        self._compiled: dict[int, Callable[[torch.Tensor], tuple[torch.Tensor, ...]]] = {}
        self._decode_jpegs = decode_jpegs
        self._module: PixelsToRows | None = None
        self._limit: int | None = None

    def load(self) -> None:
        """Move the network to the device."""
        if self._module is None:
            self._processor = (Gpu if torch.device(self.device).type == "cuda" else Processor)(self.device)
            self._staging = Staging(self._processor)
            self._copiers = ThreadPoolExecutor(_COPIERS, thread_name_prefix="featx-staging")
            with self._processor.computing():
                module = PixelsToRows(self._backbone, self._outputs, torch.channels_last)
                self._module = module.to(device=self._processor.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def start(self, images: Sequence[Image | bytes | torch.Tensor], submit: Submit) -> Rows:
        """Begin with a batch, and return what waits for its rows.

        Parameters
        ----------
        images : sequence of ndarray or torch.Tensor of shape (height, width, 3) and dtype uint8, or of bytes
            Of any sizes. Bytes are a JPEG file in RGB or grey that is to be shown as it lies, and are decoded on
            the device; if nothing can decode them, the features are NaN.
        submit : callable
            Not used: the device computes.

        Returns
        -------
        callable
            Returns one array (n, ...) of float32 or float16 per output. Raises EngineError if not even one image
            fits into the device's memory.
        """
        self.load()
        return partial(self._finish, self._begin_all(images))

    def _begin_all(self, images: Sequence[Any]) -> list[tuple[Sequence[Any], Rows]]:
        """Begin with all images, in pieces that fit; return each piece with what waits for its rows."""
        pieces: list[tuple[Sequence[Any], Rows]] = []
        at = 0
        while at < len(images):
            piece = images[at : at + (self._limit or len(images))]
            rows = None
            with suppress(torch.OutOfMemoryError):  # within, the exception would hold what the attempt took
                rows = self._begin(piece)
            if rows is None:
                self._shrink(len(piece))
            else:
                pieces.append((piece, rows))
                at += len(piece)
        return pieces

    def _finish(self, pieces: list[tuple[Sequence[Any], Rows]]) -> Features:
        """Return the rows of all pieces, in their order."""
        finished = []
        for images, rows in pieces:
            features = None
            with suppress(torch.OutOfMemoryError):
                features = rows()
            if features is None:
                self._shrink(len(images))
                features = self._finish(self._begin_all(images))
            finished.append(features)
        return tuple(np.concatenate(arrays) for arrays in zip(*finished, strict=True))

    def _shrink(self, count: int) -> None:
        """Take fewer images at a time than the `count` that did not fit."""
        self._processor.release()
        if count == 1:
            raise EngineError(
                f"one image does not fit into the memory of device {self.device!r} beside network"
                f" {self._backbone.name}: use a smaller image_size, precision bf16, or device cpu"
            )
        self._limit = min(self._limit or count, (count + 1) // 2)

    def _begin(self, images: Sequence[Any]) -> Rows:
        """Launch everything for a batch, and return what waits for its rows."""
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(self._processor.computing())
            if self._precision is torch.float32:
                stack.enter_context(full_precision())
            else:
                stack.enter_context(torch.autocast(self._processor.device.type, dtype=self._precision))
            pixels, bad = self._decoded(images)
            rows = self._processor.fetch(self._run(self._crops(pixels)))
        return partial(_without, rows, bad) if bad else rows

    def _decoded(self, images: Sequence[Any]) -> tuple[list[Any], list[int]]:
        """Return the images with what is encoded among them decoded, and the places of those that cannot be."""
        decoded, bad = list(images), list[int]()
        places = [place for place, image in enumerate(images) if isinstance(image, bytes)]
        if not places:
            return decoded, bad
        if self._decode_jpegs is None:
            self._decode_jpegs = _nvjpeg(self._processor.device)
        try:
            tensors: list[Any] = self._decode_jpegs([images[place] for place in places])
        except torch.OutOfMemoryError:
            raise
        except Exception:  # one bad file fails them all
            tensors = [_decoded_alone(self._decode_jpegs, images[place]) for place in places]
        for place, tensor in zip(places, tensors, strict=True):
            if tensor is None:
                bad.append(place)
            decoded[place] = np.zeros((1, 1, 3), np.uint8) if tensor is None else tensor
        return decoded, bad

    def _crops(self, images: Sequence[Any]) -> torch.Tensor:
        """Return images of any sizes as (n, height, width, 3) of uint8, on the device."""
        return torch.cat([self._resampled(chunk) for chunk in _chunks(images)])

    def _resampled(self, images: Sequence[Any]) -> torch.Tensor:
        preprocessing = self._backbone.preprocessing
        pixels = [_on_the_host(image, preprocessing) if _is_odd(image, preprocessing) else image for image in images]
        ready = [isinstance(image, Cropped) for image in pixels]
        resident = [isinstance(image, torch.Tensor) for image in pixels]
        sizes = [(image.shape[0], image.shape[1]) for image in pixels]
        resampling = Resampling(sizes, preprocessing, ready=ready, resident=resident)

        def copy(target: Any, *, first: int, step: int, resident_ones: bool) -> None:
            for number in range(first, len(pixels), step):
                if resident[number] is resident_ones:
                    start, shape = resampling.starts[number], pixels[number].shape
                    stretch = target[start : start + 3 * shape[0] * shape[1]].reshape(shape)
                    stretch[...] = pixels[number]

        def fill(buffer: npt.NDArray[np.uint8]) -> None:
            resampling.write_tables(buffer)
            parts = [
                self._copiers.submit(copy, buffer, first=first, step=_COPIERS, resident_ones=False)
                for first in range(min(_COPIERS, len(pixels)))
            ]
            for part in parts:
                part.result()

        buffer = self._staging.send(resampling.host_size, resampling.size, fill)
        copy(buffer, first=0, step=1, resident_ones=True)
        return resampling.run(buffer)

    def _run(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the rows of a batch in their stored types."""
        assert self._module is not None  # from load
        n = len(pixels)
        if self._compiles:
            # A shape is compiled once: a smaller batch, as the last one is, is filled up.
            size = min((size for size in self._compiled if size >= n), default=n)
            pixels = torch.cat([pixels, pixels[-1:].expand(size - n, -1, -1, -1)])
            if size not in self._compiled:
                self._compiled[size] = _compiled(self._module, pixels)
            if pixels.is_cuda:
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        rows = (self._compiled[len(pixels)] if self._compiles else self._module)(pixels)
        return [
            (part[:n].half() if output.spec.dtype == "float16" else part[:n]).contiguous()
            for output, part in zip(self._outputs, rows, strict=True)
        ]


def _without(rows: Rows, bad: Sequence[int]) -> Features:
    """Return the rows with NaN for the images that nothing could decode."""
    features = rows()
    for array in features:
        array[bad] = np.nan
    return features


def _decoded_alone(decode_jpegs: DecodeJpegs, data: bytes) -> Any:
    """Return one decoded file, from the processor where the device cannot; None where neither can."""
    try:
        return decode_jpegs([data])[0]
    except torch.OutOfMemoryError:
        raise
    except Exception:  # decoders raise every kind of exception
        try:
            return np.asarray(decode_image(data))
        except SampleError:
            return None


def _is_odd(image: Any, preprocessing: Preprocessing) -> bool:
    return not isinstance(image, Cropped) and not is_resampled(image.shape[0], image.shape[1], preprocessing)


def _on_the_host(image: Any, preprocessing: Preprocessing) -> Cropped:
    """Return an image of an odd size as Pillow resizes and crops it."""
    array = image.cpu().numpy() if isinstance(image, torch.Tensor) else image
    return preprocess(PillowImage.fromarray(np.ascontiguousarray(array)), preprocessing).view(Cropped)


def _chunks(images: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the images in stretches of at most so many bytes."""
    chunk: list[Any] = []
    size = 0
    for image in images:
        size += 3 * image.shape[0] * image.shape[1]
        if chunk and size > _CHUNK:
            yield chunk
            chunk, size = [], 3 * image.shape[0] * image.shape[1]
        chunk.append(image)
    yield chunk
