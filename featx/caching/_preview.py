"""What the network is about to see: some images as they come out of the preprocessing."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import numpy.typing as npt

from featx.caching._network import Network, NetworkSettings
from featx.errors import ParameterError, SampleError
from featx.extraction import Timings, augmentation_for, load_sample
from featx.labels import Label
from featx.sources import Source, open_source
from featx.spec import DEFAULT_BACKBONE
from featx.store import cache_folder

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Seen", "preview"]

_CLASSES = 48
"""Most classes of which images are shown."""

_TRIED = 8
"""How many images are tried for each that is shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One image as the network sees it.

    Parameters
    ----------
    key : str
    label : str, tuple or None
        See :class:`featx.Sample`.
    pixels : ndarray of shape (height, width, 3) and dtype uint8
        Resized and cropped; mean and std are not applied.
    view : int
        Which view of the image it is.
    """

    key: str
    label: Label | None
    pixels: npt.NDArray[np.uint8]
    view: int = 0


def preview(
    source: Any,
    backbone: "str | nn.Module" = DEFAULT_BACKBONE,
    *,
    count: int = 16,
    layers: Sequence[str] = (),
    limit: int | None = None,
    cache: "str | os.PathLike[str] | None" = None,
    **settings: Unpack[NetworkSettings],
) -> list[Seen]:
    """Return some images of each class as an extraction would show them to the network.

    Parameters
    ----------
    source, backbone, limit, cache
        As :func:`extract` takes them.
    count : int
        About how many pictures, all views of an image among them: equally many of each class, and at least one. Of
        more than 48 classes, so many that are spread over them.
    layers : sequence of str
        Names of nodes; empty for the default layer.
    **settings
        Those of :func:`extract` that decide the numbers.

    Returns
    -------
    list of Seen
        In the order of the classes. The images are drawn at random, the same ones each time; what cannot be used is
        passed over.

    Raises
    ------
    SampleError
        If none of those tried can be used.
    """
    if count < 1:
        raise ParameterError(f"count must be at least 1; got {count}")
    opened = open_source(source, limit=limit)
    spec = Network(cache_folder(cache), backbone, layers=layers, **settings).resolved.wanted[0].spec
    groups = _groups(opened)
    augmentation = augmentation_for(spec.views, spec.augment, spec.augment_seed)
    each = ceil(count / (len(groups) * spec.views))
    random = np.random.default_rng(0)
    seen, failures = [], []
    for rows in groups:
        found = 0
        for row in random.permutation(rows)[: _TRIED * each].tolist():
            if found == each:
                break
            sample = opened.samples[row]
            loaded = load_sample(opened, spec, augmentation, lambda digest: 0, Timings(), row, resize=True)
            if isinstance(loaded, SampleError):
                failures.append(f"{sample.key!r}: {loaded}")
            else:
                views = map(np.asarray, loaded[1])
                seen += [Seen(sample.key, sample.label, pixels, view) for view, pixels in enumerate(views)]
                found += 1
    if not seen:
        raise SampleError(
            f"none of {len(failures)} images could be used to show it ({failures[0]}): look at the source"
        )
    return seen


def _groups(source: Source) -> list[list[int]]:
    """Return the samples of each class, or of some of many; together those that have not one class."""
    rows: dict[str | None, list[int]] = {}
    for row, sample in enumerate(source.samples):
        rows.setdefault(sample.label if isinstance(sample.label, str) else None, []).append(row)
    groups = [rows[name] for name in (*source.classes, None) if name in rows]
    shown = min(len(groups), _CLASSES)
    return [groups[i * len(groups) // shown] for i in range(shown)]
