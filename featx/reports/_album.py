"""The images behind a store, small enough to be carried in a page."""

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from math import ceil

from featx.caching import reopen_source
from featx.errors import FeatxError, SampleError
from featx.extraction import default_workers
from featx.sources import Source, content_digest, decode_image
from featx.store import FeatureStore

__all__ = ["Album"]

_QUALITY = 75
"""Of a thumbnail; at that WebP takes 1 to 2 KB for 64 pixels."""


class Album:
    """The images that the rows of a store are of, as thumbnails.

    The source is opened again where the store says it was. An image that has other bytes than it had is not shown: it
    is not what the features are of.

    Parameters
    ----------
    store : FeatureStore
    source : Source, optional
        The source, if it has moved or was in memory.

    Attributes
    ----------
    problem : str or None
        Why there are no images at all.
    """

    def __init__(self, store: FeatureStore, source: Source | None = None) -> None:
        self.store = store
        self._source = source
        self.problem: str | None = None
        if source is None:
            try:
                self._source = reopen_source(store)
            except FeatxError as error:
                self.problem = str(error)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {} if self._source is None else {sample.key: i for i, sample in enumerate(self._source.samples)}

    def thumbnails(self, rows: Iterable[int], side: int = 96) -> dict[int, str]:
        """Return thumbnails as ``data:`` addresses, which a page can hold.

        Parameters
        ----------
        rows : iterable of int
            Of the store.
        side : int
            Most pixels of the longer side; a smaller image keeps its size.

        Returns
        -------
        dict of int to str
            Those of the images that are still there, and as they were.
        """
        wanted = [row for row in dict.fromkeys(rows) if self.store.keys[row] in self._places]
        with ThreadPoolExecutor(default_workers()) as pool:
            made = pool.map(lambda row: self._thumbnail(row, side), wanted)
            return {row: address for row, address in zip(wanted, made, strict=True) if address is not None}

    def _thumbnail(self, row: int, side: int) -> str | None:
        from PIL import Image

        assert self._source is not None
        try:
            data = self._source.read(self._places[self.store.keys[row]])
            if content_digest(data) != self.store.digests[row]:
                return None
            image = decode_image(data, enough=lambda whole, scaled: max(scaled) >= min(2 * side, max(whole)))
        except SampleError:
            return None
        scale = min(1.0, side / max(image.size))
        small = image.resize(
            (ceil(image.width * scale), ceil(image.height * scale)), Image.Resampling.BOX if scale < 1 else None
        )
        file = io.BytesIO()
        small.save(file, "WEBP", quality=_QUALITY, method=2)
        return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
