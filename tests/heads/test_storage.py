"""Heads on the disk: what comes back answers as before, and a failure leaves what was there."""

import contextlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin

from featx.errors import HeadError
from featx.heads import (
    LinearClassifier,
    LinearRegressor,
    fit_head,
    head_scores,
    head_values,
    list_heads,
    load_head,
    make_head,
    save_head,
)
from tests.heads.helpers import archive, as_input, fitted, refused, small

LINEAR = ["lda", "linear_svm", "logistic", "nearest_centroid", "ridge"]
TREE = "sklearn.tree.DecisionTreeClassifier"
CASES = [(info.name, task) for info in list_heads() for task in info.tasks]


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize(("name", "task"), CASES)
def test_what_comes_back_answers_as_before(tmp_path, name, task, k, standardize):
    if k == 7 and task == "regression":
        pytest.skip("the classes are of no account to it")
    params = {} if name == "gaussian_nb" else {"standardize": standardize}
    head = fitted(name, params, task=task, k=k, n=84)
    new = as_input(name, small(k=k, seed=1)[0])
    assert save_head(head, tmp_path / "run") == "head.safetensors"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["head.safetensors"]
    loaded = load_head(tmp_path / "run")
    assert loaded.n_features_in_ == new[0].size
    assert hasattr(loaded, "predict_proba") is hasattr(head, "predict_proba")
    if task == "regression":
        np.testing.assert_allclose(head_values(loaded, new), head_values(head, new), rtol=1e-6, atol=1e-9)
        assert isinstance(loaded, LinearRegressor) is (name in LINEAR)
        return
    assert loaded.classes_.tolist() == list(range(3 if task == "multilabel" else k))
    assert loaded.classes_.dtype.kind == "i"
    np.testing.assert_array_equal(loaded.predict(new), head.predict(new))
    ours, theirs = head_scores(loaded, new), head_scores(head, new)
    assert ours[1] is theirs[1]
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-9)
    assert isinstance(loaded, LinearClassifier) is (name in LINEAR)


@settings(max_examples=40)
@given(
    k=st.integers(2, 5),
    d=st.integers(1, 9),
    seed=st.integers(0, 1000),
    scale=st.floats(1e-4, 1e4),
    shift=st.floats(-100, 100),
    name=st.sampled_from(LINEAR),
    standardize=st.booleans(),
    single=st.booleans(),
)
def test_linear_round_trip(tmp_path_factory, k, d, seed, scale, shift, name, standardize, single):
    folder = tmp_path_factory.mktemp("head")
    X, y = small(k=k, n=12 * k, d=d, seed=seed)
    X = (X * scale + shift * scale).astype(np.float32 if single else np.float64)
    few = {"max_iter": 50} if name in ("logistic", "linear_svm") else {}
    head = make_head(name, {"standardize": standardize, **few})
    fit_head(head, X, y + 2)
    save_head(head, folder)
    loaded = load_head(folder)
    assert loaded.classes_.tolist() == list(range(2, k + 2))
    if isinstance(loaded, LinearClassifier):
        theirs = head.decision_function(X.astype(np.float64))
        size = np.abs(theirs).max() + 1
        np.testing.assert_allclose(loaded.decision_function(X), theirs, rtol=1e-6, atol=2e-6 * size)
        again = folder / "again"
        save_head(loaded, again)
        assert (again / "head.safetensors").read_bytes() == (folder / "head.safetensors").read_bytes()


@pytest.mark.parametrize(("name", "task"), [("logistic", "multilabel"), ("ridge", "regression")])
def test_a_linear_head_loads_without_scikit_learn(tmp_path, name, task):
    save_head(fitted(name, task=task), tmp_path)
    ask = "head_values" if task == "regression" else "head_scores"
    code = (
        "import sys, numpy, pathlib, featx.heads as h\n"
        f"head = h.load_head(pathlib.Path({str(tmp_path)!r}))\n"
        f"h.{ask}(head, numpy.zeros((2, 6)))\n"
        "print([m for m in ('sklearn', 'scipy', 'skops', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_are_deterministic(tmp_path):
    for name in ("a", "b", "c"):
        save_head(fitted("logistic"), tmp_path / name)
    assert len({(tmp_path / name / "head.safetensors").read_bytes() for name in "abc"}) == 1


def test_another_head_takes_the_place(tmp_path):
    save_head(fitted("logistic"), tmp_path)
    save_head(fitted(TREE), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["head.skops"]
    save_head(fitted("ridge"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["head.safetensors"]


def test_of_two_files_after_a_crash_the_newer_counts(tmp_path):
    save_head(fitted("logistic"), tmp_path)
    save_head(fitted(TREE), tmp_path / "other")
    (tmp_path / "other" / "head.skops").rename(tmp_path / "head.skops")
    os.utime(tmp_path / "head.safetensors", ns=(1, 1))
    assert not isinstance(load_head(tmp_path), LinearClassifier)
    os.utime(tmp_path / "head.skops", ns=(0, 0))
    assert isinstance(load_head(tmp_path), LinearClassifier)


def test_a_failed_write_leaves_the_old_head(tmp_path, monkeypatch):
    save_head(fitted("logistic"), tmp_path)
    before = (tmp_path / "head.safetensors").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_head(fitted("ridge"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["head.safetensors"]
    assert (tmp_path / "head.safetensors").read_bytes() == before


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(HeadError, match="must be fitted on integer labels"):
        save_head(make_head("logistic"), tmp_path)
    X, y = small()
    with pytest.raises(HeadError, match="must be fitted on integer labels"):
        save_head(make_head("ridge").fit(X, np.array(["a", "b", "c"])[y]), tmp_path)
    search = make_head("sklearn.neighbors.KNeighborsClassifier", {"algorithm": "kd_tree"})
    fit_head(search, X, y)
    with pytest.raises(HeadError, match="KDTree: set algorithm=brute"):
        save_head(search, tmp_path)
    callable_metric = make_head(
        "sklearn.neighbors.KNeighborsClassifier", {"metric": lambda a, b: float(np.abs(a - b).sum())}
    )
    fit_head(callable_metric, X, y)
    with pytest.raises(HeadError, match="cannot be stored"):
        save_head(callable_metric, tmp_path)
    forest = make_head("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 2})
    fit_head(forest, X, y)
    forest.n_features_in_ = 5
    with pytest.raises(HeadError, match="its trees cannot be checked"):
        save_head(forest, tmp_path)
    for name in ("ridge", "sklearn.linear_model.LogisticRegression"):
        broken = make_head(name)
        fit_head(broken, X, y)
        broken.intercept_ = np.array([0, np.nan, 0])
        with pytest.raises(HeadError, match=r" cannot be stored: .* must be finite"):
            save_head(broken, tmp_path)
    assert list(tmp_path.iterdir()) == []


class Own(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_, self.n_features_in_ = np.unique(y), X.shape[1]
        return self

    def predict(self, X):
        return np.zeros(len(X), int)


def test_an_estimator_from_elsewhere_is_used_but_not_kept(tmp_path):
    X, y = small()
    head = Own()
    assert fit_head(head, X, y).classes == [0, 1, 2]
    scores, is_probability = head_scores(head, X)
    assert not is_probability
    np.testing.assert_array_equal(scores, np.eye(3)[np.zeros(60, int)])
    with pytest.raises(HeadError, match=r"Own cannot be stored safely, since it holds .*Own: choose another"):
        save_head(head, tmp_path)


def test_a_subclass_with_other_answers_is_not_taken_for_linear(tmp_path):
    X, y = small(k=2)
    head = make_head("sklearn.linear_model.LogisticRegression")
    fit_head(head, X, y)
    head.decision_function = lambda X: np.zeros(len(X))
    with pytest.raises(HeadError, match="cannot be stored"):
        save_head(head, tmp_path)


def test_nothing_there(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(HeadError, match="holds neither: fit a head first"):
            load_head(folder)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


@pytest.mark.parametrize("name", ["head.skops", "head.safetensors"])
def test_a_renamed_pickle_is_refused_and_runs_nothing(tmp_path, name):
    run, witness = tmp_path / "run", tmp_path / "witness"
    run.mkdir()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (run / name).write_bytes(pickle.dumps(Bomb(witness), protocol))
        refused(run, "is no head of featx", "is no readable safetensors file")
    assert not witness.exists()


@pytest.mark.parametrize("name", ["head.skops", "head.safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 8, b"\xff" * 100, b"PK\x03\x04", b"not a head", b"\x08\0\0\0\0\0\0\0{}      ",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", archive({}), archive({"schema.json": "{}"}),
        archive({"schema.json": "["}), archive({"schema.json": "[" * 100_000}), archive({"schema.json": "null"}),
    ],
)  # fmt: skip
def test_foreign_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path, "fit the head again")


@pytest.mark.parametrize("name", ["logistic", "mlp", "knn", TREE])
def test_truncated_files_are_refused(tmp_path, name):
    file = tmp_path / save_head(fitted(name), tmp_path)
    whole = file.read_bytes()
    for length in {1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 8, len(whole) - 1}:
        file.write_bytes(whole[:length])
        refused(tmp_path, "fit the head again")


@pytest.mark.parametrize("name", ["gaussian_nb", "logistic", "mlp", "sklearn.ensemble.RandomForestClassifier"])
def test_flipped_bits_are_refused_or_harmless(tmp_path, name):
    params = {"n_estimators": 2} if "Forest" in name else {}
    file = tmp_path / save_head(fitted(name, params), tmp_path)
    whole = file.read_bytes()
    X, _ = small()
    generator = np.random.default_rng(0)
    for position in generator.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(generator.integers(8))
        file.write_bytes(damaged)
        with contextlib.suppress(HeadError):  # and no other error, and no crash
            head_scores(load_head(tmp_path), X)
