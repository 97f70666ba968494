"""What `scripts/bench_heads` measures on, and how it judges: made features, one objective for all, the floors."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.contestants import cores

__all__ = [
    "FOLDS",
    "STRENGTHS",
    "Case",
    "Floors",
    "accuracy",
    "evenly",
    "fold_rows",
    "make_case",
    "near",
    "objective",
    "predictions",
    "sweep_grid",
    "write_case",
]

STRENGTHS = tuple(float(C) for C in np.logspace(-4, 2, 20))
"""Values of C in a sweep."""
FOLDS = 5

_BLOCK = 4096
_MOST_READ = 1 << 28
_ERROR = 0.08
"""Share of wrong answers, about, of one who knew the classes' centres before the ReLU took some of it away."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """Features to fit on and to be judged by, as files that every process maps.

    Parameters
    ----------
    folder : Path
        Holds ``features.npy`` (the training rows first), ``standardised.npy`` (the same, float32, by the means and
        deviations of the training rows) and ``labels.npy``.
    title : str
    n : int
        Training rows.
    m : int
        Rows held out.
    d, k : int
        Features and classes.
    """

    folder: Path
    title: str
    n: int
    m: int
    d: int
    k: int

    @classmethod
    def load(cls, folder: Path) -> "Case":
        """Read what :func:`write_case` wrote."""
        return cls(folder, **json.loads((folder / "case.json").read_text(encoding="utf-8")))

    @property
    def columns(self) -> int:
        """Columns of coefficients of one fit."""
        return 1 if self.k == 2 else self.k

    @cached_property
    def features(self) -> npt.NDArray[np.float32]:
        """Features as they come, (n + m, d)."""
        return self._mapped("features.npy")

    @cached_property
    def standardised(self) -> npt.NDArray[np.float32]:
        """Features of mean 0 and variance 1 in the training rows, (n + m, d)."""
        return self._mapped("standardised.npy")

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """Classes of the rows, (n + m,)."""
        labels: npt.NDArray[np.int64] = np.load(self.folder / "labels.npy")
        return labels

    def _mapped(self, name: str) -> npt.NDArray[np.float32]:
        # A plain array on the map: scikit-learn copies a subclass in some places.
        return np.asarray(np.load(self.folder / name, mmap_mode="r"))

    def moments(self, rows: slice | npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return means and standard deviations of some rows; of what does not vary the deviation is 1."""
        own = np.arange(self.n + self.m)[rows]
        parts = [own[start : start + _BLOCK] for start in range(0, len(own), _BLOCK)]
        mean = sum(self.features[part].sum(axis=0, dtype=np.float64) for part in parts) / len(own)
        deviation = np.sqrt(sum(((self.features[part] - mean) ** 2).sum(axis=0) for part in parts) / len(own))
        return mean, np.where(deviation > 0, deviation, 1.0)

    def standard(self, rows: npt.NDArray[np.int64], by: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return some rows, standardised by the means and deviations of some others."""
        mean, deviation = self.moments(by)
        found = np.empty((len(rows), self.d), dtype=np.float32)
        for start in range(0, len(rows), _BLOCK):
            found[start : start + _BLOCK] = (self.features[rows[start : start + _BLOCK]] - mean) / deviation
        return found


def make_case(folder: Path, n: int, d: int, k: int, *, m: int | None = None, seed: int = 0) -> Case:
    """Make features that look like those of a network, and write them.

    Normal factors of each class around its centre, their variances falling like 1/j, are mixed, pass through a ReLU
    that makes about half of them 0, and are scaled; so the Gram matrix of the standardised features has the eigenvalues
    of `efficientnet_lite0`'s on CIFAR-10, within a third, and the classes overlap.

    Parameters
    ----------
    folder : Path
    n, d, k : int
        Training rows, features, classes.
    m : int, optional
        Rows held out; by default a fifth of `n`, 10,000 at most.
    seed : int
    """
    m = min(n // 5, 10_000) if m is None else m
    rng = np.random.default_rng(seed)
    factors = max(2, d // 2)
    deviations = (3.0 + np.arange(factors)) ** -0.5
    deviations /= np.sqrt((deviations**2).mean())
    # Two centres are `apart` deviations from each other, and an error takes half of that towards one of k - 1 others.
    apart = 2 * NormalDist().inv_cdf(1 - _ERROR / (k - 1)) / np.sqrt(2 * factors)
    centres = apart * rng.standard_normal((k, factors))
    mixing = deviations[:, None] * rng.standard_normal((factors, d)) / np.sqrt(factors * (1 + apart**2))
    bias, scale = rng.normal(0, 0.5, d), rng.lognormal(-1, 0.6, d)
    labels = rng.permutation(np.arange(n + m) % k)

    def block(start: int, stop: int) -> npt.NDArray[Any]:
        own = centres[labels[start:stop]] + rng.standard_normal((stop - start, factors))
        mixed = own.astype(np.float32) @ mixing.astype(np.float32)
        mixed += 0.15 * rng.standard_normal(mixed.shape, dtype=np.float32) + bias
        return np.maximum(mixed, 0) * scale

    return write_case(folder, f"{n} × {d}, {k} classes", block, labels, n=n, d=d)


def write_case(
    folder: Path,
    title: str,
    block: Callable[[int, int], npt.NDArray[Any]],
    labels: npt.NDArray[np.int64],
    *,
    n: int,
    d: int,
) -> Case:
    """Write features and labels, the training rows first.

    Parameters
    ----------
    folder : Path
    title : str
    block : callable
        Returns the features of some rows, from the first to before the last; called in their order.
    labels : ndarray of shape (n + m,)
        From 0.
    n, d : int
        Training rows, features.
    """
    folder.mkdir(parents=True)
    facts = {"title": title, "n": n, "m": len(labels) - n, "d": d, "k": int(labels.max()) + 1}
    (folder / "case.json").write_text(json.dumps(facts), encoding="utf-8")
    np.save(folder / "labels.npy", labels.astype(np.int64))
    edges = [*range(0, len(labels), _BLOCK), len(labels)]
    features = _new(folder / "features.npy", len(labels), d)
    for start, stop in pairwise(edges):
        features[start:stop] = block(start, stop)
    features.flush()
    case = Case.load(folder)
    mean, deviation = case.moments(slice(n))
    standardised = _new(folder / "standardised.npy", len(labels), d)
    for start, stop in pairwise(edges):
        standardised[start:stop] = (features[start:stop] - mean) / deviation
    standardised.flush()
    return case


def _new(file: Path, rows: int, d: int) -> Any:
    return np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(rows, d))


def objective(
    coef: npt.ArrayLike, intercept: npt.ArrayLike, X: npt.NDArray[Any], y: npt.NDArray[np.int64], C: float
) -> float:
    """Return scikit-learn's objective of logistic regression, ``C * sum_i loss_i + 0.5 * ||coef||^2``, in float64.

    Parameters
    ----------
    coef : array_like of shape (k, d), or (1, d) for two classes
    intercept : array_like of shape (k,) or (1,)
    X : ndarray of shape (n, d)
        In the coordinates that the penalty is meant in: standardised.
    y : ndarray of shape (n,)
        Classes from 0.
    C : float
    """
    coef, intercept = np.asarray(coef, np.float64), np.asarray(intercept, np.float64)
    loss = 0.0
    for start in range(0, len(X), _BLOCK):
        scores = X[start : start + _BLOCK].astype(np.float64) @ coef.T + intercept
        own = y[start : start + _BLOCK]
        if len(coef) == 1:
            loss += float(np.logaddexp(0, np.where(own == 1, -scores[:, 0], scores[:, 0])).sum())
            continue
        top = scores.max(axis=1)
        sums = np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top
        loss += float((sums - scores[np.arange(len(own)), own]).sum())
    return C * loss + 0.5 * float((coef**2).sum())


def predictions(coef: npt.ArrayLike, intercept: npt.ArrayLike, X: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the classes that linear scores say."""
    coef = np.asarray(coef)
    scores = X @ coef.T.astype(X.dtype) + np.asarray(intercept, X.dtype)
    return np.asarray(scores[:, 0] > 0 if len(coef) == 1 else scores.argmax(axis=1), dtype=np.int64)


def accuracy(answers: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> float:
    """Return the share of right answers."""
    return float((answers == truth).mean())


def near(lowest: float, distance: float) -> float:
    """Return the objective to stop at to be within a relative distance of the lowest.

    Four fifths of the distance, because what a solver sums up in float32 is off in the seventh digit.
    """
    return lowest * (1 + 0.8 * distance)


def fold_rows(labels: npt.NDArray[np.int64], folds: int = FOLDS) -> list[npt.NDArray[np.bool_]]:
    """Return for each fold which rows are fitted on; each class is dealt out to the folds in turn."""
    place = np.empty(len(labels), dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    place[order] = np.arange(len(labels)) % folds
    return [place != fold for fold in range(folds)]


def sweep_grid(strengths: Sequence[float] = STRENGTHS, folds: int = FOLDS) -> list[tuple[float, int]]:
    """Return C and fold of each fit of a sweep, C by C."""
    return [(C, fold) for C in strengths for fold in range(folds)]


def evenly(total: int, wanted: int) -> list[int]:
    """Return the middles of as many equal parts of ``range(total)`` as are wanted, or all of it.

    Fits take longer the larger C is: middles of parts have the mean of all, which first and last would not.
    """
    wanted = max(1, min(total, wanted))
    return [(2 * part + 1) * total // (2 * wanted) for part in range(wanted)]


@dataclass(frozen=True)
class Floors:
    """What the machine can do with features of some size, and what that leaves to a fit.

    Parameters
    ----------
    size : float
        Bytes of the features: what a sweep has to read.
    bandwidth : float
        Bytes a second that are read by summing them up, on all cores.
    flops : float
        Arithmetic of a sweep for one column of coefficients: two products.
    thin_rate : float
        Operations a second of these two products, as one call of BLAS each, for the columns of one fit.
    square_rate : float
        The same of products of large square matrices: the processor's limit.
    """

    size: float
    bandwidth: float
    flops: float
    thin_rate: float
    square_rate: float

    @classmethod
    def measure(cls, X: npt.NDArray[np.float32], columns: int, *, side: int = 2048, repeats: int = 3) -> "Floors":
        """Measure, the best of some repeats, on the rows of `X`."""
        rng = np.random.default_rng(0)
        coef = rng.standard_normal((columns, X.shape[1]), dtype=np.float32)
        residuals = rng.standard_normal((columns, len(X)), dtype=np.float32)
        square = rng.standard_normal((side, side), dtype=np.float32)
        flops = 4.0 * X.size
        times = max(1, _MOST_READ // X.nbytes)
        return cls(
            size=float(X.nbytes),
            bandwidth=times * X.nbytes / _least(lambda: _read(X, times), repeats),
            flops=flops,
            thin_rate=flops * columns / _least(lambda: (coef @ X.T, residuals @ X), repeats),
            square_rate=2.0 * side**3 / _least(lambda: square @ square, repeats),
        )

    def say(self, sweeps: int, columns: int) -> dict[str, float | str]:
        """Return the seconds below which so many sweeps cannot be, and which floor is the higher one.

        Parameters
        ----------
        sweeps : int
            Times that the features are read.
        columns : int
            Columns of coefficients, summed over the sweeps.
        """
        reading, computing = sweeps * self.size / self.bandwidth, columns * self.flops / self.square_rate
        return {
            "reading": reading,
            "computing": computing,
            "products": columns * self.flops / self.thin_rate,
            "floor": max(reading, computing),
            "bound": "memory" if reading > computing else "arithmetic",
        }

    def to_json(self) -> Mapping[str, float]:
        """Return the figures by name."""
        return asdict(self)


def _read(X: npt.NDArray[Any], times: int) -> None:
    def read(part: npt.NDArray[Any]) -> None:
        for _ in range(times):
            part.sum()

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(read, np.array_split(X, cores())))


def _least(work: Callable[[], Any], repeats: int) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
