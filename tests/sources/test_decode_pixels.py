"""Arrays instead of images, and JPEGs decoded at a fraction of their size: the very pixels of Pillow alone."""

import io
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from featx.errors import SampleError
from featx.sources import _decode, decode_image, decode_pixels
from tests.tiny import picture

from .helpers import encoded


@st.composite
def jpegs(draw):
    """Draw a JPEG of any kind that cameras and programs write."""
    side = st.one_of(st.integers(1, 20), st.integers(21, 100))
    mode = draw(st.sampled_from(["RGB", "RGB", "L", "CMYK"]))
    options = {
        "quality": draw(st.sampled_from([5, 75, 100])),
        "progressive": draw(st.booleans()),
        "optimize": draw(st.booleans()),
        "restart_marker_blocks": draw(st.integers(0, 3)),
    }
    if mode == "RGB":
        options |= draw(
            st.one_of(
                st.just({"keep_rgb": True}),
                st.fixed_dictionaries({"subsampling": st.sampled_from(["4:4:4", "4:2:2", "4:2:0", "4:1:1"])}),
            )
        )
    if draw(st.booleans()):
        exif = Image.Exif()
        exif[0x0112] = draw(st.integers(1, 8))
        options["exif"] = exif.tobytes()
    image = picture(
        draw(st.integers(0, 9)), draw(st.sampled_from([(128, 128, 128), (250, 30, 4)])), draw(st.tuples(side, side))
    )
    return encoded(image.convert(mode), "JPEG", **options)


def by_pillow(data, scale=1):
    """Return the pixels that Pillow alone decodes, at 1/scale of the size."""
    image = Image.open(io.BytesIO(data))
    if scale > 1:
        image.draft(image.mode, (image.width // scale, image.height // scale))
    turn = _decode._TURNS.get(image.getexif().get(0x0112))
    rgb = image.convert("RGB")
    return np.asarray(rgb if turn is None else rgb.transpose(turn))


def outcome(decode, data, **options):
    try:
        return np.asarray(decode(data, **options)).tolist()
    except SampleError as error:
        return str(error)


@pytest.fixture
def decoded_by_simplejpeg(monkeypatch):
    """Return a list that grows by what simplejpeg has decoded without a complaint."""
    found, plain = [], simplejpeg.decode_jpeg
    monkeypatch.setattr(
        simplejpeg, "decode_jpeg", lambda *args, **options: found.append(plain(*args, **options)) or found[-1]
    )
    return found


@settings(max_examples=300)
@given(jpegs())
def test_pixels_are_those_of_pillow(data):
    got = decode_pixels(data)
    np.testing.assert_array_equal(got, by_pillow(data))
    np.testing.assert_array_equal(got, np.asarray(decode_image(data)))
    assert (got.dtype, got.flags.c_contiguous, got.flags.writeable) == (np.uint8, True, True)


@settings(max_examples=300)
@given(jpegs(), st.integers(1, 40), st.integers(1, 40))
def test_a_jpeg_is_decoded_at_the_smallest_size_that_is_enough(data, width, height):
    whole = by_pillow(data)
    full = whole.shape[1], whole.shape[0]  # as it is seen, not as it is stored
    asked = []

    def enough(*sizes):
        asked.append(sizes)
        return sizes[1][0] >= width and sizes[1][1] >= height

    smaller = {s: (-(-full[0] // s), -(-full[1] // s)) for s in (8, 4, 2) if min(full) >= s}
    scale = next((s for s, size in smaller.items() if size[0] >= width and size[1] >= height), 1)
    got = decode_pixels(data, enough=enough)
    assert asked == [(full, size) for s, size in smaller.items() if s >= scale]
    assert got.shape == (*smaller.get(scale, full)[::-1], 3)
    np.testing.assert_array_equal(got, by_pillow(data, scale))
    np.testing.assert_array_equal(got, np.asarray(decode_image(data, enough=enough)))


@settings(max_examples=300)
@given(
    jpegs(),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
    st.integers(0, 30),
    st.binary(max_size=4),
    st.sampled_from([None, lambda whole, scaled: min(scaled) >= 5]),
)
def test_of_damaged_files_pillow_has_the_word(data, edits, cut, tail, enough):
    damaged = bytearray(data[: len(data) - cut])
    for position, value in edits:
        damaged[int(position * (len(damaged) - 1))] = value
    damaged += tail
    assert outcome(decode_pixels, bytes(damaged), enough=enough) == outcome(decode_image, bytes(damaged), enough=enough)


def test_ordinary_files_are_not_decoded_by_pillow(decoded_by_simplejpeg):
    image = picture(0, size=(50, 40))
    for data in (encoded(image, "JPEG"), encoded(image.convert("L"), "JPEG", progressive=True)):
        assert decode_pixels(data) is decoded_by_simplejpeg.pop()
    assert decode_pixels(encoded(image, "JPEG"), enough=lambda whole, scaled: scaled == (25, 20)).shape == (20, 25, 3)
    assert len(decoded_by_simplejpeg) == 1


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_an_incomplete_jpeg_is_refused(cut):
    data = encoded(picture(0, size=(64, 64)), "JPEG")[:-cut]
    expected = outcome(decode_image, data)
    assert outcome(decode_pixels, data) == expected
    if cut == 40:
        assert "truncated" in expected


def test_another_libjpeg_has_other_pixels(decoded_by_simplejpeg, monkeypatch):
    monkeypatch.setattr(_decode, "_SAME_LIBRARY", False)
    data = encoded(picture(0), "JPEG")
    np.testing.assert_array_equal(decode_pixels(data), by_pillow(data))
    assert decoded_by_simplejpeg == []


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_first_picture_of_an_mpo(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pictures = [picture(seed, size=(80, 48)) for seed in (1, 2)]
    data = encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:], exif=exif.tobytes())
    assert Image.open(io.BytesIO(data)).format == "MPO"
    for scale, enough in ((1, None), (2, lambda whole, scaled: sum(scaled) == 64)):
        expected = by_pillow(data, scale)
        np.testing.assert_array_equal(decode_pixels(data, enough=enough), expected)
        np.testing.assert_array_equal(np.asarray(decode_image(data, enough=enough)), expected)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "GIF", "AVIF", "JPEG2000"])
def test_other_formats_are_decoded_whole(form):
    data = encoded(picture(0, size=(64, 48)), form)
    got = decode_pixels(data, enough=lambda whole, scaled: pytest.fail("is asked for JPEGs only"))
    np.testing.assert_array_equal(got, np.asarray(decode_image(data)))
    assert (got.shape, got.flags.c_contiguous, got.flags.writeable) == ((48, 64, 3), True, True)


def test_the_limit_of_pixels_is_that_of_the_whole(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 - 1)
    data = encoded(picture(0, size=(64, 64)), "JPEG")
    for enough in (None, lambda whole, scaled: True):
        with pytest.raises(SampleError, match="too large: 64 x 64 pixels"):
            decode_pixels(data, enough=enough)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3)])
def test_arrays(shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    for given_array in (array, np.asfortranarray(array)):
        got = decode_pixels(given_array)
        np.testing.assert_array_equal(got, np.asarray(decode_image(array)))
        assert (got.shape, got.flags.c_contiguous, got.flags.writeable) == ((2, 3, 3), True, True)
        assert not np.shares_memory(got, given_array)


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xd8\xff", np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2))])
def test_what_is_no_image(data):
    reason = outcome(decode_image, data)
    assert isinstance(reason, str)
    assert outcome(decode_pixels, data) == reason


def test_exif_that_says_nothing():
    data = encoded(picture(0), "JPEG", exif=b"Exif\0\0" + struct.pack("<2sHI", b"II", 42, 0xFFFFFFFF))
    np.testing.assert_array_equal(decode_pixels(data), np.asarray(decode_image(data)))


def test_many_threads_get_the_same_pixels():
    files = [encoded(picture(seed, size=(90, 70)), "JPEG") for seed in range(4)]
    expected = [by_pillow(data).tobytes() for data in files]
    barrier = threading.Barrier(8)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def work(_):
        barrier.wait()
        return [[decode_pixels(data).tobytes() for data in files] == expected for _ in range(25)]

    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(all(right) for right in pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(interval)
