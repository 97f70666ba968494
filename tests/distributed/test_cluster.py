"""What a cluster takes and answers, before Ray is needed."""

import sys

import pytest

import featx
from featx._ray import address_of
from featx.distributed import RayCluster
from featx.errors import MissingDependencyError, ParameterError
from tests.test_house import loaded_by
from tests.tiny import BACKBONE, write_folder


@pytest.mark.parametrize("options", [{"num_workers": 0}, {"num_workers": 1.5}, {"gpus_per_worker": -1}])
def test_numbers_are_numbers(options):
    (name,) = options
    with pytest.raises(ParameterError, match=rf"{name} must be .*; got {options[name]}"):
        RayCluster(**options)


def test_a_worker_has_one_gpu_at_most():
    with pytest.raises(ParameterError, match="runs its network on one GPU; got 2: use more workers"):
        RayCluster(gpus_per_worker=2)


def test_the_device_is_what_workers_have():
    assert [RayCluster().device(asked) for asked in ("auto", "cpu")] == ["cpu", "cpu"]
    assert [RayCluster(gpus_per_worker=0.5).device(asked) for asked in ("auto", "cuda")] == ["cuda", "cuda"]
    with pytest.raises(ParameterError, match=r"device must be auto or cpu .*gpus_per_worker 0; got 'cuda:0'"):
        RayCluster().device("cuda:0")
    with pytest.raises(ParameterError, match=r"device must be auto or cuda .*gpus_per_worker 1; got 'cpu'"):
        RayCluster(gpus_per_worker=1).device("cpu")


def test_what_a_network_comes_to_is_remembered_for_where_it_runs():
    here = RayCluster().machine
    assert here == RayCluster("head:6379").machine  # processors answer for one another
    assert len({here, RayCluster(gpus_per_worker=1).machine, RayCluster("head:6379", gpus_per_worker=1).machine}) == 3


def test_threads_share_the_processors(monkeypatch):
    monkeypatch.setattr("featx.distributed._cluster.default_workers", lambda: 16)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert RayCluster(num_workers=3).threads(None) == 5
    assert RayCluster(num_workers=20).threads(None) == 1
    assert RayCluster().threads(None) == 8
    assert RayCluster().threads(7) == 7


def test_what_is_there_needs_no_ray(tmp_path, monkeypatch):
    photos = write_folder(tmp_path / "photos", per_class=1)
    featx.extract(photos, BACKBONE, cache=tmp_path / "cache")
    monkeypatch.setitem(sys.modules, "ray", None)
    featx.extract(photos, BACKBONE, cache=tmp_path / "cache", cluster=RayCluster())
    (photos / "red" / "new.png").write_bytes((photos / "red" / "000.png").read_bytes() + b"0")
    with pytest.raises(MissingDependencyError, match=r"needs Ray, which is not installed: pip install 'featx\[ray\]'"):
        featx.extract(photos, BACKBONE, cache=tmp_path / "cache", cluster=RayCluster())


def test_a_cluster_is_named_without_ray_or_torch():
    assert loaded_by("import featx; featx.RayCluster(num_workers=2)", names=("ray", "torch", "fsspec")) == set()


@pytest.mark.parametrize(
    ("asked", "named", "address"), [("auto", "h:1", "auto"), (None, "h:1", "h:1"), (None, "", None)]
)
def test_the_address_is_the_one_asked_for_else_the_environments(monkeypatch, asked, named, address):
    monkeypatch.setenv("RAY_ADDRESS", named)
    assert address_of(asked) == address
