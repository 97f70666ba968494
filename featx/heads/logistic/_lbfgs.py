"""L-BFGS for many problems at a time: one evaluation serves all of them, each keeps its own pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from featx.heads.logistic._devices import Device, Floats

__all__ = ["Objective", "Outcome", "minimize"]

Ints = npt.NDArray[np.intp]

_MEMORY = 6
_ARMIJO = 1e-4
_REFUSALS = 12
"""Steps that may be refused one after another: by then a step is lost in rounding."""
_SAFETY = 4.0
"""Of the gradient's norms. With it, 292 of 297 problems (k 2 to 40, C 1e-4 to 1e4, separable or not, n < d or not)
ended within a tol of 1e-4, and 293 of 294 within 1e-6; the others have all but separable classes and C of 100 or more.
"""
_PATIENCE = 100
"""Steps after which a problem must still be falling, or has come to what rounding allows."""
_BLUR = 100
"""That is at most so many times the rounding of the values."""
_LEAVE = 8
"""Problems that are done leave the arrays when they are one in so many: leaving means copying the rest."""


class Objective(Protocol):
    """p convex functions of rows of parameters, and what is known of their curvature."""

    def evaluate(self, problems: Ints, parameters: Any) -> tuple[Floats, Any, Floats]:
        """Return values (p,), gradients (rows, d) and curvatures (p,) of some of the problems."""

    def rotate(self, gradient: Any) -> Any:
        """Return gradients in the basis in which the preconditioner is diagonal, (rows, r)."""

    def precondition(self, vector: Any, rotated: Any, curvature: Any) -> Any:
        """Return the preconditioner times a vector, (rows, d), for the curvature (rows, 1)."""

    def norm(self, vector: Any, rotated: Any, curvature: Any) -> Floats:
        """Return the inner product of each row of a vector and the preconditioner times it, (rows,)."""


@dataclass(frozen=True)
class Outcome:
    """Where :func:`minimize` came to.

    Attributes
    ----------
    parameters : ndarray of shape (rows, d), float64
        Of all problems.
    values : ndarray of shape (p,), float64
        The functions there.
    n_iter : ndarray of shape (p,), int
        Steps taken.
    converged : ndarray of shape (p,), bool
        Whether what was left was estimated to be below `tol`.
    """

    parameters: Floats
    values: Floats
    n_iter: Ints
    converged: npt.NDArray[np.bool_]


class _State:
    """Parameters, gradients and the last steps of the problems that are not done, a row of arrays for each row."""

    by_problem = (
        *("problems", "sizes", "values", "history", "curvature", "inverses"),
        *("length", "scale", "refused", "n_iter"),
    )

    def __init__(self, objective: Objective, device: Device, start: Any, owner: Ints) -> None:
        self.device = device
        self.problems, self.sizes = np.unique(owner, return_counts=True)
        p = len(self.problems)
        self.parameters = start
        self.values, self.gradient, self.curvature = objective.evaluate(self.problems, start)
        self.history = self.values[:, None]
        self.rotated = objective.rotate(self.gradient)
        self.steps: list[Any] = []
        self.changes: list[Any] = []
        self.inverses = np.zeros((p, 0))
        self.length, self.scale = np.ones(p), np.ones(p)
        self.refused, self.n_iter = np.zeros(p, np.intp), np.zeros(p, np.intp)

    def dot(self, a: Any, b: Any) -> Floats:
        """Return the inner product of each problem."""
        sums: Floats = np.add.reduceat(self.device.dot(a, b), np.cumsum(self.sizes) - self.sizes)
        return sums

    def spread(self, values: Floats) -> Any:
        """Return numbers by problem as a column by row."""
        return self.device.array(np.repeat(values, self.sizes))[:, None]

    def rows(self, chosen: npt.NDArray[np.bool_]) -> Any:
        """Return where the rows of some problems are."""
        return self.device.index(np.flatnonzero(np.repeat(chosen, self.sizes)))

    def norm(self, objective: Objective, vector: Any, rotated: Any) -> Floats:
        """Return the squared norm of each problem under the preconditioner."""
        by_row = objective.norm(vector, rotated, self.spread(self.curvature))
        sums: Floats = np.add.reduceat(by_row, np.cumsum(self.sizes) - self.sizes)
        return sums

    def move(
        self,
        objective: Objective,
        accepted: npt.NDArray[np.bool_],
        step: Any,
        trial: Any,
        values: Floats,
        gradient: Any,
        curvature: Floats,
    ) -> None:
        """Go where trials were accepted, and learn from the steps; where one was refused its weight is 0."""
        rotated, change = objective.rotate(gradient), gradient - self.gradient
        turned = rotated - self.rotated
        if accepted.all():
            self.parameters, self.gradient, self.rotated = trial, gradient, rotated
        else:
            rows = self.rows(accepted)
            for mine, new in ((self.parameters, trial), (self.gradient, gradient), (self.rotated, rotated)):
                mine[rows] = new[rows]
        self.values = np.where(accepted, values, self.values)
        self.history = np.column_stack([self.history, self.values])
        self.curvature = np.where(accepted, curvature, self.curvature)
        curved = self.dot(step, change)
        kept = accepted & (curved > 0)
        self.steps, self.changes = [*self.steps[1 - _MEMORY :], step], [*self.changes[1 - _MEMORY :], change]
        inverse = np.divide(1, curved, out=np.zeros(len(curved)), where=kept)
        self.inverses = np.column_stack([self.inverses[:, 1 - _MEMORY :], inverse])
        lengths = self.norm(objective, change, turned)
        self.scale = np.where(kept & (lengths > 0), curved / np.where(lengths > 0, lengths, 1), self.scale)

    def keep(self, going: npt.NDArray[np.bool_]) -> None:
        """Let go of all other problems."""
        rows = self.rows(going)
        for name in ("parameters", "gradient", "rotated"):
            setattr(self, name, getattr(self, name)[rows])
        for history in (self.steps, self.changes):
            for i, array in enumerate(history):
                history[i] = array[rows]
        for name in self.by_problem:
            setattr(self, name, getattr(self, name)[going])

    def fallen(self) -> Floats:
        """Return by how much the values fell in the last quarter of the steps."""
        last = self.history.shape[1] - 1
        fallen: Floats = self.history[:, last * 3 // 4] - self.history[:, last]
        return fallen

    def direction(self, objective: Objective) -> Any:
        """Return the two-loop recursion's answer: the inverse Hessian, as far as it is known, times the gradient."""
        q = self.gradient * 1  # a copy, in numpy and in torch
        coefficients = []
        for i in reversed(range(len(self.steps))):
            a = self.inverses[:, i] * self.dot(self.steps[i], q)
            q -= self.changes[i] * self.spread(a)
            coefficients.append(a)
        q = objective.precondition(q, objective.rotate(q), self.spread(self.curvature)) * self.spread(self.scale)
        for i, a in enumerate(reversed(coefficients)):
            b = self.inverses[:, i] * self.dot(self.changes[i], q)
            q += self.steps[i] * self.spread(a - b)
        return q


def minimize(objective: Objective, device: Device, start: Any, owner: Ints, *, tol: Floats, max_iter: Ints) -> Outcome:
    """Minimise p convex functions at once, each to a relative distance from its minimum.

    Every evaluation serves all problems that are not done, at a trial point of each. A problem whose trial is refused
    tries a shorter step at the next evaluation, while the others go on. Otherwise it is L-BFGS [1]_ with the
    objective's preconditioner, scaled by the last step as usual, in place of the initial Hessian.

    A problem is done when what is left is estimated to be below `tol` of the value. The estimates are half the squared
    norm of the gradient, under the preconditioner and under L-BFGS's own inverse Hessian, times a safety, and the
    decrease in the last quarter of the steps; the largest counts. The first two are good where the preconditioner is,
    and far too low where convergence is slow, which the third sees. A problem that falls no more is done, too, if what
    is left may be rounding.

    Parameters
    ----------
    objective : Objective
    device : Device
        Where the parameters live.
    start : array of shape (rows, d)
        First parameters.
    owner : ndarray of shape (rows,), int
        Problem of each row, from 0, increasing.
    tol : ndarray of shape (p,), float64
        Relative distances wanted.
    max_iter : ndarray of shape (p,), int
        Most steps of each problem.

    Returns
    -------
    Outcome

    References
    ----------
    .. [1] J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., Springer 2006, algorithm 7.4.
    """
    state = _State(objective, device, start, owner)
    noise = 1e-8 if device.dtype == np.float32 else 1e-14
    p = len(state.problems)
    found = Outcome(np.empty(tuple(start.shape)), np.empty(p), np.zeros(p, np.intp), np.zeros(p, np.bool_))
    finished = np.zeros(p, np.bool_)
    while True:
        direction = state.direction(objective)
        slope = state.dot(state.gradient, direction)
        near = 0.5 * _SAFETY * np.maximum(slope, state.norm(objective, state.gradient, state.rotated))
        fallen, wanted = state.fallen(), tol[state.problems]
        stalled = (state.refused > _REFUSALS) | ((state.n_iter >= _PATIENCE) & (fallen <= 0))
        least = np.where(stalled, np.maximum(wanted, _BLUR * noise), wanted)
        converged = np.maximum(near, fallen) <= least * state.values
        stopped = converged | stalled | (state.n_iter >= max_iter[state.problems])
        for j in np.flatnonzero(stopped & ~finished[state.problems]):
            i = state.problems[j]
            first = state.sizes[:j].sum()
            found.parameters[owner == i] = device.host(state.parameters[first : first + state.sizes[j]])
            found.values[i], found.n_iter[i], found.converged[i] = state.values[j], state.n_iter[j], converged[j]
            finished[i] = True
        going = ~finished[state.problems]
        if not going.any():
            return found
        if (~going).sum() * _LEAVE >= len(going):
            rows = state.rows(going)
            direction, slope = direction[rows], slope[going]
            state.keep(going)
        step = direction * state.spread(-state.length)
        trial = state.parameters + step
        values, gradient, curvature = objective.evaluate(state.problems, trial)
        expected = state.length * slope
        accepted = values <= state.values - _ARMIJO * expected + noise * np.abs(state.values)
        # a refused problem stays where it was, and its next trial is the parabola's minimum
        rise = values - state.values + expected
        shorter = state.length * np.clip(0.5 * expected / np.fmax(rise, expected), 0.1, 0.5)
        state.move(objective, accepted, step, trial, values, gradient, curvature)
        state.length = np.where(accepted, 1.0, shorter)
        state.refused = np.where(accepted, 0, state.refused + 1)
        state.n_iter = state.n_iter + 1
