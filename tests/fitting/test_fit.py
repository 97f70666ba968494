import json
import warnings

import numpy as np
import pytest
import sklearn
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx.errors import HeadError, ParameterError, SpecMismatchError
from featx.evaluation import stratified_folds
from featx.fitting import Run, _answers, evaluate, fit_head, judge_run
from tests.fitting.helpers import CLASSES, clouds, write
from tests.store.helpers import make_digests

SKLEARN = "sklearn.linear_model.LogisticRegression"
SPLITS = ["train", "train", "train", "val", "test"] * 30


@pytest.fixture
def data():
    return clouds(150)


@pytest.fixture
def store(tmp_path, data):
    return write(tmp_path / "photos.h5", *data, splits=SPLITS)


def rows_of(split):
    return np.array([i for i, name in enumerate(SPLITS) if name == split])


def assert_figures(figures, truth, probabilities, classes=CLASSES):
    """Hold an Evaluation against scikit-learn's metrics."""
    answers = probabilities.argmax(axis=1)
    assert figures.n == len(truth)
    assert figures.accuracy == pytest.approx(metrics.accuracy_score(truth, answers), abs=1e-12)
    assert figures.macro_f1 == pytest.approx(metrics.f1_score(truth, answers, average="macro"), abs=1e-12)
    assert figures.log_loss == pytest.approx(
        metrics.log_loss(truth, probabilities, labels=range(len(classes))), rel=1e-6
    )
    assert figures.classes == classes
    confusion = metrics.confusion_matrix(truth, answers, labels=range(len(classes)))
    assert np.array_equal(figures.confusion, confusion)
    expected = metrics.precision_recall_fscore_support(truth, answers, labels=range(len(classes)), zero_division=0)
    for j, row in enumerate(figures.per_class):
        assert (row.precision.value, row.recall.value, row.f1.value, row.support) == pytest.approx(
            [column[j] for column in expected]
        )


def test_figures_are_scikit_learns_on_the_same_rows(store, data):
    X, y = data
    run = fit_head(store, SKLEARN, {"C": 0.5, "max_iter": 2000})
    reference = LogisticRegression(C=0.5, max_iter=2000, random_state=0).fit(X[rows_of("train")], y[rows_of("train")])
    assert list(run.metrics) == ["train", "val"]
    assert 0.6 < run.metrics["val"].accuracy < 1
    for part, figures in {**run.metrics, "test": evaluate(run)}.items():
        rows = rows_of(part)
        assert_figures(figures, y[rows], reference.predict_proba(X[rows]))
    np.testing.assert_allclose(run.head.predict_proba(X), reference.predict_proba(X), rtol=1e-6)


def test_what_the_run_says_of_itself(store):
    run = fit_head(store, "knn", {"n_neighbors": 3}, seed=7)
    assert run.classes == CLASSES
    assert run.specs == (store.spec,)
    assert run.backbones == ({"name": "test:toy", "weights": "random:0"},)
    assert run.settings == {
        "task": "classification",
        "head": "knn",
        "params": {"n_neighbors": 3},
        "seed": 7,
        "stores": [{"name": "photos", "path": str(store.path), "rows": 150, "checksum": store.checksum}],
        "rows": {"train": "split train", "val": "split val", "test": "split test"},
        "n_features": 6,
    }
    assert run.cv is None
    assert run.notes == ()
    assert run.name.startswith("photos-knn-")
    assert {part: list(keys) for part, keys in run.keys.items()} == {
        part: [store.keys[row] for row in rows_of(part)] for part in ("train", "val", "test")
    }
    assert list(run.answers) == ["val"]
    assert run.answers["val"].keys == run.keys["val"]
    assert run.versions["scikit-learn"] == sklearn.__version__


def test_stores_by_name_in_the_cache(store, tmp_path):
    by_name = fit_head("photos", "ridge", cache=tmp_path)
    assert by_name.metrics["val"] == fit_head(store.path, "ridge").metrics["val"]
    assert by_name.metrics["val"].log_loss is None


def test_unlabelled_rows_are_left_out(tmp_path, data):
    X, y = data
    hidden = np.where(np.arange(150) % 7 == 0, -1, y)
    X = np.where((hidden == -1)[:, None], 1e6, X).astype(np.float32)
    run = fit_head(write(tmp_path / "a.h5", X, hidden, splits=SPLITS), SKLEARN)
    rows = rows_of("train")[hidden[rows_of("train")] >= 0]
    reference = LogisticRegression(random_state=0).fit(X[rows], y[rows])
    np.testing.assert_allclose(run.head.coef_, reference.coef_, rtol=1e-5)
    assert run.metrics["train"].n == len(rows)


def test_cross_validation_is_over_the_training_rows(store, data):
    X, y = data
    run = fit_head(store, "knn", {"n_neighbors": 3}, cv=4)
    assert list(run.metrics) == ["train", "cv", "val"]  # the splits of the source stay
    scores = run.cv["values"]
    assert run.cv["folds"] == len(scores) == 4
    assert run.cv["figure"] == "accuracy"
    assert run.cv["mean"] == pytest.approx(np.mean(scores))
    assert run.cv["std"] == pytest.approx(np.std(scores, ddof=1))
    train = rows_of("train")
    reference = KNeighborsClassifier(3, metric="cosine", algorithm="brute")
    folds = stratified_folds(y[train], 4, groups=np.array(store.digests)[train], seed=0)
    for (fitted, held_out), score in zip(folds, scores, strict=True):
        answers = reference.fit(X[train[fitted]], y[train[fitted]]).predict(X[train[held_out]])
        assert score == np.mean(answers == y[train[held_out]])
        np.testing.assert_allclose(
            run.answers["cv"].scores[held_out], reference.predict_proba(X[train[held_out]]), atol=1e-7
        )
    assert run.metrics["cv"].n == len(train)
    reference.fit(X[train], y[train])
    assert run.metrics["val"].accuracy == np.mean(reference.predict(X[rows_of("val")]) == y[rows_of("val")])


def test_cross_validation_of_what_is_certain(tmp_path, data):
    _, y = data
    certain = write(tmp_path / "a.h5", np.eye(3, dtype=np.float32)[y], y)
    assert fit_head(certain, cv=5).cv["values"] == [1.0] * 5
    assert fit_head(certain, cv=5).cv["std"] == 0


def test_folds_never_tear_an_image_apart(tmp_path):
    """Each image twice with a label of its own at random: only a memory of its twin could be right."""
    n = 240
    twins = np.repeat(np.random.default_rng(0).standard_normal((n // 2, 8)), 2, axis=0).astype(np.float32)
    labels = np.repeat(np.random.default_rng(1).integers(0, 2, n // 2), 2)
    digests = [digest for digest in make_digests(n // 2) for _ in range(2)]
    params = {"n_neighbors": 1, "metric": "euclidean"}
    torn = write(tmp_path / "a.h5", twins, labels, classes=("a", "b"))
    whole = write(tmp_path / "b.h5", twins, labels, classes=("a", "b"), digests=digests)
    assert fit_head(torn, "knn", params, cv=3).cv["mean"] > 0.75
    assert fit_head(whole, "knn", params, cv=3).cv["mean"] < 0.65
    assert fit_head(whole, "knn", params).metrics["val"].accuracy < 0.75


def test_several_stores_are_joined_by_key(tmp_path, data):
    X, y = data
    order = np.random.default_rng(1).permutation(150)
    keys, digests = [f"{i:04d}.jpg" for i in range(150)], make_digests(150)
    extra = np.random.default_rng(2).standard_normal((150, 4)).astype(np.float32)
    a = write(tmp_path / "a.h5", X, y, splits=SPLITS)
    b = write(
        tmp_path / "b.h5",
        extra[order],
        y[order],
        keys=[keys[i] for i in order],
        digests=[digests[i] for i in order],
        splits=[SPLITS[i] for i in order],
        spec={"backbone": "test:other"},
    )
    run = fit_head([a, b], SKLEARN, {"max_iter": 1000})
    both = np.hstack([X, extra])
    reference = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=0))
    reference.fit(both[rows_of("train")], y[rows_of("train")])
    np.testing.assert_allclose(run.head.predict_proba(both), reference.predict_proba(both), rtol=1e-5)
    assert run.specs == (a.spec, b.spec)
    assert evaluate(run, [a, b], split="val") == run.metrics["val"]
    with pytest.raises(ParameterError, match="as many as the head was fitted on, 2; got 1"):
        evaluate(run, a)
    with pytest.raises(SpecMismatchError, match="backbone: 'test:toy' against 'test:other'"):
        evaluate(run, [b, a])


def test_what_a_reader_should_know_is_noted(tmp_path, data):
    X, y = data
    digests = make_digests(150)
    digests[3] = digests[0]  # val and train
    digests[8] = digests[0]
    store = write(tmp_path / "a.h5", X, np.minimum(y, 1), splits=SPLITS, digests=digests)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = fit_head(store, "logistic", {"max_iter": 2})
    assert caught == []
    assert any("did not come within tol" in note for note in run.notes)
    assert "2 of the 30 images of val are, byte for byte, in train too" in run.notes
    assert "1 classes have no training rows and are never predicted: eel" in run.notes


def test_float16_and_maps(tmp_path, data):
    X, y = data
    half = write(tmp_path / "a.h5", X.astype(np.float16), y, splits=SPLITS, spec={"dtype": "float16"})
    reference = LogisticRegression(random_state=0).fit(
        X.astype(np.float16).astype(np.float32)[rows_of("train")], y[rows_of("train")]
    )
    np.testing.assert_allclose(fit_head(half, SKLEARN).head.coef_, reference.coef_, rtol=1e-3, atol=1e-4)
    maps = write(tmp_path / "b.h5", X.reshape(150, 1, 2, 3), y, spec={"pool": "none"})
    with pytest.raises(HeadError, match="--pool"):
        fit_head(maps)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"head": "logistc"}, HeadError, "did you mean 'logistic'"),
        ({"params": {"c": 1}}, ParameterError, "has no parameter 'c'"),
        ({"params": {"C": -1}}, HeadError, "C must be a number above 0; got -1"),
        ({"val": "valid"}, ParameterError, "val must be one of the store's splits"),
        ({"cv": 1}, ParameterError, "folds must be an integer of 2 or more; got 1"),
        ({"cv": 31}, ParameterError, "at most 30"),
        ({"seed": -1}, ParameterError, "seed must be"),
    ],
)
def test_wrong_arguments_are_named(store, arguments, error, message):
    with pytest.raises(error, match=message):
        fit_head(store, **arguments)


class TestEvaluate:
    @pytest.fixture
    def run(self, store):
        return fit_head(store, SKLEARN)

    def test_other_rows(self, run, tmp_path):
        X, y = clouds(90, seed=8)
        figures = evaluate(run, write(tmp_path / "new.h5", X, y))
        assert_figures(figures, y, run.head.predict_proba(X))

    def test_a_split(self, run, store):
        assert evaluate(run, store, split="val") == run.metrics["val"]
        with pytest.raises(ParameterError, match=r"split must be one of the store's \(test, train, val\); got 'tset'"):
            evaluate(run, store, split="tset")

    def test_classes_in_another_order_or_fewer(self, run, tmp_path):
        X, y = clouds(90, seed=8)
        expected = evaluate(run, write(tmp_path / "a.h5", X, y))
        other = ("eel", "cat", "dog")
        index = np.array([other.index(name) for name in CLASSES])
        assert evaluate(run, write(tmp_path / "b.h5", X, index[y], classes=other)) == expected
        dogs = y == 1
        figures = evaluate(run, write(tmp_path / "c.h5", X[dogs], np.zeros(dogs.sum()), classes=("dog",)))
        assert figures.accuracy == np.mean(run.head.predict(X[dogs]) == 1)

    def test_a_class_the_head_has_never_heard_of(self, run, tmp_path):
        X, y = clouds(90, seed=8)
        store = write(tmp_path / "a.h5", X, y, classes=("cat", "dog", "fox"))
        with pytest.raises(ParameterError, match=r"among the head's \(cat, dog, eel\); it also has fox"):
            evaluate(run, store)
        never = write(tmp_path / "b.h5", X, np.minimum(y, 1), classes=("cat", "dog", "fox"))
        assert evaluate(run, never).n == 90  # declared, and not there

    def test_no_labels(self, run, tmp_path):
        X, _ = clouds(9)
        with pytest.raises(ParameterError, match="no labelled samples"):
            evaluate(run, write(tmp_path / "a.h5", X, [-1] * 9))

    def test_features_of_another_spec_are_refused_field_by_field(self, run, tmp_path):
        X, y = clouds(9)
        spec = {"layer": "other", "weights": "1" * 64}
        with pytest.raises(SpecMismatchError) as caught:
            evaluate(run, write(tmp_path / "new.h5", X, y, spec=spec))
        message = str(caught.value)
        assert "store new.h5 differs" in message
        assert f"weights: {'0' * 64!r} against {'1' * 64!r}; layer: 'flatten' against 'other'" in message
        assert "pool" not in message

    def test_features_of_another_width_are_refused(self, run, tmp_path):
        X, y = clouds(9, width=5)
        with pytest.raises(HeadError, match="must have 6 columns"):
            evaluate(run, write(tmp_path / "new.h5", X, y))

    def test_a_run_by_its_folder(self, run, store, tmp_path):
        folder = run.save(tmp_path / "run")
        assert evaluate(folder, store, split="val").confusion == run.metrics["val"].confusion
        assert isinstance(Run.load(folder), Run)

    def test_the_test_split_is_touched_by_evaluate_alone_and_the_run_says_so(self, run, store, tmp_path):
        folder = run.save(tmp_path / "run")
        assert "test split has not been touched" in (folder / "report.md").read_text()
        assert "test" not in Run.load(folder).answers
        first = judge_run(folder)
        assert (first.part, first.evaluation.n, first.notes) == ("test", 30, ())
        assert first.evaluation.confusion == evaluate(run, store, split="test").confusion
        again = judge_run(folder, store, split="test")
        assert again.evaluation == first.evaluation
        assert "judged 1 time before" in again.notes[0]
        back = Run.load(folder)
        assert [record["is_test"] for record in back.evaluations] == [True, True]
        assert back.evaluations[0]["evaluation"] == json.loads(json.dumps(first.evaluation.to_dict()))
        assert back.answers["test"].keys == run.keys["test"]
        assert back.name == run.name
        report = (folder / "report.md").read_text()
        assert "not been touched" not in report
        assert report.count("## Evaluated 20") == 2

    def test_what_was_trained_on_is_said(self, run, store, tmp_path):
        X, y = clouds(150)
        assert "90 of these 150 images were trained on" in judge_run(run, store).notes[0]
        digests = [*make_digests(150)[:20], *(f"{i:064x}" for i in range(130))]
        renamed = write(tmp_path / "other.h5", X, y, digests=digests, keys=[f"n{i}" for i in range(150)])
        assert "12 of these 150 images were trained on" in judge_run(run, renamed).notes[0]

    def test_stores_that_have_changed_or_gone(self, run, store):
        X, y = clouds(150, seed=3)
        write(store.path, X, y, splits=SPLITS)
        with pytest.raises(ParameterError, match="has changed since the head was fitted"):
            evaluate(run)
        assert "nothing tells whether these images are new" in judge_run(run, store.path).notes[0]

    def test_a_run_without_a_test_split(self, tmp_path):
        run = fit_head(write(tmp_path / "a.h5", *clouds(30)))
        with pytest.raises(ParameterError, match="the run has no test split"):
            evaluate(run)


def test_calibrated_heads_keep_their_word(store):
    plain = fit_head(store, "ridge", cv=3)
    assert not plain.answers["val"].is_probability
    for method in ("temperature", "isotonic"):
        run = fit_head(store, "ridge", cv=3, calibrate=method)
        assert run.answers["val"].is_probability
        np.testing.assert_allclose(run.answers["val"].scores.sum(axis=1), 1, atol=1e-6)
        assert run.metrics["val"].accuracy > 0.7
        assert run.settings["calibrate"] == method
        assert run.notes == ()
    assert fit_head(store, "ridge", cv=3, calibrate="temperature").metrics["val"].log_loss < np.log(3)
    assert "optimistic" in fit_head(store, "ridge", calibrate="temperature").notes[0]
    with pytest.raises(ParameterError, match="calibrate needs rows"):
        fit_head(store, val="none", calibrate="temperature")


def test_answers_less_sure_than_wanted_are_refused(store):
    run = fit_head(store, cv=5, precision=0.98)
    found = run.answers["cv"]
    given = found.scores.max(axis=1) >= run.settings["reject"]["threshold"]
    right = found.scores.argmax(axis=1) == found.truth
    assert right[given].mean() >= 0.98 > right.mean()
    assert run.settings["reject"]["coverage"][0] == pytest.approx(given.mean())
    assert run.settings["reject"]["precision"][0] == pytest.approx(right[given].mean())


@pytest.mark.parametrize("head", ["logistic", "knn"])
def test_answers_in_blocks_are_those_at_once(store, head, monkeypatch):
    whole = fit_head(store, head, cv=3)
    monkeypatch.setattr(_answers, "_BLOCK_VALUES", 7 * 6)
    parts = fit_head(store, head, cv=3)
    for part in ("val", "cv"):
        np.testing.assert_allclose(parts.answers[part].scores, whole.answers[part].scores, rtol=1e-6, atol=1e-7)
