"""What tests of clusters share."""

import pytest


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, which workers share."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
