import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--compress"]])
def test_the_benchmark_of_the_store_runs(tmp_path, options):
    command = [sys.executable, ROOT / "scripts" / "bench_store", "--rows", "300", "--cols", "8", "--folder", tmp_path]
    result = subprocess.run([*command, *options], capture_output=True, text=True, timeout=280, check=True)
    assert result.stdout.count("| verify |") == 1
    assert list(tmp_path.iterdir()) == []
