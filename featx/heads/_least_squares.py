"""Penalised least squares: one eigendecomposition serves every penalty, and says what leaving each row out would do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.heads._blocks import BLOCK_VALUES, Floats, Rows, row_blocks
from featx.heads._moments import Moments, Scaling, Targets, product_dtype

__all__ = ["GramFactors", "KernelFactors", "Problem"]


@dataclass(frozen=True)
class Problem:
    """Minimise ``sum(w * (y - x @ coef - intercept)**2) + alpha * sum((coef * scale)**2)``.

    Attributes
    ----------
    X : ndarray of shape (n, d), float
        Features.
    rows : ndarray of int64, or None
        The rows that take part; all for None.
    weights : ndarray of shape (n,), float64, or None
        Weights w of the rows of X.
    targets : callable
        From an index of b rows to all targets, (b, t).
    columns : ndarray of int64
        Which of the targets are asked for.
    moments : Moments
        Of the rows, with these weights and all targets.
    scaling : Scaling
        Of the features.
    fit_intercept : bool
        Whether there is an intercept; without, it is 0 for features brought to ``scaling``.
    """

    X: npt.NDArray[Any]
    rows: Rows | None
    weights: Floats | None
    targets: Targets
    columns: Rows
    moments: Moments
    scaling: Scaling
    fit_intercept: bool

    @property
    def centre(self) -> Floats:
        """The point the features are measured from, (d,)."""
        return self.moments.mean if self.fit_intercept else self.scaling.mean

    @property
    def offset(self) -> Floats:
        """What the targets are measured from, (t,)."""
        mean: Floats = self.moments.target_weights[self.columns] / self.moments.weight
        return mean if self.fit_intercept else np.zeros_like(mean)

    def responses(self, index: Any) -> Floats:
        """Return the targets of some rows less their offset, (b, t)."""
        responses: Floats = self.targets(index)[:, self.columns] - self.offset
        return responses


class _Factors:
    """The scores Z of the rows on the principal axes, by their Gram matrix, which is diagonal.

    Attributes
    ----------
    eigenvalues : ndarray of shape (r,), float64
        Diagonal of ``Z.T @ diag(w) @ Z``.
    projections : ndarray of shape (r, t), float64
        ``Z.T @ diag(w) @ Y``.
    """

    problem: Problem
    eigenvalues: Floats
    projections: Floats

    def _scores(self, values: int) -> Iterator[tuple[Any, npt.NDArray[Any]]]:
        """Yield Z in blocks of rows, each with the index of its rows in X."""
        raise NotImplementedError

    def _raw_coef(self, alpha: float) -> Floats:
        """Return the coefficients for one penalty on the raw features, (t, d)."""
        raise NotImplementedError

    def coefficients(self, alpha: float) -> tuple[Floats, Floats]:
        """Return coefficients (t, d) and intercepts (t,) on raw features for one penalty."""
        coef = self._raw_coef(alpha)
        return coef, self.problem.offset - coef @ self.problem.centre

    def left_out_errors(self, alphas: Floats) -> Floats:
        """Return the mean squared error of each row under the fit without it, (len(alphas),).

        With ``h`` the leverage of a row (what its own target weighs in its fitted value), the residual under the fit
        without it is its residual over ``1 - h`` [1]_: exact, and without any further fit.

        References
        ----------
        .. [1] R. Rifkin, R. Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025, 2007.
        """
        problem = self.problem
        a, t = alphas.size, self.projections.shape[1]
        inverse = 1.0 / (self.eigenvalues[:, None] + alphas)
        solutions = (inverse[:, :, None] * self.projections[:, None, :]).reshape(-1, a * t)
        d = problem.X.shape[1]
        constant = 1.0 / problem.moments.weight if problem.fit_intercept else 0.0
        errors = np.zeros(a)
        for index, Z in self._scores(BLOCK_VALUES * d // max(d, a * t)):
            residuals = (Z @ solutions.astype(Z.dtype)).reshape(-1, a, t)
            residuals = problem.responses(index)[:, None, :] - residuals
            leverages = np.square(Z) @ inverse.astype(Z.dtype) + constant
            weights = 1.0 if problem.weights is None else problem.weights[index, None]
            # a row that alone decides its fitted value says nothing about alpha but that it is too small
            residuals /= np.maximum(1.0 - weights * leverages, np.finfo(np.float64).eps)[:, :, None]
            errors += (weights * np.square(residuals).sum(axis=2)).sum(axis=0)
        errors /= problem.moments.weight * t
        return errors


class GramFactors(_Factors):
    """Factors from the (d, d) Gram matrix of the features: as many rows as features, or more."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        moments, scale = problem.moments, problem.scaling.scale
        gram = moments.scatter(problem.centre)
        gram /= scale
        gram /= scale[:, None]
        eigenvalues, vectors = np.linalg.eigh(gram)
        self.eigenvalues = np.maximum(eigenvalues, 0.0)
        self._basis: Floats = vectors / scale[:, None]
        move = problem.centre - moments.shift
        cross = moments.target_sums[problem.columns] - np.outer(moments.target_weights[problem.columns], move)
        cross -= np.outer(problem.offset, moments.sums - moments.weight * move)
        self.projections = self._basis.T @ cross.T

    def _scores(self, values: int) -> Iterator[tuple[Any, npt.NDArray[Any]]]:
        dtype = product_dtype(self.problem.X)
        basis, centre = self._basis.astype(dtype), self.problem.centre.astype(dtype)
        for index, block in row_blocks(self.problem.X, self.problem.rows, dtype, values=values):
            block -= centre
            yield index, block @ basis

    def _raw_coef(self, alpha: float) -> Floats:
        coef: Floats = (self._basis @ (self.projections / (self.eigenvalues + alpha)[:, None])).T
        return coef


class KernelFactors(_Factors):
    """Factors from the (n, n) Gram matrix of the rows: fewer rows than features."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        X, weights = problem.X, problem.weights
        rows = np.arange(X.shape[0]) if problem.rows is None else problem.rows
        self._rows = rows if weights is None else rows[weights[rows] > 0]
        self._roots: Floats = np.ones(self._rows.size) if weights is None else np.sqrt(weights[self._rows])
        scaling, centre = problem.scaling, problem.centre
        kernel = np.zeros((self._rows.size, self._rows.size))
        step = max(1, BLOCK_VALUES // self._rows.size)
        for start in range(0, X.shape[1], step):
            features = slice(start, start + step)
            block = np.array(X[self._rows, features], dtype=np.float64)
            block -= centre[features]
            block /= scaling.scale[features]
            block *= self._roots[:, None]
            kernel += block @ block.T
        eigenvalues, self._vectors = np.linalg.eigh(kernel)
        self.eigenvalues = np.maximum(eigenvalues, 0.0)
        self._targets: Floats = self._vectors.T @ (self._roots[:, None] * problem.responses(self._rows))
        self.projections = np.sqrt(self.eigenvalues)[:, None] * self._targets

    def _scores(self, values: int) -> Iterator[tuple[Any, npt.NDArray[Any]]]:
        yield self._rows, self._vectors * np.sqrt(self.eigenvalues) / self._roots[:, None]

    def _raw_coef(self, alpha: float) -> Floats:
        dual = self._roots[:, None] * (self._vectors @ (self._targets / (self.eigenvalues + alpha)[:, None]))
        coef = np.zeros((dual.shape[1], self.problem.X.shape[1]))
        start = 0
        for _, block in row_blocks(self.problem.X, self._rows, np.float64):
            block -= self.problem.centre
            coef += dual[start : start + block.shape[0]].T @ block
            start += block.shape[0]
        coef /= self.problem.scaling.scale**2
        return coef
