import pytest

from tests.cli.helpers import Command


@pytest.fixture
def featx(capsys):
    """``featx`` as a function of its words."""
    return Command(capsys)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("FEATX_CACHE", "FEATX_RUNS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path
