import itertools
import os
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featx.errors import ParameterError, StoreError
from featx.store import Part, Workspace
from featx.store._files import temporary_path
from tests.store.helpers import make_digests, make_features, make_part, same_part

MANIFEST = {"keys": ["a", "b\udcff", "é"], "batch": 32}


@pytest.fixture
def workspace(tmp_path):
    return Workspace.open(tmp_path / "work", MANIFEST)


def files(workspace):
    return sorted(name for name in os.listdir(workspace.folder) if name.startswith("part-"))


def file_of(workspace, start, stop):
    return workspace.folder / f"part-{start:012d}-{stop:012d}.npz"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_parts_written_in_any_order_come_back_in_theirs(tmp_path, data):
    stop = data.draw(st.integers(1, 30))
    cuts = data.draw(st.sets(st.integers(1, stop), max_size=5)) - {stop}
    edges = [0, *sorted(cuts), stop]
    failed = tuple(data.draw(st.sets(st.integers(0, stop - 1))))
    parts = [
        make_part(a, b, failed=tuple(row for row in failed if a <= row < b), seed=stop)
        for a, b in itertools.pairwise(edges)
    ]
    kept = data.draw(st.lists(st.sampled_from(parts), unique_by=lambda part: part.start))
    workspace = Workspace.open(tmp_path / "work", MANIFEST)
    for part in kept:
        workspace.write(part)
    workspace = Workspace.open(tmp_path / "work", MANIFEST)
    expected = sorted(kept, key=lambda part: part.start)
    assert workspace.ranges() == [(part.start, part.stop) for part in expected]
    assert all(same_part(a, b) for a, b in zip(workspace.parts(), expected, strict=True))
    workspace.remove()
    assert not workspace.folder.exists()


def test_an_equal_manifest_goes_on_and_another_begins_anew(workspace):
    workspace.write(make_part(0, 4, failed=(1,)))
    workspace.write(make_part(4, 6))
    assert Workspace.open(workspace.folder, dict(reversed(MANIFEST.items()))).ranges() == [(0, 4), (4, 6)]
    other = Workspace.open(workspace.folder, MANIFEST | {"batch": 16})
    assert other.ranges() == []
    assert files(other) == []
    assert other.digest != workspace.digest


def test_a_damaged_or_missing_manifest_costs_no_part(workspace):
    workspace.write(make_part(0, 4))
    path = workspace.folder / "manifest.json"
    good = path.read_bytes()
    path.write_bytes(b"{")
    assert Workspace.open(workspace.folder, MANIFEST).ranges() == [(0, 4)]
    assert path.read_bytes() == good
    path.unlink()
    assert Workspace.open(workspace.folder, MANIFEST).ranges() == [(0, 4)]


def test_a_part_of_other_work_is_not_taken(tmp_path, workspace):
    other = Workspace.open(tmp_path / "other", {"other": "work"})
    other.write(make_part(0, 4))
    file_of(workspace, 0, 4).write_bytes(file_of(other, 0, 4).read_bytes())
    assert workspace.ranges() == []
    assert files(workspace) == []


def test_a_part_under_another_parts_name_is_not_taken(workspace):
    workspace.write(make_part(0, 4))
    file_of(workspace, 0, 4).rename(file_of(workspace, 4, 8))
    assert workspace.ranges() == []


def test_every_truncation_and_flip_of_a_part_is_found_or_harmless(workspace):
    part = make_part(0, 9, failed=(2,))
    workspace.write(part)
    path = file_of(workspace, 0, 9)
    content = path.read_bytes()
    for length in range(0, len(content), 61):
        path.write_bytes(content[:length])
        assert Workspace.open(workspace.folder, MANIFEST).ranges() == []
        assert not path.exists()
    random, found = np.random.default_rng(0), 0
    for place in random.choice(len(content), 300, replace=False).tolist():
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        if Workspace.open(workspace.folder, MANIFEST).ranges():
            (loaded,) = workspace.parts()
            assert same_part(loaded, part)
        else:
            found += 1
    assert found > 150


def test_an_extended_part_is_found(workspace):
    workspace.write(make_part(0, 4))
    with file_of(workspace, 0, 4).open("ab") as file:
        file.write(b"\0")
    assert workspace.ranges() == []


def test_compressed_pickled_or_surplus_members_are_refused(workspace):
    part = make_part(0, 2)
    workspace.write(part)
    path = file_of(workspace, 0, 2)
    with np.load(path) as loaded:
        members = dict(loaded)
    np.savez_compressed(path, **members)
    assert workspace.ranges() == []
    np.savez(path, **members, extra=np.zeros(3))
    assert workspace.ranges() == []
    np.savez(path, **members | {"rows": np.array([object()] * 2)})
    assert workspace.ranges() == []
    np.savez(path, **members | {"rows": members["rows"] + 1})
    assert workspace.ranges() == []
    np.savez(path, **members)
    assert workspace.ranges() == [(0, 2)]


def test_damage_met_while_joining_removes_the_part_and_says_so(workspace):
    workspace.write(make_part(0, 4))
    workspace.write(make_part(4, 6))
    assert workspace.ranges() == [(0, 4), (4, 6)]
    path = file_of(workspace, 4, 6)
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("features_0.npy").header_offset + 250
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)
    parts = workspace.parts()
    assert next(parts).start == 0
    with pytest.raises(StoreError, match=r"was damaged \(.*\) and has been removed"):
        next(parts)
    assert workspace.ranges() == [(0, 4)]


def test_of_overlapping_parts_the_first_and_longest_counts(workspace):
    for start, stop in ((0, 4), (0, 6), (4, 8), (6, 9)):
        workspace.write(make_part(start, stop))
    assert [(part.start, part.stop) for part in workspace.parts()] == [(0, 6), (6, 9)]
    assert workspace.ranges() == [(0, 6), (6, 9)]
    assert len(files(workspace)) == 2


def test_a_part_of_the_same_range_is_replaced(workspace):
    workspace.write(make_part(0, 4, seed=0))
    assert workspace.ranges() == [(0, 4)]
    workspace.write(make_part(0, 4, seed=1))
    (part,) = workspace.parts()
    assert same_part(part, make_part(0, 4, seed=1))


def test_a_part_in_which_everything_failed(workspace):
    part = make_part(3, 5, failed=(3, 4))
    workspace.write(part)
    (loaded,) = workspace.parts()
    assert same_part(loaded, part)
    assert loaded.features[0].shape == (0, 3)


def test_rows_have_as_many_images_as_are_fresh(workspace):
    fresh = [2, 0, 3]
    part = Part(
        start=0, stop=3, rows=[0, 1, 2], digests=make_digests(3), features=(make_features(5),), failures=(), fresh=fresh
    )
    workspace.write(part)
    (loaded,) = workspace.parts()
    assert loaded.fresh.tolist() == fresh
    assert loaded.fresh.dtype == np.int64
    assert same_part(loaded, part)


def test_a_part_that_is_discarded_is_to_be_worked_on_again(workspace):
    for start in (0, 4):
        workspace.write(make_part(start, start + 4))
    first, _ = workspace.parts()
    workspace.discard(first)
    assert workspace.ranges() == [(4, 8)]
    workspace.discard(first)  # which another process may have done


def test_many_writers_fill_one_workspace(workspace):
    others = [Workspace.open(workspace.folder, MANIFEST) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: others[i % 4].write(make_part(i * 3, i * 3 + 3)), range(20)))
    assert workspace.ranges() == [(i * 3, i * 3 + 3) for i in range(20)]


def test_what_others_put_into_the_folder_stays(workspace):
    workspace.write(make_part(0, 4))
    (workspace.folder / "notes.txt").write_text("mine")
    (workspace.folder / "part-1-2.npz").write_text("mine")
    assert workspace.ranges() == [(0, 4)]
    workspace.remove()
    assert sorted(os.listdir(workspace.folder)) == ["notes.txt", "part-1-2.npz"]
    workspace.remove()


def test_what_others_are_still_writing_goes_with_the_folder(workspace):
    """A worker that was late and is being ended may have begun to write."""
    temporary_path(workspace.file_of(0, 4)).write_bytes(b"half a part, of a process that lives")
    workspace.remove()
    assert not workspace.folder.exists()


def test_a_part_from_elsewhere_is_received_if_it_is_whole(tmp_path, workspace):
    elsewhere = Workspace(tmp_path / "elsewhere", workspace.digest)
    part, other = make_part(0, 4, failed=(2,)), make_part(4, 8)
    for one in (part, other):
        elsewhere.write(one)
    names = [elsewhere.file_of(one.start, one.stop).name for one in (part, other)]
    assert names == files(elsewhere)
    data = [(elsewhere.folder / name).read_bytes() for name in names]
    assert workspace.receive(names[0], lambda path: path.write_bytes(data[0]))
    assert same_part(next(workspace.parts()), part)
    for wrong in (data[1][:-1], data[0], b""):
        assert not workspace.receive(names[1], lambda path, wrong=wrong: path.write_bytes(wrong))
    assert files(workspace) == names[:1]
    with pytest.raises(FileNotFoundError):
        workspace.receive(names[1], lambda path: path.with_name("nothing").rename(path))
    for name in ("notes.txt", "part-1-2.npz", f"../{names[0]}"):
        assert not Workspace.is_part(name)
        with pytest.raises(ParameterError, match="name must be that of a part's file"):
            workspace.receive(name, lambda path: None)
    assert sorted(os.listdir(workspace.folder)) == ["manifest.json", *names[:1]]


def test_removed_work_has_no_parts(workspace):
    workspace.remove()
    workspace.remove()
    assert workspace.ranges() == []
    assert list(workspace.parts()) == []


def test_a_folder_that_is_a_file_and_a_manifest_that_is_no_json(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Workspace.open(tmp_path / "file", MANIFEST)
    for manifest in ({"a": object()}, {"a": float("nan")}, 3):
        with pytest.raises(ParameterError, match="manifest must be a mapping that JSON can hold"):
            Workspace.open(tmp_path / "work", manifest)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start": -1}, "start and stop must be"),
        ({"stop": 0}, "start and stop must be"),
        ({"rows": [1, 0, 2]}, "rows must ascend"),
        ({"rows": [0, 1, 1]}, "rows must ascend"),
        ({"rows": [0, 1, 3]}, "must name each position from 0 to 3 once"),
        ({"rows": [0.0, 1.0, 2.0]}, "rows must be one-dimensional integers"),
        ({"failures": ()}, "got 3 rows and 0 failures"),
        ({"failures": ((2, "x"),)}, "must name each position"),
        ({"digests": make_digests(2)}, "digests must have shape"),
        ({"digests": ["x" * 64] * 3}, "digests must be SHA-256"),
        ({"digests": [make_digests(1)[0] + "0"] * 3}, "digests must be SHA-256"),
        ({"fresh": [1, 1]}, "fresh must be 3 numbers from 0, one for each row"),
        ({"fresh": [1, -1, 3]}, "fresh must be 3 numbers from 0"),
        ({"fresh": [True, True, True]}, "fresh must be one-dimensional integers"),
        ({"fresh": [2, 0, 2]}, "features must be float32 or float16 with 4 rows"),
        ({"features": (make_features(2),)}, "features must be float32 or float16 with 3 rows"),
        ({"features": (make_features(3, dtype="float64"),)}, "got float64"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, words):
    good = {
        "start": 0,
        "stop": 4,
        "rows": [0, 1, 2],
        "digests": make_digests(3),
        "features": (make_features(3),),
        "failures": ((3, "why"),),
    }
    Part(**good)
    with pytest.raises(ParameterError, match=words):
        Part(**good | changes)


KILLED = """
from itertools import count
from pathlib import Path
from tests.store.helpers import *
from featx.store import Workspace
workspace = Workspace.open(Path(sys.argv[1]), {})
print(flush=True)
for i in count():
    workspace.write(make_part(i * 50, i * 50 + 50, width=500))
    print(i, flush=True)
"""


def test_a_kill_loses_at_most_the_part_in_hand(tmp_path):
    folder = tmp_path / "work"
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{KILLED}"
    for delay in (0.0, 0.02, 0.05, 0.08):
        with subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            written = process.stdout.read().split()
        workspace = Workspace.open(folder, {})
        ranges = workspace.ranges()
        assert len(ranges) in (len(written), len(written) + 1)
        assert ranges == [(i * 50, i * 50 + 50) for i in range(len(ranges))]
        assert [part.start for part in workspace.parts()] == [start for start, _ in ranges]
        assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]
        workspace.remove()
        assert not folder.exists()


FULL_DISK = """
import resource
from pathlib import Path
from tests.store.helpers import *
from featx.errors import StoreError
from featx.store import Workspace
workspace = Workspace.open(Path(sys.argv[1]), {})
workspace.write(make_part(0, 10))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    workspace.write(make_part(10, 20, width=1000))
except StoreError as error:
    print(error)
print(workspace.ranges())
"""


def test_a_full_disk_costs_only_the_part_in_hand(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{FULL_DISK}"
    command = [sys.executable, "-c", code, tmp_path / "work"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "the disk (or the quota) is full" in result.stdout
    assert result.stdout.endswith("\n[(0, 10)]\n")
    assert sorted(os.listdir(tmp_path / "work")) == ["manifest.json", "part-000000000000-000000000010.npz"]
