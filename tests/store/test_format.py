import re
from pathlib import Path

import numpy as np

from featx import store as package
from featx.store import _format as names
from tests.store.helpers import save

DOCUMENT = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")


def test_the_public_names_are_sorted():
    assert len(set(package.__all__)) == len(package.__all__)  # ruff keeps them sorted
    assert all(hasattr(package, name) for name in package.__all__)


def test_the_example_of_the_document_reads_a_store_without_featx(tmp_path, monkeypatch):
    store = save(tmp_path / "photos.h5")
    monkeypatch.chdir(tmp_path)
    example = DOCUMENT.split("```python\n")[1].split("```")[0]
    assert len(list(filter(None, example.splitlines()))) == 6
    assert "featx" not in example
    scope = {}
    exec(example, scope)
    assert np.array_equal(scope["X"], store.features)
    assert np.array_equal(scope["y"], store.labels)
    assert tuple(scope["keys"]) == store.keys
    assert tuple(scope["classes"]) == store.classes
    assert scope["spec"]["backbone"] == store.spec.backbone


def test_the_document_names_every_element_with_its_type():
    documented = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \| \(", DOCUMENT, re.MULTILINE))
    assert documented == names.KINDS
    assert f"(format versions 1 to {names.FORMAT_VERSION})" in DOCUMENT
    assert f"`{names.FORMAT_NAME}`" in DOCUMENT
    assert f"`{names.TEXT_ENCODING}`" in DOCUMENT
