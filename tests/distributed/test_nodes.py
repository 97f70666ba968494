"""A cluster of two nodes, which this process is told the address of; one of them, it believes, has a GPU."""

import numpy as np
import pytest

import featx
from featx.distributed import RayCluster, _crew
from featx.errors import EngineError, ParameterError
from tests.caching.helpers import extracted
from tests.cli.helpers import ROOT
from tests.distributed.helpers import HERE
from tests.tiny import PREPROCESSING, TinyNet, write_folder

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def nodes():
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # of the workers
        patch.delenv("RAY_ADDRESS", raising=False)
        head = {"num_cpus": 1, "num_gpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def second(nodes):
    node = nodes.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    yield node
    if node in nodes.worker_nodes:
        nodes.remove_node(node)


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", per_class=20)


def on(cluster, photos, cache, network, **options):
    options = {"batch_size": 4, "engine": "torch", "preprocessing": PREPROCESSING} | options
    return featx.extract(photos, f"{HERE}:{network}", cache=cache, cluster=cluster, **options)


def test_both_nodes_work_and_one_may_go(nodes, second, photos, tmp_path, here):
    ((one,), *_) = extracted(photos, tmp_path / "one", batch_size=4, engine="torch")
    gone = []

    def progress(done, total):
        if done >= 20 and not gone:
            gone.append(second)
            nodes.remove_node(second)

    store = on(RayCluster(nodes.address), photos, tmp_path / "two", "two_nodes_net", progress=progress)
    assert gone
    assert store.creation["num_workers"] == 2
    assert (store.keys, store.digests) == (one.store.keys, one.store.digests)
    assert store.features.tobytes() == one.store.features.tobytes()
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_cluster_that_is_entered_stays_connected(nodes, photos, tmp_path, here):
    with RayCluster(nodes.address, num_workers=1) as cluster:
        on(cluster, photos, tmp_path / "two", "node_net", limit=4)
        assert ray.is_initialized()
        on(cluster, photos, tmp_path / "two", "node_net", limit=8)
        assert ray.is_initialized()
    assert not ray.is_initialized()


@pytest.mark.slow
def test_the_network_is_resolved_and_runs_where_the_gpu_is(nodes, photos, tmp_path, here):
    forwards = TinyNet.forwards
    store = on(RayCluster(nodes.address, gpus_per_worker=1), photos, tmp_path / "two", "gpu_net", batch_size=8)
    assert TinyNet.forwards == forwards
    assert (store.spec.precision, store.creation["device"]) == ("bf16", "cuda")
    ((one,), *_) = extracted(photos, tmp_path / "one", engine="torch")
    np.testing.assert_allclose(store.features, one.store.features, atol=0.03)


@pytest.mark.slow
def test_an_error_of_resolving_comes_from_there(nodes, photos, tmp_path):
    cluster = RayCluster(nodes.address, gpus_per_worker=1)
    with pytest.raises(ParameterError, match=r"device 'cuda' is not there: torch .* sees 0 GPUs"):
        on(cluster, photos, tmp_path / "cache", "node_net")
    assert not ray.is_initialized()


def test_gpus_that_there_are_not_are_not_waited_for_without_end(nodes, photos, tmp_path, monkeypatch):
    cluster = RayCluster(nodes.address, num_workers=1, gpus_per_worker=1, timeout=1)
    monkeypatch.setattr(cluster, "_hire", lambda: _crew.worker_class(1, 2).remote(str(tmp_path)))
    with pytest.raises(
        EngineError, match=r"had no room for a worker with 1 CPUs and 1 GPUs within 1 s \(it has 1 and 1"
    ):
        on(cluster, photos, tmp_path / "cache", "gpu_net")


def test_an_address_without_a_cluster_is_told(photos, tmp_path):
    with pytest.raises(EngineError, match=r"no Ray cluster can be reached at address '127\.0\.0\.1:1' \("):
        on(RayCluster("127.0.0.1:1"), photos, tmp_path / "cache", "node_net")
    with pytest.raises(
        EngineError, match=r"no Ray cluster can be reached at address '::' \(.*start one with `ray start"
    ):
        on(RayCluster("::"), photos, tmp_path / "cache", "node_net")
