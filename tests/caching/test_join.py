"""Parts and older stores put together: what `Changes` counts, and files that are opened."""

import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.caching._compute import Job, missing
from featx.caching._index import as_digests
from featx.caching._join import _changes, _Rows
from featx.caching._known import Known, KnownViews
from featx.caching._targets import Wanted
from featx.store import Part, SampleTable, Workspace
from tests.store.helpers import make_spec, save

CONTENTS = [f"{i:064x}" for i in range(6)]


def rows_of_work(folder, contents, cuts):
    """Write parts for contents (None for what cannot be used), each computed where it is first met in its part."""
    workspace = Workspace.open(folder, {"work": 1})
    for start, stop in zip([0, *cuts], [*cuts, len(contents)], strict=True):
        rows = [row for row in range(start, stop) if contents[row] is not None]
        seen = set(contents[:start]) if start % 2 else set()  # some processes know what others have computed
        fresh = []
        for row in rows:
            fresh.append(int(contents[row] not in seen))
            seen.add(contents[row])
        features = np.array([[int(contents[row], 16)] for row, new in zip(rows, fresh, strict=True) if new], "f4")
        failures = [(row, "bad") for row in range(start, stop) if contents[row] is None]
        digests = np.array([contents[row] for row in rows], dtype="U64")
        workspace.write(
            Part(start, stop, np.array(rows, int), digests, (features.reshape(-1, 1),), failures, np.array(fresh, int))
        )
    return workspace


contents_of_keys = st.dictionaries(
    st.sampled_from("abcdefghij"), st.sampled_from([*CONTENTS, None]), min_size=1, max_size=10
).map(lambda found: dict(sorted(found.items())))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_changes_are_what_dictionaries_would_say(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("join")
    before, now = data.draw(contents_of_keys), data.draw(contents_of_keys)
    old = None
    if any(before.values()):
        good = {key: digest for key, digest in before.items() if digest}
        n = len(good)
        old = save(
            folder / "old.h5",
            np.zeros((n, 1), "f4"),
            samples=SampleTable(list(good), np.full(n, -1), (), [""] * n, np.zeros(n, int), np.zeros(n, int)),
            digests=list(good.values()),
            failures=[(key, "bad") for key, digest in before.items() if digest is None],
        )
    else:
        before = {}
    keys, contents = list(now), list(now.values())
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(now) - 1)), max_size=3)) - {len(now)})
    workspace = rows_of_work(folder / "work", contents, cuts)
    rows = _Rows.of(np.arange(len(now)), as_digests([""] * len(now)), workspace)
    assert rows.sent == len(set(contents) - {None})
    failures = [(keys[row], reason) for row, reason in rows.failures]
    here = np.flatnonzero(rows.digests != b"")
    rows, keys = rows.take(here), [keys[row] for row in here]
    good = {key: digest for key, digest in now.items() if digest}
    for (number, row), digest in zip(np.stack([rows.numbers, rows.firsts], 1).tolist(), good.values(), strict=True):
        assert rows.parts[number][0][np.array([row])].tolist() == [[int(digest, 16)]]
    found = _changes(old, keys, rows, failures, 0)
    others = {key: digest for key, digest in good.items() if before.get(key) != digest}
    failed = {key for key, digest in now.items() if digest is None}
    assert found.kept == len(good) - len(others)
    assert found.new == len(now.keys() - before.keys())
    assert found.changed == sum(
        key in before and before[key] != digest and not (digest is None and before[key] is None)
        for key, digest in now.items()
    )
    assert found.removed == len(before.keys() - now.keys())
    assert found.copied == len(others) - len(set(others.values()))
    assert (found.failed, found.resumed) == (len(failed), rows.sent)


def job_of(workspace, rows, stores=()):
    known = KnownViews([Known(make_spec(), stores)])
    wanted = [Wanted(make_spec(), (1,), "NC")]
    return Job(None, np.arange(rows), wanted, known, workspace, 1, 1, strict=False)


def test_a_part_that_has_a_content_twice_is_whole(tmp_path):
    contents = [CONTENTS[0], CONTENTS[0], CONTENTS[1], CONTENTS[0]]
    workspace = rows_of_work(tmp_path, contents, [3])
    assert missing(job_of(workspace, 4)) == ([], set())
    assert missing(job_of(workspace, 5)) == ([(4, 5)], set(CONTENTS[:2]))


def test_parts_that_lean_on_one_another_go_together(tmp_path):
    contents = [CONTENTS[0], CONTENTS[1], CONTENTS[2], CONTENTS[0], CONTENTS[3], CONTENTS[3]]
    workspace = rows_of_work(tmp_path, contents, [1, 3, 5])  # the third and the fourth lean on others
    assert missing(job_of(workspace, 6)) == ([], set())
    next(path for path in tmp_path.iterdir() if path.name.startswith("part-000000000000")).unlink()
    gaps, computed = missing(job_of(workspace, 6))
    assert gaps == [(0, 1), (3, 6)]
    assert computed == set(CONTENTS[1:3])


def test_features_of_a_store_that_is_gone_are_computed_again(tmp_path):
    workspace = Workspace.open(tmp_path / "work", {"work": 1})
    digests = np.array(CONTENTS[:2])
    workspace.write(Part(0, 2, np.arange(2), digests, (np.zeros((1, 1), "f4"),), (), np.array([1, 0])))
    store = save(tmp_path / "a.h5", np.zeros((1, 1), "f4"), digests=CONTENTS[1:2], samples=_one_row())
    assert missing(job_of(workspace, 2, [store])) == ([], set())
    assert missing(job_of(workspace, 2)) == ([(0, 2)], set())


def _one_row():
    return SampleTable(("a",), [-1], (), ("",), [1], [1])


def test_as_many_parts_as_there_are_take_no_open_files(tmp_path):
    contents = [f"{i:064x}" for i in range(300)]
    workspace = rows_of_work(tmp_path, contents, list(range(2, 300, 2)))
    before = len(os.listdir("/proc/self/fd"))
    rows = _Rows.of(np.arange(300), as_digests([""] * 300), workspace)
    assert len(rows.parts) == 150
    assert len(os.listdir("/proc/self/fd")) - before < 10
    places = zip(rows.numbers, rows.firsts, strict=True)
    assert [rows.parts[number][0][np.array([first])].item() for number, first in places] == list(range(300))
