"""Pillow's resizing, cropping and padding of a whole batch on a torch device, equal to Pillow to the pixel.

Pillow resizes by two passes, one along each axis, with 8-bit pixels between them. A pixel of a pass is a weighted
sum over a window, in integers: weights are fixed-point numbers of 22 bits. Windows and weights depend on the
lengths alone; they are computed here, on the host, as Pillow computes them, and sums of integers are the same on
every device. What a batch needs of them travels with its pixels in one buffer, so that it takes one copy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import pi

import numpy as np
import numpy.typing as npt
import PIL
import torch

from featx.extraction._transform import _LONG, _resized_size, _start
from featx.spec import Preprocessing

__all__ = ["Resampling", "is_resampled"]

_BITS = 22
"""Of the fraction of Pillow's weights (``PRECISION_BITS`` in its Resample.c)."""

_MEMORY = 256 << 20
"""Bytes that the largest intermediate results of a pass may take together."""

_BYTES_A_PIXEL = 36
"""Of those results: an index, three gathered bytes, three sums and what adding to them may take."""

_SMALL = 1 << 22
"""Weighted pixels that a launch computes in next to no time: fewer are never worth a group of their own."""

_CHOOSES_ORDER = int(PIL.__version__.split(".")[0]) >= 13
"""Since then, Pillow makes the vertical pass first where the height shrinks by far more than the width."""

_TALL = 100
"""Pillow 12.2 resizes images more than so many times as high as wide in a way of its own."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]


def _box(x: Floats) -> Floats:
    return np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)


def _bilinear(x: Floats) -> Floats:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _hamming(x: Floats) -> Floats:
    x = np.abs(x)
    angle = np.where(x == 0.0, 1.0, x) * pi
    window = float(np.float32(0.54)) + float(np.float32(0.46)) * np.cos(angle)  # float constants in Pillow
    return np.where(x == 0.0, 1.0, np.where(x < 1.0, np.sin(angle) / angle * window, 0.0))


def _bicubic(x: Floats) -> Floats:
    a, x = -0.5, np.abs(x)
    near, far = ((a + 2.0) * x - (a + 3.0)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _sinc(x: Floats) -> Floats:
    angle = np.where(x == 0.0, 1.0, x) * pi
    return np.where(x == 0.0, 1.0, np.sin(angle) / angle)


def _lanczos(x: Floats) -> Floats:
    return np.where((x >= -3.0) & (x < 3.0), _sinc(x) * _sinc(x / 3), 0.0)


_FILTERS = {
    "box": (_box, 0.5),
    "bilinear": (_bilinear, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Pillow's filters, and how far they reach on each side in units of the scale."""


@dataclass(frozen=True, slots=True)
class _Taps:
    """What each position of a crop takes along one axis; positions outside the image repeat its edge.

    ``positions`` and ``weights`` have the shape (taps, crop); ``inside`` says which of the crop lies in the image.
    The positions lie among the ``span`` from ``low`` on.
    """

    positions: Integers
    weights: Integers
    inside: npt.NDArray[np.bool_]
    low: int = field(init=False)
    span: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", int(self.positions.min()))
        object.__setattr__(self, "span", int(self.positions.max()) - self.low + 1)


@lru_cache(maxsize=1024)
def _taps(length: int, resized: int, crop: int, interpolation: str) -> _Taps:
    """Return the taps for the middle `crop` of `resized` pixels that `length` pixels become."""
    wanted = np.arange(crop) + _start(resized, crop, 0)
    inside = (wanted >= 0) & (wanted < resized)
    wanted = wanted.clip(0, resized - 1)
    scale = length / resized
    if length == resized or interpolation == "nearest":
        # Pillow's nearest adds up the scale from pixel to pixel, and its rounding with it.
        sums = np.add.accumulate(np.concatenate([[scale * 0.5], np.full(resized - 1, scale)]))
        positions = sums[wanted].astype(np.int32).clip(0, length - 1)[None]
        return _Taps(positions, np.full_like(positions, 1 << _BITS), inside)
    weigh, reach = _FILTERS[interpolation]
    widened = max(scale, 1.0)
    centre = (wanted + 0.5) * scale
    low = np.maximum((centre - reach * widened + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + reach * widened + 0.5).astype(np.int64), length)
    tap = np.arange((high - low).max())[:, None]
    weights = np.where(tap < high - low, weigh((tap + low - centre + 0.5) * (1.0 / widened)), 0.0)
    total = np.add.accumulate(weights)[-1]  # in Pillow's order; numpy's sum has another
    weights = np.divide(weights, total, out=weights, where=total != 0.0) * (1 << _BITS)
    return _Taps(
        np.minimum(low + tap, high - 1).astype(np.int32),
        np.trunc(weights + np.copysign(0.5, weights)).astype(np.int32),
        inside,
    )


def is_resampled(height: int, width: int, preprocessing: Preprocessing) -> bool:
    """Return whether :class:`Resampling` takes an image of this size; the odd ones are for ``preprocess``."""
    resized_width, resized_height = _resized_size(width, height, preprocessing)
    crop_height, crop_width = preprocessing.crop_size
    short = resized_width <= _LONG * crop_width and resized_height <= _LONG * crop_height
    return short and height <= _TALL * width


@dataclass(frozen=True, slots=True)
class _Image:
    """One image of a batch: where it comes in the batch and in the buffer's pixels, and how it is resampled."""

    number: int
    offset: int
    width: int
    rows: _Taps
    columns: _Taps
    vertical_first: bool

    @property
    def passes(self) -> tuple[_Taps, _Taps]:
        return (self.rows, self.columns) if self.vertical_first else (self.columns, self.rows)

    @property
    def pixels(self) -> int:
        """Pixels between the passes."""
        first, second = self.passes
        return len(first.inside) * second.span

    @property
    def work(self) -> int:
        return self.pixels * len(self.passes[0].positions)


def _grouped(images: Iterable[_Image]) -> list[list[_Image]]:
    """Return groups that are computed at a time: of one order, within the memory, at most half of it padding."""
    groups: list[list[_Image]] = []
    work = taps = pixels = 0
    for image in sorted(images, key=lambda image: (image.vertical_first, len(image.passes[0].positions), image.pixels)):
        work += image.work
        taps, pixels = max(taps, len(image.passes[0].positions)), max(pixels, image.pixels)
        count = len(groups[-1]) + 1 if groups else 1
        if (
            count == 1
            or groups[-1][0].vertical_first != image.vertical_first
            or count * pixels * _BYTES_A_PIXEL > _MEMORY
            or count * pixels * taps > max(2 * work, _SMALL)
        ):
            groups.append([])
            work, taps, pixels = image.work, len(image.passes[0].positions), image.pixels
        groups[-1].append(image)
    return groups


class _Tables:
    """Arrays of integers that travel in one; each is known by where it starts, and its shape."""

    def __init__(self) -> None:
        self._arrays: list[Integers] = []
        self.size = 0

    def add(self, array: npt.NDArray[np.integer | np.bool_]) -> tuple[int, tuple[int, ...]]:
        start = self.size
        self._arrays.append(array.astype(np.int32, copy=False).reshape(-1))
        self.size += array.size
        return start, array.shape

    def write(self, target: Integers) -> None:
        np.concatenate(self._arrays, out=target)


def _stacked(tables: Sequence[Integers]) -> Integers:
    """Return tables of shape (taps, crop) as one of shape (most taps, n, crop); those that lack taps get zeros."""
    stacked = np.zeros((max(map(len, tables)), len(tables), tables[0].shape[1]), np.int32)
    for number, table in enumerate(tables):
        stacked[: len(table), number] = table
    return stacked


def _pass(
    pixels: torch.Tensor, positions: torch.Tensor, weights: torch.Tensor, others: torch.Tensor, *, vertical: bool
) -> torch.Tensor:
    """Return (n, rows, columns, 3) of uint8: sums over the taps, of pixels (any number, 3).

    `positions` and `weights` have the shape (taps, n, length along the pass), `others` (n, length across);
    the index of a pixel is the sum of its position and its place across the pass.
    """
    along, across = (2, 1) if vertical else (1, 2)
    positions, weights, others = positions.unsqueeze(along + 1), weights.unsqueeze(along + 1), others.unsqueeze(across)
    n, rows, columns = (max(sizes) for sizes in zip(positions.shape[1:], others.shape, strict=True))
    sums = torch.full((n, rows, columns, 3), 1 << (_BITS - 1), dtype=torch.int32, device=pixels.device)
    for position, weight in zip(positions, weights, strict=True):
        gathered = pixels.index_select(0, (position + others).view(-1))
        sums.addcmul_(gathered.view(sums.shape).int(), weight.unsqueeze(-1))
    return sums.bitwise_right_shift_(_BITS).clamp_(0, 255).to(torch.uint8)


class _Group:
    """Images whose passes are computed at a time, by tables of one shape."""

    def __init__(self, images: Sequence[_Image], preprocessing: Preprocessing, tables: _Tables) -> None:
        self.numbers = [image.number for image in images]
        self.vertical_first = images[0].vertical_first
        height, width = preprocessing.crop_size
        span = max(image.passes[1].span for image in images)
        # In pixels, how far apart neighbours along the first pass and across it are, in the source and between.
        strides = [(image.width, 1) if self.vertical_first else (1, image.width) for image in images]
        along, across, count = (1, span, height) if self.vertical_first else (width, 1, width)
        first, second = zip(*(image.passes for image in images), strict=True)
        numbers = np.arange(len(images))[:, None]
        self._first = (
            tables.add(_stacked([taps.positions * stride for taps, (stride, _) in zip(first, strides, strict=True)])),
            tables.add(_stacked([taps.weights for taps in first])),
            tables.add(
                np.stack(
                    [
                        image.offset + (taps.low + np.minimum(np.arange(span), taps.span - 1)) * stride
                        for image, taps, (_, stride) in zip(images, second, strides, strict=True)
                    ]
                )
            ),
        )
        self._second = (
            tables.add(_stacked([(taps.positions - taps.low) * along for taps in second])),
            tables.add(_stacked([taps.weights for taps in second])),
            tables.add(numbers * (span * count) + np.arange(count) * across),
        )
        self._padding = None
        if not all(taps.inside.all() for image in images for taps in image.passes):
            self._padding = (
                tables.add(np.stack([image.rows.inside for image in images])),
                tables.add(np.stack([image.columns.inside for image in images])),
                tables.add(np.array([round(255 * value) for value in preprocessing.mean])),
            )

    def run(self, pixels: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Return the crops, of shape (n, height, width, 3) and dtype uint8."""

        def get(place: tuple[int, tuple[int, ...]]) -> torch.Tensor:
            start, shape = place
            return table[start : start + int(np.prod(shape))].view(shape)

        between = _pass(pixels, *map(get, self._first), vertical=self.vertical_first)
        crops = _pass(between.view(-1, 3), *map(get, self._second), vertical=not self.vertical_first)
        if self._padding is None:
            return crops
        rows, columns, fill = map(get, self._padding)
        inside = (rows[:, :, None] & columns[:, None, :]).bool().unsqueeze(-1)
        return torch.where(inside, crops, fill.to(torch.uint8))


class Resampling:
    """How a batch of images of any sizes is brought to the size of the crop on a device.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Height and width of each image, in the order of the batch.
    preprocessing : Preprocessing
    ready : sequence of bool
        Which images ``preprocess`` has brought to the size of the crop already: they stay as they are. The size
        does not tell, because an image that happens to have it may have to be resized and cropped.
    resident : sequence of bool
        Which images lie on the device already: they come last in the buffer, where nothing is copied.

    Attributes
    ----------
    starts : list of int
        Where the pixels of each image start in the buffer, in bytes.
    host_size, size : int
        Bytes of the buffer that the host has to copy, and of all of it.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        preprocessing: Preprocessing,
        *,
        ready: Sequence[bool],
        resident: Sequence[bool],
    ) -> None:
        self._tables = _Tables()
        images = []
        offset = host_pixels = 0
        for number in sorted(range(len(sizes)), key=resident.__getitem__):
            images.append(_planned(number, offset, sizes[number], preprocessing, ready[number]))
            offset += sizes[number][0] * sizes[number][1]
            host_pixels = host_pixels if resident[number] else offset
        self._groups = [_Group(group, preprocessing, self._tables) for group in _grouped(images)]
        order = [number for group in self._groups for number in group.numbers]
        self._order = None if order == sorted(order) else self._tables.add(np.argsort(order))
        header = 4 * self._tables.size
        self.starts = [header + 3 * image.offset for image in sorted(images, key=lambda image: image.number)]
        self.host_size, self.size = header + 3 * host_pixels, header + 3 * offset

    def write_tables(self, buffer: npt.NDArray[np.uint8]) -> None:
        """Write what precedes the pixels into the buffer."""
        self._tables.write(buffer[: 4 * self._tables.size].view(np.int32))

    def run(self, buffer: torch.Tensor) -> torch.Tensor:
        """Return the crops of a whole buffer, as shape (n, height, width, 3) and dtype uint8, on its device.

        Parameters
        ----------
        buffer : torch.Tensor of shape (size,) and dtype uint8
            Tables and pixels, each image's from its start and in the order of (height, width, 3).
        """
        header = 4 * self._tables.size
        table, pixels = buffer[:header].view(torch.int32), buffer[header : self.size].view(-1, 3)
        crops = torch.cat([group.run(pixels, table) for group in self._groups])
        if self._order is None:
            return crops
        start, (count,) = self._order
        return crops.index_select(0, table[start : start + count])


def _planned(number: int, offset: int, size: tuple[int, int], preprocessing: Preprocessing, ready: bool) -> _Image:
    height, width = size
    resized_width, resized_height = (width, height) if ready else _resized_size(width, height, preprocessing)
    crop_height, crop_width = preprocessing.crop_size
    lost = height - resized_height
    return _Image(
        number,
        offset,
        width,
        _taps(height, resized_height, crop_height, preprocessing.interpolation),
        _taps(width, resized_width, crop_width, preprocessing.interpolation),
        _CHOOSES_ORDER and lost > 0 and lost > 2 * (width - resized_width),
    )
