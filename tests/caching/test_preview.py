from collections import Counter

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from featx.caching import extract, preview
from featx.errors import ParameterError, SampleError
from featx.extraction import Augmentation
from featx.sources import content_digest
from tests.tiny import BACKBONE, PREPROCESSING, TinyNet, picture, write_folder


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", per_class=8)


def test_the_pixels_are_torchvisions(photos, tmp_path):
    transform = transforms.Compose(
        [transforms.Resize(PREPROCESSING.resize_size[0]), transforms.CenterCrop(PREPROCESSING.crop_size)]
    )
    found = preview(photos, BACKBONE, cache=tmp_path / "cache")
    assert len(found) == 18
    for seen in found:
        np.testing.assert_array_equal(seen.pixels, np.asarray(transform(Image.open(photos / seen.key))))


def test_settings_are_those_of_an_extraction(photos, tmp_path):
    settings = {"image_size": 20, "resize": "squash", "layers": ["conv2"]}
    for seen in preview(photos, BACKBONE, cache=tmp_path / "cache", **settings):
        squashed = Image.open(photos / seen.key).resize((20, 20), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(seen.pixels, np.asarray(squashed))


def test_all_views_of_an_image_are_shown(photos, tmp_path):
    views = {"views": 3, "augment": "rotate(20) hflip", "augment_seed": 2}
    found = preview(photos, BACKBONE, cache=tmp_path / "cache", count=18, **views)
    assert Counter(seen.key for seen in found) == dict.fromkeys({seen.key for seen in found}, 3)
    assert len(found) == 18
    for seen in found:
        path = photos / seen.key
        digest = content_digest(path.read_bytes())
        expected = Augmentation.parse("rotate(20) hflip").view(
            Image.open(path), PREPROCESSING, digest=digest, number=seen.view, seed=2
        )
        np.testing.assert_array_equal(seen.pixels, expected)


@pytest.mark.parametrize(("count", "each"), [(1, 1), (4, 2), (6, 2), (100, 8)])
def test_equally_many_of_each_class_in_their_order(photos, tmp_path, count, each):
    found = preview(photos, BACKBONE, cache=tmp_path / "cache", count=count)
    assert [seen.label for seen in found] == sorted(seen.label for seen in found)
    assert Counter(seen.label for seen in found) == dict.fromkeys(["blue", "green", "red"], each)
    assert len({seen.key for seen in found}) == len(found)
    assert [seen.key for seen in preview(photos, BACKBONE, count=count)] == [seen.key for seen in found]


def test_of_many_classes_some_that_are_spread_over_them(tmp_path):
    images = np.zeros((120, 8, 8, 3), np.uint8)
    found = preview((images, [f"{i // 2:02}" for i in range(120)]), BACKBONE, cache=tmp_path)
    labels = [seen.label for seen in found]
    assert len(labels) == 48
    assert labels == sorted(set(labels))
    assert (labels[0], labels[-1]) == ("00", "58")


@pytest.mark.parametrize("labels", [None, [[0.5]] * 9, [("a", "b"), ("a",), ()] * 3])
def test_without_a_class_each_they_are_one_group(tmp_path, labels):
    images = np.random.default_rng(0).integers(0, 256, (9, 40, 40, 3), dtype=np.uint8)
    source = images if labels is None else (images, labels)
    assert len(preview(source, BACKBONE, cache=tmp_path, count=4)) == 4


def test_bad_images_are_passed_over(photos, tmp_path):
    for file in sorted(photos.glob("*/*.png")):
        if not file.name.startswith("007"):
            file.write_bytes(b"bad")
    found = preview(photos, BACKBONE, cache=tmp_path / "cache", count=3)
    assert [seen.key for seen in found] == ["blue/007.png", "green/007.png", "red/007.png"]
    for file in photos.glob("*/*.png"):
        file.write_bytes(b"bad")
    with pytest.raises(SampleError, match=r"none of 24 images could be used to show it \('blue/.*: look at the source"):
        preview(photos, BACKBONE, cache=tmp_path / "cache", count=3)


def test_no_image_goes_through_the_network_and_nothing_is_stored(photos, tmp_path):
    images = TinyNet.images
    preview(photos, BACKBONE, cache=tmp_path / "cache")
    assert TinyNet.images == images
    assert not list(tmp_path.glob("cache/*.h5"))
    store = extract(photos, BACKBONE, cache=tmp_path / "cache")
    assert len(store) == 24


def test_a_count_of_nothing_is_refused(photos):
    with pytest.raises(ParameterError, match="count must be at least 1; got 0"):
        preview(photos, BACKBONE, count=0)


def test_labels_beside_classes(photos, tmp_path):
    picture(99).save(photos / "unlabelled.png")
    found = preview(photos, BACKBONE, cache=tmp_path / "cache", count=4)
    assert [seen.label for seen in found] == ["blue", "green", "red", None]
