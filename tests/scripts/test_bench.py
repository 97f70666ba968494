"""The scripts as they are called."""

import json
import subprocess
import sys

import pytest

from tests.scripts.conftest import SCRIPTS, TIMM_LEAVES_FILES_OPEN

pytestmark = [pytest.mark.usefixtures("one_thread"), *TIMM_LEAVES_FILES_OPEN]
TINY = ["--networks", "mobilenet_v2", "--rounds", "1"]


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_on_a_processor(script, monkeypatch, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    options = ["--device", "cpu", "--images", "4", "--batch-size", "2", "--workers", "0", "--engine", "torch"]
    monkeypatch.setattr(sys, "argv", ["bench_gpu", *TINY, *options, "--folder", str(tmp_path)])
    script("bench_gpu").main()
    printed = capsys.readouterr().out
    assert "| featx |" in printed
    assert "has failed" not in printed
    figures = json.loads((tmp_path / "out" / "bench_gpu.json").read_text())["networks"]["mobilenet_v2"]
    assert figures["agreement"]["featx"]["good"]
    assert figures["efficiency"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_stages_need_featx(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_extract", "--contestants", "stages"])
    with pytest.raises(SystemExit):
        script("bench_extract").main()
    assert "name featx" in capsys.readouterr().err


def test_a_peer_that_cannot_be_installed_is_said_so(bench, monkeypatch, tmp_path):
    monkeypatch.setitem(bench.peers.PEERS, "thingsvision", bench.peers.Peer((str(tmp_path / "nothing.whl"),)))
    with pytest.raises(bench.peers.UnavailableError, match=r"cannot be installed: .*nothing\.whl"):
        bench.peers.environment("thingsvision", tmp_path)


@pytest.mark.slow
def test_the_benchmark_of_a_cluster_runs(tmp_path):
    options = ["--images", "200", "--size", "100", "100", "--rounds", "1", "--folder", str(tmp_path)]
    command = [sys.executable, str(SCRIPTS / "bench_ray"), *options]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True).stdout
    assert "| one process |" in printed
    assert "| 2 workers on Ray |" in printed
    assert "features differ by 0e+00 of the largest" in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_benchmark_of_extraction_runs(tmp_path):
    options = [*TINY, "--sizes", "250x188", "--count", "6", "--engine", "torch", "--folder", str(tmp_path)]
    command = [sys.executable, str(SCRIPTS / "bench_extract"), *options, "--json", str(tmp_path / "figures.json")]
    command += ["--contestants", "timm", "featx", "stages"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True).stdout
    assert "| plain loop |" in printed
    assert "does not count" not in printed
    figures = json.loads((tmp_path / "figures.json").read_text())["made images of 250x188"]["mobilenet_v2"]
    assert figures["failures"] == {}
    assert figures["efficiency"]["efficiency"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
