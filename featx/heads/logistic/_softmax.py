"""Logistic regression of many problems on the same features: their common objective, and its solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.heads.logistic._devices import Device, Floats, open_device
from featx.heads.logistic._lbfgs import minimize
from featx.heads.logistic._links import sigmoid_residuals, softmax_residuals
from featx.heads.logistic._rows import Rows, moments

__all__ = ["Problem", "Solution", "solve"]

Ints = npt.NDArray[np.intp]

_SAMPLE = 12_000
"""Rows whose Gram matrix preconditions; those of 50,000 serve no better."""
_SIDE = 2560
"""Largest matrix whose eigenvectors are worth their time; of more features, those of as many rows serve."""
_FAR = 30.0
"""Means so many deviations from 0 are taken off in each block, before float32 loses digits to them."""
_MOST_VALUES = 1 << 27
"""Parameters, gradients and history of the problems solved together."""
_COPIES = 2 * 6 + 16
"""Arrays of the parameters' size: the history, and what else there is in an iteration at a time."""
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Problem:
    """Multinomial logistic regression, or a sigmoid for two classes. Arrays that problems share are counted once.

    Parameters
    ----------
    k : int
        Rows of coefficients: number of classes, or 1 for two classes.
    y : ndarray of shape (n,), int
        Class of each row, from 0.
    weights : ndarray of shape (n,), float
        Weight of each row's loss; 0 leaves it out.
    counts : ndarray of shape (n,), float
        How often each row counts in standardising.
    C : float
        The sum of the weighted losses counts this much beside ``0.5 * ||w||^2``.
    tol : float
        Distance of the objective from its minimum, relative to it.
    max_iter : int
        Most steps.
    """

    k: int
    y: npt.NDArray[Any]
    weights: npt.NDArray[Any]
    counts: npt.NDArray[Any]
    C: float
    tol: float
    max_iter: int


@dataclass(frozen=True)
class Solution:
    """Coefficients of a problem for the features as they are.

    Attributes
    ----------
    coef : ndarray of shape (k, d), float64
    intercept : ndarray of shape (k,), float64
    objective : float
        What was minimised, at the solution.
    n_iter : int
    converged : bool
    """

    coef: Floats
    intercept: Floats
    objective: float
    n_iter: int
    converged: bool

    @classmethod
    def constant(cls, intercept: float, d: int) -> Solution:
        """Return the solution that says the same of every row."""
        return cls(np.zeros((1, d)), np.array([intercept]), 0.0, 0, True)


def solve(
    X: npt.NDArray[Any],
    problems: Sequence[Problem],
    *,
    chosen: Ints | None = None,
    standardize: bool = True,
    fit_intercept: bool = True,
    device: str = "cpu",
) -> list[Solution]:
    """Solve all problems by sweeps over the features that serve all of them.

    A sweep takes the features block by block, and has two products on each: scores of all problems, and gradients. The
    features are standardised on the coefficients' side: by each problem's own weighted means and deviations.

    Parameters
    ----------
    X : ndarray of shape (m, d), float16, float32 or float64
        Features; may be memory-mapped.
    problems : sequence of Problem
        For n rows each.
    chosen : ndarray of shape (n,), int, optional
        The rows of `X` that they are about.
    standardize, fit_intercept : bool
        As for :class:`~featx.heads.logistic._estimator.LogisticClassifier`.
    device : str
        ``"cpu"``, or a device of torch.

    Returns
    -------
    list of Solution
    """
    where = open_device(device, np.float64 if X.dtype == np.float64 else np.float32)
    _, alike = _distinct([problem.y for problem in problems])
    order = sorted(range(len(problems)), key=lambda i: (problems[i].k, alike[i]))
    widest = max(1, _MOST_VALUES // (_COPIES * (X.shape[1] + 1)))
    found: dict[int, Solution] = {}
    while order:
        widths = np.cumsum([problems[i].k for i in order])
        count = max(1, int((widths <= widest).sum()))
        together, order = order[:count], order[count:]
        objective = _Objective(X, [problems[i] for i in together], chosen, standardize, fit_intercept, where)
        found.update(zip(together, objective.solve(), strict=True))
    return [found[i] for i in range(len(problems))]


def _distinct(arrays: Sequence[npt.NDArray[Any]]) -> tuple[list[npt.NDArray[Any]], Ints]:
    """Return each array once, and which of them each was."""
    seen: dict[int, int] = {}
    index = np.array([seen.setdefault(id(array), len(seen)) for array in arrays], dtype=np.intp)
    return [arrays[int(np.flatnonzero(index == j)[0])] for j in range(len(seen))], index


class _Objective:
    """The sum of the objectives of all problems, by problem."""

    def __init__(
        self,
        X: npt.NDArray[Any],
        problems: list[Problem],
        chosen: Ints | None,
        standardize: bool,
        fit_intercept: bool,
        device: Device,
    ) -> None:
        self._problems, self._device, self._fit_intercept = problems, device, fit_intercept
        self._k = np.array([problem.k for problem in problems])
        self._C = np.array([problem.C for problem in problems])
        self._owner = np.repeat(np.arange(len(problems)), self._k)
        weights, self._weighting = _distinct([problem.weights for problem in problems])
        counts, self._counting = _distinct([problem.counts for problem in problems])
        targets, self._target = _distinct([problem.y for problem in problems])
        self._weights = device.array(np.array(weights))
        # Of two classes signs are wanted, and they are taken for many problems at a time; of more, their numbers.
        binary = {int(j) for j in self._target[self._k == 1]}
        self._sign = np.cumsum([j in binary for j in range(len(targets))]) - 1
        self._signs = device.array(np.array([2.0 * targets[j] - 1 for j in sorted(binary)]))
        self._classes = {j: device.index(y) for j, y in enumerate(targets) if j not in binary}
        self._rows = Rows(X, chosen, device)
        self._standardise(X, chosen, np.array(counts, dtype=device.dtype), standardize, centre=fit_intercept)
        self._rows.keep()
        self._condition()

    def _standardise(
        self, X: npt.NDArray[Any], chosen: Ints | None, counts: npt.NDArray[Any], standardize: bool, centre: bool
    ) -> None:
        """Find the means and deviations of each weighting.

        With an intercept the features are centred whether they are standardised or not, which changes nothing in the
        result: it makes intercept and coefficients all but independent of each other.
        """
        device, shape = self._device, (len(counts), X.shape[1])
        self._main = int(counts.sum(axis=1).argmax())  # speaks for all where there must be one
        self._means, self._deviations, shift = np.zeros(shape), np.ones(shape), np.zeros(X.shape[1])
        if standardize or centre:
            self._means, deviations = moments(X, chosen, counts)
            self._deviations = deviations if standardize else self._deviations
            if (np.abs(self._means) > _FAR * deviations).any():
                self._rows.shift = self._means[self._main].astype(device.dtype)
                shift = self._rows.shift.astype(np.float64)
        self._scales, self._offsets = device.array(self._deviations), device.array(self._means - shift)

    def solve(self) -> list[Solution]:
        """Minimise, and return the coefficients for the features as they are."""
        device, problems = self._device, self._problems
        with device.session():
            outcome = minimize(
                self,
                device,
                device.array(self._start()),
                self._owner,
                tol=np.array([problem.tol for problem in problems]),
                max_iter=np.array([problem.max_iter for problem in problems]),
            )
        solutions = []
        for i, counting in enumerate(self._counting):
            own = outcome.parameters[self._owner == i]
            coef = own[:, :-1] / self._deviations[counting]
            intercept = own[:, -1] - coef @ self._means[counting]
            solutions.append(
                Solution(coef, intercept, float(outcome.values[i]), int(outcome.n_iter[i]), bool(outcome.converged[i]))
            )
        return solutions

    def _start(self) -> Floats:
        """Return coefficients 0, and the intercepts that are best with them."""
        first = np.zeros((len(self._owner), self._rows.d + 1))
        if self._fit_intercept:
            for i, problem in enumerate(self._problems):
                shares = np.bincount(problem.y, problem.weights, minlength=max(2, problem.k)) / problem.weights.sum()
                logs = np.log(np.maximum(shares, 1e-12))
                first[self._owner == i, -1] = logs - logs.mean() if problem.k > 1 else logs[1] - logs[0]
        return first

    def _condition(self) -> None:
        """Find the eigenvectors and eigenvalues of the Gram matrix of some of the rows."""
        xp, device, d = self._device.xp, self._device, self._rows.d
        n = min(self._rows.n, _SAMPLE if d <= _SIDE else _SIDE)
        blocks = ((block - self._offsets[self._main]) / self._scales[self._main] for block in self._rows.sample(n))
        if n >= d:
            gram = device.array(np.zeros((d, d)))
            for block in blocks:
                gram += block.T @ block
            values, self._basis = xp.linalg.eigh(gram / n)
        else:
            rows = xp.concatenate(list(blocks))
            values, vectors = xp.linalg.eigh(rows @ rows.T / n)
            apart = values > 1e-6 * values[-1]
            values = values[apart]
            self._basis = rows.T @ (vectors[:, apart] / (n * values) ** 0.5)
        self._spectrum = xp.clip(values, 0, None)

    def rotate(self, gradient: Any) -> Any:
        """Return the gradients of the coefficients in the basis of the Gram matrix's eigenvectors, (rows, r)."""
        return gradient[:, :-1] @ self._basis

    def precondition(self, vector: Any, rotated: Any, curvature: Any) -> Any:
        """Return the inverse of the Hessian at one curvature everywhere, ``1 + curvature * Gram``, times a vector."""
        inside, outside, intercept = self._inverses(curvature)
        out = vector * intercept
        if outside is None:
            out[:, :-1] = (rotated * inside) @ self._basis.T
        else:
            out[:, :-1] = vector[:, :-1] * outside + (rotated * (inside - outside)) @ self._basis.T
        return out

    def norm(self, vector: Any, rotated: Any, curvature: Any) -> Floats:
        """Return each row's inner product with what :meth:`precondition` makes of it."""
        inside, outside, intercept = self._inverses(curvature)
        dot, own, last = self._device.dot, vector[:, :-1], vector[:, -1:]
        found = dot(rotated, rotated * inside) + dot(last, last * intercept)
        if outside is not None:
            rest = np.maximum(dot(own, own) - dot(rotated, rotated), 0)
            found += rest * self._device.host(outside[:, 0])
        return found

    def _inverses(self, curvature: Any) -> tuple[Any, Any, Any]:
        """Return the preconditioner's eigenvalues: of the basis, of what is orthogonal to it, of the intercept."""
        # What rounding leaves outside a basis of all rows must not be taken for a direction that nothing is known of.
        outside = None if len(self._spectrum) == self._rows.d else 1 / (1 + curvature * self._spectrum[0])
        return 1 / (1 + curvature * self._spectrum), outside, 1 / self._device.xp.clip(curvature, _TINY, None)

    def evaluate(self, which: Ints, parameters: Any) -> tuple[Floats, Any, Floats]:
        """Return objectives, gradients, and curvatures ``C * sum of p (1 - p)``, by one sweep over the features."""
        device = self._device
        rows = np.repeat(which, self._k[which])
        counting = device.index(self._counting[rows])
        scales, offsets = self._scales[counting], self._offsets[counting]
        coef = parameters[:, :-1] / scales
        bias = parameters[:, -1] - (coef * offsets).sum(1)
        groups = self._groups(which)

        def sweep(part: list[slice]) -> tuple[Any, ...]:
            gradient, sums = coef * 0, bias * 0
            losses, curvatures = np.zeros(len(which)), np.zeros(len(which))
            for where in part:
                block = self._rows.block(where)
                scores = device.scores(coef, block)
                scores += bias[:, None]
                for columns, members, positions in groups:
                    loss, curvature = self._residuals(scores[columns], positions, where)
                    losses[members] += device.host(loss)
                    curvatures[members] += device.host(curvature)
                gradient += device.gradient(scores, block)
                sums += scores.sum(1)
            return gradient, sums, losses, curvatures

        found = device.each(sweep, self._rows.parts(len(rows)))
        gradient, sums, losses, curvatures = (sum(parts[1:], start=parts[0]) for parts in zip(*found, strict=True))
        gradient = (gradient - sums[:, None] * offsets) / scales
        C, k = self._C[which], self._k[which]
        strength = device.array(np.repeat(C, k))[:, None]
        full = parameters * 0
        full[:, :-1] = parameters[:, :-1] + strength * gradient
        if self._fit_intercept:
            full[:, -1] = strength[:, 0] * sums
        squares = device.dot(parameters[:, :-1], parameters[:, :-1])
        penalties = np.add.reduceat(squares, np.cumsum(k) - k)
        # the curvature of k probabilities is shared by k - 1 degrees of freedom
        return C * losses + 0.5 * penalties, full, C * curvatures / np.maximum(k - 1, 1)

    def _groups(self, which: Ints) -> list[tuple[slice, slice, Ints]]:
        """Return the columns and positions of problems that are alike, and which they are."""
        k, target = self._k[which], self._target[which]
        alike = np.where(k > 1, target, -1)
        ends = [*(np.flatnonzero(np.diff(alike) | np.diff(k)) + 1), len(which)]
        edges = np.concatenate([[0], np.cumsum(k)])
        return [
            (slice(int(edges[first]), int(edges[last])), slice(int(first), int(last)), which[first:last])
            for first, last in zip([0, *ends[:-1]], ends, strict=True)
        ]

    def _residuals(self, scores: Any, which: Ints, where: slice) -> tuple[Any, Any]:
        """Turn a group's scores on a block into residuals, and return losses and curvatures."""
        device, k = self._device, int(self._k[which[0]])
        weights = self._weights[:, where][device.index(self._weighting[which])]
        if k == 1:
            signs = self._signs[:, where][device.index(self._sign[self._target[which]])]
            return sigmoid_residuals(device.xp, scores, signs, weights, device.float64)
        rows = scores.shape[1]
        y = self._classes[int(self._target[which[0]])][where]
        flat = y * rows + device.index(np.arange(rows))
        return softmax_residuals(device.xp, scores.reshape(-1, k, rows), flat, weights, device.float64)
