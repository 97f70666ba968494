"""Preprocessing: the very pixels of torchvision's and timm's transforms, of images of every size."""

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from featx.extraction import preprocess
from featx.extraction._transform import _resized_size, load_pixels
from featx.sources import decode_image, decode_pixels
from featx.spec import Preprocessing
from tests.sources.helpers import encoded
from tests.tiny import picture

FILTERS = ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))
filters = st.sampled_from(FILTERS)


@given(sizes, st.integers(1, 40), st.integers(0, 12), filters, st.integers(0, 9))
@example((1, 1), 32, 4, "bicubic", 0)
@example((5, 80), 8, 0, "lanczos", 0)
@example((31, 33), 32, 0, "bilinear", 0)
@settings(max_examples=300)
def test_equal_to_resize_and_centercrop(size, crop, more, interpolation, seed):
    assume(max(size) * (crop + more) <= 16 * crop * min(size))  # longer ones have a test of their own
    image = picture(seed, size=size)
    transform = Compose([Resize(crop + more, InterpolationMode(interpolation)), CenterCrop(crop)])
    got = preprocess(
        image,
        Preprocessing(crop_size=(crop, crop), resize_size=(crop + more, crop + more), interpolation=interpolation),
    )
    np.testing.assert_array_equal(got, np.asarray(transform(image)))
    assert (got.shape, got.dtype) == ((crop, crop, 3), np.uint8)


@given(
    sizes,
    st.tuples(st.integers(8, 40), st.integers(8, 40)),
    st.booleans(),
    st.sampled_from([1.0, 0.95, 0.9, 0.875, 0.5]),
    st.sampled_from(["center", "squash", "border"]),
    filters,
)
@settings(max_examples=300)
def test_equal_to_timms_transform(size, crop, square, crop_pct, mode, interpolation):
    crop = (crop[0], crop[0]) if square else crop
    long = max(size) / min(size) * max(crop) / min(crop) > 14 * crop_pct  # longer ones have a test of their own
    image = picture(0, size=(size[0], size[0]) if long else size)
    mean = (0.1, 0.5, 0.9)
    transform = create_transform(
        (3, *crop), crop_pct=crop_pct, crop_mode=mode, interpolation=interpolation, mean=mean, normalize=False
    )
    preprocessing = Preprocessing(
        crop_size=crop,
        resize_size=(int(crop[0] / crop_pct), int(crop[1] / crop_pct)),
        resize={"center": "crop", "squash": "squash", "border": "pad"}[mode],
        interpolation=interpolation,
        mean=mean,
    )
    got = preprocess(image, preprocessing)
    np.testing.assert_array_equal(got, transform(image).permute(1, 2, 0).numpy())


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.integers(1, 120), st.integers(1, 120)),
    st.tuples(st.integers(0, 60), st.integers(0, 60)),
    filters,
    st.integers(0, 9),
)
@example((50, 300), (20, 60), (4, 40), "bicubic", 0)  # Pillow 13 begins with the vertical pass
@example((300, 50), (60, 20), (40, 4), "bicubic", 0)
@example((100, 200), (40, 90), (10, 10), "lanczos", 1)  # just not yet
@example((100, 202), (40, 90), (10, 10), "lanczos", 1)  # already
@settings(max_examples=500)
def test_what_is_cut_off_is_not_missed(size, crop, more, interpolation, seed):
    """Heights and widths scaled differently, up and down: the crop of Pillow's plain resize."""
    width, height = crop[0] + more[0], crop[1] + more[1]
    assume(width <= 16 * crop[0] and height <= 16 * crop[1])
    image = picture(seed, size=size)
    preprocessing = Preprocessing(
        crop_size=crop[::-1], resize_size=(height, width), resize="squash", interpolation=interpolation
    )
    left, top = round(more[0] / 2), round(more[1] / 2)
    whole = image.resize((width, height), Image.Resampling[interpolation.upper()])
    expected = np.asarray(whole.crop((left, top, left + crop[0], top + crop[1])))
    np.testing.assert_array_equal(preprocess(image, preprocessing), expected)


def reference(image, preprocessing):
    """Return the crop of the whole resized image, however long that is."""
    size, crop = preprocessing.resize_size[0], preprocessing.crop_size[0]
    transform = Compose([Resize(size, InterpolationMode(preprocessing.interpolation)), CenterCrop(crop)])
    return np.asarray(transform(image))


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("size", [(2, 301), (301, 2), (1, 200), (9, 1000), (1501, 40), (70, 3000), (1, 999)])
def test_of_long_images_only_the_middle_is_computed_and_it_is_the_same(size, interpolation):
    preprocessing = Preprocessing(crop_size=(28, 28), resize_size=(32, 32), interpolation=interpolation)
    image = picture(3, size=size)
    got, expected = preprocess(image, preprocessing).astype(int), reference(image, preprocessing)
    difference = np.abs(got - expected)
    assert expected.std() > 5
    if interpolation in ("nearest", "box"):  # these jump where a sample falls on the border of a pixel
        assert (difference > 1).mean() < 0.04
    else:
        assert difference.max() <= 1


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (3, 60_000), (60_000, 2)])
@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_strips_take_little_memory_and_stay_right(size, resize):
    import resource

    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    along = np.abs(np.arange(max(size)) - (max(size) - 1) / 2)  # dark in the middle, brighter to the ends
    pixels[:] = np.clip(10 + 40 * along, 0, 255).astype(np.uint8).reshape(size[1] if size[1] > size[0] else 1, -1, 1)
    image = Image.fromarray(pixels)
    preprocessing = Preprocessing(resize=resize, resize_size=(256, 256) if resize == "crop" else (224, 224))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    got = preprocess(image, preprocessing)
    tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB; the whole is gigabytes
    assert got.shape == (224, 224, 3)
    if resize == "crop":
        lines = got if size[1] > size[0] else got.transpose(1, 0, 2)
        np.testing.assert_array_equal(lines, lines[::-1])  # centred
        assert lines[112].max() < 40 < 255


@pytest.mark.parametrize("size", [(9, 8), (8, 9), (10, 8), (3, 8)])
def test_one_line_outside_has_the_mean_colour_too(size):
    preprocessing = Preprocessing(crop_size=size, resize_size=size, resize="pad", mean=(0.1, 0.5, 0.9))
    got = preprocess(Image.new("RGB", (1, 1), "white"), preprocessing)
    colours = {
        tuple(map(int, pixel)): int(n)
        for pixel, n in zip(*np.unique(got.reshape(-1, 3), axis=0, return_counts=True), strict=True)
    }
    assert colours == {(255, 255, 255): min(size) ** 2, (26, 128, 230): size[0] * size[1] - min(size) ** 2}


def test_what_lies_outside_has_the_mean_colour():
    image = Image.new("RGB", (64, 16), (10, 20, 30))
    got = preprocess(image, Preprocessing(crop_size=(32, 32), resize_size=(32, 32), resize="pad", mean=(0, 0.5, 1)))
    assert (got[12:20] == (10, 20, 30)).all()
    assert (got[:12] == (0, 128, 255)).all()
    assert (got[20:] == (0, 128, 255)).all()


def test_the_image_is_left_as_it_is():
    image = picture(0, size=(50, 40))
    before = image.tobytes()
    got = preprocess(image, Preprocessing(crop_size=(40, 40), resize_size=(40, 40)))
    got.copy()[:] = 0
    assert image.tobytes() == before


@pytest.mark.parametrize("decode", ["exact", "fast"])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_load_pixels(decode, form):
    preprocessing = Preprocessing(crop_size=(28, 28), resize_size=(32, 32), decode=decode)
    data = encoded(picture(0, size=(300, 200)), form)
    whole = np.asarray(Image.open(io.BytesIO(data)))
    fast = form == "JPEG" and decode == "fast"
    decoded = load_pixels(data, preprocessing, resize=False)
    assert decoded.shape == ((100, 150, 3) if fast else (200, 300, 3))  # 1/4 would be 50 of at least 64 rows
    np.testing.assert_array_equal(decoded, drafted(data, 2) if fast else whole)
    resized = load_pixels(data, preprocessing)
    np.testing.assert_array_equal(resized, preprocess(Image.fromarray(decoded), preprocessing))
    assert resized.shape == (28, 28, 3)
    assert np.abs(resized.astype(int) - preprocess(Image.fromarray(whole), preprocessing)).max() <= (12 if fast else 0)


def drafted(data, scale):
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (image.width // scale, image.height // scale))
    return np.asarray(image)


@given(
    st.tuples(st.integers(8, 400), st.integers(8, 400)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.sampled_from(["crop", "squash", "pad"]),
    st.integers(1, 8),
)
@example((64, 48), (6, 6), "crop", 6)
@settings(max_examples=300)
def test_fast_decodes_at_twice_the_resized_size_or_more(size, aim, resize, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.new("L", size), "JPEG", exif=exif.tobytes())
    preprocessing = Preprocessing(crop_size=aim, resize_size=aim, resize=resize, decode="fast")
    width, height = size if orientation < 5 else size[::-1]
    resized = _resized_size(width, height, preprocessing)
    expected = next(
        scaled
        for scaled in [(-(-width // scale), -(-height // scale)) for scale in (8, 4, 2)] + [(width, height)]
        if scaled == (width, height)
        or (
            min(side / other for side, other in zip(scaled, resized, strict=True)) >= 2
            and _resized_size(*scaled, preprocessing) == resized
        )
    )
    assert load_pixels(data, preprocessing, resize=False).shape == (*expected[::-1], 3)


def test_fast_does_not_move_the_crop():
    """500 x 376 and a quarter of it become 59 x 45; 500 x 375 becomes 60 x 45, and half of it would 59 x 45."""
    preprocessing = Preprocessing(crop_size=(40, 40), resize_size=(45, 45), decode="fast")
    for size, decoded in (((500, 376), (94, 125, 3)), ((500, 375), (375, 500, 3))):
        assert load_pixels(encoded(Image.new("L", size), "JPEG"), preprocessing, resize=False).shape == decoded


def test_load_pixels_of_arrays():
    array = np.asarray(picture(0, size=(300, 200)))
    preprocessing = Preprocessing(crop_size=(28, 28), resize_size=(32, 32), decode="fast")
    np.testing.assert_array_equal(load_pixels(array, preprocessing, resize=False), decode_pixels(array))
    np.testing.assert_array_equal(load_pixels(array, preprocessing), preprocess(decode_image(array), preprocessing))
