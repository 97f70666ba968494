"""How many workers fit on the machines of a cluster, and how many processors each has."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Layout", "Machine", "layout_of"]

_PROCESSORS = 8
"""Of a worker without a GPU, where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine of the cluster has.

    Parameters
    ----------
    cpus, gpus : float
    """

    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Workers, and what each has of its machine.

    Parameters
    ----------
    num_workers : int
    cpus : int
    """

    num_workers: int
    cpus: int


def layout_of(machines: Sequence[Machine], num_workers: int | None, gpus_per_worker: float) -> Layout:
    """Return as many workers as are asked for, each with as many processors as all of them can have.

    By default there is one for each GPU, or part of one, that a worker is to have; without GPUs one for each eight
    processors of a machine, and at least one on each. If there is no room for so many, a worker has one processor, and
    waits.
    """

    def room(cpus: int) -> int:
        return sum(
            int(min(machine.cpus // cpus, machine.gpus / gpus_per_worker if gpus_per_worker else machine.cpus))
            for machine in machines
        )

    if num_workers is None and gpus_per_worker:
        num_workers = max(1, room(1))
    elif num_workers is None:
        num_workers = max(1, sum(max(1, int(machine.cpus) // _PROCESSORS) for machine in machines if machine.cpus >= 1))
    most = int(max((machine.cpus for machine in machines), default=1))
    cpus = next((count for count in range(most, 0, -1) if room(count) >= num_workers), 1)
    return Layout(num_workers, cpus)
