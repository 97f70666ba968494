"""Features in memory: the same as the batches, in one piece."""

import numpy as np

from featx.backbones import load_backbone
from featx.extraction import TorchEngine, embed, plan_outputs
from tests.extraction.helpers import Numbered
from tests.tiny import BACKBONE


def engine_and_outputs(**options):
    backbone = load_backbone(BACKBONE)
    outputs = plan_outputs(backbone, **options)
    return TorchEngine(backbone, outputs), outputs


def test_all_samples_in_order():
    engine, outputs = engine_and_outputs(layers=["fc.input", "relu"], pool=None)
    source = Numbered(9, bad=[0, 4])
    features, rows, failures = embed(source, engine, outputs, batch_size=2, workers=2)
    good = [1, 2, 3, 5, 6, 7, 8]
    assert rows.tolist() == good
    assert failures == ((0, "bad number 0"), (4, "bad number 4"))
    assert [array.shape for array in features] == [(7, 16), (7, 8)]
    for i, index in enumerate(good):  # the pictures have one colour, so resizing leaves it
        alone = engine(np.full((1, 32, 32, 3), index, dtype=np.uint8))
        for array, expected in zip(features, alone, strict=True):
            np.testing.assert_allclose(array[i], expected[0], rtol=1e-5, atol=1e-6)


def test_the_batch_size_does_not_matter():
    engine, outputs = engine_and_outputs()
    results = [embed(Numbered(7), engine, outputs, batch_size=size, workers=1)[0][0] for size in (1, 3, None)]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-5, atol=1e-6)


def test_views_have_an_axis():
    engine, outputs = engine_and_outputs(layers=["relu"], pool="none", views=3, augment="rotate(90:90) hflip(1)")
    (features,), rows, _ = embed(Numbered(5, bad=[1]), engine, outputs, batch_size=4, workers=2)
    assert rows.tolist() == [0, 2, 3, 4]
    assert features.shape == (4, 3, 16, 16, 8)
    for row, index in enumerate(rows.tolist()):  # of one colour, so that nothing is turned but what lies outside
        (alone,) = engine(np.full((1, 32, 32, 3), index, dtype=np.uint8))
        for view in features[row]:
            np.testing.assert_allclose(view, alone[0], rtol=1e-5, atol=1e-6)
    (nothing,), _, _ = embed(Numbered(2, bad=[0, 1]), engine, outputs)
    assert nothing.shape == (0, 3, 16, 16, 8)


def test_only_bad_samples():
    engine, outputs = engine_and_outputs(layers=["relu"], pool="none", dtype="float16")
    features, rows, failures = embed(Numbered(3, bad=range(3)), engine, outputs)
    assert (features[0].shape, features[0].dtype) == ((0, 16, 16, 8), np.float16)
    assert (rows.shape, rows.dtype, len(failures)) == ((0,), np.int64, 3)
