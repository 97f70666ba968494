import struct
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from featx.errors import SampleError
from featx.sources import FORMATS, decode_image

from .helpers import encoded

WHITE = (255, 255, 255)
RAINBOW = np.random.default_rng(0).integers(0, 256, (3, 2, 3), np.uint8)


def pixels(data):
    image = decode_image(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def greys(data):
    rgb = pixels(data)
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0].tolist()


def png(width, height, depth, kind, rows, *chunks):
    """Write a PNG without Pillow."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *(chunk(*each) for each in chunks)]
    parts += [chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# What each EXIF orientation says of where the pixel seen at (r, c) is stored, in an image stored h x w.
STORED_AT = {
    1: lambda r, c, h, w: (r, c),
    2: lambda r, c, h, w: (r, w - 1 - c),
    3: lambda r, c, h, w: (h - 1 - r, w - 1 - c),
    4: lambda r, c, h, w: (h - 1 - r, c),
    5: lambda r, c, h, w: (c, r),
    6: lambda r, c, h, w: (h - 1 - c, r),
    7: lambda r, c, h, w: (h - 1 - c, w - 1 - r),
    8: lambda r, c, h, w: (c, w - 1 - r),
}


@pytest.mark.parametrize("orientation", STORED_AT)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_exif_orientation(form, orientation):
    stored = np.kron(RAINBOW, np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {"quality": 100, "subsampling": "4:4:4"}
    data = encoded(stored, form, exif=exif.tobytes(), **(options if form != "TIFF" else {}))
    height, width = (3, 2) if orientation < 5 else (2, 3)
    seen = [[RAINBOW[STORED_AT[orientation](r, c, 3, 2)] for c in range(width)] for r in range(height)]
    image = decode_image(data)
    assert image.size == (16 * width, 16 * height)
    centres = np.asarray(image)[8::16, 8::16].astype(int)
    assert np.abs(centres - np.array(seen, int)).max() <= (8 if form in ("JPEG", "AVIF") else 0)
    assert not image.info  # nobody can turn it a second time


def test_an_image_of_the_users_own_is_left_as_it_is():
    from featx.sources._decode import as_seen

    image = Image.new("RGB", (2, 2))
    image.info["dpi"] = (72, 72)
    as_seen(image)
    assert image.info == {"dpi": (72, 72)}


@pytest.mark.parametrize(
    "junk", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x01"]
)
def test_exif_that_cannot_be_read_does_no_harm(junk):
    assert pixels(encoded(np.full((8, 8, 3), 200, np.uint8), "JPEG", exif=junk)).shape == (8, 8, 3)


@pytest.mark.parametrize(("bits", "values"), [(16, [0, 257, 128 * 257, 65535]), (8, [0, 1, 128, 255])])
def test_grey_png(bits, values):
    row = b"".join(value.to_bytes(bits // 8, "big") for value in values)
    assert greys(png(4, 1, bits, 0, [row])) == [[0, 1, 128, 255]]


def test_sixteen_bits_are_rounded():
    row = struct.pack(">4H", 128, 129, 385, 386)
    assert greys(png(4, 1, 16, 0, [row])) == [[0, 1, 1, 2]]


def test_sixteen_bit_grey_with_transparent_value():
    assert greys(png(2, 1, 16, 0, [struct.pack(">2H", 500, 257)], (b"tRNS", struct.pack(">H", 500)))) == [[255, 1]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_tiff_in_both_byte_orders(order):
    data = _tiff(struct.pack(f"{order}3H", 0, 257 * 7, 65535), 16, 1, order)
    assert greys(data) == [[0, 7, 255]]


def test_twelve_bit_tiff_fills_the_range():
    assert greys(_tiff(bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x00]), 12, 1, "<"))[0][:3] == [0, 128, 255]


def test_white_is_zero():
    assert greys(_tiff(struct.pack("<3H", 0, 257 * 7, 65535), 16, 1, "<", photometric=0)) == [[255, 248, 0]]


def test_sixteen_bit_pgm():
    assert greys(b"P5 3 1 65535\n" + struct.pack(">3H", 0, 257 * 3, 65535)) == [[0, 3, 255]]


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 1.4, 255.0], [0, 1, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 500.0, 1000.0], [0, 128, 255]),
        ([300.0, 300.0, 300.0], [0, 0, 0]),
        ([-3e38, 0.0, 3e38], [0, 128, 255]),
    ],
)
def test_floating_point_tiff(values, seen):
    assert greys(encoded(np.array([values], np.float32), "TIFF")) == [seen]


@pytest.mark.parametrize(("values", "seen"), [([0, 7, 255], [0, 7, 255]), ([-100, 0, 100], [0, 128, 255])])
def test_integer_tiff(values, seen):
    assert greys(encoded(np.array([values], np.int32), "TIFF")) == [seen]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(bad):
    with pytest.raises(SampleError, match="not finite"):
        decode_image(encoded(np.array([[0.0, bad]], np.float32), "TIFF"))


def _tiff(body, bits, samples_format, order, *, photometric=1, width=3):
    tags = [(256, 4, width), (257, 4, 1), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, 1), (279, 4, len(body)), (339, 3, samples_format)]
    start = 8 + len(body) + len(body) % 2
    directory = struct.pack(f"{order}H", len(tags))
    for tag, kind, value in tags:
        packed = struct.pack(f"{order}I" if kind == 4 else f"{order}HH", *([value] if kind == 4 else [value, 0]))
        directory += struct.pack(f"{order}HHI", tag, kind, 1) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return head + body.ljust(start - 8, b"\0") + directory + struct.pack(f"{order}I", 0)


def over_white(colour, alpha):
    return [round((value * alpha + 255 * (255 - alpha)) / 255) for value in colour]


@pytest.mark.parametrize("alpha", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_laid_over_white(form, alpha):
    data = encoded(
        Image.new("RGBA", (1, 1), (10, 100, 200, alpha)),
        form,
        **({"exact": True, "lossless": True} if form == "WEBP" else {}),
    )
    assert np.abs(pixels(data)[0, 0].astype(int) - over_white((10, 100, 200), alpha)).max() <= 1


def test_grey_with_alpha():
    assert greys(encoded(Image.new("LA", (1, 1), (10, 128)), "PNG"))[0][0] == over_white([10], 128)[0]


def test_premultiplied_and_palette_alpha():
    image = Image.new("RGBA", (1, 1), (10, 100, 200, 255))
    from featx.sources._decode import to_rgb

    for mode in ("RGBa", "PA"):
        assert np.abs(np.asarray(to_rgb(image.convert(mode)), int)[0, 0] - [10, 100, 200]).max() <= 30
    assert to_rgb(Image.new("La", (1, 1), (0, 0))).getpixel((0, 0)) == WHITE


def test_palette_with_transparency():
    palette = (b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255]))
    data = png(3, 1, 8, 3, [bytes([0, 1, 2])], palette, (b"tRNS", bytes([0, 128])))
    assert pixels(data)[0].tolist() == [list(WHITE), [127, 255, 127], [0, 0, 255]]


def test_rgb_with_a_transparent_colour():
    data = png(2, 1, 8, 2, [bytes([1, 2, 3, 4, 5, 6])], (b"tRNS", struct.pack(">3H", 1, 2, 3)))
    assert pixels(data)[0].tolist() == [list(WHITE), [4, 5, 6]]


def test_sixteen_bit_rgb_with_a_transparent_colour():
    row = struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 257, 514, 771)
    data = png(2, 1, 16, 2, [row], (b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)))
    assert pixels(data)[0, 1].tolist() == [1, 2, 3]


def test_one_bit():
    assert greys(png(8, 1, 1, 0, [b"\xa0"])) == [[255, 0, 255, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("ink", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 128, 0, 0), (0, 0, 0, 255), (100, 50, 0, 60)])
def test_cmyk_jpeg(ink):
    expected = [255 * (1 - part / 255) * (1 - ink[3] / 255) for part in ink[:3]]
    data = encoded(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)
    assert np.abs(pixels(data)[8, 8] - np.array(expected)).max() <= 3


@pytest.mark.parametrize(
    ("lab", "rgb"), [((255, 128, 128), WHITE), ((0, 128, 128), (0, 0, 0)), ((138, 209, 198), (255, 0, 0))]
)
def test_lab_tiff(lab, rgb):
    image = Image.merge("LAB", [Image.new("L", (2, 2), value) for value in lab])
    assert np.abs(pixels(encoded(image, "TIFF"))[0, 0] - np.array(rgb, float)).max() <= 8


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(form):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert pixels(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1)])
def test_extreme_shapes(size):
    assert decode_image(encoded(Image.new("L", size, 7))).size == size


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_every_format(form):
    assert form in FORMATS
    assert np.abs(pixels(encoded(Image.new("RGB", (32, 32), (200, 60, 30)), form))[16, 16] - [200.0, 60, 30]).max() <= 6


@pytest.mark.parametrize("form", ["PDF", "EPS", "ICNS", "ICO", "TGA", "PCX", "SGI", "SPIDER", "DDS"])
def test_other_formats_are_not_opened(form):
    image = Image.new("F" if form == "SPIDER" else "RGB", (32, 32))
    with pytest.raises(SampleError, match="not an image"):
        decode_image(encoded(image, form))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html>", "not an image.*<!DOCTYPE html>"),
        (b"\xff\xd8\xff", "not an image"),
        *[
            (b"\x89PNG\r\n\x1a\n", "not an image|cannot be decoded"),
            (b"SIMPLE  =                    T", "not an image"),
        ],
    ],
)
def test_what_is_no_image(data, reason):
    with pytest.raises(SampleError, match=reason):
        decode_image(data)


NOISE = np.random.default_rng(1).integers(0, 256, (24, 24, 3), np.uint8)
FILES = {form: encoded(NOISE, form) for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")}


@pytest.mark.parametrize("form", FILES)
def test_truncated_files_are_refused(form):
    data = FILES[form]
    for part in (0.1, 0.3, 0.5, 0.8, 0.95):
        with pytest.raises(SampleError) as caught:
            decode_image(data[: int(len(data) * part)])
        assert "\n" not in str(caught.value)
        assert "object at 0x" not in str(caught.value)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@settings(max_examples=300)
@given(
    form=st.sampled_from(sorted(FILES)),
    edits=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 200),
)
def test_damaged_files_give_an_image_or_a_reason(form, edits, cut):
    data = bytearray(FILES[form])
    for position, value in edits:
        data[position % min(len(data), 400)] = value
    reason = "fine"
    try:
        assert decode_image(bytes(data[: len(data) - cut])).mode == "RGB"
    except SampleError as error:
        reason = str(error)
    assert len(reason.splitlines()) == 1


@pytest.mark.parametrize(
    "error", [MemoryError(), struct.error("x"), IndexError(), OverflowError(), SyntaxError("x"), RecursionError()]
)
def test_whatever_pillow_raises_becomes_a_reason(monkeypatch, error):
    def fail(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(SampleError, match=r"cannot be decoded: ."):
        decode_image(FILES["PNG"])


def test_bombs_are_refused_by_warning_and_by_error(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    for side, good in ((20, True), (21, False), (28, False), (29, False), (60, False)):
        data = encoded(Image.new("L", (side, side)))
        for action in ("error", "ignore", "default"):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter(action)
                if good:
                    assert decode_image(data).size == (side, side)
                else:
                    with pytest.raises(SampleError, match="too large"):
                        decode_image(data)
            assert caught == []


def test_many_threads_leave_the_warning_filters_as_they_were():
    before = list(warnings.filters)
    barrier = threading.Barrier(8)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def work(_):
        barrier.wait()
        return [np.asarray(decode_image(FILES["PNG"])).tobytes() for _ in range(50)]

    try:
        with ThreadPoolExecutor(8) as pool:
            assert {each for result in pool.map(work, range(8)) for each in result} == {NOISE.tobytes()}
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3)])
def test_arrays_are_taken_as_they_are(shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    assert (pixels(array) == array.reshape(2, 3, -1)).all()
    assert (pixels(np.asfortranarray(array)) == array.reshape(2, 3, -1)).all()


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2)), np.zeros((0, 2, 3), np.uint8), np.zeros(4, np.uint8)]
)
def test_other_arrays_are_refused(array):
    with pytest.raises(SampleError, match="uint8 of shape"):
        decode_image(array)
