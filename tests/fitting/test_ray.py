"""A sweep whose workers are Ray's, on a cluster of this machine: the same results, and features that are never sent."""

import os
import signal
import sys
from pathlib import Path

import pytest

from featx.errors import HeadError, MissingDependencyError
from featx.fitting import sweep
from tests.fitting.helpers import clouds, write

ray = pytest.importorskip("ray")

KNN, TREE = "sklearn.neighbors.KNeighborsClassifier", "sklearn.tree.DecisionTreeClassifier"


@pytest.fixture(scope="module", autouse=True)
def connected():
    """A cluster of two processors; this process is connected to it."""
    from featx._ray import connect, disconnect

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        assert connect(None, 2)
        yield
        disconnect()


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def sent(monkeypatch):
    """Bytes of each task that workers are given."""
    from ray.util.multiprocessing.pool import Pool

    sizes = []
    apply = Pool.apply_async

    def spy(self, func, args=None, kwargs=None, **options):
        sizes.append(len(ray.cloudpickle.dumps((func, args, kwargs))))
        return apply(self, func, args, kwargs, **options)

    monkeypatch.setattr(Pool, "apply_async", spy)
    return sizes


def pool_processes():
    """Return the numbers of the processes that Ray calls workers of a pool."""
    found = [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if _is_of_a_pool(folder)]
    assert found
    return found


def _is_of_a_pool(folder):
    try:
        return (folder / "cmdline").read_bytes().startswith(b"ray::PoolActor")
    except OSError:
        return False


def values(found):
    return [(result.setting.text, result.values) for result in found.results]


@pytest.mark.parametrize("shards", [pytest.param(None, marks=pytest.mark.slow), 3])
def test_results_are_those_of_one_process_and_no_features_are_sent(tmp_path, monkeypatch, sent, capfd, shards):
    store = write(tmp_path / "a.h5", *clouds(3000, 50), shards=shards)
    arguments = {"heads": ["logistic", KNN], "grid": {"C": [0.1, 1.0], "n_neighbors": [3, 5, 7]}, "cv": 3}
    alone = sweep(store, **arguments)
    assert sent == []
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "others"))
    together = sweep(store, **arguments, jobs=2, backend="ray")
    assert together.known == 0
    assert values(together) == values(alone)
    assert 0 < len(sent) <= 9
    assert max(sent) < 20_000 < store.features.nbytes / 20
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_all_processors_work_unless_fewer_are_asked_for(tmp_path, monkeypatch):
    from ray.util.multiprocessing.pool import Pool

    store = write(tmp_path / "a.h5", *clouds(60, 4))
    begun = []
    start = Pool.__init__

    def spy(self, processes=None, *args, **options):
        begun.append(processes)
        start(self, processes, *args, **options)

    monkeypatch.setattr(Pool, "__init__", spy)
    for jobs in (None, 7):
        sweep(store, KNN, {"n_neighbors": [jobs or 1]}, cv=2, jobs=jobs, backend="ray")
    assert begun == [2, 2]


@pytest.mark.slow
def test_trials_are_kept_as_they_are_done_and_a_worker_that_is_killed_is_named(tmp_path):
    store = write(tmp_path / "a.h5", *clouds(90, 4))
    grid = {"max_depth": list(range(1, 31))}

    def kill(progress):
        if progress.done == 5:
            for process in pool_processes():
                os.kill(process, signal.SIGKILL)

    with pytest.raises(HeadError, match=r"a worker was killed .* fewer jobs"):
        sweep(store, TREE, grid, cv=2, jobs=2, backend="ray", watch=kill)
    found = sweep(store, TREE, grid, cv=2, jobs=2, backend="ray")
    assert 5 <= found.known < 30
    assert found.tried == 30


@pytest.mark.slow
def test_joblib_is_left_as_it_was(tmp_path):
    from joblib.pool import PicklingPool

    bases = PicklingPool.__bases__
    store = write(tmp_path / "a.h5", *clouds(60, 4))
    found = sweep(store, KNN, {"n_neighbors": [2]}, cv=2, jobs=2, backend="ray")
    assert PicklingPool.__bases__ == bases
    (found.folder / "trials.jsonl").unlink()
    again = sweep(store, KNN, {"n_neighbors": [2]}, cv=2, jobs=2, backend="multiprocessing")
    assert values(again) == values(found)


def test_without_ray_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    store = write(tmp_path / "a.h5", *clouds(60, 4))
    with pytest.raises(MissingDependencyError, match=r"needs Ray, which is not installed: pip install 'featx\[ray\]'"):
        sweep(store, KNN, {"n_neighbors": [2]}, cv=2, backend="ray")
