import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featx.sources
from featx.errors import ParameterError, SourceError
from featx.sources import ArraySource, Sample, content_digest, open_source
from featx.sources._base import file_name, label_names, named_label

from .helpers import encoded, write_folder


def test_public_names_are_sorted_and_there():
    assert featx.sources.__all__ == sorted(featx.sources.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(featx.sources, name) for name in featx.sources.__all__)


def test_names_that_stand_twice_are_told_apart():
    assert label_names(["crane", ("maillot", "tank suit"), "crane"]) == (
        "crane (0)",
        "maillot, tank suit",
        "crane (2)",
    )


def test_named_label():
    assert [named_label(value, ("a", "b")) for value in (0, 1.0, -1, None, "z")] == ["a", "b", None, None, "z"]
    with pytest.raises(SourceError, match="0 to 1; got 2"):
        named_label(2, ("a", "b"))


def test_content_digest_of_bytes_is_sha256():
    assert content_digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(
    "other", [np.zeros((3, 2), np.uint8), np.zeros((2, 3), np.int8), np.ones((2, 3), np.uint8), b"\0" * 6]
)
def test_content_digest_of_arrays_tells_shape_type_and_values(other):
    array = np.zeros((2, 3), np.uint8)
    assert content_digest(array) != content_digest(other)
    assert content_digest(array) == content_digest(np.zeros((3, 2), np.uint8).T)


@given(st.text())
def test_file_names_are_safe(text):
    name = file_name(text)
    assert name
    assert not set(name) & set("/\\\0\n:*?\"<>|'")
    assert name[0] not in ".-"
    name.encode("utf-8")


def test_limit_takes_the_first_and_says_so(tmp_path):
    files = {f"{label}/{i}.png": encoded(np.full((1, 1), i, np.uint8)) for label in "ab" for i in range(2)}
    source = open_source(write_folder(tmp_path / "set", files))
    limited = open_source(source, limit=3)
    assert [sample.key for sample in limited.samples] == ["a/0.png", "a/1.png", "b/0.png"]
    assert limited.read(2) == files["b/0.png"]
    assert limited.read(-1) == files["b/0.png"]
    assert source.limit(2).classes == ("a",)
    assert len({source.identity, limited.identity, source.limit(2).identity}) == 3
    assert len({source.name, limited.name}) == 2
    assert source.limit(4) is source
    with pytest.raises(IndexError):
        limited.read(3)
    for wrong in (0, -1, 2.5):
        with pytest.raises(ParameterError, match="at least 1"):
            source.limit(wrong)


def test_limit_keeps_declared_classes():
    source = ArraySource(np.zeros((2, 1, 1), np.uint8), [0, 1], classes=["a", "b", "never"])
    assert source.limit(1).classes == ("a", "b", "never")


def test_samples_are_values():
    assert Sample("a") == Sample("a", None, None, -1, 0)
    assert pickle.loads(pickle.dumps(Sample("a", "b"))) == Sample("a", "b")
