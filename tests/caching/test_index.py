import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featx.caching import _index
from featx.caching._index import DigestIndex, as_digests, repeated

digests = st.integers(0, 5).flatmap(lambda head: st.integers(0, 3).map(lambda tail: f"{head:016x}{tail:048x}"))
"""Many of which share a mark, as those of a SHA-256 never do."""


@given(st.lists(digests), st.lists(digests))
def test_the_first_row_of_a_digest_is_found(stored, wanted):
    index = DigestIndex(as_digests(stored))
    assert len(index) == len(stored)
    found = index.rows(as_digests(wanted)).tolist()
    assert found == [stored.index(digest) if digest in stored else -1 for digest in wanted]


@given(st.lists(digests))
def test_what_is_there_more_than_once_is_told(stored):
    column = as_digests(stored)
    marks = _index._marks(column).tolist()
    assert repeated(column).tolist() == [marks.count(mark) > 1 for mark in marks]
    assert all(several for several, digest in zip(repeated(column), stored, strict=True) if stored.count(digest) > 1)


def test_digests_have_marks_of_their_own():
    column = as_digests([f"{np.random.default_rng(i).integers(2**63):016x}{0:048x}" for i in range(1000)])
    assert len(np.unique(_index._marks(column))) == 1000


def test_a_memory_map_is_not_copied():
    column = as_digests([f"{i:064x}" for i in range(5)])
    assert DigestIndex(column).digests is column
