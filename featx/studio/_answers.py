"""What a run says of an image that was dropped, and the images of its store that are nearest to that."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from featx.errors import FeatxError, SampleError, printable
from featx.prediction import NeighborSearch, Prediction, load
from featx.reports import Album, Origin, data_address, origins_of, small_image
from featx.sources import Sample, Source, content_digest

__all__ = ["Answerer"]

_TOP, _NEAR = 5, 6
"""Classes that are named, and neighbours."""

_SIDE = 192
"""Most pixels of a picture's longer side; twice of what it is shown with."""


class Upload(Source):
    """One image file, as bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__("image", f"upload:{content_digest(data)}")
        self._data = data

    def _list(self) -> Iterable[Sample]:
        return [Sample("image", size=len(self._data))]

    def _read(self, index: int) -> bytes:
        return self._data


class Answerer:
    """A run, ready to be asked: networks and store are loaded when they are first needed, and stay.

    Parameters
    ----------
    run : Path
        Its folder.
    cache : Path
        Where its store is looked for, if it is not where it was.
    """

    def __init__(self, run: Path, cache: Path) -> None:
        self._predictor = load(run)
        self._cache = cache
        self._lock = Lock()

    def answer(self, data: bytes) -> dict[str, Any]:
        """Return what a page needs to show of the answer for an image file, as JSON can hold it.

        Raises
        ------
        FeatxError
            If the run cannot answer images; an image that cannot be used is answered with an ``error``.
        """
        upload = Upload(data)
        with self._lock:  # a network works on one thing at a time
            (found,) = self._predictor.predict(upload)
            if found.error is not None:
                return {"error": printable(found.error)}
            near, note = self._neighbors(upload)
        return {
            "text": printable(_headline(found)),
            "accepted": found.accepted,
            "numbers": _numbers(found),
            "picture": _picture(data),
            "neighbors": near,
            "note": None if note is None else printable(note),
        }

    def _neighbors(self, upload: Upload) -> tuple[list[dict[str, Any]], str | None]:
        """Return the nearest images of the run's store, and what is to be said of them."""
        try:
            if self._search is None:
                return [], f"No neighbours are shown: {self._origin.problem}"
            (found,) = self._search.find(upload, _NEAR)
        except FeatxError as error:
            return [], f"No neighbours are shown: {error}"
        store, pictures = self._search.store, self._album.thumbnails((one.row for one in found.neighbors), _SIDE)
        near = [
            {
                "key": printable(one.key),
                "label": None if one.label is None else printable(one.label),
                "split": printable(store.splits[one.row]),
                "distance": one.distance,
                "picture": pictures.get(one.row),
            }
            for one in found.neighbors
        ]
        if found.row is not None:
            return near, f"The image itself is in the store, as {store.keys[found.row]}."
        return near, self._album.problem

    @cached_property
    def _origin(self) -> Origin:
        """The store that the run was fitted on; the first, if there are several."""
        return origins_of(self._predictor.run, self._cache)[0]

    @cached_property
    def _search(self) -> NeighborSearch | None:
        return None if self._origin.store is None else NeighborSearch(self._origin.store)

    @cached_property
    def _album(self) -> Album:
        assert self._origin.store is not None
        return Album(self._origin.store)


def _headline(found: Prediction) -> str:
    """Return an answer in a few words, without the numbers that stand below it."""
    if found.values:
        return found.text()
    return found.text(1) if found.label is not None else ", ".join(found.labels) or "none of the classes"


def _numbers(found: Prediction) -> list[dict[str, Any]]:
    """Return the likeliest classes, each with its number in words and, of a probability, its share of the whole."""
    form = "{:.1%}" if found.is_probability else "{:.2f}"
    return [
        {"name": printable(name), "text": form.format(score), "share": score if found.is_probability else None}
        for name, score in list(found.scores.items())[:_TOP]
    ]


def _picture(data: bytes) -> str | None:
    """Return an image as it was decoded: browsers do not show all that featx reads."""
    try:
        return data_address(small_image(data, _SIDE), _SIDE)
    except SampleError:
        return None
