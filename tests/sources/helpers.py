"""Trees of files, written as a folder, a zip and a tar, and small encoded images."""

import io
import os
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featx.sources import Source

ODD_NAMES = [
    'it\'s "quoted".jpg',
    "two\nlines.jpg",
    "tab\tand\rreturn.jpg",
    "a[/b].jpg".replace("/", "⁄"),
    "[bold]x[].jpg",
    "😀 emoji.jpg",
    "שלום.jpg",
    "caf\u00e9.jpg",
    "cafe\u0301.jpg",
    "bytes \udcff\udcfe.jpg",
    "-rf.jpg",
    "=cmd().jpg",
    "comma, semicolon;.jpg",
    " leading and trailing .jpg",
    "back\\slash.jpg",
    "100%.jpg",
]


def path_bytes(path: str | Path) -> bytes:
    return str(path).encode("utf-8", "surrogateescape")


def write_folder(root: Path, files: Mapping[str, bytes]) -> Path:
    root.mkdir(exist_ok=True)
    for name, data in files.items():
        path = os.path.join(path_bytes(root), path_bytes(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    return root


class RawZipInfo(zipfile.ZipInfo):
    """A member whose name is written as raw bytes without the UTF-8 flag, as Info-ZIP on Unix does."""

    raw: bytes

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.raw, self.flag_bits & ~0x800


def write_zip(path: Path, files: Mapping[str, bytes], *, raw: bool = False, method: int = 8) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for number, (name, data) in enumerate(files.items()):
            if raw or not name.isprintable():
                info: zipfile.ZipInfo = RawZipInfo(f"placeholder {number}")
                info.raw = path_bytes(name)  # type: ignore[attr-defined]
                info.compress_type = method
                archive.writestr(info, data)
            else:
                archive.writestr(name, data)
    return path


def write_tar(path: Path, files: Mapping[str, bytes], *, form: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form, encoding="utf-8", errors="surrogateescape") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def encoded(pixels: Any, form: str = "PNG", **options: Any) -> bytes:
    """Return an image (or the array of one) as the bytes of a file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def listing(source: Source) -> list[tuple[str, str | None, str | None, int]]:
    return [(sample.key, sample.label, sample.split, sample.size) for sample in source.samples]


def contents(source: Source) -> list[bytes]:
    return [bytes(source.read(index)) for index in range(len(source))]
