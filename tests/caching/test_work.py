import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.caching import _work
from featx.caching._targets import Target
from featx.store import Part
from tests.store.helpers import make_digests


@st.composite
def works(draw):
    """Draw a source of n samples: which an older store has, which fail, and where parts and blocks end."""
    n = draw(st.integers(1, 40))
    kept = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    failed = np.array(draw(st.lists(st.sampled_from([False, False, True]), min_size=n, max_size=n)))
    order = np.flatnonzero(~kept)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(order) - 1)), max_size=4)) & set(range(1, len(order))))
    in_old = draw(st.permutations(range(n + 3)))[:n]
    return n, kept, failed, order, cuts, np.array(in_old), draw(st.integers(1, 9)), draw(st.sampled_from([(), (2, 3)]))


@settings(max_examples=200, deadline=None)
@given(works())
def test_merged_rows_are_each_samples_own(work):
    n, kept, failed, order, cuts, in_old, block_rows, more = work
    new = np.random.default_rng(0).standard_normal((n, 2, *more)).astype(np.float32)
    old = np.random.default_rng(1).standard_normal((n + 3, 2, *more)).astype(np.float32)
    edges = [0, *cuts, len(order)] if len(order) else []
    parts = []
    for start, stop in itertools.pairwise(edges):
        good = [position for position in range(start, stop) if not failed[order[position]]]
        wrong = [position for position in range(start, stop) if failed[order[position]]]
        parts.append(
            Part(
                start=start,
                stop=stop,
                rows=np.array(good, dtype=np.int64),
                digests=np.array(make_digests(len(good)), dtype="U64"),
                features=(np.zeros((len(good), 1), np.float32), new[order[good]]),
                failures=tuple((position, "bad") for position in wrong),
            )
        )
    present = kept | ~failed
    target = Target(
        output=SimpleNamespace(spec=SimpleNamespace(dtype="float32"), shape=(2, *more)),
        path=None,
        old=SimpleNamespace(features=old),
        old_rows=np.where(kept, in_old, -1),
    )
    expected = np.array([old[in_old[i]] if kept[i] else new[i] for i in range(n) if present[i]], dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_work, "_BLOCK_ROWS", block_rows)
        blocks = list(_work.merged(target, 1, order, SimpleNamespace(parts=lambda: iter(parts)), present))
    assert all(len(block) <= block_rows for block in blocks)
    got = np.concatenate([np.empty((0, 2, *more), np.float32), *blocks])
    assert np.array_equal(got, expected.reshape(-1, 2, *more))
