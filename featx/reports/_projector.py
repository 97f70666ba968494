"""A store as the files that TensorBoard's Embedding Projector reads."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, StoreError, printable
from featx.labels import label_words
from featx.reports._album import Album
from featx.reports._vectors import Rows, as_vectors, spread
from featx.sources import Source
from featx.store import FeatureStore, checked_rows

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ProjectorFiles", "export_projector"]

_MOST = 100_000
"""Samples that the projector loads."""

_SPRITE, _SIDE = 8192, 64
"""Most pixels of a side of the image that holds all images, which is what browsers take, and of one image in it."""

_LOOKED_AT = 32
"""Images that say whether those of a store are as large as that."""

_CONFIG, _METADATA, _IMAGES = "projector_config.pbtxt", "metadata.tsv", "sprite.png"
_TENSORS, _TEXT = "tensors.bytes", "tensors.tsv"
_FILES = (_CONFIG, _METADATA, _IMAGES, _TENSORS, _TEXT)
"""The first names the others: it goes first, and comes last."""


@dataclass(frozen=True)
class ProjectorFiles:
    """What :func:`export_projector` wrote.

    Attributes
    ----------
    folder : Path
        Where it is; ``tensorboard --logdir FOLDER`` shows it.
    rows : int
        Samples in it.
    left_out : int
        Samples that are not: those beyond 100,000, or whose features are not finite.
    side : int or None
        Pixels of the side of each image; None if there are none.
    problem : str or None
        Why there are none.
    """

    folder: Path
    rows: int
    left_out: int
    side: int | None
    problem: str | None


def export_projector(
    store: FeatureStore,
    folder: str | os.PathLike[str],
    *,
    split: str | None = None,
    overwrite: bool = False,
    source: Source | None = None,
) -> ProjectorFiles:
    """Write a store for TensorBoard's Embedding Projector: features, keys with labels and splits, and small images.

    Maps are averaged over their positions, of views the plain image is taken. Features are held against their digests
    as they are read. Of more than 100,000 samples, which is what the projector loads, so many are written, spread
    evenly. The images lie side by side in one of 8,192 pixels a side at most, 64 pixels each, or fewer if
    they are small or many.

    Parameters
    ----------
    store : FeatureStore
    folder : path
        A new folder, or one without any of these files: ``tensors.bytes`` (float32, row by row), ``metadata.tsv``,
        ``sprite.png``, ``projector_config.pbtxt``.
    split : str, optional
        Only the samples of that split.
    overwrite : bool
        Whether such files may be replaced.
    source : Source, optional
        Where the images are, if not where they were.

    Returns
    -------
    ProjectorFiles

    Raises
    ------
    ParameterError
        If such files are there, the store has no such split, or there is nothing in it to be written.
    StoreError
        If the store is damaged, or the files cannot be written; then the folder is as it was.

    Notes
    -----
    What would break a line of ``metadata.tsv`` or a page in a name is escaped: a tab is ``\\\\t``, a byte that is no
    UTF-8 ``\\\\udcXX``. Numbers to be predicted have a column each; what is not known is empty.
    """
    place = Path(folder)
    there = [name for name in _FILES if os.path.lexists(place / name)]
    if there and not overwrite:
        raise ParameterError(
            f"{place / there[0]} is there already: give another folder, or allow its loss with overwrite"
        )
    chosen = store.select(split)
    rows = chosen[spread(len(chosen), _MOST)]
    album = Album(store, source)
    with _filled(place) as scratch:
        rows, tensors = _write_tensors(store, rows, scratch)
        if not len(rows):
            raise ParameterError(f"store must have finite features to export; {store.path} has none of split {split!r}")
        _write_metadata(store, rows, scratch / _METADATA)
        side = None if album.problem is not None else _write_images(album, rows, scratch / _IMAGES)
        config = _config(store, len(rows), tensors, side)
        (scratch / _CONFIG).write_text(config, encoding="ascii")
    return ProjectorFiles(place, len(rows), len(chosen) - len(rows), side, album.problem)


@contextmanager
def _filled(place: Path) -> Iterator[Path]:
    """Yield a new folder whose files, complete at the end of the block, are moved to `place`."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".featx-", dir=place) as scratch:
            yield Path(scratch)
            for name in _FILES:
                (place / name).unlink(missing_ok=True)
            for name in reversed(_FILES):
                if (file := Path(scratch, name)).exists():
                    file.replace(place / name)
    except OSError as error:
        raise StoreError(f"{place} cannot be written ({error.strerror or error}): check the folder") from error


def _write_tensors(store: FeatureStore, rows: Rows, folder: Path) -> tuple[Rows, str]:
    """Write the features of rows; return those that are finite, which were written, and the name of the file."""
    usable: list[npt.NDArray[np.bool_]] = []
    with (folder / _TENSORS).open("xb") as file:
        for block in checked_rows(store, rows):
            vectors = as_vectors(block, store.axes).astype("<f4")
            finite = np.isfinite(vectors).all(axis=1)
            usable.append(finite)
            file.write(vectors[finite].tobytes())
    with (folder / _TENSORS).open("rb") as file:
        is_text = _is_utf8(file)
    if is_text:  # TensorBoard takes it for text then, and text it is to be
        vectors = np.fromfile(folder / _TENSORS, "<f4").reshape(-1, store.features.shape[-1])
        np.savetxt(folder / _TEXT, vectors, "%.9g", delimiter="\t")
        (folder / _TENSORS).unlink()
    return rows[np.concatenate(usable)] if usable else rows, _TEXT if is_text else _TENSORS


def _is_utf8(file: IO[bytes]) -> bool:
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while piece := file.read(1 << 16):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _write_metadata(store: FeatureStore, rows: Rows, path: Path) -> None:
    columns: list[tuple[str, Sequence[str]]] = [("key", [store.keys[row] for row in rows])]
    if store.targets is not None:
        for name, column in zip(store.target_names, store.targets[rows].T.tolist(), strict=True):
            columns.append((name, ["" if value != value else repr(value) for value in column]))
    elif store.labelled.any():
        labels = store.samples.take(rows).named_labels()
        columns.append(("label", ["" if label is None else label_words(label) for label in labels]))
    for name, texts in (("split", store.splits), ("group", store.groups)):
        if any(texts):
            columns.append((name, [texts[row] for row in rows]))
    with path.open("x", encoding="utf-8", newline="\n") as file:
        if len(columns) > 1:  # a single column has no head
            file.write("\t".join(printable(name) for name, _ in columns) + "\n")
        for cells in zip(*(texts for _, texts in columns), strict=True):
            file.write("\t".join(map(printable, cells)) + "\n")


def _write_images(album: Album, rows: Rows, path: Path) -> int:
    """Write the images of rows side by side, row by row of the picture; return the side of each."""
    from concurrent.futures import ThreadPoolExecutor

    from PIL import Image

    from featx.extraction import default_workers

    across = ceil(sqrt(len(rows)))
    side = min(_largest(album, rows), _SIDE, _SPRITE // across)
    canvas = np.full((ceil(len(rows) / across) * side, across * side, 3), 255, dtype=np.uint8)

    def paint(place: int) -> None:
        image = album.image(int(rows[place]), side)
        if image is not None:
            small = _fitted(image, side)
            top = place // across * side + (side - small.height) // 2
            left = place % across * side + (side - small.width) // 2
            canvas[top : top + small.height, left : left + small.width] = np.asarray(small)

    with ThreadPoolExecutor(default_workers()) as pool:
        list(pool.map(paint, range(len(rows))))
    Image.fromarray(canvas).save(path)
    return side


def _largest(album: Album, rows: Rows) -> int:
    """Return the longest side of some images: smaller ones need not be enlarged."""
    some = (album.image(row, _SIDE) for row in rows[spread(len(rows), _LOOKED_AT)].tolist())
    return max((max(image.size) for image in some if image is not None), default=_SIDE)


def _fitted(image: "Image.Image", side: int) -> "Image.Image":
    from PIL import Image

    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)


def _config(store: FeatureStore, rows: int, tensors: str, side: int | None) -> str:
    """Return the configuration, as protobuf's text format has it."""
    name = re.sub(r"[^\w.-]", "_", store.name, flags=re.ASCII)
    lines = [
        f'tensor_name: "{name}"',
        f'tensor_path: "{tensors}"',
        f"tensor_shape: {rows}",
        f"tensor_shape: {store.features.shape[-1]}",
        f'metadata_path: "{_METADATA}"',
    ]
    if side is not None:
        lines += ["sprite {", f'  image_path: "{_IMAGES}"', *[f"  single_image_dim: {side}"] * 2, "}"]
    return "embeddings {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"
