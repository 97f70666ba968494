"""What the engine for a GPU asks of its device: memory, streams, copies, exact arithmetic.

The processor can stand in for a GPU, so that everything else is tested where there is none.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from featx.extraction._loop import Features

__all__ = ["Gpu", "Processor", "Rows", "Staging", "full_precision"]

Rows = Callable[[], Features]
"""Waits for the rows of a batch."""


class Processor:
    """What an engine asks of its device, where that is the processor: everything is done at once."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def host_memory(self, *shape: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
        """Return memory of the host that the device copies to and from."""
        return torch.empty(shape, dtype=dtype)

    def computing(self) -> AbstractContextManager[Any]:
        """Return the context in which the device is given work."""
        return nullcontext()

    def send(self, host: torch.Tensor, size: int) -> tuple[torch.Tensor, Callable[[], None]]:
        """Begin to copy, into `size` bytes on the device; return those and what waits until it is done."""
        target = torch.empty(size, dtype=torch.uint8)
        target[: len(host)] = host
        return target, lambda: None

    def fetch(self, rows: Sequence[torch.Tensor]) -> Rows:
        """Begin to copy rows to the host; return what waits for them."""
        return lambda: tuple(part.numpy() for part in rows)

    def release(self) -> None:
        """Give back what memory is not in use."""


class Gpu(Processor):
    """A GPU, with a stream for the copies to it and another for everything else."""

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self._compute = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._copy = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._compute.wait_stream(torch.cuda.current_stream(self.device))

    def host_memory(self, *shape: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def computing(self) -> AbstractContextManager[Any]:
        return torch.cuda.stream(self._compute)

    def send(self, host: torch.Tensor, size: int) -> tuple[torch.Tensor, Callable[[], None]]:
        with torch.cuda.stream(self._copy):
            target = torch.empty(size, dtype=torch.uint8, device=self.device)
            target[: len(host)].copy_(host, non_blocking=True)
            arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            arrived.record()
        self._compute.wait_event(arrived)
        target.record_stream(self._compute)
        return target, arrived.synchronize

    def fetch(self, rows: Sequence[torch.Tensor]) -> Rows:
        host = [self.host_memory(*part.shape, dtype=part.dtype) for part in rows]
        for target, part in zip(host, rows, strict=True):
            target.copy_(part, non_blocking=True)
        # A thread that waits so leaves its core to the decoding.
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record()

        def wait() -> Features:
            done.synchronize()
            return tuple(part.numpy().copy() for part in host)  # pinned memory is dear, and used again

        return wait

    def release(self) -> None:
        torch.cuda.empty_cache()


class Staging:
    """Two host buffers that are filled in turn: one again only when what it held has arrived."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._spare, self._last = ((processor.host_memory(0), _nothing) for _ in range(2))

    def send(self, size: int, total: int, fill: Callable[[npt.NDArray[np.uint8]], None]) -> torch.Tensor:
        """Return a tensor of `total` bytes on the device; `fill` is given the first `size` of them to write."""
        buffer, arrived = self._spare
        arrived()
        if len(buffer) < size:
            buffer = self._processor.host_memory(max(size, 3 * len(buffer) // 2))
        self._spare, self._last = self._last, (buffer, _nothing)
        fill(buffer[:size].numpy())
        target, arrived = self._processor.send(buffer[:size], total)
        self._last = buffer, arrived
        return target


def _nothing() -> None:
    """Wait for nothing."""


@contextmanager
def full_precision() -> Iterator[None]:
    """Keep float32 what it is: with 10 bits of fraction, as GPUs compute by default, it is not within 1e-3."""
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    operators = (matmul, cudnn.conv, cudnn.rnn)
    with ExitStack() as stack:
        for operator in operators:
            stack.callback(setattr, operator, "fp32_precision", operator.fp32_precision)
        # The older flags must say the same, for the compiler reads them; where they contradict already, they cannot
        # be read.
        for backend in (matmul, cudnn):
            with suppress(RuntimeError):
                stack.callback(setattr, backend, "allow_tf32", backend.allow_tf32)
                backend.allow_tf32 = False
        for operator in operators:
            operator.fp32_precision = "ieee"
        yield
