"""What many workers' parts cost to join: an extraction whose network is made up, and everything else as it always is.

Workers are pretended: a few processes write the parts that so many workers would, each worker its shares of the order.
Of the extraction that then finds them all there, time and memory are measured in a process of its own.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np

from bench.memory import anonymous, measured
from featx.caching import Changes
from featx.caching._choice import Choice
from featx.caching._compute import Job
from featx.caching._known import Known
from featx.caching._recall import Resolved
from featx.caching._targets import Target, Wanted, existing_store, listing_digest
from featx.caching._work import fill_stores
from featx.extraction import Timings
from featx.sources import Sample, Source
from featx.spec import ExtractionSpec, Preprocessing
from featx.store import FeatureStore, Part, Workspace, open_store

__all__ = ["PretendedWorkers", "check", "extract", "report"]

ROOT = Path(__file__).resolve().parents[2]

_SHARE_BYTES = 64 * 2**20


class Numbered(Source):
    """Samples that are known by their number, as a listing of files would have them."""

    def __init__(self, rows: int) -> None:
        super().__init__("numbered", "bench:numbered")
        self._rows = rows

    def _list(self) -> Iterable[Sample]:
        names = [f"class{number:03d}" for number in range(1000)]
        return (
            Sample(
                f"{row:010d}.jpg",
                names[row % 1000],
                "val" if row % 10 == 0 else "train",
                100_000 + row,
                1_700_000_000_000_000_000 + row,
                row,
            )
            for row in range(self._rows)
        )

    def _read(self, index: int) -> bytes:
        raise AssertionError(f"{self.samples[index].key} is not to be read")


class PretendedWorkers:
    """A cluster of so many workers, each with an equal share of the order, who are done in any sequence.

    Parameters
    ----------
    workers : int
    processes : int
        That write what the workers would.
    """

    machine = "pretended"

    def __init__(self, workers: int, processes: int = 2) -> None:
        self.workers = workers
        self.processes = processes
        self.facts: Mapping[str, Any] = {"pretended_workers": workers}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def device(self, asked: str) -> str:
        return "cpu"

    def threads(self, asked: int | None) -> int:
        return 1

    def ask(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return Choice("torch", 64)

    def compute(
        self,
        job: Job,
        ranges: Sequence[tuple[int, int]],
        network: Any,
        engine: str,
        *,
        computed: set[str],
        timings: Timings,
        report: Callable[[int], None],
    ) -> int:
        """Write the parts: each worker's rows, in shares of at most 64 MiB."""
        row_bytes = sum(one.row_bytes for one in job.wanted)
        length = max(1, min(-(-len(job.order) // self.workers), _SHARE_BYTES // row_bytes))
        shares = [(begin, min(begin + length, stop)) for start, stop in ranges for begin in range(start, stop, length)]
        random.Random(0).shuffle(shares)
        count = 0
        with ProcessPoolExecutor(self.processes, mp_context=get_context("spawn")) as pool:
            rows = [job.order[start:stop].tolist() for start, stop in shares]
            for done in pool.map(partial(write_part, job.workspace, job.wanted), shares, rows):
                count += done
                report(done)
        return count


def is_copy(row: int) -> bool:
    """Whether a row has the content of the row before."""
    return row % 997 == 1


def is_bad(row: int) -> bool:
    """Whether a row cannot be used: one that is a copy if its content cannot."""
    return (row - is_copy(row)) % 9973 == 7


def digest_of_row(row: int) -> str:
    """Return the digest of a row's content."""
    return hashlib.sha256(b"%d" % (row - is_copy(row))).hexdigest()


def features_of_rows(rows: np.ndarray, wanted: Wanted) -> np.ndarray:
    """Return what the network would give: exact in float16, and different for neighbours."""
    columns = np.arange(wanted.shape[0])
    return ((rows[:, None] * 31 + columns * 17) % 1009 / 16).astype(wanted.spec.dtype)


def write_part(workspace: Workspace, wanted: Sequence[Wanted], share: tuple[int, int], rows: Sequence[int]) -> int:
    """Write the part that is a worker's answer to a share of the order, these rows; return how many they are."""
    good = [(position, row) for position, row in enumerate(rows, share[0]) if not is_bad(row)]
    new = np.array([row for _, row in good if not is_copy(row)], dtype=np.int64)
    part = Part(
        start=share[0],
        stop=share[1],
        rows=np.array([position for position, _ in good], dtype=np.int64),
        digests=np.array([digest_of_row(row) for _, row in good], dtype="U64"),
        features=tuple(features_of_rows(new, one) for one in wanted),
        failures=tuple((position, "made up to be bad") for position, row in enumerate(rows, share[0]) if is_bad(row)),
        fresh=np.array([not is_copy(row) for _, row in good], dtype=np.int64),
    )
    workspace.write(part)
    return len(rows)


def extract(
    path: Path,
    source: Source,
    listing: str,
    cols: int,
    workers: int,
    *,
    shards: int | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Changes, float]:
    """Extract into a store at `path` what pretended workers compute; return what it found, and the seconds of joining.

    Parameters
    ----------
    path : Path
    source : Source
        Whose samples are known by their number.
    listing : str
        Its digest.
    cols : int
        Width of the features, float16.
    workers : int
        Who write the parts that are not there.
    shards, progress : optional
        As :func:`featx.extract` takes them.
    """
    spec = ExtractionSpec(
        backbone="bench:none",
        weights="0" * 64,
        layer="none",
        pool="none",
        preprocessing=Preprocessing(crop_size=(224, 224), resize_size=(224, 224)),
        dtype="float16",
    )
    wanted = Wanted(spec, (cols,), "NC")
    old = existing_store(path, spec, source.identity, named=None)
    network: Any = SimpleNamespace(resolved=Resolved((wanted,), "cpu", {}))
    (changes,), stages = fill_stores(
        source,
        [Target(wanted, path, old, Known(spec, [] if old is None else [old]))],
        network,
        cluster=PretendedWorkers(workers),
        listing=listing,
        engine="torch",
        batch_size=64,
        workers=1,
        strict=False,
        rehash=False,
        progress=progress,
        compress=False,
        shards=shards,
    )
    return changes, stages["write"]


def check(store: FeatureStore, rows: int) -> None:
    """Raise AssertionError unless a store holds what the workers computed, in a thousand rows of it."""
    good = [row for row in range(rows) if not is_bad(row)]
    assert len(store) == len(good), f"{len(store)} rows instead of {len(good)}"
    some = sorted(random.Random(0).sample(range(len(good)), min(1000, len(good))))
    numbers = np.array([good[place] for place in some])
    contents = np.array([row - is_copy(row) for row in numbers.tolist()])
    wanted = Wanted(store.spec, store.features.shape[1:], "NC")
    assert np.array_equal(store.features[np.array(some)], features_of_rows(contents, wanted))
    assert store.digest_column[some].tolist() == [digest_of_row(row).encode() for row in numbers.tolist()]
    assert len(store.failures) == rows - len(good)


class _EnoughError(Exception):
    """All parts are written."""


def _stop_at_the_end(done: int, total: int) -> None:
    if done == total:
        raise _EnoughError


def _step(name: str, path: Path, rows: int, cols: int, workers: int, shards: str | None) -> dict[str, float]:
    """Do one step in this process; return seconds and MiB of it, and of the listing before it."""
    facts: dict[str, float] = {}
    listings: list[str] = []

    def watch(what: str, work: Callable[[], object]) -> None:
        before = anonymous() / 1024
        found = measured(work)
        facts[f"{what} s"], facts[f"{what} MiB"] = found["seconds"], found["MiB"] - before

    source = Numbered(rows)
    watch("listing", lambda: source.samples)
    watch("digest", lambda: listings.append(listing_digest(source)))
    (listing,) = listings
    if name == "parts":
        try:
            extract(path, source, listing, cols, workers, progress=_stop_at_the_end)
        except _EnoughError:
            return facts
        raise AssertionError("the parts were there already")
    watch("join", lambda: extract(path, source, listing, cols, workers, shards=shards))
    check(open_store(path), rows)
    return facts


def report(folder: Path, sizes: Sequence[int], cols: int, workers: int, shards: str | None = None) -> None:
    """Print what joining costs, as Markdown: a line for each number of rows, and one for a hundredth more of them.

    Parameters
    ----------
    folder : Path
        Where there is room for features twice over.
    sizes : sequence of int
        Numbers of rows.
    cols, workers, shards
        As :func:`extract` takes them.
    """
    print(f"\nParts of {workers:,} pretended workers, {cols:,} float16 a row; memory besides the listing\n")
    print("| rows | parts | store | listing | its digest | joined in | a row | memory | a row |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="featx-join-", dir=folder) as name:
            path = Path(name) / "numbered.h5"
            _in_a_process("parts", path, rows, cols, workers, shards)
            count = sum(1 for part in Path(name).rglob("part-*.npz"))
            _line(f"{rows:,}", f"{count:,}", path, rows, _in_a_process("join", path, rows, cols, workers, shards))
            more = rows + max(1, rows // 100)
            _line(f"{more:,}, most known", "", path, more, _in_a_process("join", path, more, cols, workers, shards))


def _in_a_process(*arguments: object) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.joining", json.dumps(arguments, default=str)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'scripts'}{os.pathsep}{ROOT}"}
    answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def _line(rows: str, parts: str, path: Path, count: int, facts: Mapping[str, float]) -> None:
    size = sum(file.stat().st_size for file in path.parent.rglob("*.h5"))
    print(
        f"| {rows} | {parts} | {size / 1e9:.2f} GB | {facts['listing s']:.1f} s, {facts['listing MiB']:,.0f} MiB"
        f" | {facts['digest s']:.1f} s | {facts['join s']:.1f} s | {facts['join s'] / count * 1e6:.1f} µs"
        f" | {facts['join MiB']:,.0f} MiB | {facts['join MiB'] / count * 2**20:.0f} B |",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("step")
    words = json.loads(parser.parse_args().step)
    print(json.dumps(_step(words[0], Path(words[1]), *words[2:])))
