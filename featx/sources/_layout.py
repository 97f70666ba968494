"""What folders say about the images in them: a pure function from paths to labels and splits.

Folders, zip and tar archives share it, so the same tree means the same thing in all three.
"""

from collections.abc import Iterable
from typing import NamedTuple

from featx.errors import SourceError

IMAGE_SUFFIXES = frozenset(
    {
        ".apng",
        ".avif",
        ".bmp",
        ".dib",
        ".gif",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpf",
        ".jpg",
        ".jpx",
        ".pbm",
        ".pfm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)
"""Endings, in any case, of the files that are taken for images."""

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


class Place(NamedTuple):
    """Where an image stands: its path, and the class and split that its folders give it."""

    key: str
    label: str | None
    split: str | None


def canonical_split(name: str) -> str | None:
    """Return ``"train"``, ``"val"`` or ``"test"`` for their usual spellings, and None for other names."""
    return _SPLITS.get(name.lower())


def is_ignored(name: str) -> bool:
    """Tell whether a file or folder of this name is the system's, not the user's."""
    return (name.startswith(".") and name != "..") or name == "__MACOSX"


def is_image_name(name: str) -> bool:
    """Tell whether a file of this name is taken for an image."""
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in IMAGE_SUFFIXES and not is_ignored(name)


def arrange(paths: Iterable[str]) -> list[Place]:
    """Return the images among `paths` with their labels and splits, sorted by path.

    Hidden files and folders, ``__MACOSX`` and files that do not end like an image are left out. Wrapper
    folders are looked through: as long as there is one folder only, which is no split, and images lie only
    deeper in its sub-folders. Then, if all folders are splits (``train``/``training``,
    ``val``/``valid``/``validation``, ``test``/``testing``, in any case), the folders inside them are classes;
    else the folders themselves are. Images further down belong to the class above them; images beside the
    folders have no label.

    Parameters
    ----------
    paths : iterable of str
        Relative paths of files, separated by ``/``.

    Raises
    ------
    SourceError
        A ``train`` folder and another split stand beside a folder that is no split.
    """
    images = []
    for path in sorted(set(paths)):
        *folders, name = parts = path.split("/")
        if is_image_name(name) and not any(map(is_ignored, folders)):
            images.append((path, parts))
    if not images:
        return []
    depth = 0
    while (
        all(len(parts) > depth + 2 for _, parts in images)
        and len({parts[depth] for _, parts in images}) == 1
        and canonical_split(images[0][1][depth]) is None
    ):
        depth += 1
    if has_splits({parts[depth] for _, parts in images if len(parts) > depth + 1}):
        return [
            Place(path, _folder(parts, depth + 1), canonical_split(_folder(parts, depth) or ""))
            for path, parts in images
        ]
    return [Place(path, _folder(parts, depth), None) for path, parts in images]


def _folder(parts: list[str], depth: int) -> str | None:
    return parts[depth] if len(parts) > depth + 1 else None


def has_splits(folders: set[str], what: str = "folders") -> bool:
    """Tell whether all of some names are those of splits; raises SourceError where that is half true."""
    strange = sorted(folder for folder in folders if canonical_split(folder) is None)
    splits = {canonical_split(folder) for folder in folders} - {None}
    if strange and "train" in splits and len(splits) > 1:
        raise SourceError(
            f"{what} named like splits (train, val, test) must not stand beside others; got {strange[0]!r}"
            " beside them: move it into a split, or rename the splits if they are classes"
        )
    return bool(splits) and not strange
