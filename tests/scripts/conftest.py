import importlib
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"
MODULES = ("contestants", "device", "figures", "host", "match", "networks", "peers", "photos")


@pytest.fixture
def bench(monkeypatch):
    """The benchmarks' modules by name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return SimpleNamespace(**{name: importlib.import_module(f"bench.{name}") for name in MODULES})


@pytest.fixture
def one_thread():
    """Have torch compute in one thread, which is fastest for so little."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def script(bench, monkeypatch):
    """Return a script of the folder as a module."""

    def load(name):
        monkeypatch.setattr(sys, "path", [*sys.path])  # scripts add to it
        loader = SourceFileLoader(name, str(SCRIPTS / name))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it would lie beside the script
        loader.exec_module(module)
        return module

    return load


TIMM_LEAVES_FILES_OPEN = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO:pytest.PytestUnraisableExceptionWarning"),
]
