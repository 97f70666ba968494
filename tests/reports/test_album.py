"""Thumbnails are of the images that the features are of, and of no others."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

import featx
from featx.reports import Album
from tests.tiny import BACKBONE, picture, write_folder


def image_of(address):
    kind, _, data = address.partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", per_class=2)


def test_thumbnails_look_like_the_images(photos, tmp_path):
    store = featx.extract(photos, BACKBONE, cache=tmp_path / "cache")
    found = Album(store).thumbnails([5, 0, 5], side=16)
    assert list(found) == [5, 0]
    for row, address in found.items():
        small = image_of(address)
        whole = Image.open(photos / store.keys[row])
        assert small.size == (16, 13)
        difference = np.asarray(whole.resize(small.size, Image.Resampling.BOX), int) - np.asarray(small.convert("RGB"))
        assert np.abs(difference).mean() < 12
    assert image_of(Album(store).thumbnails([0])[0]).size == (40, 32)


def test_an_image_that_has_changed_or_gone_is_not_shown(photos, tmp_path):
    store = featx.extract(photos, BACKBONE, cache=tmp_path / "cache")
    picture(99).save(photos / store.keys[0])
    (photos / store.keys[1]).unlink()
    assert list(Album(store).thumbnails(range(4))) == [2, 3]


def test_a_source_that_is_not_there_is_told_and_may_be_given(photos, tmp_path):
    store = featx.extract(photos, BACKBONE, cache=tmp_path / "cache")
    moved = photos.rename(tmp_path / "elsewhere")
    album = Album(store)
    assert album.thumbnails([0, 1]) == {}
    assert "cannot be opened again" in album.problem
    album = Album(store, featx.open_source(moved))
    assert list(album.thumbnails([0, 1])) == [0, 1]
    assert album.problem is None
