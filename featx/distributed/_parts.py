"""Parts on their way: a folder, anywhere that fsspec reaches, through which they come to the one who joins them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from featx.errors import FeatxError, MissingDependencyError, ParameterError, StoreError, first_line
from featx.store import Part, Workspace

__all__ = ["PartsFolder"]


class PartsFolder:
    """A folder in which workers leave parts, and from which they are taken into a workspace.

    What is pickled of it is where it is.

    Parameters
    ----------
    url : str
        Of a folder for the parts of any works: ``s3://...``, another URL that fsspec knows, or a path.
    work : str
        Name of this work's folder in it.

    Raises
    ------
    ParameterError
        If fsspec does not know that kind of URL.
    MissingDependencyError
        If the package that does is not installed.
    """

    def __init__(self, url: str, work: str) -> None:
        self.url = url
        self._work = work
        try:
            from fsspec.core import url_to_fs

            self._files, root = url_to_fs(url)
        except ImportError as error:
            raise MissingDependencyError(
                f"parts {url!r} need a package that is not installed ({first_line(error)}): install it on every machine"
            ) from error
        except ValueError as error:
            raise ParameterError(
                f"parts must be a folder or a URL that fsspec knows, such as s3://bucket/folder; got {url!r}"
                f" ({first_line(error)})"
            ) from error
        self._root = f"{root.rstrip('/')}/{work}"

    def __reduce__(self) -> tuple[Any, ...]:
        return PartsFolder, (self.url, self._work)

    def leave(self, part: Part, digest: str) -> None:
        """Write a part of the work whose manifest has this digest."""
        with tempfile.TemporaryDirectory() as folder:
            workspace = Workspace(Path(folder), digest)
            workspace.write(part)
            file = workspace.file_of(part.start, part.stop)
            with self._errors("written"):
                self._files.makedirs(self._root, exist_ok=True)
                self._files.put_file(str(file), f"{self._root}/{file.name}")

    def take(self, name: str, workspace: Workspace) -> bool:
        """Move a part's file into a workspace; return whether it is whole and of its work. If not, it is gone."""
        path = f"{self._root}/{name}"
        with self._errors("read"):
            whole = workspace.receive(name, lambda file: self._files.get_file(path, str(file)))
        with self._errors("removed"):
            self._files.rm_file(path)
        return whole

    def take_all(self, workspace: Workspace) -> int:
        """Move whatever parts were left here into a workspace; return how many are of its work."""
        return sum(self.take(name, workspace) for name in self._names())

    def remove(self) -> None:
        """Remove the folder, and parts that were left here twice; what else is in it stays."""
        for name in self._names():
            with self._errors("removed"):
                self._files.rm_file(f"{self._root}/{name}")
        with suppress(Exception):  # it is not empty, or its file system has no folders
            self._files.rmdir(self._root)

    def _names(self) -> list[str]:
        with self._errors("read"):
            self._files.invalidate_cache()
            paths = self._files.ls(self._root, detail=False) if self._files.exists(self._root) else []
        return [name for name in (path.rpartition("/")[2] for path in paths) if Workspace.is_part(name)]

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Make one sentence of whatever a file system raises: each has its own exceptions."""
        try:
            yield
        except FeatxError:
            raise
        except Exception as error:
            raise StoreError(
                f"parts in {self.url!r} cannot be {what} ({type(error).__name__}: {first_line(error)}): see that every"
                " machine can read, write and remove files there"
            ) from error
