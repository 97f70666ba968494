"""Images that are like photographs to a decoder and to a network: seeded, and made in milliseconds.

Shapes that hide one another, with sizes that follow a power law ("dead leaves"), have the edges and the spectrum of
photographs; each pixel also gets noise whose amplitude falls with its frequency, as texture and shading do.
"""

import io
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["image_files", "make_photos", "show_images"]

_SHAPES = 90
_SOI = b"\xff\xd8"
_SUFFIXES = (".jpg", ".jpeg", ".png")


def _noise(rng: np.random.Generator, width: int, height: int, slope: float) -> np.ndarray:
    """Return noise of shape (height, width), mean 0 and deviation 1, whose amplitude falls as frequency**-slope."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / frequency**slope
    noise = np.fft.irfft2(spectrum, (height, width))
    return noise / noise.std()


def _photo(seed: int, width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    base = rng.uniform(60, 190, 3)
    canvas = Image.new("RGB", (width, height), tuple(base.astype(int).tolist()))
    draw = ImageDraw.Draw(canvas)
    radii = np.sort(np.minimum(width, height) * 0.03 * rng.pareto(1.5, _SHAPES).clip(0.2, 15))[::-1]
    for radius in radii.tolist():
        colour = tuple((base + rng.normal(0, 45, 3)).clip(0, 255).astype(int).tolist())
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
        stretch = rng.uniform(0.4, 1.6)
        corners = [(x + radius * stretch * np.cos(angle), y + radius * np.sin(angle)) for angle in angles]
        if rng.random() < 0.5:
            draw.ellipse((x - radius * stretch, y - radius, x + radius * stretch, y + radius), fill=colour)
        else:
            draw.polygon(corners, fill=colour)
    pixels = np.asarray(canvas.filter(ImageFilter.GaussianBlur(0.7)), np.float32)
    light = 22 * _noise(rng, width, height, 1.3) + 5 * _noise(rng, width, height, 0.6)
    tint = np.stack([_noise(rng, width, height, 1.5) for _ in range(2)], axis=-1) @ rng.normal(0, 5, (2, 3))
    return Image.fromarray((pixels + light[..., None] + tint).clip(0, 255).astype(np.uint8))


def _encode(seed: int, size: tuple[int, int]) -> bytes:
    """Return a JPEG with 4:2:0 chroma and quality 90, or for images below 100 pixels a PNG."""
    stream = io.BytesIO()
    if min(size) < 100:
        # Small images of data sets are photographs made small.
        _photo(seed, 8 * size[0], 8 * size[1]).resize(size, Image.Resampling.BOX).save(stream, "PNG")
    else:
        _photo(seed, *size).save(stream, "JPEG", quality=90, subsampling="4:2:0")
    return stream.getvalue()


def _numbered(data: bytes, number: int) -> bytes:
    """Return a JPEG with a comment, so that no two files have the same content."""
    comment = f"{number:08d}".encode()
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


def _write(folder: Path, count: int, distinct: int, size: tuple[int, int], first: int) -> None:
    """Write one of the distinct images under all of its numbers."""
    data = _encode(first, size)
    for number in range(first, count, distinct):
        jpeg = data.startswith(_SOI)
        path = folder / "ab"[number % 2] / f"{number:06d}.{'jpg' if jpeg else 'png'}"
        path.write_bytes(_numbered(data, number) if jpeg else data)


def make_photos(folder: Path, count: int, size: tuple[int, int], *, distinct: int | None = None) -> None:
    """Write `count` images of `size` (width, height) into the class folders ``a`` and ``b``.

    Parameters
    ----------
    folder : Path
        Is made if it is not there.
    count : int
        Number of files. Those of the same picture differ in a comment, so that their contents do.
    size : tuple of int
        Width and height; below 100 pixels the files are PNG, else JPEG.
    distinct : int, optional
        Number of different pictures; by default all are different. Small ones must be.
    """
    distinct = min(distinct or count, count)
    if distinct < count and min(size) < 100:
        raise ValueError(f"PNG files must all be different pictures; got {distinct} for {count} files")
    for name in "ab":
        (folder / name).mkdir(parents=True, exist_ok=True)
    work = partial(_write, folder, count, distinct, size)
    cores = len(os.sched_getaffinity(0))
    if distinct < 32:
        for first in range(distinct):
            work(first)
    else:
        with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
            list(pool.map(work, range(distinct), chunksize=max(1, distinct // (4 * cores))))


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the images below a folder, sorted by name within classes and the classes taking turns."""
    classes = [
        sorted(path for path in below.rglob("*") if path.suffix.lower() in _SUFFIXES)
        for below in sorted(folder.iterdir())
        if below.is_dir()
    ]
    for number in range(max(map(len, classes), default=0)):
        yield from (files[number] for files in classes if number < len(files))


def show_images(folder: Path, count: int, target: Path) -> int:
    """Show `count` images of a folder under `target`, and return how many there are.

    They are links to the first ones; of too few JPEG files, further ones are copies that differ in a comment. What
    was read is in the system's cache afterwards.
    """
    files = list(image_files(folder))
    jpegs = [path for path in files if path.suffix.lower() in (".jpg", ".jpeg")]
    for path in files[:count]:
        link = target / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
        path.read_bytes()
    copies = count - len(files) if jpegs else 0
    for number in range(copies):
        path = jpegs[number % len(jpegs)]
        copy = target / path.relative_to(folder).with_name(f"{path.stem}-{number:06d}{path.suffix}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(_numbered(path.read_bytes(), number))
    return min(count, len(files)) + max(copies, 0)
