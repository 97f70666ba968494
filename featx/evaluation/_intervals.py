"""95 % intervals: Wilson's for shares, the bootstrap for what has no formula, the infinitesimal jackknife for ranks.

A figure of a data set is given as a function of the rows' weights, so that its value (every weight 1) and its bootstrap
distribution (how often each row was drawn) come from the same lines.

References
----------
.. [1] E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal of the
   American Statistical Association 22(158), pp. 209-212.
.. [2] B. Efron and R. J. Tibshirani (1993), "An introduction to the bootstrap", chapters 13 and 21.
.. [3] A. Agresti and Y. Min (2005), "Simple improved confidence intervals for comparing matched proportions",
   Statistics in Medicine 24(5), pp. 729-740.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from featx.evaluation._splits import generator_of

__all__ = ["Figure", "Floats", "Grouped", "Ranked", "Statistics", "differences", "figures", "wilson", "with_spread"]

Floats = npt.NDArray[np.float64]

Z = NormalDist().inv_cdf(0.975)

_RESAMPLES = 1000
_FEWEST = 200
_WORK = 4 * 10**9
_BLOCK = 1 << 21


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval, for rows drawn independently.

    Attributes
    ----------
    value : float
        Of the rows at hand.
    low, high : float
        Bounds of the interval; ``low <= value <= high``.
    """

    value: float
    low: float
    high: float


class Ranked(NamedTuple):
    """A figure that depends on the order of all rows.

    Attributes
    ----------
    value : float
    influence : ndarray of shape (n,)
        What the value changes by with each row's weight, per unit of weight.
    positives : int
        Rows that are ranked among the others.
    least : float
        The figure lies between this and 1.
    """

    value: float
    influence: Floats
    positives: int
    least: float = 0.0

    def figure(self) -> Figure:
        """Return the value with an interval that is symmetric in its log odds, and so stays in its range.

        Where the order is perfect, or perfectly wrong, its spread is not to be seen: the bound is Wilson's for a share
        that all positives, or none, have.
        """
        width = 1 - self.least
        share = (self.value - self.least) / width
        if 0 < share < 1:
            odds, half = np.log(share / (1 - share)), Z * deviation(self.influence) / width / (share * (1 - share))
            low, high = (float(1 / (1 + np.exp(-np.clip(bound, -700, 700)))) for bound in (odds - half, odds + half))
        else:
            bounds = wilson(round(share) * self.positives, self.positives)
            low, high = bounds.low, bounds.high
        low, high = self.least + width * low, self.least + width * high
        return Figure(self.value, min(low, self.value), max(high, self.value))


@dataclass(frozen=True, eq=False)
class Statistics:
    """What is needed to give figures of some rows an interval, or to compare them with other answers to the same rows.

    Attributes
    ----------
    n : int
        Rows.
    shares : dict of str to ndarray of shape (n,), bool
        Figures that are the share of rows of which something is true.
    resampled : callable
        From weights of shape (b, n) to the figures without a formula for their interval, by name, each of shape (b,).
    ranked : dict of str to Ranked
        Figures of ranks.
    biased : dict of str to int
        Which of `resampled`, all of them between 0 and 1, are off in a sample from what they are in truth, and in a
        resample off again: the interval is the basic bootstrap's, which takes off in the one step what was added in the
        other, of the figure raised to this power.
    width : int
        Numbers that `resampled` works through for each row.
    """

    n: int
    shares: dict[str, npt.NDArray[np.bool_]]
    resampled: Callable[[Floats], dict[str, Floats]]
    ranked: dict[str, "Ranked"] = field(default_factory=dict)
    biased: dict[str, int] = field(default_factory=dict)
    width: int = 1


class Grouped:
    """Sums of the columns of matrices by group.

    Parameters
    ----------
    groups : ndarray of shape (n,), integer
        Group of each column, from 0.
    k : int
        Number of groups; one that does not occur has a sum of 0.
    """

    def __init__(self, groups: npt.NDArray[np.int64], k: int) -> None:
        self._order = np.argsort(groups, kind="stable")
        self._occurs, self._starts = np.unique(groups[self._order], return_index=True)
        self._k = k

    def __call__(self, weights: Floats) -> Floats:
        """Return the sums, of shape (b, k), of weights of shape (b, n)."""
        sums = np.zeros((weights.shape[0], self._k))
        if self._occurs.size:
            sums[:, self._occurs] = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        return sums


def wilson(right: int, n: int) -> Figure:
    """Return the share ``right / n`` with Wilson's score interval; of no rows 0, and an interval that says nothing."""
    if n == 0:
        return Figure(0.0, 0.0, 1.0)
    share = right / n
    centre = share + Z * Z / (2 * n)
    half = Z * (share * (1 - share) / n + Z * Z / (4 * n * n)) ** 0.5
    whole = 1 + Z * Z / n
    # all right or all wrong: the bound is 1 or 0, which rounding may miss
    low = 0.0 if right == 0 else (centre - half) / whole
    high = 1.0 if right == n else (centre + half) / whole
    return Figure(share, low, high)


def with_spread(figure: Figure, n: int) -> Figure:
    """Return a figure that is 0 or 1 in every resample, since all rows are alike, with Wilson's interval instead."""
    return wilson(round(figure.value) * n, n) if figure.low == figure.high and figure.value in (0, 1) else figure


def figures(statistics: Statistics, *, seed: int) -> dict[str, Figure]:
    """Return every figure with its interval: shares first, then what is resampled, then ranks."""
    found = {name: wilson(int(hits.sum()), statistics.n) for name, hits in statistics.shares.items()}
    values = statistics.resampled(np.ones((1, statistics.n)))
    draws = _draws(statistics.n, statistics.width, seed, statistics.resampled)
    for name, samples in draws.items():
        value, power = float(values[name][0]), statistics.biased.get(name)
        if power is None:
            found[name] = _percentiles(value, samples)
        else:
            figure = _basic(value**power, samples**power)
            low, high = (min(max(bound, 0.0), 1.0) ** (1 / power) for bound in (figure.low, figure.high))
            found[name] = Figure(value, min(low, value), max(high, value))
    return found | {name: ranked.figure() for name, ranked in statistics.ranked.items()}


def differences(a: Statistics, b: Statistics, *, seed: int) -> dict[str, tuple[float, float, Figure]]:
    """Return for every figure that both have its value in a, in b, and the difference b - a with its interval.

    The rows are the same, so that what is hard in them is hard for both and falls out: shares have Agresti and Min's
    interval for matched pairs, resampled figures the bootstrap of the difference, ranks the jackknife of it.
    """
    found = {}
    for name in a.shares.keys() & b.shares.keys():
        before, after = float(a.shares[name].mean()), float(b.shares[name].mean())
        found[name] = (before, after, _matched(a.shares[name], b.shares[name]))

    def both(weights: Floats) -> dict[str, Floats]:
        before, after = a.resampled(weights), b.resampled(weights)
        return {name: np.stack([before[name], after[name]]) for name in before if name in after}

    values = both(np.ones((1, a.n)))
    for name, samples in _draws(a.n, a.width + b.width, seed, both).items():
        before, after = (float(value) for value in values[name][:, 0])
        bounds = _basic if name in a.biased else _percentiles
        found[name] = (before, after, bounds(after - before, samples[1] - samples[0]))
    for name in a.ranked.keys() & b.ranked.keys():
        before, after = a.ranked[name].value, b.ranked[name].value
        half = Z * deviation(b.ranked[name].influence - a.ranked[name].influence)
        found[name] = (before, after, Figure(after - before, after - before - half, after - before + half))
    order = [*a.shares, *values, *a.ranked]
    return {name: found[name] for name in sorted(found, key=order.index)}


def deviation(influence: Floats) -> float:
    """Return the standard error of a figure from what each row's weight changes it by (infinitesimal jackknife)."""
    return float(np.sqrt(influence @ influence))


def _draws(
    n: int, width: int, seed: int, figure: Callable[[Floats], dict[str, Floats]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the figures of resamples of the rows: 1,000, or as few as 200 where there is very much to work through."""
    count = min(max(_WORK // (n * width), _FEWEST), _RESAMPLES)
    parts = [figure(weights) for weights in _resamples(n, count, seed)]
    return {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}


def _resamples(n: int, count: int, seed: int) -> Iterator[Floats]:
    """Yield, in blocks of shape (b, n), how often each row is drawn when n are drawn with replacement."""
    generator = generator_of(seed)
    step = max(1, _BLOCK // n)
    for start in range(0, count, step):
        b = min(step, count - start)
        drawn = generator.integers(0, n, size=(b, n)) + np.arange(b)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n).astype(np.float64)


def _percentiles(value: float, samples: Floats) -> Figure:
    low, high = (float(bound) for bound in np.quantile(samples, (0.025, 0.975)))
    return Figure(value, min(low, value), max(high, value))


def _basic(value: float, samples: Floats) -> Figure:
    return _percentiles(value, 2 * value - samples)


def _matched(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> Figure:
    n, lost, won = a.size, int((a & ~b).sum()), int((b & ~a).sum())
    value, total = (won - lost) / n, n + 2
    centre = (won - lost) / total
    half = Z * np.sqrt((won + lost + 1) / total - centre**2) / np.sqrt(total)
    return Figure(value, min(float(centre - half), value), max(float(centre + half), value))
