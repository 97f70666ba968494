import pickle

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, r2_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsRegressor

from featx.evaluation import folds_for
from featx.fitting import fit_head, sweep
from featx.fitting._answers import Answers, judge
from featx.fitting._ground import Ground, RowChoice, forget_grounds, headline, part_of
from featx.store import SampleTable
from tests.fitting.helpers import clouds, write
from tests.store.helpers import make_digests, make_spec, save

SPLITS = ["train", "train", "val", "test"] * 30


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / "photos.h5", *clouds(120), splits=SPLITS, compress="gzip")


def labelled(path, features, labels, *, classes=(), groups=()):
    """Write a store of labels that are more than one class."""
    n = len(features)
    samples = SampleTable.of(
        labels,
        classes=classes,
        keys=tuple(f"{i:04d}.jpg" for i in range(n)),
        splits=("",) * n,
        groups=groups,
        sizes=np.full(n, 7),
        mtimes_ns=np.full(n, 7),
    )
    return save(path, features, spec=make_spec(), samples=samples, digests=make_digests(n), failures=[])


@pytest.fixture
def several(tmp_path):
    """Each sample of none, one or several of three labels."""
    features = np.random.default_rng(0).standard_normal((150, 5)).astype(np.float32)
    truth = features[:, :3] + 0.5 * np.random.default_rng(1).standard_normal((150, 3)) > 0.3
    names = np.array(["a", "b", "c"])
    return labelled(tmp_path / "several.h5", features, [tuple(names[row].tolist()) for row in truth], classes="abc")


@pytest.fixture
def numbers(tmp_path):
    features = np.random.default_rng(0).standard_normal((150, 5)).astype(np.float32)
    noise = np.random.default_rng(1).standard_normal((150, 2))
    return labelled(tmp_path / "numbers.h5", features, list(map(tuple, (features[:, :2] + 0.3 * noise).tolist())))


def test_a_ground_is_the_same_in_every_process(store, tmp_path):
    ground = Ground((store,), RowChoice(test="val"))
    again = pickle.loads(pickle.dumps(ground))
    assert again == ground
    assert hash(again) == hash(ground)
    assert again.table is ground.table  # mapped once
    others = [Ground((store,)), Ground((store,), RowChoice(test="val", seed=1)), Ground((store, store))]
    assert all(other != ground for other in others)
    forget_grounds()
    assert again.table is not None


def test_a_ground_pickles_without_its_features(tmp_path):
    sizes = [len(pickle.dumps(Ground((write(tmp_path / f"{rows}.h5", *clouds(rows, 60)),)))) for rows in (30, 3000)]
    assert max(sizes) < 10_000
    assert abs(sizes[1] - sizes[0]) < 100


def test_folds_are_of_the_training_rows(store):
    ground = Ground((store,))
    train = np.array(SPLITS) == "train"
    X, y = clouds(120)
    expected = folds_for("classification", y[train], 4, groups=np.array(make_digests(120))[train], seed=3)
    for (train_rows, held_out), reference in zip(ground.folds(4, 3), expected, strict=True):
        assert np.array_equal(train_rows, np.flatnonzero(train)[reference[0]])
        assert np.array_equal(held_out, np.flatnonzero(train)[reference[1]])
    part = part_of(ground.table, ground.folds(4, 3)[0][1])
    rows = np.flatnonzero(train)[expected[0][1]]
    assert np.array_equal(part.features, X[rows])
    assert np.array_equal(part.targets, y[rows])
    assert part.keys == tuple(f"{row:04d}.jpg" for row in rows)


def test_folds_never_tear_a_group_apart(tmp_path):
    X, y = clouds(120)
    patients = np.random.default_rng(0).integers(0, 25, 120)
    names = ["cat", "dog", "eel"]
    store = labelled(
        tmp_path / "a.h5", X, [names[label] for label in y], classes=names, groups=tuple(f"p{i}" for i in patients)
    )
    for train, held_out in Ground((store,)).folds(4, 0):
        assert not set(patients[train]) & set(patients[held_out])


def test_names_tell_layers_of_one_source_apart(tmp_path):
    X, y = clouds(12)
    stores = [write(tmp_path / f"photos.toy.{i:012d}.h5", X, y, spec={"layer": f"conv{i}"}) for i in range(2)]
    other = write(tmp_path / "others.h5", X, y)
    assert Ground((*stores, other)).names == ("photos:conv0", "photos:conv1", "others")


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_the_headline_is_that_of_the_evaluation(task):
    generator = np.random.default_rng(0)
    scores = generator.random((60, 3)).astype(np.float32)
    truth = {
        "classification": generator.integers(0, 3, 60),
        "multilabel": generator.random((60, 3)) < 0.4,
        "regression": scores + generator.standard_normal((60, 3)),
    }[task]
    answers = Answers(task, tuple(map(str, range(60))), truth, scores, False)
    name, figure = judge(answers, ("a", "b", "c")).headline
    assert headline(answers) == (name, pytest.approx(figure.value))


def test_a_headline_that_is_not_defined():
    nothing = np.zeros((2, 3), dtype=bool)
    assert np.isnan(headline(Answers("multilabel", ("a", "b"), nothing, np.zeros((2, 3), np.float32), False))[1])
    one = np.zeros((1, 1))
    assert np.isnan(headline(Answers("regression", ("a",), one, one.astype(np.float32), False))[1])


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "runs"))


def groups():
    return np.array(make_digests(150))


def test_numbers_are_swept(numbers, runs):
    found = sweep(numbers, ["knn", "ridge"], {"n_neighbors": [3, 9], "metric": ["euclidean"]}, cv=3)
    assert found.best.figure == "r2"
    X, y = numbers.features, numbers.targets
    parts = folds_for("regression", y, 3, groups=groups(), seed=0)
    got = {result.setting.params["n_neighbors"]: result for result in found.results if result.setting.head == "knn"}
    for k, result in got.items():
        expected = cross_val_score(KNeighborsRegressor(k), X, y, cv=parts, scoring="r2")
        assert result.values == pytest.approx(expected, rel=1e-4)
    assert found.best.setting.head == "ridge"
    run = fit_head(numbers, "ridge", dict(found.best.setting.params), cv=3)
    assert found.best.values == pytest.approx(run.cv["values"])
    for fold, value in zip(parts, found.best.values, strict=True):
        values = run.answers["cv"].scores[fold[1]]
        assert value == pytest.approx(r2_score(y[fold[1]], values), rel=1e-5)


def test_several_labels_are_swept(several, runs):
    found = sweep(several, ["logistic", "knn"], {"C": [0.01, 1.0], "n_neighbors": [5]}, cv=3)
    assert found.best.figure == "mean_average_precision"
    assert len(found.results) == 3
    truth = several.multilabels
    parts = folds_for("multilabel", truth, 3, groups=groups(), seed=0)
    for result in found.results:
        run = fit_head(several, result.setting.head, dict(result.setting.params), cv=3)
        for (_, held_out), value in zip(parts, result.values, strict=True):
            scores = run.answers["cv"].scores[held_out]
            assert value == pytest.approx(average_precision_score(truth[held_out], scores), rel=1e-5)


def test_views_are_all_trained_on_and_averaged(tmp_path, runs):
    X, y = clouds(90)
    views = np.stack([X, X + np.random.default_rng(3).standard_normal(X.shape).astype(np.float32)], axis=1)
    store = write(tmp_path / "views.h5", views, y, axes="NVC", spec={"views": 2, "augment": "noise"})
    found = sweep(store, ["nearest_centroid", "knn"], {"n_neighbors": [4]}, cv=3)
    assert not found.failures
    for result in found.results:
        run = fit_head(store, result.setting.head, dict(result.setting.params), cv=3)
        assert result.values == pytest.approx(run.cv["values"])
    plain = sweep(write(tmp_path / "plain.h5", X, y), "knn", {"n_neighbors": [4]}, cv=3)
    assert plain.best.values != next(r for r in found.results if r.setting.head == "knn").values
