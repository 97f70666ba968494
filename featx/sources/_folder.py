"""The sources that a folder and a single file are."""

import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from featx.sources._base import ImageArray, Sample, Source
from featx.sources._files import Stamp, StrPath, no_images
from featx.sources._layout import arrange, is_image_name
from featx.sources._remote import locate


class FolderSource(Source):
    """Images in a folder: class folders, split folders with class folders, or a flat folder without labels.

    See :func:`featx.sources.arrange` for what the folders mean. Symbolic links are followed, except
    those that lead back to a folder they lie in.

    Parameters
    ----------
    path : str or path-like
        The folder, or its URL.
    storage_options : dict, optional
        What fsspec is to be given for a URL, beside its own configuration.
    """

    def __init__(self, path: StrPath, *, storage_options: Mapping[str, Any] | None = None) -> None:
        self._root = locate(path, storage_options)
        super().__init__(self._root.last or "root", f"folder:{self._root.text}")

    @cached_property
    def _files(self) -> dict[str, Stamp]:
        return dict(self._root.walk(is_image_name))

    def is_empty(self) -> bool:
        """Tell whether there is no image in the folder; this lists it."""
        return not self._files

    def _list(self) -> Iterable[Sample]:
        files = self._files
        del self._files  # the samples say all of it
        places = arrange(files)
        if not places:
            raise no_images(self._root.text)
        return [Sample(*place, *files[place.key]) for place in places]

    def _read(self, index: int) -> bytes | ImageArray:
        return self._root.join(self.samples[index].key).read()


class FileSource(Source):
    """A single image file, whatever its name ends in.

    Parameters
    ----------
    path : str or path-like
        The file, or its URL; its key is the path exactly as given here.
    storage_options : dict, optional
        As for :class:`FolderSource`.
    """

    def __init__(self, path: StrPath, *, storage_options: Mapping[str, Any] | None = None) -> None:
        self._key = os.fspath(path)
        self._location = locate(path, storage_options)
        super().__init__(os.path.splitext(self._location.last)[0], f"file:{self._location.text}")

    def _list(self) -> Iterable[Sample]:
        return [Sample(self._key, None, None, *self._location.stamp())]

    def _read(self, index: int) -> bytes | ImageArray:
        return self._location.read()
