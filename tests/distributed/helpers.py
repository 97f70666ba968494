"""A small work as a worker is told it, and networks that misbehave in a worker's process.

What misbehaves does so if there is a file of a certain name in the current folder, which workers share with the test.
"""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import torch

from featx.caching import Job, Network, holder_of, version_of
from featx.distributed._worker import Task
from featx.sources import content_digest, open_source
from featx.store import Workspace
from tests.tiny import BACKBONE, tiny_net

HERE = "tests.distributed.helpers"


def make_task(photos: Path, cache: Path, *, batch_size: int = 2, **changes) -> Task:
    """Return the work of extracting a folder with the tiny network."""
    source = open_source(photos)
    network = Network(cache, BACKBONE)
    workspace = Workspace.open(cache / ".work" / "photos", {"work": str(photos)})
    job = Job(
        source, range(len(source)), network.resolved.wanted, _nothing_known, workspace, batch_size, 1, strict=False
    )
    task = Task(
        job=job,
        network=network,
        engine="torch",
        computed=set(),
        holder=holder_of(workspace.folder),
        example=(0, content_digest(source.read(0))),
        parts=None,
        version=version_of("featx"),
    )
    return replace(task, **changes)


def _nothing_known(digest):
    return 0


def _hooked(hook):
    network = tiny_net()
    network.register_forward_pre_hook(lambda module, inputs: hook(inputs[0]) if inputs[0].any() else None)
    return network


def _first(name: str) -> bool:
    """Say whether a file is there, and remove it: one process alone is told yes."""
    try:
        os.unlink(name)
    except FileNotFoundError:
        return False
    return True


def slow_net():
    """Return the tiny network; it takes its time, and says in which process it runs."""

    def note(images):
        Path(f"process-{os.getpid()}").touch()
        time.sleep(0.05)

    return _hooked(note)


def dying_net():
    """Return the tiny network; while a file ``die`` is there, its process is killed by a batch of red images."""

    def die(images):
        red, green, _ = images.mean((0, 2, 3))
        if red > green and Path("die").exists():
            os.kill(os.getpid(), signal.SIGKILL)

    return _hooked(die)


def stuck_net():
    """Return the tiny network; the process that meets a file ``stick`` first does not go on."""

    def stick(images):
        if _first("stick"):
            time.sleep(3600)

    return _hooked(stick)


def failing_net():
    """Return the tiny network; it fails."""

    def fail(images):
        raise RuntimeError("the network is broken")

    return _hooked(fail)


def gpu_net():
    """Return the tiny network; its process believes in the GPU that Ray gave it, and the processor stands in."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "0":
        from featx.extraction import _cuda
        from featx.extraction._device import Processor

        _cuda.Gpu = lambda device: Processor("cpu")
        torch.cuda.device_count = lambda: 1
        torch.cuda.is_bf16_supported = lambda: True
    return _hooked(_note_node)


def node_net():
    """Return the tiny network; it says on which node of the cluster it runs."""
    return _hooked(_note_node)


def two_nodes_net():
    """Return the tiny network; it takes its time, and begins when it runs on two nodes."""

    def wait(images):
        _note_node(images)
        while len(list(Path().glob("node-*"))) < 2:
            time.sleep(0.01)
        time.sleep(0.05)

    return _hooked(wait)


def _note_node(images):
    import ray

    Path(f"node-{ray.get_runtime_context().get_node_id()}").touch()
