"""Resampling of batches on a device: the very pixels of `preprocess`, whatever the sizes."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from featx.extraction import _resample, preprocess
from featx.extraction._resample import Resampling, is_resampled
from featx.spec import Preprocessing

FILTERS = ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
SMALL = Preprocessing(crop_size=(28, 28), resize_size=(32, 32))
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def noise(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def plan(images, preprocessing, ready=(), resident=()):
    return Resampling(
        [image.shape[:2] for image in images],
        preprocessing,
        ready=[number in ready for number in range(len(images))],
        resident=[number in resident for number in range(len(images))],
    )


def resampled(images, preprocessing, *, ready=(), resident=(), device="cpu"):
    resampling = plan(images, preprocessing, ready, resident)
    buffer = np.full(resampling.size, 99, np.uint8)
    resampling.write_tables(buffer)
    for start, image in zip(resampling.starts, images, strict=True):
        buffer[start : start + image.size] = image.reshape(-1)
    crops = resampling.run(torch.from_numpy(buffer).to(device))
    assert crops.dtype == torch.uint8
    return crops.cpu().numpy()


def expected(images, preprocessing):
    return np.stack([preprocess(Image.fromarray(image), preprocessing) for image in images])


lengths = st.integers(1, 120)
pairs = st.tuples(st.integers(4, 40), st.integers(4, 40))


@given(
    st.lists(st.tuples(lengths, lengths), min_size=1, max_size=5),
    pairs,
    pairs,
    st.booleans(),
    st.sampled_from(["crop", "squash", "pad"]),
    st.sampled_from(FILTERS),
    st.integers(0, 99),
)
@example([(90, 41), (41, 90), (33, 33)], (20, 20), (36, 36), True, "squash", "bicubic", 0)  # of either order
@example([(1, 1), (2, 3), (120, 120)], (28, 28), (32, 32), True, "crop", "lanczos", 0)
@example([(36, 80), (80, 36)], (40, 40), (36, 36), True, "crop", "hamming", 0)  # a side stays as it is; padded
@settings(max_examples=150)
def test_equal_to_preprocess_to_the_pixel(sizes, crop, aim, square, resize, interpolation, seed):
    preprocessing = Preprocessing(
        crop_size=(crop[0], crop[0]) if square else crop,
        resize_size=(aim[0], aim[0]) if square else aim,
        resize=resize,
        interpolation=interpolation,
        mean=(0.1, 0.5, 0.9),
    )
    images = [image for image in noise(*sizes, seed=seed) if is_resampled(*image.shape[:2], preprocessing)]
    if images:
        np.testing.assert_array_equal(resampled(images, preprocessing), expected(images, preprocessing))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("interpolation", FILTERS)
def test_photographs_of_usual_and_unusual_sizes(interpolation, device):
    images = noise((375, 500), (500, 333), (32, 32), (224, 224), (256, 256), (1200, 1600), (375, 500), (700, 300))
    preprocessing = Preprocessing(interpolation=interpolation)
    np.testing.assert_array_equal(resampled(images, preprocessing, device=device), expected(images, preprocessing))


def test_photographs_with_black_and_white_edges_are_clipped_as_pillow_clips():
    image = np.where(np.indices((150, 130)).sum(0)[..., None] // 9 % 2, 255, 0).astype(np.uint8).repeat(3, axis=2)
    preprocessing = Preprocessing(crop_size=(96, 96), resize_size=(100, 100), interpolation="lanczos")
    np.testing.assert_array_equal(resampled([image], preprocessing), expected([image], preprocessing))


def test_long_and_tall_images_are_not_resampled():
    assert is_resampled(28 * 14, 28, SMALL)
    assert not is_resampled(28 * 14 + 1, 28, SMALL)
    assert not is_resampled(28, 28 * 14 + 1, SMALL)
    squash = Preprocessing(crop_size=(28, 28), resize_size=(28, 28), resize="squash")
    assert is_resampled(10, 5000, squash)
    assert is_resampled(200, 2, squash)
    assert not is_resampled(201, 2, squash)


def test_what_is_ready_stays_as_it_is_and_size_alone_is_no_sign_of_it():
    images = noise((28, 28), (28, 28), (60, 50))
    crops = resampled(images, SMALL, ready=[1])
    np.testing.assert_array_equal(crops[1], images[1])
    np.testing.assert_array_equal(crops[[0, 2]], expected([images[0], images[2]], SMALL))
    assert (crops[0] != images[0]).any()


def test_resident_images_come_last_in_the_buffer_and_in_their_place_in_the_result():
    images = noise((40, 30), (30, 50), (64, 64), (36, 33))
    resampling = plan(images, SMALL, resident=[0, 2])
    host = [resampling.starts[number] for number in (1, 3)]
    assert max(host) < resampling.host_size <= min(resampling.starts[number] for number in (0, 2))
    assert resampling.size - resampling.host_size == images[0].size + images[2].size
    np.testing.assert_array_equal(resampled(images, SMALL, resident=[0, 2]), expected(images, SMALL))


def test_groups_stay_within_memory_and_are_not_mostly_padding(monkeypatch):
    images = noise(*[(size, size + 3) for size in range(40, 90)], (500, 400), (401, 501))
    monkeypatch.setattr(_resample, "_SMALL", 0)
    everything = _resample._grouped(groupable(images))
    assert 1 < len(everything) < 10
    monkeypatch.setattr(_resample, "_MEMORY", 1 << 19)
    bounded = _resample._grouped(groupable(images))
    assert len(bounded) > len(everything)
    for groups, memory in ((everything, 256 << 20), (bounded, 1 << 19)):
        for group in groups:
            padded = len(group) * max(image.pixels for image in group)
            taps = max(len(image.passes[0].positions) for image in group)
            assert padded * taps <= 2 * sum(image.work for image in group)
            assert len(group) == 1 or padded * _resample._BYTES_A_PIXEL <= memory
    np.testing.assert_array_equal(resampled(images, SMALL), expected(images, SMALL))


def groupable(images):
    return [_resample._planned(number, 0, image.shape[:2], SMALL, ready=False) for number, image in enumerate(images)]


def test_horizontal_pass_comes_first_for_pillow_before_13(monkeypatch):
    monkeypatch.setattr(_resample, "_CHOOSES_ORDER", False)
    images = noise((90, 41), (41, 90))
    squash = Preprocessing(crop_size=(20, 20), resize_size=(36, 36), resize="squash", interpolation="bicubic")
    filter_ = Image.Resampling.BICUBIC
    two_steps = [
        Image.fromarray(image).resize((36, len(image)), filter_).resize((36, 36), filter_).crop((8, 8, 28, 28))
        for image in images
    ]
    np.testing.assert_array_equal(resampled(images, squash), np.stack([np.asarray(image) for image in two_steps]))
