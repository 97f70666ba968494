import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featx.errors import ParameterError, StoreError
from featx.store import GRAPHS, Workspace, store_path, workspace_folder
from featx.store._files import temporary_path
from featx.store._prune import plan_prune, prune
from tests.store.helpers import make_features, make_part, make_spec, save

DAY = 86400
NOBODY = 2**22 + 1  # above what Linux gives a process


@pytest.fixture
def cache(tmp_path):
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def make_store(cache, name, *, identity=None, days=0.0, rows=7, **changes):
    identity = f"folder:{cache.parent / name}" if identity is None else identity
    path = store_path(cache, name=name, identity=identity, spec=make_spec())
    save(path, make_features(rows), source={"name": name, "identity": identity}, **changes)
    set_age(path, days)
    return path


def make_work(cache, name, *, days=0.0, source=None):
    path = store_path(cache, name=name, identity=f"folder:{name}", spec=make_spec())
    folder = workspace_folder(path)
    workspace = Workspace.open(folder, {"identity": f"folder:{cache.parent if source is None else source}"})
    workspace.write(make_part(0, 4))
    for file in folder.iterdir():
        set_age(file, days)
    return folder


def set_age(path, days):
    written = time.time() - days * DAY
    os.utime(path, (written, written))


def names(items):
    return {item.path.name for item in items}


def contents(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_an_empty_or_missing_cache_has_nothing_to_prune(cache):
    everything = {"older_than": 0.0, "max_bytes": 0, "broken": True, "orphaned": True}
    assert plan_prune(cache, **everything) == []
    assert plan_prune(cache / "none", **everything) == []
    assert prune([]) == []


def test_a_plan_changes_nothing_and_asks_for_nothing_unasked(cache):
    make_store(cache, "a", days=400)
    make_work(cache, "b", days=400)
    (cache / ".work" / "c.lock").write_text("")
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    assert plan_prune(cache) == []
    assert len(plan_prune(cache, older_than=0, max_bytes=0, broken=True, orphaned=True)) == 3
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_age(cache):
    old, new = make_store(cache, "old", days=31), make_store(cache, "new", days=29)
    work = make_work(cache, "work", days=40)
    items = plan_prune(cache, older_than=30 * DAY)
    assert [(item.path, item.reason) for item in items] == [
        (old, "older than asked for"),
        (work, "older than asked for"),
    ]
    assert items[0].bytes == old.stat().st_size
    assert items[1].bytes == sum(file.stat().st_size for file in work.iterdir())
    assert prune(items) == items
    assert contents(cache) == {new.name}
    assert sorted(os.listdir(cache)) == [new.name]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ages=st.lists(st.integers(0, 50), min_size=1, max_size=5, unique=True), share=st.floats(0, 1.2))
def test_a_budget_takes_the_oldest_and_no_more_than_needed(cache, ages, share):
    for path in cache.glob("*.h5"):
        path.unlink()
    stores = {age: make_store(cache, f"age{age}", days=age, rows=10 + 100 * age) for age in ages}
    sizes = {age: path.stat().st_size for age, path in stores.items()}
    budget = int(share * sum(sizes.values()))
    gone = [item.path for item in plan_prune(cache, max_bytes=budget)]
    oldest_first = sorted(ages, reverse=True)
    assert gone == [stores[age] for age in oldest_first[: len(gone)]]
    rest = oldest_first[len(gone) :]
    assert sum(sizes[age] for age in rest) <= budget
    if gone:
        assert sum(sizes[age] for age in rest) + sizes[oldest_first[len(gone) - 1]] > budget


def test_what_goes_for_another_reason_counts_for_the_budget(cache):
    old, middle, new = (make_store(cache, name, days=days) for name, days in (("a", 90), ("b", 50), ("c", 1)))
    size = new.stat().st_size
    items = plan_prune(cache, older_than=80 * DAY, max_bytes=2 * size + 100)
    assert [item.path for item in items] == [old]
    items = plan_prune(cache, older_than=80 * DAY, max_bytes=size + 100)
    assert [item.path for item in items] == [old, middle]


def test_broken_stores_go_and_ones_that_are_newer_or_forbidden_stay(cache, monkeypatch):
    good = make_store(cache, "good")
    broken = [make_store(cache, name) for name in ("cut", "empty", "junk", "column")]
    content = good.read_bytes()
    broken[0].write_bytes(content[:-10])
    broken[1].write_bytes(b"")
    broken[2].write_bytes(b"\0" * 100)
    whole = broken[3].read_bytes()
    place = whole.index(b"cat/0.jpg")
    broken[3].write_bytes(whole[:place] + b"x" + whole[place + 1 :])
    monkeypatch.setattr("featx.store._format.FORMAT_VERSION", 99)
    make_store(cache, "newer")
    monkeypatch.undo()
    (cache / "users-own.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    items = plan_prune(cache, broken=True)
    assert names(items) == {path.name for path in broken}
    assert all(str(item.path) in item.reason for item in items)
    prune(items)
    assert len(contents(cache)) == 3


def test_a_file_that_may_not_be_read_is_not_broken(cache, monkeypatch):
    path = make_store(cache, "a")

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert plan_prune(cache, broken=True, orphaned=True) == []
    monkeypatch.undo()
    assert path.exists()


def test_what_dead_processes_left_is_broken_and_what_living_ones_have_is_not(cache):
    make_store(cache, "a")
    dead, held = make_work(cache, "dead"), make_work(cache, "held")
    work = cache / ".work"
    stale = [temporary_path(folder / "x") for folder in (cache, work)]
    stale = [path.with_name(path.name.replace(f"-{os.getpid()}-", f"-{NOBODY}-")) for path in stale]
    mine = temporary_path(cache / "x")
    locks = [work / name for name in (f"{dead.name}.lock", f"{dead.name}.holder.json", "gone.lock", "gone.holder.json")]
    for path in (*stale, mine, *locks, work / "note.holder.json"):
        path.write_text("{}")
    before = contents(cache)
    lock = held.with_name(f"{held.name}.lock")
    with FileLock(lock):
        items = plan_prune(cache, broken=True)
        # Notes go with their locks, and locks with the work they are of.
        assert names(items) == {dead.name, *(path.name for path in stale), "gone.lock", "note.holder.json"}
        assert prune(items) == items
        removed = {*stale, *locks, work / "note.holder.json"}
        left = before - {str(path.relative_to(cache)) for path in removed} | {str(lock.relative_to(cache))}
        assert contents(cache) == {path for path in left if dead.name not in path}


HOLD = """
import sys
from pathlib import Path
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_what_another_process_takes_up_between_plan_and_removal_stays(cache):
    folder = make_work(cache, "a")
    items = plan_prune(cache, broken=True)
    assert [item.path for item in items] == [folder]
    lock = folder.with_name(f"{folder.name}.lock")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        assert plan_prune(cache, broken=True, older_than=0) == []
        assert prune(items) == []
        process.stdin.close()
    assert folder.is_dir()
    Workspace.open(folder, {"identity": f"folder:{cache.parent}"}).write(make_part(4, 8))  # and was killed again
    assert prune(items) == []
    assert prune(plan_prune(cache, broken=True))
    assert os.listdir(cache) == []


def test_a_store_that_was_replaced_since_the_plan_stays(cache):
    path = make_store(cache, "a", days=40)
    gone = make_store(cache, "b", days=40)
    items = plan_prune(cache, older_than=DAY)
    make_store(cache, "a")
    gone.unlink()
    assert prune(items) == []
    assert path.exists()


def test_orphans(cache):
    here = cache.parent / "here"
    here.mkdir()
    (cache.parent / "odd#first=3").mkdir()
    (cache.parent / os.fsdecode(b"\xff")).mkdir()
    there = [
        f"folder:{here}",
        f"folder:{here}#first=3",
        f"folder:{here}#per-class=5",
        f"folder:{cache.parent}/odd#first=3",
        f"folder:{cache.parent}/\udcff",
        "torchvision:CIFAR10:/none",
        "hf:/none",
        "arrays:/none",
        "merged:/none",
        "import:/none",
        "folder:none",
        "folder:/x\0y",
        f"zip:{here}",
        "",
    ]
    gone = [
        "folder:/none",
        "folder:/none#first=3",
        "folder:/none#per-class=5,2#first=3",
        "zip:/none/a.zip",
        "tar:/none.tar",
        "npz:/none.npz",
        "idx:/none/images-idx3-ubyte",
        "file:/none.png",
    ]
    gone += [f"manifest:{cache.parent}/none.csv", f"folder:{__file__}/none"]
    for number, identity in enumerate(there):
        make_store(cache, f"there{number}", identity=identity)
    expected = {make_store(cache, f"gone{number}", identity=identity).name for number, identity in enumerate(gone)}
    expected.add(make_work(cache, "work", source="/none").name)
    make_work(cache, "other")
    (make_work(cache, "odd") / "manifest.json").write_text("[")
    items = plan_prune(cache, orphaned=True)
    assert names(items) == expected
    assert {item.reason for item in items} >= {"its source folder /none is gone", "its source zip /none/a.zip is gone"}


def test_links_are_neither_followed_nor_removed(cache):
    outside = cache.parent / "outside"
    outside.mkdir()
    target = make_store(outside, "target", days=40)
    (cache / target.name).symlink_to(target)
    work = make_work(outside, "work", days=40)
    (cache / ".work").mkdir()
    (cache / ".work" / work.name).symlink_to(work)
    (cache / ".work" / "x.lock").symlink_to(target)
    everything = {"older_than": DAY, "max_bytes": 0, "broken": True, "orphaned": True}
    assert plan_prune(cache, **everything) == []
    (cache / ".work" / work.name).unlink()
    (cache / ".work" / "x.lock").unlink()
    (cache / ".work").rmdir()
    (cache / ".work").symlink_to(outside / ".work")
    assert plan_prune(cache, **everything) == []
    assert target.exists()
    assert len(contents(work)) == 2


def test_a_cache_that_is_a_link_is_still_the_cache(cache):
    make_store(cache, "a", days=40)
    make_work(cache, "b", days=40)
    (cache.parent / "link").symlink_to(cache)
    assert len(prune(plan_prune(cache.parent / "link", older_than=DAY))) == 2
    assert os.listdir(cache) == []


def test_exported_networks_go_by_their_last_use(cache):
    make_store(cache, "old", days=9)
    graphs = cache / GRAPHS
    graphs.mkdir()
    for name, days in ((f"{1:064x}.onnx", 40), (f"{2:064x}.onnx", 1), ("mine.onnx", 40)):
        (graphs / name).write_bytes(b"graph")
        set_age(graphs / name, days)
    assert names(plan_prune(cache, older_than=30 * DAY)) == {f"{1:064x}.onnx"}
    assert names(plan_prune(cache, max_bytes=5)) == {f"{1:064x}.onnx", *(path.name for path in cache.glob("*.h5"))}
    assert plan_prune(cache, broken=True, orphaned=False) == []
    assert names(prune(plan_prune(cache, older_than=30 * DAY))) == {f"{1:064x}.onnx"}
    assert {path.name for path in graphs.iterdir()} == {f"{2:064x}.onnx", "mine.onnx"}


def test_files_of_others_stay(cache):
    folder = make_work(cache, "a", days=40)
    (folder / "notes.txt").write_text("mine")
    (cache / ".work" / "notes.txt").write_text("mine")
    (cache / ".work" / "mine").mkdir()
    (cache / "notes.txt").write_text("mine")
    (cache / "mine.h5").write_text("no store")
    (cache / "folder.net.0123456789ab.h5").mkdir()
    for path in cache.rglob("*"):
        set_age(path, 40)
    assert [item.path for item in prune(plan_prune(cache, older_than=0, max_bytes=0, broken=True))] == [folder]
    assert contents(cache) == {"notes.txt", "mine.h5", ".work/notes.txt", f".work/{folder.name}/notes.txt"}
    assert (cache / ".work" / "mine").is_dir()


def test_a_store_in_the_cache_under_a_name_of_the_users_own_counts(cache):
    save(cache / "merged.h5")
    set_age(cache / "merged.h5", 40)
    assert names(plan_prune(cache, older_than=DAY)) == {"merged.h5"}


def test_a_store_being_rewritten_stays(cache):
    path = make_store(cache, "a", days=40)
    (cache / ".work").mkdir()
    with FileLock(cache / ".work" / f"{path.stem}.lock"):
        assert plan_prune(cache, older_than=DAY, max_bytes=0) == []


def test_what_cannot_be_removed_is_named(cache, monkeypatch):
    path = make_store(cache, "a", days=40)
    items = plan_prune(cache, older_than=DAY)

    def refuse(self, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match=f"{path} cannot be removed \\(Permission denied\\)"):
        prune(items)


@pytest.mark.parametrize("wrong", [{"older_than": -1.0}, {"max_bytes": -1}, {"older_than": float("nan")}])
def test_negative_numbers_are_refused(cache, wrong):
    with pytest.raises(ParameterError, match="must be at least 0; got"):
        plan_prune(cache, **wrong)


def test_reasons_are_json(cache):
    make_store(cache, "a", days=40)
    assert json.dumps([item.reason for item in plan_prune(cache, older_than=DAY)])
