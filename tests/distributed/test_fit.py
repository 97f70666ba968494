"""How many workers fit, and what each has."""

import pytest

from featx.distributed._fit import Layout, Machine, layout_of

SMALL, LARGE, HEAD = Machine(2, 0), Machine(16, 0), Machine(0, 0)
GPUS = Machine(32, 4)


@pytest.mark.parametrize(
    ("machines", "num_workers", "gpus", "expected"),
    [
        ([SMALL], None, 0, Layout(1, 2)),
        ([SMALL], 2, 0, Layout(2, 1)),
        ([LARGE], None, 0, Layout(2, 8)),
        ([LARGE, SMALL, HEAD], None, 0, Layout(3, 5)),  # two of five and one of two do not fit: three on the large one
        ([LARGE, LARGE], 4, 0, Layout(4, 8)),
        ([LARGE, LARGE], 3, 0, Layout(3, 8)),
        ([Machine(4, 0), Machine(12, 0)], 2, 0, Layout(2, 6)),
        ([SMALL], 3, 0, Layout(3, 1)),  # one waits
        ([GPUS], None, 1, Layout(4, 8)),
        ([GPUS, SMALL], None, 0.5, Layout(8, 4)),
        ([GPUS, GPUS], 2, 1, Layout(2, 32)),
        ([SMALL], None, 1, Layout(1, 1)),  # there is no room, and it is waited for
        ([], None, 0, Layout(1, 1)),
    ],
)
def test_workers_share_the_processors(machines, num_workers, gpus, expected):
    assert layout_of(machines, num_workers, gpus) == expected
