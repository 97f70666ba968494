"""Files and folders behind URLs, through fsspec: listed, read, and read in parts, with deadlines and second tries."""

import errno
import hashlib
import os
import posixpath
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from featx.errors import FeatxError, MissingDependencyError, SampleError, SourceError, did_you_mean
from featx.sources._base import one_line
from featx.sources._files import NO_STAMP, Stamp, StrPath, check_size, encode_path, real_path, reason
from featx.sources._layout import is_ignored
from featx.sources._location import DiskLocation, Location, RangeFile
from featx.sources._recent import Recent

DEADLINE = 30.0
"""Seconds that one request may take."""

TRIES = 3
"""How often a request is made, if it fails for a reason that may pass."""

WAIT = 0.5
"""Seconds before the second try; before the third four times as many."""

BLOCK = 4 << 20
"""Bytes that are read at a time of files that are read from one end to the other."""

_BLOCKS: Recent[bytes] = Recent(16 * BLOCK, len)
_TOUCHED = 64

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_WEB = ("http", "https")
_WITHOUT_HOSTS = ("file", "local", "memory")
_WITH_PASSWORDS = ("ftp", "ftps", "sftp", "smb", "ssh", "webdav", "webhdfs")

_TIMES = ("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "modified", "created")
_TAGS = ("ETag", "etag", "md5Hash", "Content-MD5", "generation", "checksum", "blob_id", "ino", "modify", "last_commit")
_PASSING = (408, 425, 429)
_DEEPEST = 64
_LISTERS = 16

R = TypeVar("R")
Options = Mapping[str, Any]


def is_url(given: str) -> bool:
    """Tell whether a text names something behind a URL, and not on disk."""
    return _URL.match(given) is not None


def locate(given: StrPath, options: Options | None = None) -> Location:
    """Return where a path or a URL leads.

    Parameters
    ----------
    given : str or path-like
    options : dict, optional
        What fsspec is to be given for the URL's protocol, beside its own configuration.
    """
    text = os.fspath(given)
    return UrlLocation(text, options) if is_url(text) else DiskLocation(real_path(text))


class UrlLocation(Location):
    """A file or folder behind a URL.

    No connection is kept, so that it may be pickled, and used in any thread and process: fsspec has its own for each.

    Parameters
    ----------
    url : str
    options : dict, optional
        For fsspec.
    inside : str
        Path of the file below the folder that `url` is.
    """

    def __init__(self, url: str, options: Options | None = None, inside: str = "") -> None:
        protocol, rest = url.split("://", 1)
        self.protocol = protocol.lower()
        self._url = f"{self.protocol}://{rest.rstrip('/')}"
        self._options = dict(options or {})
        self._inside = inside
        shown = _without_password(self._url, self.protocol)
        super().__init__(f"{shown}/{inside}" if inside else shown)

    @property
    def last(self) -> str:
        text = re.split("[?#]", self.text, maxsplit=1)[0] if self.protocol in _WEB else self.text
        name = text.split("://", 1)[1].rstrip("/").rpartition("/")[2]
        return unquote(name, errors="surrogateescape") if self.protocol in _WEB else name

    @property
    def folder(self) -> "UrlLocation":
        text = re.split("[?#]", self._url, maxsplit=1)[0] if self.protocol in _WEB else self._url
        above = text.split("://", 1)[1].rpartition("/")[0]
        return UrlLocation(f"{self.protocol}://{above}", self._options)

    def join(self, name: str) -> "UrlLocation":
        root = self._url.split("://", 1)[1]
        inside = f"{self._inside}/{name}" if self._inside else name
        if not {"", ".", ".."}.isdisjoint(inside.split("/")):
            host, _, path = ("", "", root) if self.protocol in _WITHOUT_HOSTS else root.partition("/")
            whole = "/" + f"{path}/{inside}".lstrip("/")  # of two slashes in front normpath thinks otherwise
            folder, _, inside = posixpath.normpath(whole).rpartition("/")
            root = f"{host}{folder}"
        return UrlLocation(f"{self.protocol}://{root}", self._options, inside)

    def check(self) -> None:
        """Raise MissingDependencyError or SourceError if fsspec cannot do what the URL takes; asks nobody."""
        self._at()

    def stamp(self) -> Stamp:
        return NO_STAMP  # asking would take as long as reading

    def is_folder(self) -> bool:
        """Tell whether files lie below this URL; of the web only its spelling tells."""
        if self.protocol in _WEB:
            return False
        filesystem, path = self._at()
        return bool(self._ask(filesystem.isdir, path))

    def walk(self, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, Stamp]]:
        root = self._at()[1].rstrip("/")
        folders, depth = [root], 0
        with ThreadPoolExecutor(_LISTERS, thread_name_prefix="featx-list") as pool:
            while folders:
                if depth > _DEEPEST:
                    raise SourceError(f"{self.text!r} has folders in folders, more than {_DEEPEST} deep: give a part")
                found: list[str] = []
                for folder, entries in zip(folders, pool.map(partial(self._entries, root), folders), strict=True):
                    for name, is_folder, stamp in entries:
                        if is_folder:
                            found.append(f"{folder}/{name}")
                        elif is_wanted(self._decoded(name)):
                            yield self._decoded(f"{folder}/{name}"[len(root) + 1 :]), stamp
                folders, depth = found, depth + 1

    def _entries(self, root: str, folder: str) -> list[tuple[str, bool, Stamp]]:
        """Return the names in a folder, whether each is a folder, and their stamps."""
        filesystem, _ = self._at()
        filesystem.invalidate_cache(folder)  # what it was asked before may be old
        try:
            listed = self._ask(filesystem.ls, f"{folder}/" if self.protocol in _WEB else folder, detail=True)
        except OSError as error:
            raise SourceError(
                f"folder {self.text + folder[len(root) :]!r} cannot be listed ({reason(error)}): make it readable, or"
                " move it out of the source"
            ) from error
        filesystem.invalidate_cache(folder)  # nor is it to be kept
        entries = []
        for info in listed:
            path = str(info["name"]).rstrip("/")
            name = path[len(folder) + 1 :]
            if path.startswith(f"{folder}/") and "/" not in name and not is_ignored(name):
                entries.append((name, info.get("type") == "directory", _stamp(info)))
        return entries

    def read(self) -> bytes:
        filesystem, path = self._at()
        try:
            data: bytes = self._ask(filesystem.cat_file, path, **self._as_it_lies(filesystem))
        except OSError as error:
            raise SampleError(f"cannot be read: {reason(error)}") from error
        check_size(len(data))
        return data

    def open(self) -> RangeFile:
        return _UrlFile(self, _stamp(self._info()))

    def part(self, start: int, stop: int, size: int) -> bytes:
        """Return the bytes from `start` to `stop` of the file, which has `size`; raises OSError."""
        filesystem, path = self._at()
        limits = {} if (start, stop) == (0, size) else {"start": start, "end": stop}
        data: bytes = self._ask(filesystem.cat_file, path, **limits, **self._as_it_lies(filesystem))
        if len(data) != stop - start:
            raise OSError(
                errno.EIO,
                f"its server gave {len(data):,} bytes for {stop - start:,}; it must give parts of files, or the file"
                " has changed",
            )
        return data

    def _info(self) -> Mapping[str, Any]:
        filesystem, path = self._at()
        filesystem.invalidate_cache(path)
        info: Mapping[str, Any] = self._ask(filesystem.info, path, **_deadline(filesystem))
        if info.get("type") == "directory":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return info

    def _as_it_lies(self, filesystem: Any) -> dict[str, Any]:
        """Return the options of a request for bytes: on the web, they are not to be compressed on the way."""
        options: dict[str, Any] = {**_deadline(filesystem)}
        if self.protocol in _WEB:
            options["headers"] = {**filesystem.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
        return options

    def _at(self) -> tuple[Any, str]:
        """Return the file system for this thread or process, and the path in it."""
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingDependencyError(
                f"{self.text!r} needs fsspec, which is not installed: pip install featx[remote]"
            ) from error
        try:
            filesystem, path = url_to_fs(self._url, **self._options)
        except ImportError as error:
            raise MissingDependencyError(
                f"{self.text!r} needs a package that is not installed ({one_line(error)}): install it"
            ) from error
        except ValueError as error:
            raise self._unknown(error) from error
        if self._inside:
            inside = quote(encode_path(self._inside)) if self.protocol in _WEB else self._inside
            path = f"{path.rstrip('/')}/{inside}"
        return filesystem, path

    def _unknown(self, error: ValueError) -> SourceError:
        from fsspec import available_protocols

        if self.protocol in available_protocols():
            return SourceError(f"{self.text!r} cannot be opened ({one_line(error)}): give a URL that can")
        hint = did_you_mean(self.protocol, available_protocols())
        return SourceError(f"{self.text!r} begins with a protocol that fsspec does not know{hint}: give another URL")

    def _decoded(self, name: str) -> str:
        return unquote(name, errors="surrogateescape") if self.protocol in _WEB else name

    def _ask(self, request: Callable[..., R], *args: Any, **options: Any) -> R:
        """Return what a request gives, tried again if that may help; raises OSError with the reason in it."""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(WAIT * 4 ** (attempt - 1))
            try:
                return request(*args, **options)
            except FeatxError:
                raise
            except Exception as error:  # of fsspec, of the protocol's package, or of what that uses
                failure = _cause(error)
            if not _may_pass(failure):
                break
        raise OSError(errno.ENOENT if isinstance(failure, FileNotFoundError) else errno.EIO, _why(failure)) from failure


class _UrlFile(RangeFile):
    """A file behind a URL: parts that follow each other come out of blocks, others are read as they are."""

    def __init__(self, location: UrlLocation, stamp: Stamp) -> None:
        self._location = location
        self._token = object()  # of this very file in what is kept of all files
        self._touched: OrderedDict[int, None] = OrderedDict()
        self._whole: bytes | None = None
        if stamp[0] < 0:  # how long it is only reading tells
            self._whole = location.read()
            stamp = (len(self._whole), *stamp[1:])
        self.stamp = stamp

    def pread(self, size: int, offset: int) -> bytes:
        stop = min(offset + size, self.stamp[0])
        if offset >= stop:
            return b""
        if self._whole is not None:
            return self._whole[offset:stop]
        if stop - offset >= BLOCK or not self._follows(offset // BLOCK):
            return self._location.part(offset, stop, self.stamp[0])
        numbers = range(offset // BLOCK, -(-stop // BLOCK))
        data = b"".join(_BLOCKS.get((self._token, number), partial(self._block, number)) for number in numbers)
        return data[offset - numbers[0] * BLOCK : stop - numbers[0] * BLOCK]

    def _follows(self, number: int) -> bool:
        """Return whether something near a block was read before, and note that it is now."""
        follows = self.stamp[0] <= BLOCK or any(near in self._touched for near in (number, number - 1))
        self._touched[number] = None
        if len(self._touched) > _TOUCHED:
            self._touched.popitem(last=False)
        return follows

    def _block(self, number: int) -> bytes:
        return self._location.part(number * BLOCK, min((number + 1) * BLOCK, self.stamp[0]), self.stamp[0])


def _without_password(url: str, protocol: str) -> str:
    """Return a URL without what gives access: of the web that may be the user's name, too."""
    if protocol in _WEB:
        return re.sub(r"(?<=://)[^/?#]*@", "", url)
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1@", url) if protocol in _WITH_PASSWORDS else url


def _stamp(info: Mapping[str, Any]) -> Stamp:
    """Return size, time and a digest of the tag that a file system tells of a file."""
    size = info.get("size")
    times = (_nanoseconds(info[name]) for name in _TIMES if info.get(name))
    tag = next((str(info[name]) for name in _TAGS if info.get(name)), None)
    return (-1 if size is None else int(size)), next(filter(None, times), 0), 0 if tag is None else _number(tag)


def _number(tag: str) -> int:
    return int.from_bytes(hashlib.sha256(tag.encode("utf-8", "surrogatepass")).digest()[:8], signed=True)


def _nanoseconds(value: object) -> int:
    """Return a time, in whatever form, in nanoseconds since 1970; 0 for what is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            try:
                value = parsedate_to_datetime(str(value))
            except ValueError:
                return 0
    if isinstance(value, datetime):
        value = value if value.tzinfo else value.replace(tzinfo=UTC)
        past = value - datetime(1970, 1, 1, tzinfo=UTC)
        return (past.days * 86_400 + past.seconds) * 1_000_000_000 + past.microseconds * 1000
    return round(value * 1_000_000_000) if isinstance(value, (int, float)) else 0


def _deadline(filesystem: Any) -> dict[str, float]:
    return {"timeout": DEADLINE} if getattr(filesystem, "async_impl", False) else {}


def _cause(error: Exception) -> BaseException:
    """Return what really went wrong: fsspec says of whatever happens on the web that the file is not there."""
    cause = error.__cause__
    is_web = isinstance(cause, OSError) or type(cause).__module__.startswith("aiohttp")
    return cause if cause is not None and is_web and isinstance(error, FileNotFoundError) else error


def _may_pass(error: BaseException) -> bool:
    status = getattr(error, "status", None)
    if isinstance(status, int) and status:
        return status in _PASSING or status >= 500
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)):
        return False
    is_web = type(error).__module__.startswith("aiohttp") and not isinstance(error, ValueError)
    return isinstance(error, OSError) or is_web


def _why(error: BaseException) -> str:
    status = getattr(error, "status", None)
    if isinstance(status, int) and status:
        return f"{status} {getattr(error, 'message', '')}".strip()
    if isinstance(error, FileNotFoundError):
        return os.strerror(errno.ENOENT)
    if isinstance(error, PermissionError):
        return os.strerror(errno.EACCES)
    if isinstance(error, TimeoutError):
        return f"no answer within {DEADLINE:g} seconds"
    return re.sub(r"://[^/\s@]*@", "://", one_line(error))  # which may name the URL, password and all
