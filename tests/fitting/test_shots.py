import numpy as np
import pytest
from scipy.stats import t
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from featx.errors import HeadError, ParameterError
from featx.fitting import _shots as module
from featx.fitting import few_shot
from tests.fitting.helpers import clouds, write
from tests.store.helpers import make_digests

KNN = "sklearn.neighbors.KNeighborsClassifier"
LOGISTIC = "sklearn.linear_model.LogisticRegression"
SPLITS = np.array(["train", "train", "train", "val", "test"] * 60)


@pytest.fixture
def data():
    return clouds(300)


@pytest.fixture
def store(tmp_path, data):
    X = np.where((SPLITS == "test")[:, None], np.nan, data[0]).astype(np.float32)  # no head takes these
    return write(tmp_path / "photos.h5", X, data[1], splits=SPLITS.tolist())


@pytest.fixture
def drawn(monkeypatch):
    """What heads were fitted on: for each the features and the labels."""
    seen = []
    real = module.fit_many

    def spy(heads, X, y, rows):
        seen.append([(np.array(X[mine]), np.array(y[mine])) for mine in rows])
        return real(heads, X, y, rows)

    monkeypatch.setattr(module, "fit_many", spy)
    return seen


def rows_of(drawn, X):
    where = {row.tobytes(): i for i, row in enumerate(X)}
    return [where[row.tobytes()] for row in drawn]


def test_figures_are_scikit_learns_on_what_was_drawn(store, data, drawn):
    X, y = data
    found = few_shot(store, [LOGISTIC, KNN], {"C": [0.5], "n_neighbors": [1]}, shots=[2, 6], repeats=8)
    heads = [LogisticRegression(C=0.5, random_state=0), KNeighborsClassifier(1, algorithm="brute")]
    val = SPLITS == "val"
    assert found.n == val.sum()
    assert [(r.setting.head, r.shots) for r in found.results] == [(LOGISTIC, 2), (LOGISTIC, 6), (KNN, 2), (KNN, 6)]
    for result, fitted, head in zip(found.results, drawn, np.repeat(heads, 2), strict=True):
        expected = [head.fit(*draw).score(X[val], y[val]) for draw in fitted]
        assert result.values == pytest.approx(expected)
        assert result.score.value == pytest.approx(np.mean(expected))
        half = t.ppf(0.975, 7) * np.std(expected, ddof=1) / np.sqrt(8)
        assert result.score.low == pytest.approx(np.mean(expected) - half)
        assert result.score.high == pytest.approx(min(np.mean(expected) + half, 1))
    assert found.results[1].score.value > found.results[0].score.value


def test_draws_are_of_training_rows_alike_in_classes_and_nested(store, data, drawn):
    few_shot(store, [KNN, "nearest_centroid"], {"n_neighbors": [1]}, shots=[1, 4], repeats=6)
    rows = [[rows_of(X, data[0]) for X, _ in fitted] for fitted in drawn]
    assert rows[:2] == rows[2:]  # every head has the same
    for one, four in zip(*rows[:2], strict=True):
        assert set(SPLITS[four]) == {"train"}
        assert np.bincount(data[1][four]).tolist() == [4, 4, 4]
        assert np.bincount(data[1][one]).tolist() == [1, 1, 1]
        assert set(one) < set(four)
    assert len({tuple(draw) for draw in rows[1]}) == 6
    again = few_shot(store, KNN, {"n_neighbors": [1]}, shots=[1, 4], repeats=6, seed=1)
    assert len(again.results) == 2
    assert [rows_of(X, data[0]) for X, _ in drawn[-1]] != rows[1]


def test_an_image_is_drawn_once(tmp_path, data, drawn):
    X, y = data
    digests = make_digests(300)
    for i in range(0, 300, 6):
        digests[i + 3] = digests[i]  # of one class, pair by pair
    store = write(tmp_path / "a.h5", X, y, digests=digests, splits=SPLITS.tolist())
    few_shot(store, KNN, {"n_neighbors": [1]}, shots=[20], repeats=5)
    for fitted, _ in drawn[0]:
        images = [digests[row] for row in rows_of(fitted, X)]
        assert len(set(images)) == len(images) == 60


def test_without_a_split_validation_rows_are_drawn(tmp_path, data, drawn):
    found = few_shot(write(tmp_path / "a.h5", *data), "nearest_centroid", shots=[3], repeats=4, val=0.5)
    assert found.n == 150
    assert "0.5 of all rows" in found.rows


def test_knn_asks_for_no_more_neighbours_than_shots(store):
    found = few_shot(store, "knn", shots=[1, 5, 20], repeats=2)
    assert [result.setting.params["n_neighbors"] for result in found.results] == [1, 5, 10]


def test_what_cannot_be_fitted_does_not_stop_the_others(store):
    found = few_shot(store, KNN, {"n_neighbors": [1, 9]}, shots=[1, 4], repeats=2)
    assert [(result.setting.text, result.shots) for result in found.results] == [
        ("n_neighbors=1", 1),
        ("n_neighbors=1", 4),
        ("n_neighbors=9", 4),
    ]
    assert [failure[:2] for failure in found.failures] == [(KNN, "n_neighbors=9 shots=1")]
    with pytest.raises(HeadError, match="n_neighbors"):
        few_shot(store, KNN, {"n_neighbors": [9]}, shots=[1], repeats=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shots": [0]}, r"shots must be whole numbers of at least 1; got \[0\]"),
        ({"shots": []}, "shots must be"),
        ({"repeats": 0}, "repeats must be"),
        ({"shots": [61]}, "shots must be at most 60"),
        ({"val": "none"}, "set val"),
        ({"heads": []}, "heads must be one or more"),
        ({"grid": {"n_neighbours": [1]}}, "has no parameter"),
    ],
)
def test_wrong_arguments_are_named(store, arguments, message):
    with pytest.raises(ParameterError, match=message):
        few_shot(store, **{"heads": KNN, **arguments})
