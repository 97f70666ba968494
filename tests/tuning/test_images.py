"""Images as batches: the plain ones, and in every sweep others."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from featx.errors import SampleError
from featx.extraction import Augmentation, preprocess
from featx.heads.nets._batches import Batches
from featx.sources import content_digest, open_source
from featx.tuning._images import Images
from tests.tiny import PREPROCESSING, write_folder


@pytest.fixture
def source(tmp_path):
    return open_source(write_folder(tmp_path / "photos", per_class=2))


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def images(source, pool, augmentation=None):
    """Return the samples in another order than the source's, of which rows 1, 3 and 4 are shown."""
    samples = [5, 4, 3, 2, 1, 0]
    digests = [content_digest(source.read(sample)) for sample in samples]
    return Images(
        source, samples, digests, np.array([1, 3, 4]), torch.arange(6), preprocessing=PREPROCESSING,
        augmentation=augmentation, seed=7, pool=pool,
    )  # fmt: skip


def decoded(source, sample):
    return Image.open(place(source, sample)).convert("RGB")


def place(source, sample):
    return Path(source.identity.partition(":")[2], source.samples[sample].key)


def test_plain_images_are_what_extraction_sees(source, pool):
    batches = list(Batches(images(source, pool), 2))
    expected = np.stack([preprocess(decoded(source, sample), PREPROCESSING) for sample in (4, 2, 1)])
    np.testing.assert_array_equal(torch.cat([pixels for pixels, _ in batches]).numpy(), expected)
    assert torch.cat([targets for _, (targets, _) in batches]).tolist() == [1, 3, 4]


def test_every_sweep_draws_the_views_of_its_number(source, pool):
    augmentation = Augmentation.parse("affine(shear=10) hflip")
    shown = images(source, pool, augmentation)
    batches = Batches(shown, 3, torch.Generator().manual_seed(0))
    for sweep in (1, 2):
        ((pixels, (targets, _)),) = batches
        for given, row in zip(pixels.numpy(), targets.tolist(), strict=True):
            sample = 5 - row
            expected = augmentation.view(
                decoded(source, sample), PREPROCESSING, digest=content_digest(source.read(sample)), number=sweep, seed=7
            )
            np.testing.assert_array_equal(given, expected)


def test_an_image_that_has_gone_is_named(source, pool):
    shown = images(source, pool)
    place(source, 4).unlink()
    with pytest.raises(SampleError, match=r"'blue|'green|'red.* cannot be used any more"):
        list(Batches(shown, 2))
