import subprocess
import sys

import pytest
from PIL import Image

from featx.errors import ParameterError
from featx.plots import gallery, save_figure, save_figures
from tests.tiny import picture


@pytest.fixture
def figure():
    return gallery([picture(0)], ["one & <only>"])


def test_the_name_says_the_format(figure, tmp_path):
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".PNG": b"\x89PNG"}
    for suffix, start in starts.items():
        path = tmp_path / f"a picture{suffix}"
        assert save_figure(figure, path) == path
        assert path.read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == len(starts)


def test_pixels_are_those_of_the_figure(figure, tmp_path):
    with Image.open(save_figure(figure, tmp_path / "a.png")) as image:
        assert image.size == pytest.approx(figure.get_size_inches() * 150, abs=1)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_file_is_replaced_whole_or_not_at_all(figure, tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text("old")

    def broken(file, **_):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(figure, "savefig", broken)
        with pytest.raises(OSError, match="No space"):
            save_figure(figure, path)
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [(path.name, "old")]
    save_figure(figure, path)
    assert path.stat().st_size > 1000


def test_files_that_cannot_be(figure, tmp_path):
    with pytest.raises(ParameterError, match=r"path must end in one of \.png, \.svg, \.pdf; got 'a\.html'"):
        save_figure(figure, "a.html")
    with pytest.raises(ParameterError, match=r"path must be in a folder that is there; got .*: make "):
        save_figure(figure, tmp_path / "nowhere" / "a.png")


def test_figures_go_into_a_folder_that_is_made(figure, tmp_path):
    paths = save_figures({"one": figure, "two": figure}, tmp_path / "deep" / "down")
    assert [path.name for path in paths] == ["one.png", "one.svg", "two.png", "two.svg"]
    assert sorted(paths) == sorted((tmp_path / "deep" / "down").iterdir())


def test_no_display_and_no_pyplot(tmp_path):
    code = """
import sys
from featx.plots import gallery, learning_curves, save_figure
import numpy as np
assert "matplotlib" not in sys.modules
save_figure(gallery([np.zeros((4, 4, 3), np.uint8)], ["$"]), "a.png")
save_figure(learning_curves([{"epoch": 1, "loss": 1.0}]), "b.svg")
assert "matplotlib.pyplot" not in sys.modules
"""
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path), "MPLBACKEND": "qtagg", "MPLCONFIGDIR": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    assert {path.name for path in tmp_path.glob("?.*")} == {"a.png", "b.svg"}
