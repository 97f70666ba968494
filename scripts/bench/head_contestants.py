"""The contestants of `scripts/bench_heads`: estimators of featx, scikit-learn and scikit-learn-intelex on one case.

Each lives in a process of its own; see :mod:`bench.host`. What they need is imported when one is made.
"""

import importlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.contestants import Result
from bench.heads import FOLDS, STRENGTHS, Case, Floats, evenly, fold_rows, sweep_grid

__all__ = [
    "FEATX",
    "HEADS",
    "INTELEX",
    "SKLEARN",
    "Single",
    "Sweep",
    "WarmPath",
    "Way",
    "make",
    "pack",
    "unpack",
]

FEATX, SKLEARN, INTELEX = "featx", "scikit-learn", "scikit-learn-intelex"

_ALPHAS = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
"""What featx's "auto" chooses from."""
_MOST_STEPS = 10_000


@dataclass(frozen=True)
class Way:
    """An estimator that answers to a head's name.

    Parameters
    ----------
    path : str
        Module and class.
    params : dict
    standardised : bool
        Whether it is given features that were standardised beforehand, which is not timed; else they are as they come.
    sums : bool
        Whether it sums the losses, where scikit-learn averages them: its `tol` then is as many times as large as there
        are rows, so that both stop at the same gradient.
    """

    path: str
    params: dict[str, Any] = field(default_factory=dict)
    standardised: bool = False
    sums: bool = False

    def make(self, n: int, **params: Any) -> Any:
        """Return a new estimator, for so many rows."""
        module, _, name = self.path.rpartition(".")
        params = {**self.params, **params}
        if self.sums and "tol" in params:
            params["tol"] *= n
        return getattr(importlib.import_module(module), name)(**params)


def _neighbors(metric: str) -> dict[str, Way]:
    params = {"n_neighbors": 10, "metric": metric}
    brute = {**params, "algorithm": "brute"}
    return {
        FEATX: Way("featx.heads.KNNClassifier", params),
        SKLEARN: Way("sklearn.neighbors.KNeighborsClassifier", brute),
        INTELEX: Way("sklearnex.neighbors.KNeighborsClassifier", brute),
    }


HEADS: dict[str, dict[str, Way]] = {
    "logistic": {
        FEATX: Way("featx.heads.LogisticClassifier"),
        SKLEARN: Way("sklearn.linear_model.LogisticRegression", {"max_iter": _MOST_STEPS}, standardised=True),
        INTELEX: Way(
            "sklearnex.linear_model.LogisticRegression", {"max_iter": _MOST_STEPS}, standardised=True, sums=True
        ),
    },
    "ridge": {
        FEATX: Way("featx.heads.RidgeClassifier", {"alpha": _ALPHAS}),
        SKLEARN: Way("sklearn.linear_model.RidgeClassifierCV", {"alphas": _ALPHAS}, standardised=True),
    },
    "lda": {
        FEATX: Way("featx.heads.LDAClassifier", {"shrinkage": "auto"}),
        SKLEARN: Way(
            "sklearn.discriminant_analysis.LinearDiscriminantAnalysis", {"solver": "lsqr", "shrinkage": "auto"}
        ),
    },
    "gaussian_nb": {FEATX: Way("featx.heads.GaussianNBClassifier"), SKLEARN: Way("sklearn.naive_bayes.GaussianNB")},
    "nearest_centroid": {
        FEATX: Way("featx.heads.CentroidClassifier"),
        SKLEARN: Way("sklearn.neighbors.NearestCentroid", standardised=True),
    },
    "knn, cosine": _neighbors("cosine"),
    "knn, euclidean": _neighbors("euclidean"),
}


def make(settings: dict[str, Any]) -> "_Contestant":
    """Return the contestant that some settings, which have come as JSON, describe."""
    kinds = {"single": Single, "sweep": Sweep, "warm": WarmPath}
    return kinds[settings.pop("kind")](**settings)


def pack(coef: Any, intercept: Any) -> Floats:
    """Return coefficients and intercepts as one array (k, d + 1)."""
    return np.column_stack([np.asarray(coef, np.float64), np.asarray(intercept, np.float64)])


def unpack(packed: Floats) -> tuple[Floats, Floats]:
    """Return coefficients (..., k, d) and intercepts (..., k)."""
    return packed[..., :-1], packed[..., -1]


class _Contestant:
    """Estimators of one package for one head.

    Parameters
    ----------
    package, head : str
        As in :data:`HEADS`.
    params : dict, optional
        More parameters of the estimator.
    """

    def __init__(self, package: str, head: str = "logistic", params: dict[str, Any] | None = None) -> None:
        self.package, self.way, self.params = package, HEADS[head][package], params or {}
        self.linear = head == "logistic"
        self._before = 0
        self._count = _count_sweeps() if package == FEATX and self.linear else {}
        self._accelerated = _hear_intelex() if package == INTELEX else []

    def prepare(self, folder: Path) -> None:
        """Map the features, and load whatever is loaded late by fitting a few rows."""
        self.case = case = Case.load(folder)
        few = evenly(case.n, 20 * case.k)
        X = self.features
        for pages in (case.features, case.standardised):
            pages.max()  # what of the files is mapped already does not count as growth
        head = self.way.make(len(few), **self.params).fit(X[few], case.labels[few])
        head.predict(X[few])
        self._count.update(sweeps=0, columns=0)
        self._accelerated.clear()
        self._before = _start_of_growth()

    @property
    def features(self) -> np.ndarray:
        """All rows, as the estimator is given them."""
        return self.case.standardised if self.way.standardised else self.case.features

    def result(self, found: np.ndarray, stages: dict[str, float], **facts: Any) -> Result:
        """Return what a run gave, with the memory that it took."""
        growth = (_memory("VmHWM") - self._before) / 1024
        heard = self._accelerated
        said = {"accelerated": bool(heard) and all(heard)} if self.package == INTELEX else {}
        return Result([], found, stages=stages, facts={"growth_mib": growth, **self._count, **said, **facts})

    @contextmanager
    def stopped_at(self, limit: float, n: int, C: float) -> Iterator[None]:
        """Have scikit-learn stop after the step that brings its objective below a limit, as no `tol` would.

        It, and scikit-learn-intelex, call scipy's L-BFGS, which tells after each step what it has come to.
        """
        if limit == -np.inf:
            yield
            return
        from scipy import optimize

        minimize, factor = optimize.minimize, C if self.way.sums else C * n

        def watched(*args: Any, callback: Any = None, **kwargs: Any) -> Any:
            def watch(intermediate_result: Any) -> None:
                if factor * intermediate_result.fun <= limit:
                    raise StopIteration

            return minimize(*args, callback=watch, **kwargs)

        optimize.minimize = watched
        try:
            yield
        finally:
            optimize.minimize = minimize

    def in_standard_coordinates(self, head: Any, moments: tuple[Floats, Floats]) -> Floats:
        """Return a linear head's coefficients for standardised features, packed."""
        if self.way.standardised:
            return pack(head.coef_, head.intercept_)
        mean, deviation = moments
        return pack(head.coef_ * deviation, head.intercept_ + head.coef_ @ mean)


class Single(_Contestant):
    """One fit, and the answers to what is held out.

    Parameters
    ----------
    package, head, params
        As of every contestant.
    float64 : bool
        Whether the features are given as float64.
    limit : float
        Objective at which a fit of scikit-learn's is stopped.
    """

    def __init__(
        self,
        package: str,
        head: str = "logistic",
        params: dict[str, Any] | None = None,
        *,
        float64: bool = False,
        limit: float = -np.inf,
    ) -> None:
        super().__init__(package, head, params)
        self._float64, self._limit = float64, limit

    def run(self, folder: Path) -> Result:
        """Return the coefficients in standardised coordinates, or the answers if they are all there is."""
        case, X = self.case, self.features
        train = X[: case.n].astype(np.float64) if self._float64 else X[: case.n]
        head = self.way.make(case.n, **self.params)
        began = time.perf_counter()
        with self.stopped_at(self._limit, len(train), 1.0):
            head.fit(train, case.labels[: case.n])
        fitted = time.perf_counter()
        answers = head.predict(X[case.n :])
        stages = {"fit": fitted - began, "predict": time.perf_counter() - fitted}
        facts = {
            name: np.asarray(getattr(head, name)).max().item() for name in ("n_iter_", "alpha_") if hasattr(head, name)
        }
        if not self.linear:
            return self.result(answers, stages, **facts)
        moments = case.moments(slice(case.n))
        result = self.result(np.empty(0), stages, **facts)
        result.features = self.in_standard_coordinates(head, moments)
        return result


class Sweep(_Contestant):
    """Fits of many C and folds: featx's in one call, the others' one by one, no fit knowing of another.

    Parameters
    ----------
    package, head, params
        As of every contestant.
    fits : list of int
        Positions in :func:`~bench.heads.sweep_grid` of those to make.
    limits : list of float, optional
        Objective of each fit at which it is stopped; for scikit-learn's.
    """

    def __init__(
        self,
        package: str,
        head: str = "logistic",
        params: dict[str, Any] | None = None,
        *,
        fits: list[int],
        limits: list[float] | None = None,
    ) -> None:
        super().__init__(package, head, params)
        self._fits, self._limits = fits, limits or [-np.inf] * len(fits)

    def run(self, folder: Path) -> Result:
        """Return the coefficients of all fits in their folds' standardised coordinates, packed."""
        case = self.case
        folds = fold_rows(case.labels[: case.n])
        grid = [sweep_grid()[i] for i in self._fits]
        heads = [self.way.make(int(folds[fold].sum()), C=C, **self.params) for C, fold in grid]
        if self.package == FEATX:
            from featx.heads import fit_many

            rows = [np.flatnonzero(folds[fold]) for _, fold in grid]
            began = time.perf_counter()
            fit_many(heads, case.features[: case.n], case.labels[: case.n], rows)
            seconds = [time.perf_counter() - began]
        else:
            seconds = self._fit_apart(heads, [fold for _, fold in grid], folds)
        result = self.result(np.empty(0), {"fit": sum(seconds)}, seconds=seconds)
        moments = [(None, None) if self.way.standardised else case.moments(np.flatnonzero(rows)) for rows in folds]
        result.features = np.stack(
            [self.in_standard_coordinates(head, moments[fold]) for head, (_, fold) in zip(heads, grid, strict=True)]
        )
        return result

    def _fit_apart(self, heads: list[Any], folds_of: list[int], folds: list[np.ndarray]) -> list[float]:
        """Fit one by one; what a fold's rows are standardised by is not timed, and only one fold is held."""
        seconds = [0.0] * len(heads)
        for fold, mask in enumerate(folds):
            own = [i for i, other in enumerate(folds_of) if other == fold]
            if not own:
                continue
            rows = np.flatnonzero(mask)
            train = self.case.standard(rows, rows)
            for i in own:
                began = time.perf_counter()
                with self.stopped_at(self._limits[i], len(rows), heads[i].C):
                    heads[i].fit(train, self.case.labels[rows])
                seconds[i] = time.perf_counter() - began
            del train
        return seconds


class WarmPath(_Contestant):
    """LogisticRegressionCV: scikit-learn's own sweep, in which each fit starts from the one before.

    It is given features that were standardised by all rows, so its objective is not quite that of the others.
    """

    def run(self, folder: Path) -> Result:
        """Return the coefficients of all fits, packed, and in the order of the grid."""
        from sklearn.linear_model import LogisticRegressionCV

        case, params = self.case, {**self.way.params, **self.params}
        folds = [(np.flatnonzero(rows), np.flatnonzero(~rows)) for rows in fold_rows(case.labels[: case.n])]
        head = LogisticRegressionCV(
            Cs=list(STRENGTHS),
            l1_ratios=(0.0,),
            cv=folds,
            refit=False,
            scoring="accuracy",
            use_legacy_attributes=False,
            **params,
        )
        began = time.perf_counter()
        head.fit(self.features[: case.n], case.labels[: case.n])
        result = self.result(np.empty(0), {"fit": time.perf_counter() - began})
        paths = np.asarray(head.coefs_paths_, np.float64)  # folds, mixtures, values of C, columns, d + 1
        own = paths[:, 0].swapaxes(0, 1).reshape(len(STRENGTHS) * FOLDS, *paths.shape[3:])
        mean, deviation = case.moments(slice(case.n))
        by_fold = [case.moments(train) for train, _ in folds]
        result.features = np.stack(
            [_moved(packed, mean, deviation, *by_fold[i % FOLDS]) for i, packed in enumerate(own)]
        )
        return result


def _moved(packed: Floats, mean: Floats, deviation: Floats, new_mean: Floats, new_deviation: Floats) -> Floats:
    """Return coefficients for features that were standardised in one way for those in another."""
    coef, intercept = unpack(packed)
    raw = coef / deviation
    return pack(raw * new_deviation, intercept + raw @ (new_mean - mean))


def _count_sweeps() -> dict[str, int]:
    """Have featx's logistic solver count its sweeps over the features, and the columns of coefficients in them."""
    from featx.heads.logistic._softmax import _Objective

    count = {"sweeps": 0, "columns": 0}
    evaluate = _Objective.evaluate

    def counting(self: Any, which: Any, parameters: Any) -> Any:
        count["sweeps"] += 1
        count["columns"] += len(parameters)
        return evaluate(self, which, parameters)

    _Objective.evaluate = counting  # type: ignore[method-assign]
    return count


def _hear_intelex() -> list[bool]:
    """Return a list that takes up, call by call, whether scikit-learn-intelex computed by itself."""
    heard: list[bool] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append("accelerated version" in record.getMessage())

    logger = logging.getLogger("sklearnex")
    logger.addHandler(Ear())
    logger.setLevel(logging.INFO)
    return heard


def _memory(name: str) -> int:
    """Return a line of /proc/self/status in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _start_of_growth() -> int:
    """Return the resident memory, and let the kernel forget its highest value so far, where that is allowed."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory("VmRSS")
