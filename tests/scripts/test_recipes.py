"""The five recipes run, each on a few generated images; what they must count is counted."""

import json
import sys

import pytest

from tests.scripts.conftest import SCRIPTS, TIMM_LEAVES_FILES_OPEN

pytestmark = [pytest.mark.usefixtures("one_thread"), *TIMM_LEAVES_FILES_OPEN]


@pytest.fixture
def recipe(script, monkeypatch, tmp_path):
    """Run a recipe with ``--smoke`` and return its figures and its folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("FEATX_CACHE", "FEATX_RUNS"):
        monkeypatch.setenv(name, "")  # a recipe sets them: they are to be as before afterwards
    for name in ("common", "originals", "r5_networks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(SCRIPTS / "recipes"))

    def run(name, *options):
        folder = tmp_path / name
        script(f"recipes/{name}").main(["--smoke", "--folder", str(folder), *options])
        return json.loads((folder / "figures.json").read_text())["figures"], folder

    return run


def test_r1_ends_with_titled_pictures(recipe):
    figures, folder = recipe("r1", "--original")
    assert figures["validation accuracy, ridge"] == 1
    assert figures["validation accuracy, the original's way"] > 0.4
    assert (folder / "three.png").stat().st_size > 1000
    assert (folder / "seen.png").stat().st_size > 1000


@pytest.mark.slow
def test_r2_trains_as_many_parameters_as_the_original(recipe):
    figures, _ = recipe("r2")
    assert figures["trainable parameters of MobileNetV2 from layer 100"] == 1_862_721
    assert figures["validation accuracy, fine-tuned"] >= figures["validation accuracy, head alone"]
    assert figures["validation accuracy, the exercise"] > 0.5  # of three classes


@pytest.mark.slow
def test_r3_trains_three_ways(recipe):
    figures, folder = recipe("r3")
    ways = ["frozen", "blocks.5,blocks.6 trained", "everything trained"]
    assert [name.partition(", ")[2] for name in figures] == ways
    assert (folder / "validation.png").stat().st_size > 1000


def test_r4_goes_from_maps_to_a_tuned_network(recipe):
    figures, _ = recipe("r4")
    assert figures.pop("parameters of that head on the original's maps").startswith("820,310 parameters")
    assert set(figures) == {
        "test accuracy, conv head on maps",
        "test accuracy, frozen, several layers, mirrored",
        "test accuracy, fine-tuned",
    }
    assert figures["test accuracy, fine-tuned"] >= 0.6


def test_r5_saves_loads_goes_on_and_is_reused(recipe):
    figures, _ = recipe("r5")
    before, after = figures["accuracy and loss on test, saved and loaded"]
    assert before == pytest.approx(after, abs=1e-4)
    assert figures["parameters of the new last layer"] == 235
