"""L-BFGS on functions whose minima are known."""

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from scipy.special import expit

from featx.heads.logistic._devices import NumpyDevice
from featx.heads.logistic._lbfgs import minimize


class Functions:
    """0.5 ||x||^2 + sum of softplus(a x - b), each problem with its own matrix, one or two rows of four parameters."""

    def __init__(self, scales, stiffness=1.0):
        generator = np.random.default_rng(0)
        self.matrices = [scale * generator.normal(size=(30, 4)) for scale in scales]
        self.targets = [generator.normal(size=30) for _ in scales]
        self.sizes = [1 + i % 2 for i in range(len(scales))]
        self.owner = np.repeat(np.arange(len(scales)), self.sizes)
        self.stiffness = stiffness
        self.asked = []

    def one(self, problem, x):
        z = self.matrices[problem] @ x.T - self.targets[problem][:, None]
        value = 0.5 * (x**2).sum() + np.logaddexp(0, z).sum()
        return value, x + expit(z).T @ self.matrices[problem]

    def evaluate(self, problems, parameters):
        self.asked.append(list(problems))
        rows = np.split(parameters, np.cumsum([self.sizes[i] for i in problems])[:-1])
        found = [self.one(i, x) for i, x in zip(problems, rows, strict=True)]
        return np.array([f for f, _ in found]), np.concatenate([g for _, g in found]), np.ones(len(problems))

    def rotate(self, gradient):
        return gradient[:, :0]

    def precondition(self, vector, rotated, curvature):
        return vector / self.stiffness

    def norm(self, vector, rotated, curvature):
        return (vector**2).sum(axis=1) / self.stiffness

    def best(self, problem):
        shape = (self.sizes[problem], 4)

        def flat(x):
            value, gradient = self.one(problem, x.reshape(shape))
            return value, gradient.ravel()

        return scipy_minimize(flat, np.zeros(shape).ravel(), jac=True, tol=1e-14, options={"maxiter": 10_000}).fun


def solved(functions, tol=1e-10, max_iter=500):
    p = len(functions.sizes)
    start = np.zeros((len(functions.owner), 4))
    limits = np.full(p, max_iter) if np.isscalar(max_iter) else np.asarray(max_iter)
    return minimize(functions, NumpyDevice(np.float64), start, functions.owner, tol=np.full(p, tol), max_iter=limits)


def test_all_problems_reach_their_minima():
    functions = Functions([0.01, 0.1, 1.0, 3.0, 10.0, 0.3])
    outcome = solved(functions)
    assert outcome.converged.all()
    for i in range(6):
        best = functions.best(i)
        assert outcome.values[i] == pytest.approx(best, rel=1e-9)
        assert functions.one(i, outcome.parameters[functions.owner == i])[0] == pytest.approx(outcome.values[i])


def test_each_goes_its_own_way():
    """A problem solved among others takes the steps that it takes alone."""
    scales = [0.01, 10.0, 0.1, 3.0]
    together = solved(Functions(scales))
    for i in range(4):
        alone = Functions(scales)
        p = np.full(4, 0)
        p[i] = 500
        outcome = solved(alone, max_iter=p)
        assert outcome.n_iter[i] == together.n_iter[i]
        assert outcome.values[i] == together.values[i]


@pytest.mark.parametrize("stiffness", [1e-4, 1e4])
def test_steps_that_go_too_far_are_taken_back(stiffness):
    """A preconditioner that is wrong by 10,000 costs steps, not the result."""
    functions = Functions([1.0, 3.0], stiffness)
    before = Functions([1.0, 3.0])
    outcome = solved(functions, tol=1e-8)
    for i in range(2):
        assert outcome.values[i] == pytest.approx(before.best(i), rel=1e-7)


def test_problems_that_are_done_are_not_asked_again():
    functions = Functions([1e-3, 1e-3, 1e-3, 10.0])
    outcome = solved(functions)
    assert functions.asked[0] == [0, 1, 2, 3]
    assert functions.asked[-1] == [3]
    for i in range(4):
        assert sum(i in asked for asked in functions.asked) == outcome.n_iter[i] + 1


def test_steps_run_out():
    functions = Functions([1.0, 10.0])
    outcome = solved(functions, tol=1e-12, max_iter=[2, 8])
    np.testing.assert_array_equal(outcome.n_iter, [2, 8])
    np.testing.assert_array_equal(outcome.converged, [False, False])
    assert (outcome.values < [functions.one(i, np.zeros((n, 4)))[0] for i, n in enumerate([1, 2])]).all()


def test_what_rounding_hides_is_not_looked_for():
    functions = Functions([1.0, 5.0])
    outcome = solved(functions, tol=0.0, max_iter=100_000)
    assert outcome.converged.all()
    assert (outcome.n_iter < 1_000).all()
    np.testing.assert_allclose(outcome.values, [functions.best(0), functions.best(1)], rtol=1e-12)
