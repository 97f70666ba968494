"""The bench of the heads: its data, its objective, what it chooses, and its contestants on few rows."""

import importlib

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from featx.heads.logistic._softmax import _Objective
from tests.scripts.helpers import WIDTH, fitted, head_modules, small_case


@pytest.fixture(autouse=True)
def one_blas_thread():
    """Keep threads from waiting for one another: these arrays are tiny."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def heads(bench):
    return head_modules()


@pytest.fixture(params=[2, 4])
def case(heads, tmp_path, request):
    return small_case(heads, tmp_path / "case", request.param)


# The data


def test_made_features_look_like_those_of_a_network(heads, tmp_path):
    case = heads.make_case(tmp_path / "case", 3000, 64, 5)
    X = case.features
    assert X.dtype == np.float32
    assert X.min() == 0
    assert 0.3 < (X == 0).mean() < 0.7
    spectrum = np.linalg.eigvalsh(np.corrcoef(X[: case.n], rowvar=False))[::-1]
    assert spectrum[0] > 5 * spectrum[20] > 5 * spectrum[-1] > 0
    assert np.bincount(case.labels).tolist() == [720] * 5


def test_the_classes_overlap_and_are_not_learned_by_heart(heads, tmp_path):
    case = heads.make_case(tmp_path / "case", 2000, 128, 3, m=2000)
    head = fitted(case)
    right = head.predict(case.standardised) == case.labels
    assert 0.75 < right[case.n :].mean() < right[: case.n].mean() < 0.97


def test_the_seed_decides(heads, tmp_path):
    first, same, other = (
        heads.make_case(tmp_path / name, 50, 6, 2, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert np.array_equal(first.features, same.features)
    assert np.array_equal(first.labels, same.labels)
    assert not np.array_equal(first.features, other.features)


def test_standardised_by_the_training_rows_alone(heads, case):
    scaler = StandardScaler().fit(case.features[: case.n].astype(np.float64))
    np.testing.assert_allclose(case.standardised, scaler.transform(case.features.astype(np.float64)), atol=1e-5)
    mean, deviation = case.moments(slice(case.n))
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(deviation, scaler.scale_, rtol=1e-12)


def test_some_rows_are_standardised_by_others(case):
    rows, by = np.array([3, 1, 77]), np.arange(0, 100, 3)
    features = case.features.astype(np.float64)
    wanted = StandardScaler().fit(features[by]).transform(features[rows])
    np.testing.assert_allclose(case.standard(rows, by), wanted, atol=1e-5)


def test_a_feature_that_does_not_vary_keeps_its_scale(heads, tmp_path):
    X = np.array([[1, 5], [2, 5], [4, 5]], np.float32)
    case = heads.write_case(tmp_path / "case", "", lambda start, stop: X[start:stop], np.array([0, 1, 0]), n=3, d=2)
    assert case.moments(slice(3))[1][1] == 1
    assert np.array_equal(case.standardised[:, 1], [0, 0, 0])


def test_many_blocks_are_written_in_their_order(heads, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("bench.heads"), "_BLOCK", 7)
    X = np.random.default_rng(0).random((30, 4), np.float32)
    labels = np.arange(30) % 3
    case = heads.write_case(tmp_path / "case", "t", lambda start, stop: X[start:stop], labels, n=20, d=4)
    assert np.array_equal(case.features, X)
    assert (case.n, case.m, case.d, case.k) == (20, 10, 4, 3)
    np.testing.assert_allclose(case.standardised, StandardScaler().fit(X[:20]).transform(X), atol=1e-5)


# The objective and what is chosen


def test_the_objective_is_scikit_learns(heads, case):
    from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss

    head, X, y, C = fitted(case, C=0.3), case.standardised[: case.n].astype(np.float64), case.labels[: case.n], 0.3
    scores = X @ head.coef_.T.astype(np.float64) + head.intercept_
    if case.k == 2:
        losses = HalfBinomialLoss().loss(y.astype(np.float64), scores[:, 0])
    else:
        losses = HalfMultinomialLoss(n_classes=case.k).loss(y.astype(np.float64), scores)
    wanted = C * losses.sum() + 0.5 * (head.coef_.astype(np.float64) ** 2).sum()
    assert heads.objective(head.coef_, head.intercept_, X, y, C) == pytest.approx(wanted, rel=1e-12)


def test_the_objective_is_lowest_where_scikit_learn_ends(heads, case):
    X, y = case.standardised[: case.n].astype(np.float64), case.labels[: case.n]
    best = LogisticRegression(tol=1e-8, max_iter=10_000).fit(X, y)
    lowest = heads.objective(best.coef_, best.intercept_, X, y, 1.0)
    for change in np.random.default_rng(0).normal(0, 1e-3, (20, *best.coef_.shape)):
        assert heads.objective(best.coef_ + change, best.intercept_, X, y, 1.0) > lowest


def test_large_scores_do_not_overflow(heads):
    X, y = np.array([[1e4], [-1e4]]), np.array([0, 1])
    assert heads.objective([[1.0]], [0.0], X, y, 1.0) == pytest.approx(2e4 + 0.5)
    assert heads.objective([[1.0], [-1.0], [0.0]], [0.0] * 3, X, y, 2.0) == pytest.approx(1.0)


def test_predictions_are_those_of_the_scores(heads, case):
    head = fitted(case)
    answers = heads.predictions(head.coef_, head.intercept_, case.standardised)
    assert np.array_equal(answers, head.predict(case.standardised))


def test_folds_are_stratified_and_cover_all(heads):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [50, 30, 20]))
    held_out = ~np.array(heads.fold_rows(labels))
    assert held_out.sum(axis=0).tolist() == [1] * 100
    theirs = [np.bincount(labels[test]) for _, test in StratifiedKFold(5).split(labels, labels)]
    assert [np.bincount(labels[mask]).tolist() for mask in held_out] == [row.tolist() for row in theirs]


def test_a_sweep_has_each_strength_in_each_fold(heads):
    grid = heads.sweep_grid()
    assert len(set(grid)) == len(grid) == 100
    strengths = sorted({C for C, _ in grid})
    assert strengths == pytest.approx(np.logspace(-4, 2, 20))


@pytest.mark.parametrize(("wanted", "expected"), [(4, [2, 7, 12, 17]), (20, list(range(20))), (99, list(range(20)))])
def test_a_subset_is_spread_evenly(heads, wanted, expected):
    assert heads.evenly(20, wanted) == expected


@pytest.mark.parametrize("wanted", [3, 7, 10, 33])
def test_a_subset_has_the_mean_of_all(heads, wanted):
    chosen = heads.evenly(100, wanted)
    assert len(set(chosen)) == wanted
    assert np.mean(chosen) == pytest.approx(49.5, abs=0.6)


def test_the_higher_floor_bounds(heads):
    floors = heads.Floors(size=1e9, bandwidth=1e10, flops=1e9, thin_rate=1e10, square_rate=1e11)
    thin, wide = floors.say(sweeps=10, columns=20), floors.say(sweeps=10, columns=2000)
    assert (thin["reading"], thin["computing"], thin["products"]) == pytest.approx((1.0, 0.2, 2.0))
    assert (thin["floor"], thin["bound"]) == (pytest.approx(1.0), "memory")
    assert (wide["floor"], wide["bound"]) == (pytest.approx(20.0), "arithmetic")


def test_floors_are_of_the_features(heads):
    floors = heads.Floors.measure(np.ones((300, 20), np.float32), 3, side=64, repeats=1)
    assert (floors.size, floors.flops) == (24_000, 4 * 300 * 20)
    assert min(floors.bandwidth, floors.thin_rate, floors.square_rate) > 0


# The contestants


def run(heads, case, **settings):
    contestant = heads.contestants.make(settings)
    contestant.prepare(case.folder)
    return contestant.run(case.folder)


@pytest.fixture
def sweeps_uncounted(monkeypatch):
    """Put featx's solver back as it was: a contestant counts its sweeps, which its process never has to undo."""
    monkeypatch.setattr(_Objective, "evaluate", _Objective.evaluate)


@pytest.mark.usefixtures("sweeps_uncounted")
def test_logistic_fits_meet_in_the_same_coordinates(heads, case):
    ours = run(heads, case, kind="single", package="featx", params={"tol": 1e-8}, float64=True)
    theirs = run(heads, case, kind="single", package="scikit-learn", params={"tol": 1e-6})
    assert ours.features.shape == theirs.features.shape == (1 if case.k == 2 else case.k, WIDTH + 1)
    np.testing.assert_allclose(ours.features[:, :-1], theirs.features[:, :-1], atol=2e-3)
    X, y = case.standardised[: case.n], case.labels[: case.n]
    lowest, other = (heads.objective(*heads.contestants.unpack(each.features), X, y, 1.0) for each in (ours, theirs))
    assert 0 <= other / lowest - 1 < 1e-5
    assert set(ours.stages) == {"fit", "predict"}


@pytest.mark.usefixtures("sweeps_uncounted")
def test_sweeps_of_the_timed_fit_alone_are_counted(heads, case):
    facts = run(heads, case, kind="single", package="featx").facts
    columns = 1 if case.k == 2 else case.k
    assert facts["sweeps"] > facts["n_iter_"] > 0
    assert facts["columns"] == columns * facts["sweeps"]


def test_a_fit_is_stopped_after_the_step_that_comes_near(heads, case):
    X, y = case.standardised[: case.n], case.labels[: case.n]
    settings = {"kind": "single", "package": "scikit-learn"}

    def value(result):
        return heads.objective(*heads.contestants.unpack(result.features), X, y, 1.0)

    lowest = value(run(heads, case, **settings, params={"tol": 1e-7}))
    limit = heads.near(lowest, 1e-2)
    with pytest.warns(match="failed to converge"):
        stopped = run(heads, case, **settings, params={"tol": 1e-7}, limit=limit)
    with pytest.warns(match="failed to converge"):
        before = run(heads, case, **settings, params={"max_iter": stopped.facts["n_iter_"] - 1})
    assert lowest < value(stopped) < limit * (1 + 1e-6) < lowest * 1.01
    assert value(before) > limit


@pytest.mark.usefixtures("sweeps_uncounted")
@pytest.mark.parametrize("head", ["ridge", "lda", "gaussian_nb", "nearest_centroid", "knn, cosine", "knn, euclidean"])
def test_featx_answers_as_scikit_learn(heads, case, head):
    ours = run(heads, case, kind="single", package="featx", head=head)
    theirs = run(heads, case, kind="single", package="scikit-learn", head=head)
    assert ours.features.shape == (case.m,)
    assert heads.accuracy(ours.features, theirs.features) >= 0.95
    assert ours.facts.get("alpha_") == theirs.facts.get("alpha_")


@pytest.mark.usefixtures("sweeps_uncounted")
def test_a_sweep_is_judged_fit_by_fit(heads, case):
    some = heads.evenly(100, 6)
    fits = {"featx": list(range(100)), "scikit-learn": some}
    results = {
        name: run(heads, case, kind="sweep", package=name, params={"tol": tol}, fits=fits[name])
        for name, tol in (("featx", 1e-5), ("scikit-learn", 1e-6))
    }
    assert len(results["scikit-learn"].facts["seconds"]) == 6
    figures = heads.reports.sweep_figures(case, fits, {name: each.features for name, each in results.items()})
    assert list(figures["scikit-learn"]["objective"]) == sorted(some, key=lambda i: (i % 5, i))
    labels = case.labels[: case.n]
    masks = heads.fold_rows(labels)
    for i in some:
        assert figures["featx"]["objective"][i] == pytest.approx(figures["scikit-learn"]["objective"][i], rel=1e-4)
        C, fold = heads.sweep_grid()[i]
        scaler = StandardScaler().fit(case.features[: case.n][masks[fold]])
        head = LogisticRegression(C=C, tol=1e-6, max_iter=10_000)
        head.fit(scaler.transform(case.features[: case.n][masks[fold]]), labels[masks[fold]])
        out = scaler.transform(case.features[: case.n][~masks[fold]])
        wanted = head.score(out, labels[~masks[fold]])
        assert figures["scikit-learn"]["accuracy"][i] == pytest.approx(wanted, abs=1.01 / len(out))


def test_fits_of_a_sweep_are_stopped_when_they_are_near(heads, case):
    fits = [3, 50, 97]
    settings = {"kind": "sweep", "package": "scikit-learn", "params": {"tol": 1e-7}, "fits": fits}
    whole = run(heads, case, **settings)
    figures = heads.reports.sweep_figures(case, {"whole": fits}, {"whole": whole.features})["whole"]["objective"]
    limits = [heads.near(figures[i], 1e-2) for i in fits]
    with pytest.warns(match="failed to converge"):
        stopped = run(heads, case, **settings, limits=limits)
    found = heads.reports.sweep_figures(case, {"near": fits}, {"near": stopped.features})["near"]["objective"]
    for i in fits:
        assert 1e-5 < found[i] / figures[i] - 1 < 1e-2


def test_the_warm_path_is_in_the_folds_coordinates(heads, case):
    path = run(heads, case, kind="warm", package="scikit-learn", params={"tol": 1e-5})
    fits = {"warm": list(range(100))}
    figures = heads.reports.sweep_figures(case, fits, {"warm": path.features})
    labels = case.labels[: case.n]
    X = case.standardised[: case.n]
    for i in (47, 63):
        C, fold = heads.sweep_grid()[i]
        mask = heads.fold_rows(labels)[fold]
        head = LogisticRegression(C=C, tol=1e-5, max_iter=10_000).fit(X[mask], labels[mask])
        wanted = head.score(X[~mask], labels[~mask])
        assert figures["warm"]["accuracy"][i] == pytest.approx(wanted, abs=1.01 / (~mask).sum())
