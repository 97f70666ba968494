import json
import os
import signal
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.errors import HeadError, MissingDependencyError, ParameterError
from featx.evaluation import folds_for
from featx.fitting import fit_head, sweep
from featx.heads import fit_many
from tests.fitting.helpers import clouds, write
from tests.store.helpers import make_digests

LOGISTIC = "sklearn.linear_model.LogisticRegression"
KNN = "sklearn.neighbors.KNeighborsClassifier"
SPLITS = ["train", "train", "train", "train", "test"] * 30


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def data():
    return clouds(150)


@pytest.fixture
def store(tmp_path, data):
    return write(tmp_path / "photos.h5", *data)


def folds(data, k, seed):
    return folds_for("classification", data[1], k, groups=np.array(make_digests(len(data[1]))), seed=seed)


def test_a_grid_is_judged_as_scikit_learn_judges_it(store, data):
    values = [0.001, 0.1, 10.0]
    found = sweep(store, LOGISTIC, {"C": values, "fit_intercept": [True, False]}, cv=4)
    reference = GridSearchCV(
        LogisticRegression(random_state=0),
        {"C": values, "fit_intercept": [True, False]},
        cv=folds(data, 4, 0),
    ).fit(*data)
    expected = {
        (params["C"], params["fit_intercept"]): [
            reference.cv_results_[f"split{fold}_test_score"][i] for fold in range(4)
        ]
        for i, params in enumerate(reference.cv_results_["params"])
    }
    got = {(result.setting.params["C"], result.setting.params["fit_intercept"]): result for result in found.results}
    assert got.keys() == expected.keys()
    for key, result in got.items():
        assert result.values == pytest.approx(expected[key])
        assert result.score.value == pytest.approx(np.mean(expected[key]))
        assert result.std == pytest.approx(np.std(expected[key], ddof=1))
        assert result.score.low <= result.score.value <= result.score.high
    assert found.best.score.value == pytest.approx(reference.best_score_)
    means = [result.score.value for result in found.results]
    assert means == sorted(means, reverse=True)
    np.testing.assert_allclose(
        found.run.head.predict_proba(data[0]), reference.predict_proba(data[0]), rtol=1e-6, atol=1e-9
    )


def test_the_interval_is_that_of_the_corrected_t_test(store):
    from scipy.stats import t

    (result,) = sweep(store, KNN, {"n_neighbors": [5]}, cv=4, seeds=[0, 1]).results
    half = t.ppf(0.975, 7) * np.sqrt((1 / 8 + 1 / 3) * np.var(result.values, ddof=1))
    assert result.score.low == pytest.approx(np.mean(result.values) - half)
    assert result.score.high == pytest.approx(min(np.mean(result.values) + half, 1))


def test_each_seed_draws_folds_of_its_own(store, data):
    (result,) = sweep(store, KNN, {"n_neighbors": [3]}, seeds=[0, 7], cv=3).results
    head = KNeighborsClassifier(3, algorithm="brute")
    expected = [cross_val_score(head, *data, cv=folds(data, 3, seed)) for seed in (0, 7)]
    assert result.values == pytest.approx(np.concatenate(expected))
    assert not np.array_equal(*expected)


def test_named_heads_have_grids_of_their_own(store, data):
    """And heads that are fitted many at once come to what each comes to alone."""
    found = sweep(store, ["logistic", "knn"], {"knn": {"n_neighbors": [2, 9]}}, cv=3)
    by_head = {head: [r for r in found.results if r.setting.head == head] for head in ("logistic", "knn")}
    assert {r.setting.params["C"] for r in by_head["logistic"]} == {1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0}
    assert {r.setting.params["n_neighbors"] for r in by_head["knn"]} == {2, 9}
    for result in by_head["logistic"]:
        head = make_pipeline(
            StandardScaler(), LogisticRegression(C=result.setting.params["C"], tol=1e-8, max_iter=5000)
        )
        expected = cross_val_score(head, *data, cv=folds(data, 3, 0))
        np.testing.assert_allclose(result.values, expected, atol=1.01 / 50)  # one row of a fold may tip over
    for result in by_head["knn"]:
        head = KNeighborsClassifier(result.setting.params["n_neighbors"], metric="cosine", algorithm="brute")
        assert result.values == pytest.approx(cross_val_score(head, *data, cv=folds(data, 3, 0)))


def test_the_best_is_fitted_as_fit_head_fits_it(store):
    found = sweep(store, KNN, {"n_neighbors": [1, 5, 60]}, cv=3, seeds=[4])
    params = dict(found.best.setting.params)
    run = fit_head(store, KNN, params, cv=3, seed=4)
    assert found.run.metrics == run.metrics
    assert found.run.cv == run.cv
    assert found.run.cv["values"] == list(found.best.values)
    assert found.run.settings == {**run.settings, "sweep": {"name": found.name, "tried": 3}}
    assert any("chosen among 3 settings" in note and "optimistic" in note for note in found.run.notes)


def test_test_rows_take_no_part(tmp_path, data):
    X, y = data
    held_out = np.array(SPLITS) == "test"
    X = np.where(held_out[:, None], np.nan, X).astype(np.float32)  # no head takes these
    found = sweep(write(tmp_path / "a.h5", X, y, splits=SPLITS), [KNN, "nearest_centroid"], {"n_neighbors": [3]}, cv=3)
    assert not found.failures
    assert {result.n for result in found.results} == {120}
    assert "test" not in found.run.metrics
    assert len(found.run.keys["test"]) == 30


def test_rows_for_validation_take_no_part(tmp_path, data):
    splits = ["val" if name == "test" else name for name in SPLITS]
    store = write(tmp_path / "a.h5", *data, splits=splits)
    X, y = (array[np.array(splits) == "train"] for array in data)
    (result,) = sweep(store, KNN, {"n_neighbors": [3]}, cv=3).results
    digests = np.array(make_digests(150))[np.array(splits) == "train"]
    expected = cross_val_score(
        KNeighborsClassifier(3, algorithm="brute"), X, y, cv=folds_for("classification", y, 3, groups=digests, seed=0)
    )
    assert result.values == pytest.approx(expected)
    assert sweep(store, KNN, {"n_neighbors": [3]}, cv=3, val="none").best.n == 120
    assert sweep(store, KNN, {"n_neighbors": [3]}, cv=3, val=0.5, train="train").best.n == 60


def test_folds_never_tear_an_image_apart(tmp_path):
    """Each image twice with a label of its own at random: only a memory of its twin could be right."""
    twins = np.repeat(np.random.default_rng(0).standard_normal((120, 8)), 2, axis=0).astype(np.float32)
    labels = np.repeat(np.random.default_rng(1).integers(0, 2, 120), 2)
    digests = [digest for digest in make_digests(120) for _ in range(2)]
    torn = write(tmp_path / "a.h5", twins, labels, classes=("a", "b"))
    whole = write(tmp_path / "b.h5", twins, labels, classes=("a", "b"), digests=digests)
    assert sweep(torn, KNN, {"n_neighbors": [1]}, cv=3).best.score.value > 0.75
    assert sweep(whole, KNN, {"n_neighbors": [1]}, cv=3).best.score.value < 0.65


def trials_of(found):
    return [json.loads(line) for line in (found.folder / "trials.jsonl").read_text().splitlines()]


def test_what_is_known_is_not_computed_again(store, monkeypatch, runs):
    first = sweep(store, [KNN, "logistic"], {"n_neighbors": [1, 5]}, cv=3)
    assert first.folder == runs / "sweeps" / first.name
    assert first.known == 0
    assert len(trials_of(first)) == first.tried == 9
    wider = sweep(store, [KNN, "logistic"], {"n_neighbors": [1, 5, 9], "C": [1.0, 3.0]}, cv=3)
    assert (wider.known, wider.tried) == (3, 5)
    assert len(trials_of(wider)) == 11
    for function in ("fit_head", "fit_many"):
        monkeypatch.setattr(f"featx.fitting._contest.{function}", None)
    again = sweep(store, [KNN, "logistic"], {"n_neighbors": [1, 5]}, cv=3)
    assert again.known == 9
    assert again.results == first.results


@pytest.mark.parametrize(
    "changes", [{"cv": 4}, {"seeds": [1]}, {"grid": {"n_neighbors": [5], "metric": ["cosine"]}}, {"val": 0.2}]
)
def test_what_decides_a_figure_makes_another_trial(store, changes):
    arguments = {"heads": KNN, "grid": {"n_neighbors": [5]}, "cv": 3}
    sweep(store, **arguments)
    assert sweep(store, **arguments).known == 1
    assert sweep(store, **{**arguments, **changes}).known == 0


def test_other_features_of_the_same_name_are_another_sweep(tmp_path, data):
    X, y = data
    arguments = {"heads": KNN, "grid": {"n_neighbors": [5]}, "cv": 3}
    before = sweep(write(tmp_path / "photos.h5", X, y), **arguments)
    (tmp_path / "photos.h5").unlink()
    after = sweep(write(tmp_path / "photos.h5", X + 1, y), **arguments)
    assert before.folder != after.folder
    assert after.known == 0


def test_a_killed_sweep_goes_on(store):
    def kill(progress):
        if progress.done == 2:
            raise KeyboardInterrupt

    arguments = {"heads": KNN, "grid": {"n_neighbors": [1, 2, 3, 4]}, "cv": 3}
    with pytest.raises(KeyboardInterrupt):
        sweep(store, **arguments, watch=kill)
    found = sweep(store, **arguments)
    assert (found.known, found.tried) == (2, 4)
    (found.folder / "trials.jsonl").unlink()
    assert [r.values for r in sweep(store, **arguments).results] == [r.values for r in found.results]


def test_a_torn_line_is_computed_again(store):
    arguments = {"heads": KNN, "grid": {"n_neighbors": [1, 2, 3]}, "cv": 3}
    first = sweep(store, **arguments)
    file = first.folder / "trials.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    second = sweep(store, **arguments)
    assert (second.known, second.tried) == (2, 3)
    assert [r.values for r in second.results] == [r.values for r in first.results]
    assert sweep(store, **arguments).known == 3


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_come_to_the_same(store, monkeypatch, tmp_path, backend):
    arguments = {"heads": [LOGISTIC, KNN], "grid": {"C": [0.1, 1.0], "n_neighbors": [5]}, "cv": 3}
    alone = sweep(store, **arguments)
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "others"))
    together = sweep(store, **arguments, jobs=2, backend=backend)
    assert together.known == 0
    assert [r.values for r in together.results] == [r.values for r in alone.results]


def test_what_can_share_its_sweeps_over_the_features_does(store, monkeypatch):
    from featx.fitting import _contest as module

    asked = []

    def spy(heads, X, y, rows):
        asked.append(len(heads))
        return fit_many(heads, X, y, rows)

    monkeypatch.setattr(module, "fit_many", spy)
    arguments = {"heads": ["ridge", "nearest_centroid"], "grid": {"alpha": [0.1, 1.0, 10.0]}, "cv": 4}
    together = sweep(store, **arguments, seeds=[0, 1])
    assert asked == [(3 + 1) * 2 * 4]  # values, seeds, folds
    (together.folder / "trials.jsonl").unlink()
    monkeypatch.setattr(module, "_WIDTH", 2 * 4 * 3 * 6)  # two trials of four folds, of three classes, of six features
    in_turn = sweep(store, **arguments, seeds=[0, 1])
    assert asked[1:] == [2 * 4] * 4
    assert [r.values for r in in_turn.results] == [r.values for r in together.results]


def test_a_worker_that_is_killed_is_named_and_what_is_finished_is_kept(store):
    from joblib.externals.loky import reusable_executor

    def kill(progress):
        if progress.done == 1:
            for pid in list(reusable_executor._executor._processes):
                os.kill(pid, signal.SIGKILL)

    grid = {"n_neighbors": list(range(1, 41))}
    with pytest.raises(HeadError, match=r"a worker was killed .* fewer jobs"):
        sweep(store, KNN, grid, cv=3, jobs=2, watch=kill)
    assert 0 < sweep(store, KNN, grid, cv=3).known < 40


def test_settings_that_cannot_be_fitted_do_not_stop_the_others(store):
    found = sweep(store, ["logistic", KNN], {"C": [-1.0, 1.0], "n_neighbors": [5, 149]}, cv=3)
    assert [(result.setting.head, result.setting.text) for result in found.results] in (
        [("logistic", "C=1"), (KNN, "n_neighbors=5")],
        [(KNN, "n_neighbors=5"), ("logistic", "C=1")],
    )
    assert [(head, params) for head, params, _ in found.failures] == [("logistic", "C=-1"), (KNN, "n_neighbors=149")]
    assert len(trials_of(found)) == 2
    with pytest.raises(HeadError, match="C"):
        sweep(store, "logistic", {"C": [-1.0]}, cv=3)


def both_stores(tmp_path, data):
    X, y = data
    return (
        write(tmp_path / "a.h5", X[:, :2], y),
        write(tmp_path / "b.h5", 1000 * X[:, 2:], y, spec={"backbone": "test:other"}),
    )


def test_several_stores_are_joined_and_standardised(tmp_path, data):
    a, b = both_stores(tmp_path, data)
    found = sweep([a, b], KNN, {"n_neighbors": [5]}, cv=3)
    head = make_pipeline(StandardScaler(), KNeighborsClassifier(5, algorithm="brute"))
    X = np.hstack([a.features, b.features])
    assert found.best.values == pytest.approx(cross_val_score(head, X, data[1], cv=folds(data, 3, 0)))
    assert found.best.stores == ("a", "b")
    assert found.run.specs == (a.spec, b.spec)


def test_each_store_alone(tmp_path, data):
    a, b = both_stores(tmp_path, data)
    found = sweep([a, b], KNN, {"n_neighbors": [5]}, cv=3, join="each")
    by_store = {result.stores: result for result in found.results}
    for store in (a, b):
        expected = cross_val_score(
            KNeighborsClassifier(5, algorithm="brute"), store.features, data[1], cv=folds(data, 3, 0)
        )
        assert by_store[store.name,].values == pytest.approx(expected)
    assert found.run.specs == ({"a": a, "b": b}[found.best.stores[0]].spec,)


def test_optuna_searches_between_the_ends_of_the_grid(store):
    pytest.importorskip("optuna")
    grid = {"n_neighbors": [1, 40], "weights": ["uniform", "distance"]}
    found = sweep(store, KNN, grid, cv=3, search="optuna", trials=12)
    tried = [result.setting.params for result in found.results]
    assert all(1 <= params["n_neighbors"] <= 40 for params in tried)
    assert len({params["n_neighbors"] for params in tried} - {1, 40}) > 2
    assert {params["weights"] for params in tried} == {"uniform", "distance"}
    again = sweep(store, KNN, grid, cv=3, search="optuna", trials=12)
    assert again.known == again.tried == found.tried
    assert again.results == found.results
    longer = sweep(store, KNN, grid, cv=3, search="optuna", trials=14)
    assert longer.known == found.tried


def test_optuna_searches_wide_ranges_by_orders_of_magnitude(store):
    pytest.importorskip("optuna")
    found = sweep(store, LOGISTIC, {"C": [1e-4, 1e2]}, cv=3, search="optuna", trials=10)
    exponents = [np.log10(result.setting.params["C"]) for result in found.results]
    assert min(exponents) >= -4
    assert max(exponents) <= 2
    assert sum(exponent < 0 for exponent in exponents) > 3  # of a linear range one in a hundred


def test_optuna_is_asked_for_by_name(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        sweep(store, KNN, cv=3, search="optuna", trials=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": []}, "heads must be one or more"),
        ({"heads": ["knn", "knn"]}, "each once; got knn, knn"),
        ({"grid": {"ridge": {"alpha": [1.0]}}}, "grid must be of the heads that are tried"),
        ({"grid": {"neighbours": [1]}}, "has no parameter 'neighbours'"),
        ({"grid": {"n_neighbors": []}}, "one value or more"),
        ({"grid": {"n_neighbors": "12"}}, "one value or more"),
        ({"grid": {"n_neighbors": [1, 1]}}, "each value of 'n_neighbors' once"),
        ({"grid": {"metric": [len]}}, "numbers, text"),
        ({"cv": 1}, "2 or more; got 1"),
        ({"cv": 51}, "at most 50"),
        ({"seeds": []}, "seeds must be"),
        ({"seeds": [0, 0]}, "seeds must be"),
        ({"seeds": [-1]}, "seeds must be"),
        ({"search": "random"}, "search must be one of grid, optuna"),
        ({"join": "some"}, "join must be one of all, auto, each"),
        ({"trials": 0}, "trials must be"),
        ({"jobs": 0}, "jobs must be"),
        ({"backend": "loki"}, "backend must be one that joblib knows"),
    ],
)
def test_wrong_arguments_are_named(store, arguments, message):
    with pytest.raises(ParameterError, match=message):
        sweep(store, **{"heads": KNN, "grid": {"n_neighbors": [1]}, **arguments})
