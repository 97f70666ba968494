"""What a file claims to be, checked from end to end before one array of it is returned.

A hostile HDF5 file can name other files of the host (external storage, virtual datasets, external links),
claim sizes far beyond its own, or carry filters that expand without bound. So only plain contiguous datasets
(and features in chunks, see `_chunks`) of the known names, types and shapes, directly in the root group, are
taken; and of HDF5 only their places in the file are asked for, the bytes themselves come from the memory map.
Features may be virtual where that says no more than which stores, below the file's own folder, they lie in (see
`_virtual`): HDF5 opens none of them, and what they hold must have the digests that the file has.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from h5py import h5a, h5d, h5g, h5i, h5l, h5o, h5s, h5t

from featx.errors import StoreError
from featx.store import _format as names
from featx.store._chunks import Chunks, read_chunks
from featx.store._mapped import MappedFile, spawning
from featx.store._virtual import Piece, read_virtual

_LONGEST_ATTRIBUTE = 4096
_NUMBERS: Mapping[names.Kind, Mapping[str, Any]] = {
    "features": {"<f4": h5t.IEEE_F32LE, "<f2": h5t.IEEE_F16LE},
    "int64": {"<i8": h5t.STD_I64LE},
    "int8": {"|i1": h5t.STD_I8LE},
    "float64": {"<f8": h5t.IEEE_F64LE},
}


@dataclass(frozen=True)
class Element:
    """Where one array lies in the file, and what it is."""

    name: str
    kind: names.Kind
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return self.dtype.itemsize * _count(self.shape)


@dataclass(frozen=True)
class Layout:
    """A file whose header, names, types, shapes and sizes are right; its contents are not read yet.

    A pickle of it keeps the path and the checksum, and refuses another file (see `MappedFile`).
    """

    file: MappedFile
    elements: Mapping[str, Element]
    chunks: Chunks | None
    """Of the features, if they are compressed."""
    axes: str
    spec_digest: str
    checksum: str
    shards: tuple["Layout", ...] = ()
    """The stores that the features lie in, row after row, if they do not lie here."""

    @property
    def path(self) -> Path:
        """The file's name."""
        return self.file.path

    @property
    def row_counts(self) -> tuple[int, ...]:
        """Rows of each stretch of features that lies in one file."""
        return tuple(part.elements[names.FEATURES].shape[0] for part in self.shards or (self,))

    @property
    def data(self) -> npt.NDArray[np.uint8]:
        """The whole file, a read-only memory map."""
        return self.file.data

    def __reduce__(self) -> tuple[Any, ...]:
        return _reread, (self.file, self.checksum, [shard.file for shard in self.shards] if spawning() else None)

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return an element as a view of the file; not the features if they are compressed or lie in shards."""
        element = self.elements[name]
        raw = self.data[element.offset : element.offset + element.nbytes]
        return raw.view(element.dtype).reshape(element.shape)


def read_layout(path: Path) -> Layout:
    """Return the layout of a store, or raise StoreError saying why the file is none."""
    return _read(MappedFile(path))


def named_shards(path: Path) -> tuple[Path, ...]:
    """Return the files that a store says its features lie in, whether or not they are there; none of a plain store."""
    return tuple(path.parent / piece.name for piece in _read_alone(MappedFile(path))[1])


def _reread(file: MappedFile, checksum: str, shards: Sequence[MappedFile] | None) -> Layout:
    """Return the layout of a store that was pickled, or raise StoreError if it is another by now."""
    layout = _read(file, shards)
    if layout.checksum != checksum:
        raise StoreError(f"{file.path} has been replaced since the store was pickled: open it again and pickle that")
    return layout


def _read(file: MappedFile, shards: Sequence[MappedFile] | None = None) -> Layout:
    layout, pieces = _read_alone(file)
    return replace(layout, shards=tuple(_open_shards(layout, pieces, shards))) if pieces else layout


def _read_alone(file: MappedFile) -> tuple[Layout, tuple[Piece, ...]]:
    """Return the layout of a file, and the shards that it names."""
    with file.hdf5() as hdf5:
        try:
            return _audit(file.path, file, hdf5)
        except StoreError:
            raise
        except Exception as error:  # whatever h5py makes of structures that are not what they should be
            raise StoreError(f"{file.path} is damaged ({error}): delete it and extract again") from error


def _open_shards(layout: Layout, pieces: Sequence[Piece], files: Sequence[MappedFile] | None) -> Iterator[Layout]:
    """Yield the layouts of the shards of a store, which are known to go with it as far as that can be seen outside."""
    paths = [layout.path.parent / piece.name for piece in pieces]
    missing = [str(path) for path in paths if not path.exists()] if files is None else []
    if missing:
        raise StoreError(
            f"{layout.path} is incomplete ({len(missing)} of its {len(paths)} shards are missing, such as"
            f" {missing[0]}): put them back, or delete it and extract again"
        )
    whole = layout.elements[names.FEATURES]
    for path, piece, file in zip(paths, pieces, files or map(MappedFile, paths), strict=True):
        shard, further = _read_alone(file)
        found = shard.elements[names.FEATURES]
        if further:
            raise _refused(layout.path, names.FEATURES, f"its shard {path} has shards itself")
        if (found.shape, found.dtype, shard.axes, shard.spec_digest) != (
            (piece.rows, *whole.shape[1:]),
            whole.dtype,
            layout.axes,
            layout.spec_digest,
        ):
            raise other_shard(layout, shard)
        yield shard


def other_shard(layout: Layout, shard: Layout) -> StoreError:
    """Return the error for a shard that is another than the store was written with."""
    return StoreError(
        f"{layout.path} is damaged (its shard {shard.path} is another file than it was written with): put the right one"
        " back, or delete it and extract again"
    )


def _audit(path: Path, mapped: MappedFile, file: Any) -> tuple[Layout, tuple[Piece, ...]]:
    version = _version(path, file)
    known = names.known_names(version)
    size, end = len(mapped.data), mapped.end
    if size != end:
        what = f"{end - size} bytes of its end are missing" if size < end else f"{size - end} bytes follow its end"
        raise StoreError(f"{path} is damaged ({what}): delete it and extract again")
    found = _names(path, file, known)
    for name in names.ELEMENTS:
        if name not in found:
            raise StoreError(f"{path} is incomplete ({name!r} is missing): delete it and extract again")
    elements: dict[str, Element] = {}
    chunks = None
    pieces: tuple[Piece, ...] = ()
    attributes: dict[str, str] = {}
    for name, kind in names.KINDS.items():
        if name not in found:
            continue
        dataset = h5d.open(file, name.encode())
        how = dataset.get_create_plist().get_layout()
        if name == names.FEATURES and how == h5d.VIRTUAL and version >= names.VIRTUAL_VERSION:
            pieces = _pieces(path, dataset)
        elements[name] = _element(path, dataset, name, kind, virtual=bool(pieces) and name == names.FEATURES)
        if name == names.FEATURES and how == h5d.CHUNKED:
            chunks = _chunks(path, dataset, elements[name], size)
        elif name != names.FEATURES or not pieces:
            elements[name] = _placed(path, dataset, elements[name], size)
        if _text_attribute(path, dataset, names.ATTRIBUTE_TYPE) != kind:
            raise _refused(path, name, f"its type is not {kind!r}")
        for owner, attribute in (
            (names.FEATURES, names.ATTRIBUTE_AXES),
            (names.SPEC, names.ATTRIBUTE_DIGEST),
        ):
            if name == owner:
                attributes[attribute] = _text_attribute(path, dataset, attribute)
    axes = attributes[names.ATTRIBUTE_AXES]
    _check_shapes(path, elements, axes)
    if pieces and sum(piece.rows for piece in pieces) != elements[names.FEATURES].shape[0]:
        raise _refused(path, names.FEATURES, "its shards have another number of rows")
    checksum = _text_attribute(path, h5g.open(file, b"/"), names.ATTRIBUTE_CHECKSUM)
    return Layout(mapped, elements, chunks, axes, attributes[names.ATTRIBUTE_DIGEST], checksum), pieces


def _version(path: Path, file: Any) -> int:
    """Return the format version, or raise StoreError unless the root group says it is a store this featx reads."""
    root = h5g.open(file, b"/")
    if not h5a.exists(root, names.ATTRIBUTE_FORMAT.encode()):
        raise StoreError(f"{path} must be an HDF5 file written by featx; it is another kind of HDF5 file")
    found = _text_attribute(path, root, names.ATTRIBUTE_FORMAT)
    if found != names.FORMAT_NAME:
        raise StoreError(f"{path} must have the format {names.FORMAT_NAME!r}; got {found!r}")
    version = h5a.open(root, names.ATTRIBUTE_VERSION.encode())
    if version.shape != () or not version.get_type().equal(h5t.STD_I64LE):
        raise StoreError(f"{path} is damaged (its format version is no integer): delete it and extract again")
    number = np.empty((), dtype="<i8")
    version.read(number)
    if number > names.FORMAT_VERSION:
        raise StoreError(
            f"{path} has format version {number}, and this featx reads up to {names.FORMAT_VERSION}: upgrade featx"
        )
    if number < 1:
        raise StoreError(f"{path} is damaged (format version {number}): delete it and extract again")
    return int(number)


def _names(path: Path, file: Any, known: Mapping[str, names.Kind]) -> set[str]:
    """Return the names in the root group; anything but known names of datasets within the file is refused."""
    found = set()
    for raw in file:
        name = raw.decode("utf-8", "backslashreplace")
        if name not in known:
            raise _refused(path, name, "no store of its version has an element of that name")
        if file.links.get_info(raw).type != h5l.TYPE_HARD:
            raise _refused(path, name, "it is a link")
        if h5o.get_info(file, raw).type != h5o.TYPE_DATASET:
            raise _refused(path, name, "it is no dataset")
        found.add(name)
    return found


def _element(path: Path, dataset: Any, name: str, kind: names.Kind, *, virtual: bool) -> Element:
    """Return what a dataset is if it lies where it may and has the type of its kind; not yet where in the file."""
    if h5i.get_type(dataset) != h5i.DATASET:
        raise _refused(path, name, "it is no dataset")
    layout = dataset.get_create_plist()
    if layout.get_layout() == h5d.VIRTUAL and not virtual:
        raise _refused(path, name, "it is a virtual dataset")
    if layout.get_external_count() != 0:
        raise _refused(path, name, "it is stored in another file")
    space = dataset.get_space()
    if space.get_simple_extent_type() not in (h5s.SIMPLE, h5s.SCALAR):
        raise _refused(path, name, "it has no shape")
    shape = tuple(int(length) for length in dataset.shape)
    return Element(name, kind, _dtype(path, dataset.get_type(), name, kind), shape, 0)


def _placed(path: Path, dataset: Any, element: Element, file_size: int) -> Element:
    """Return an element with its place in the file, if it is contiguous there."""
    layout = dataset.get_create_plist()
    if layout.get_layout() != h5d.CONTIGUOUS or layout.get_nfilters() != 0:
        raise _refused(path, element.name, "it is not laid out contiguously")
    if element.nbytes == 0:
        return element
    offset = dataset.get_offset()
    if offset is None or offset < 0 or offset + element.nbytes > file_size:
        raise _refused(path, element.name, f"{element.nbytes:,} bytes are declared and the file has {file_size:,}")
    return replace(element, offset=int(offset))


def _pieces(path: Path, dataset: Any) -> tuple[Piece, ...]:
    try:
        return read_virtual(dataset.get_create_plist())
    except ValueError as error:
        raise _refused(path, names.FEATURES, str(error)) from error


def _chunks(path: Path, dataset: Any, element: Element, file_size: int) -> Chunks:
    try:
        return read_chunks(dataset, element.shape, element.dtype, file_size)
    except ValueError as error:
        raise _refused(path, element.name, str(error)) from error


def _dtype(path: Path, datatype: Any, name: str, kind: names.Kind) -> np.dtype[Any]:
    if kind in ("text", "json"):
        if datatype.get_class() != h5t.STRING or datatype.is_variable_str() or datatype.get_strpad() != h5t.STR_NULLPAD:
            raise _refused(path, name, "it is not fixed-width text padded with NULs")
        return np.dtype(("S", datatype.get_size()))
    allowed = _NUMBERS[kind]
    for code, candidate in allowed.items():
        if datatype.equal(candidate):
            return np.dtype(code)
    raise _refused(path, name, f"its numbers are not {' or '.join(np.dtype(code).name for code in allowed)}")


def _check_shapes(path: Path, elements: Mapping[str, Element], axes: str) -> None:
    features = elements[names.FEATURES].shape
    if len(features) < 2 or len(axes) != len(features) or min(features) < 1:
        raise _refused(path, names.FEATURES, f"its shape is {features} and its axes are {axes!r}")
    failed = elements[names.FAILED_KEY].shape
    columns = {names.INDICATOR: names.CLASSES, names.TARGET: names.TARGET_NAME}
    for name, element in elements.items():
        shape = element.shape
        if name == names.FEATURES:
            continue
        if element.kind == "json":
            right = shape == ()
        elif name in columns:
            if columns[name] not in elements:
                raise _refused(path, name, f"there is no {columns[name]!r}")
            right = shape == features[:1] + elements[columns[name]].shape and shape[1:] > (0,)
        elif name in names.ROW_ELEMENTS:
            right = shape == features[:1]
        elif name == names.FAILED_REASON:
            right = shape == failed
        else:
            right = len(shape) == 1
        if not right:
            raise _refused(path, name, f"its shape is {shape} where the features are {features}")
    if names.TARGET in elements and (names.INDICATOR in elements or elements[names.CLASSES].shape != (0,)):
        raise _refused(path, names.TARGET, "there are classes besides")
    if names.TARGET_NAME in elements and names.TARGET not in elements:
        raise _refused(path, names.TARGET_NAME, f"there is no {names.TARGET!r}")


def _text_attribute(path: Path, owner: Any, name: str) -> str:
    """Return a fixed-width text attribute; variable-length ones are not followed."""
    if not h5a.exists(owner, name.encode()):
        raise StoreError(f"{path} is incomplete (attribute {name!r} is missing): delete it and extract again")
    attribute = h5a.open(owner, name.encode())
    datatype = attribute.get_type()
    if (
        attribute.shape != ()
        or datatype.get_class() != h5t.STRING
        or datatype.is_variable_str()
        or datatype.get_size() > _LONGEST_ATTRIBUTE
    ):
        raise _refused(path, name, "it is an attribute of another type than fixed-width text")
    value = np.empty((), dtype=("S", datatype.get_size()))
    attribute.read(value, mtype=datatype)
    return bytes(value[()]).decode("utf-8", "backslashreplace")


def _refused(path: Path, name: str, reason: str) -> StoreError:
    return StoreError(f"{path} is refused because of {name!r} ({reason}): extract again, or ask who made the file")


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:  # exact: a hostile shape overflows int64
        count *= length
    return count
