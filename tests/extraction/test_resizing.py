"""The loop with an engine that resizes, and decodes: what it is handed, and that the features are the same."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from featx.backbones import load_backbone
from featx.errors import ParameterError
from featx.extraction import CudaEngine, Timings, TorchEngine, embed, extract_batches, load_pixels, plan_outputs
from featx.extraction import _transform as transform
from featx.sources import Sample, Source
from tests.tiny import BACKBONE, picture


def encoded(image, form="JPEG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def truncated(seed):
    return encoded(picture(seed, size=(90, 70)))[:-300]


TURNED = Image.Exif()
TURNED[0x0112] = 6
FILES = [
    encoded(picture(0, size=(90, 70))),
    encoded(picture(1, size=(40, 70)).convert("L")),
    encoded(picture(2, size=(70, 50)).convert("CMYK")),
    encoded(picture(3, size=(91, 70)), exif=TURNED),
    encoded(picture(4, size=(50, 60)), "PNG"),
    truncated(5),
    encoded(picture(6, size=(700, 20))),
    b"no image",
    encoded(picture(8, size=(200, 180))),
]
PLAIN = (0, 1, 5, 6, 8)
"""Those that another decoder may be given."""


class Files(Source):
    def __init__(self):
        super().__init__("files", "files")

    def _list(self):
        return [Sample(f"{i:02d}") for i in range(len(FILES))]

    def _read(self, index):
        return FILES[index]


def by_pillow(files):
    """Stand in for the GPU's decoder; like that, it fails for all if one is damaged."""
    images = []
    for data in files:
        image = Image.open(io.BytesIO(data))
        image.load()
        images.append(torch.from_numpy(np.array(image.convert("RGB"))))
    return images


def set_up(decode="exact"):
    backbone = load_backbone(BACKBONE, decode=decode)
    return backbone, plan_outputs(backbone)


@pytest.fixture
def expected():
    backbone, outputs = set_up()
    return embed(Files(), TorchEngine(backbone, outputs), outputs)


@pytest.mark.parametrize("large", [10**9, 30_000, 0])
def test_features_and_failures_are_those_of_an_engine_that_does_not(expected, monkeypatch, large):
    monkeypatch.setattr(transform, "_LARGE", large)
    backbone, outputs = set_up()
    (features,), rows, failures = embed(Files(), CudaEngine(backbone, outputs, device="cpu"), outputs, batch_size=4)
    assert rows.tolist() == expected[1].tolist() == [0, 1, 2, 3, 4, 6, 8]
    assert failures == expected[2]
    np.testing.assert_allclose(features, expected[0][0], rtol=1e-4, atol=1e-5)


def test_files_that_the_device_decodes(expected):
    handed = []

    def decode(files):
        handed.extend(files)
        return by_pillow(files)

    backbone, outputs = set_up("gpu")
    engine = CudaEngine(backbone, outputs, device="cpu", decode_jpegs=decode)
    (features,), rows, failures = embed(Files(), engine, outputs, batch_size=4)
    assert {FILES.index(data) for data in handed} == set(PLAIN)
    assert rows.tolist() == expected[1].tolist()
    assert failures == expected[2]  # the reason is Pillow's, not that there are no features
    assert "truncated" in dict(failures)[5]
    np.testing.assert_allclose(features, expected[0][0], rtol=1e-4, atol=1e-5)


def test_what_is_decoded_elsewhere_is_told_to_a_processor():
    backbone, outputs = set_up("gpu")
    with pytest.raises(ParameterError, match="decode 'gpu' needs a GPU; got device 'cpu'"):
        embed(Files(), TorchEngine(backbone, outputs), outputs)


def test_fast_is_fast_and_other_features():
    large = encoded(picture(1, size=(640, 480)), quality=60)
    (exact, _), (fast, _) = set_up(), set_up("fast")
    one, other = (load_pixels(large, backbone.preprocessing) for backbone in (exact, fast))
    assert one.shape == other.shape
    assert (one != other).any()
    assert exact.preprocessing != fast.preprocessing

    class One(Files):
        def _list(self):
            return [Sample("1")]

        def _read(self, index):
            return large

    for backbone in (exact, fast):
        outputs = plan_outputs(backbone)
        engine = TorchEngine(backbone, outputs)
        (batch,) = extract_batches(
            One(), [0], [(0, 1)], engine, outputs[0].spec, batch_size=1, workers=1, timings=Timings()
        )
        np.testing.assert_array_equal(
            batch.features[0], engine(np.array([load_pixels(large, backbone.preprocessing)]))[0]
        )


def test_very_large_images_do_not_wait_as_they_are():
    backbone, _ = set_up()
    large = np.zeros((2100, 2000, 3), dtype=np.uint8)
    cropped = load_pixels(large, backbone.preprocessing, resize=False)
    assert cropped.shape == (*backbone.preprocessing.crop_size, 3)
    assert isinstance(cropped, transform.Cropped)
    assert load_pixels(large[:100], backbone.preprocessing, resize=False).shape == (100, 2000, 3)
