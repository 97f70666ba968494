"""The images behind a store, small enough to be carried in a page."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from featx.caching import reopen_source
from featx.errors import FeatxError, SampleError
from featx.extraction import default_workers
from featx.reports._gallery import data_address, small_image
from featx.sources import Source, content_digest
from featx.store import FeatureStore

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Album"]


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

    def image(self, row: int, side: int) -> "Image.Image | None":
        """Return an image that is large enough to be shown in so many pixels; None if it is not there, as it was.

        Parameters
        ----------
        row : int
            Of the store.
        side : int
            Pixels of the longer side.
        """
        place = self._places.get(self.store.keys[row])
        if place is None or self._source is None:
            return None
        try:
            data = self._source.read(place)
            return small_image(data, side) if content_digest(data) == self.store.digests[row] else None
        except SampleError:
            return None

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

        def thumbnail(row: int) -> str | None:
            image = self.image(row, side)
            return None if image is None else data_address(image, side)

        wanted = list(dict.fromkeys(rows))
        with ThreadPoolExecutor(default_workers()) as pool:
            made = zip(wanted, pool.map(thumbnail, wanted), strict=True)
            return {row: address for row, address in made if address is not None}
