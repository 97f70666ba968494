"""The contestants themselves, in one process, on a handful of images."""

from dataclasses import replace

import pytest

from tests.scripts.conftest import TIMM_LEAVES_FILES_OPEN

pytestmark = [pytest.mark.usefixtures("one_thread"), *TIMM_LEAVES_FILES_OPEN]
NETWORK = "mobilenet_v2"


@pytest.fixture
def settings(bench, tmp_path):
    bench.photos.make_photos(tmp_path / "images", 3, (250, 188))
    recipe = bench.networks.prepare(NETWORK, tmp_path)
    return bench.contestants.Settings(recipe, tmp_path / "featx", workers=0, batch_size=2, engine="torch")


def test_all_agree_with_the_plain_loop(bench, settings, tmp_path):
    contestants, folder = bench.contestants, tmp_path / "images"
    plain = contestants.PlainLoop(replace(settings, scratch=tmp_path / "plain")).run(folder)
    assert plain.features.shape == (3, 1280)
    assert bench.figures.spread_of(plain.features) > 0.02
    others = {
        "timm": contestants.TimmLoader(replace(settings, scratch=tmp_path / "timm", channels_last=True)),
        "featx": contestants.Featx(settings),
    }
    for name, contestant in others.items():
        for _ in range(2):
            contestant.prepare(folder)
            found = contestant.run(folder)
        how = bench.figures.agreement(found.keys, found.features, plain.keys, plain.features)
        assert how.centred > 0.9999, name
        assert how.error < 1e-4, name
    assert found.facts["engine"] == "torch"
    assert found.stages["forward"] > 0  # it was computed anew, not found in the cache
    stages = contestants.Stages(settings).run(folder)
    assert len(stages.keys) == 3
    assert stages.stages["decode and transform"] > 0
    assert stages.stages["forward"] > 0


def test_the_network_is_that_of_featx(bench, tmp_path):
    import torch

    from featx.backbones import FeatureTap, load_backbone

    recipe = bench.networks.prepare("inception_v3", tmp_path)
    backbone = load_backbone(recipe.backbone, weights=recipe.weights)
    images = torch.rand(2, 3, recipe.crop, recipe.crop, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (wanted,) = FeatureTap(backbone.network, [backbone.node()]).eval()(images)
        found = bench.networks.build_network(recipe)(images)
    torch.testing.assert_close(found, wanted)
