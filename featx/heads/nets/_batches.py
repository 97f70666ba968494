"""Whole batches from one array: an epoch on cached features is then limited by arithmetic, not by Python.

torch's own :class:`~torch.utils.data.DataLoader` fetches row by row and stacks them. Here a batch is one gather into a
buffer that is used again for the next; features mapped from a file are gathered one batch ahead, in a thread.
"""

import mmap
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["Batches", "Rows", "Samples", "as_tensor"]

_DEVICE_SHARE = 0.5
"""Of a GPU's free memory, what features may take to be moved there as a whole."""

Batch = tuple[Tensor, tuple[Tensor, Tensor]]


def as_tensor(array: npt.NDArray[Any]) -> Tensor:
    """Return `array` as a tensor on the same memory, also if that is read-only (nothing here writes to it)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


class Samples(Dataset[Batch]):
    """What a net is trained on or judged by: a batch is what :meth:`load` makes of some rows, with their targets.

    Parameters
    ----------
    index : ndarray of shape (m,), int64
        Which rows of the targets these are.
    targets : Tensor of shape (n,) or (n, k)
        What the loss takes.
    weights : ndarray of shape (n,), float64, optional
        Weights of the rows in the loss; 1 for all without.
    """

    ahead = True
    """Whether a batch is gathered in a thread while the one before it is computed."""

    def __init__(
        self, index: npt.NDArray[np.int64], targets: Tensor, weights: npt.NDArray[np.float64] | None = None
    ) -> None:
        self.index, self.targets = torch.from_numpy(index), targets
        self.weights = torch.ones(len(targets)) if weights is None else torch.from_numpy(weights).float()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.index)

    def begin(self) -> None:
        """Be told that a sweep over the rows begins."""

    def buffer(self, count: int) -> Tensor | None:
        """Return memory for batches of up to `count` rows, used again for each; None where there is no use for it."""
        return None

    def load(self, rows: Tensor, buffer: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Return what the net is shown of some rows.

        Parameters
        ----------
        rows : Tensor of shape (b,), int64
            Rows of the targets.
        buffer : Tensor, optional
            Where it may be put.
        generator : torch.Generator, optional
            Draws one view of each row; without, all views follow one another.
        """
        raise NotImplementedError

    def gather(self, chosen: Tensor, buffer: Tensor | None, generator: torch.Generator | None) -> Batch:
        """Return what the net is shown of the rows at places `chosen`, (b,) int64, with their targets and weights."""
        rows = self.index[chosen.to(self.index.device)]
        return self.load(rows, buffer, generator), (self.targets[rows], self.weights[rows])


class Rows(Samples):
    """Rows of features with targets and weights; the features are never copied as a whole, except to a GPU they fit.

    Parameters
    ----------
    features : ndarray of shape (n, ...), or (n, v, ...) with views; float
        Perhaps memory-mapped, perhaps read-only.
    index : ndarray of shape (m,), int64
        Which rows of `features` these are.
    targets : Tensor of shape (n,) or (n, k)
        What the loss takes.
    weights : ndarray of shape (n,), float64, optional
        Weights of the rows in the loss; 1 for all without.
    views : bool
        Whether axis 1 holds views of a sample.
    device : torch.device
        Where batches are needed.
    """

    def __init__(
        self,
        features: npt.NDArray[Any],
        index: npt.NDArray[np.int64],
        targets: Tensor,
        weights: npt.NDArray[np.float64] | None = None,
        *,
        views: bool = False,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(index, targets, weights)
        self.features, self.views = as_tensor(features), views
        self.ahead = _is_mapped(features)
        if device is not None and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if features.nbytes < _DEVICE_SHARE * free:
                self.features, self.ahead = self.features.to(device), False
            self.index, self.targets, self.weights = (
                part.to(device) for part in (self.index, self.targets, self.weights)
            )

    def buffer(self, count: int) -> Tensor | None:
        """Return memory for `count` rows of float32; None for features of another type."""
        if self.features.dtype != torch.float32:
            return None
        return self.features.new_empty((count, *self.features.shape[1:]))

    def load(self, rows: Tensor, buffer: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Return some rows, (b, ...) float32; of all views (b * v, ...)."""
        at = rows.to(self.features.device)
        if self.views and generator is not None:
            drawn = torch.randint(self.features.shape[1], (len(at),), generator=generator).to(at.device)
            features = self.features[at, drawn]
        elif self.ahead:  # beside the training: torch's own threads would get in its way
            out = None if buffer is None else buffer[: len(at)].numpy()
            features = torch.from_numpy(np.take(self.features.numpy(), at.numpy(), axis=0, out=out, mode="clip"))
        elif buffer is not None:
            features = torch.index_select(self.features, 0, at, out=buffer[: len(at)])
        else:
            features = torch.index_select(self.features, 0, at)
        if self.views and generator is None:
            features = features.flatten(0, 1)
        return features.float()


class Batches:
    """Batches of :class:`Samples`, for skorch's ``iterator_train`` and ``iterator_valid``.

    A batch is valid until the next one is asked for. A last batch of a single row, of which batch normalisation knows
    no variance, is left to the one before it.

    Parameters
    ----------
    dataset : Samples
        The rows.
    batch_size : int
        Rows in a batch; the last has fewer.
    generator : torch.Generator, optional
        Draws a new order (and view of each sample) for each sweep; without, the rows come in theirs.
    """

    def __init__(self, dataset: Samples, batch_size: int, generator: torch.Generator | None = None) -> None:
        self.dataset, self.batch_size, self.generator = dataset, batch_size, generator

    def __len__(self) -> int:
        """Return the number of batches in a sweep."""
        return len(self._chunks(torch.empty(len(self.dataset))))

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one sweep."""
        rows, generator = self.dataset, self.generator
        count = len(rows)
        rows.begin()
        chunks = self._chunks(torch.arange(count) if generator is None else torch.randperm(count, generator=generator))
        buffers = [rows.buffer(min(count, self.batch_size + 1)) for _ in range(2 if rows.ahead else 1)]
        if not rows.ahead:
            for chunk in chunks:
                yield rows.gather(chunk, buffers[0], generator)
            return
        with ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(rows.gather, chunks[0], buffers[0], generator)
            for place in range(1, len(chunks) + 1):
                batch = waiting.result()
                if place < len(chunks):
                    waiting = ahead.submit(rows.gather, chunks[place], buffers[place % 2], generator)
                yield batch

    def _chunks(self, order: Tensor) -> list[Tensor]:
        chunks = list(torch.split(order, self.batch_size))
        if len(chunks) > 1 and len(chunks[-1]) == 1:
            last = chunks.pop()
            chunks[-1] = torch.cat([chunks[-1], last])
        return chunks


def _is_mapped(array: Any) -> bool:
    """Whether the array's memory is a file's: views of a memory map are plain arrays on top of it."""
    while isinstance(array, (np.ndarray, memoryview)):
        array = array.obj if isinstance(array, memoryview) else array.base
    return isinstance(array, mmap.mmap)
