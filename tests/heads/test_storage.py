"""Heads on the disk: what comes back answers as before, and nothing else is let in."""

import contextlib
import functools
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils import all_estimators

from featx.errors import HeadError
from featx.heads import LinearClassifier, fit_head, head_scores, list_heads, load_head, make_head, save_head

NAMES = [info.name for info in list_heads()]
LINEAR = ["linear_svm", "logistic", "nearest_centroid", "ridge"]


def data(k=3, n=60, d=6, seed=0, dtype=np.float64):
    generator = np.random.default_rng(seed)
    y = np.arange(n) % k
    return (np.abs(generator.normal(size=(n, d)) + generator.normal(size=(k, d))[y])).astype(dtype), y


def fitted(name, params=None, **shape):
    head = make_head(name, params)
    fit_head(head, *data(**shape))
    return head


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("name", NAMES)
def test_what_comes_back_answers_as_before(tmp_path, name, k, standardize):
    head = fitted(name, {"standardize": standardize}, k=k, n=84)
    new, _ = data(k=k, seed=1)
    file = save_head(head, tmp_path / "run")
    assert file == ("head.safetensors" if name in LINEAR else "head.skops")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [file]
    loaded = load_head(tmp_path / "run")
    assert loaded.n_features_in_ == 6
    assert loaded.classes_.tolist() == list(range(k))
    assert loaded.classes_.dtype.kind == "i"
    assert hasattr(loaded, "predict_proba") is hasattr(head, "predict_proba")
    np.testing.assert_array_equal(loaded.predict(new), head.predict(new))
    ours, theirs = head_scores(loaded, new), head_scores(head, new)
    assert ours[1] is theirs[1]
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-10)
    if name in LINEAR:
        assert isinstance(loaded, LinearClassifier)
        np.testing.assert_allclose(loaded.decision_function(new), head.decision_function(new), rtol=1e-6, atol=1e-10)


@settings(max_examples=40, deadline=None)
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
    X, y = data(k=k, n=12 * k, d=d, seed=seed)
    X = (X * scale + shift * scale).astype(np.float32 if single else np.float64)
    head = make_head(
        name, {"standardize": standardize, **({"max_iter": 50} if name in ("logistic", "linear_svm") else {})}
    )
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


SPECIAL = {
    "CalibratedClassifierCV": [{"method": "sigmoid"}, {"method": "isotonic"}, {"method": "temperature"}],
    "SGDClassifier": [{}, {"loss": "log_loss"}, {"loss": "modified_huber"}],
    "SVC": [{}, {"kernel": "linear"}],
    "MLPClassifier": [{"solver": "sgd"}, {"solver": "lbfgs"}, {"early_stopping": True}],
    "GaussianProcessClassifier": [{}],
    "KNeighborsClassifier": [{}, {"metric": "cosine"}, {"metric": "manhattan"}],
    "HistGradientBoostingClassifier": [{"max_iter": 5}],
    "LinearDiscriminantAnalysis": [{}, {"solver": "lsqr", "shrinkage": "auto"}],
    "RadiusNeighborsClassifier": [{"radius": 100.0}],
}
PATHS = sorted(f"{cls.__module__.partition('._')[0]}.{name}" for name, cls in all_estimators("classifier"))
NEED_MORE = {
    "ClassifierChain", "FixedThresholdClassifier", "MultiOutputClassifier", "OneVsOneClassifier", "OneVsRestClassifier",
    "OutputCodeClassifier", "SelfTrainingClassifier", "StackingClassifier", "TunedThresholdClassifierCV",
    "VotingClassifier",
}  # fmt: skip
CASES = [
    (path, params)
    for path in PATHS
    if path.rpartition(".")[2] not in NEED_MORE
    for params in SPECIAL.get(path.rpartition(".")[2], [{}])
]


@pytest.mark.parametrize(("path", "params"), CASES, ids=lambda value: value if isinstance(value, str) else None)
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.filterwarnings("ignore:Class PassiveAggressiveClassifier is deprecated:FutureWarning")
def test_every_classifier_of_scikit_learn_is_kept(tmp_path, path, params, k):
    X, y = data(k=k)
    if path.endswith("CategoricalNB"):
        X = np.minimum(X, 3).round()
    head = make_head(
        path, {**params, **({"n_estimators": 5} if "n_estimators" in make_head(path).get_params() else {})}
    )
    fit_head(head, X, y)
    save_head(head, tmp_path)
    loaded = load_head(tmp_path)
    ours, theirs = head_scores(loaded, X), head_scores(head, X)
    assert ours[1] is theirs[1]
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(loaded.predict(X), head.predict(X))


SEVERAL = [("logistic", LogisticRegression()), ("forest", RandomForestClassifier(3, random_state=0))]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("ensemble.StackingClassifier", {"estimators": SEVERAL}),
        ("ensemble.StackingClassifier", {"estimators": SEVERAL, "final_estimator": RandomForestClassifier(3)}),
        ("ensemble.VotingClassifier", {"estimators": SEVERAL, "voting": "soft"}),
        ("model_selection.FixedThresholdClassifier", {"estimator": LogisticRegression()}),
        ("multiclass.OneVsOneClassifier", {"estimator": LinearSVC()}),
        ("multiclass.OneVsRestClassifier", {"estimator": LinearSVC()}),
        ("multiclass.OneVsRestClassifier", {"estimator": LogisticRegression()}),
        ("multiclass.OutputCodeClassifier", {"estimator": LogisticRegression()}),
        ("semi_supervised.SelfTrainingClassifier", {"estimator": LogisticRegression()}),
    ],
)
@pytest.mark.parametrize("k", [2, 5])
def test_classifiers_made_of_others_are_kept(tmp_path, name, params, k):
    if name.endswith("FixedThresholdClassifier") and k > 2:
        pytest.skip("it is for two classes")
    X, y = data(k=k)
    head = make_head(f"sklearn.{name}", params)
    fit_head(head, X, y)
    save_head(head, tmp_path)
    ours, theirs = head_scores(load_head(tmp_path), X), head_scores(head, X)
    assert ours[1] is theirs[1]
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-9)


def test_a_linear_head_loads_without_scikit_learn(tmp_path):
    save_head(fitted("logistic"), tmp_path)
    code = (
        "import sys, numpy, pathlib, featx.heads as h\n"
        f"head = h.load_head(pathlib.Path({str(tmp_path)!r}))\n"
        "h.head_scores(head, numpy.zeros((2, 6)))\n"
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
    save_head(fitted("knn"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["head.skops"]
    save_head(fitted("ridge"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["head.safetensors"]


def test_of_two_files_after_a_crash_the_newer_counts(tmp_path):
    save_head(fitted("logistic"), tmp_path)
    save_head(fitted("knn"), tmp_path / "other")
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
    X, y = data()
    with pytest.raises(HeadError, match="must be fitted on integer labels"):
        save_head(make_head("logistic").fit(X, np.array(["a", "b", "c"])[y]), tmp_path)
    search = make_head("sklearn.neighbors.KNeighborsClassifier", {"algorithm": "kd_tree"})
    fit_head(search, X, y)
    with pytest.raises(HeadError, match="KDTree: set algorithm=brute"):
        save_head(search, tmp_path)
    callable_metric = make_head("knn", {"metric": lambda a, b: float(np.abs(a - b).sum())})
    fit_head(callable_metric, X, y)
    with pytest.raises(HeadError, match="cannot be stored"):
        save_head(callable_metric, tmp_path)
    forest = make_head("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 2})
    fit_head(forest, X, y)
    forest.n_features_in_ = 5
    with pytest.raises(HeadError, match="its trees cannot be checked"):
        save_head(forest, tmp_path)
    broken = make_head("logistic")
    fit_head(broken, X, y)
    broken[-1].intercept_ = np.array([0, np.nan, 0])
    with pytest.raises(HeadError, match=r"LogisticRegression cannot be stored: .* must be finite"):
        save_head(broken, tmp_path)
    assert list(tmp_path.iterdir()) == []


class Own(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_, self.n_features_in_ = np.unique(y), X.shape[1]
        return self

    def predict(self, X):
        return np.zeros(len(X), int)


def test_an_estimator_from_elsewhere_is_used_but_not_kept(tmp_path):
    X, y = data()
    head = Own()
    assert fit_head(head, X, y).classes == [0, 1, 2]
    scores, is_probability = head_scores(head, X)
    assert not is_probability
    np.testing.assert_array_equal(scores, np.eye(3)[np.zeros(60, int)])
    with pytest.raises(HeadError, match=r"Own cannot be stored safely, since it holds .*Own: choose another"):
        save_head(head, tmp_path)


def test_a_subclass_with_other_answers_is_not_taken_for_linear(tmp_path):
    X, y = data(k=2)
    head = make_head("logistic", {"standardize": False})
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


def refused(folder, *words):
    with pytest.raises(HeadError) as caught:
        load_head(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert any(word in message for word in words), message


@pytest.mark.parametrize("name", ["head.skops", "head.safetensors"])
def test_a_renamed_pickle_is_refused_and_runs_nothing(tmp_path, name):
    run, witness = tmp_path / "run", tmp_path / "witness"
    run.mkdir()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (run / name).write_bytes(pickle.dumps(Bomb(witness), protocol))
        refused(run, "is no head of featx", "is no readable safetensors file")
    assert not witness.exists()


def archive(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return buffer.getvalue()


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


@pytest.mark.parametrize("name", ["logistic", "mlp", "knn", "sklearn.tree.DecisionTreeClassifier"])
def test_truncated_files_are_refused(tmp_path, name):
    file = tmp_path / save_head(fitted(name), tmp_path)
    whole = file.read_bytes()
    for length in {1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 8, len(whole) - 1}:
        file.write_bytes(whole[:length])
        refused(tmp_path, "fit the head again")


@pytest.mark.parametrize("name", ["logistic", "mlp", "sklearn.ensemble.RandomForestClassifier"])
def test_flipped_bits_are_refused_or_harmless(tmp_path, name):
    params = {"n_estimators": 2} if "Forest" in name else {}
    file = tmp_path / save_head(fitted(name, params), tmp_path)
    whole = file.read_bytes()
    X, _ = data()
    generator = np.random.default_rng(0)
    for position in generator.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(generator.integers(8))
        file.write_bytes(damaged)
        with contextlib.suppress(HeadError):  # and no other error, and no crash
            head_scores(load_head(tmp_path), X)


def crafted(tmp_path, change, head=None):
    """Write a skops file whose schema was changed after it was made."""
    head = head if head is not None else fitted("mlp", {"standardize": False, "max_iter": 2, "tol": 0.0})
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(head))) as whole:
        files = {name: whole.read(name) for name in whole.namelist()}
    schema = json.loads(files["schema.json"])
    files["schema.json"] = json.dumps(change(schema)).encode()
    (tmp_path / "head.skops").write_bytes(archive(files))


def node(loader, module, name, **more):
    return {"__class__": name, "__module__": module, "__loader__": loader, "__id__": 10**9, **more}


def text(value):
    return node("JsonNode", "builtins", "str", content=json.dumps(value), is_json=True)


ARGUMENTS = node("TupleNode", "builtins", "tuple", content=[text("touch witness")])


@pytest.mark.parametrize(
    ("evil", "word"),
    [
        (node("FunctionNode", "os", "system"), "os.system"),
        (node("FunctionNode", "posix", "system"), "posix.system"),
        (node("FunctionNode", "builtins", "eval"), "builtins.eval"),
        (node("FunctionNode", "sklearn.datasets", "fetch_openml"), "sklearn.datasets.fetch_openml"),
        (node("FunctionNode", "sklearn.utils", "os.system"), "sklearn.utils.os.system"),
        (node("TypeNode", "builtins", "eval"), "builtins.eval"),
        (node("TypeNode", "subprocess", "Popen"), "subprocess.Popen"),
        (node("OperatorFuncNode", "operator", "methodcaller", attrs=ARGUMENTS), "operator.methodcaller"),
        (node("OperatorFuncNode", "os", "system", attrs=ARGUMENTS), "fit the head again"),
        (node("ConstructorFromReduceNode", "os", "system", content=ARGUMENTS), "os.system"),
        (node("ConstructorFromReduceNode", "sklearn.svm", "os", content=ARGUMENTS), "sklearn.svm.os"),
        (node("ObjectNode", "subprocess", "Popen", content=None), "subprocess.Popen"),
        (node("ObjectNode", "featx.errors", "HeadError", content=None), "featx.errors.HeadError"),
        (node("MissingNode", "os", "system"), "fit the head again"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_crafted_skops_file_is_refused_and_runs_nothing(tmp_path, monkeypatch, evil, word):
    monkeypatch.chdir(tmp_path)

    def put(schema):
        schema["content"]["content"]["random_state"] = evil
        return schema

    crafted(tmp_path, put)
    refused(tmp_path, word)
    assert not (tmp_path / "witness").exists()


def test_what_is_no_classifier_is_refused(tmp_path):
    X, y = data()
    for thing in ([1, 2], StandardScaler().fit(X), LogisticRegression(), LogisticRegression().fit(X, y * 1.0)):
        (tmp_path / "head.skops").write_bytes(skops.io.dumps(thing))
        refused(tmp_path, "must hold a classifier fitted on integer labels")


def test_a_compressed_file_is_refused(tmp_path):
    (tmp_path / "head.skops").write_bytes(skops.io.dumps(fitted("knn"), compression=zipfile.ZIP_DEFLATED))
    refused(tmp_path, "must not be compressed")


FORESTS = {
    "sklearn.tree.DecisionTreeClassifier": {},
    "sklearn.ensemble.RandomForestClassifier": {"n_estimators": 3},
    "sklearn.ensemble.ExtraTreesClassifier": {"n_estimators": 3, "standardize": True},
    "sklearn.ensemble.BaggingClassifier": {"n_estimators": 3, "max_features": 0.5},
    "sklearn.ensemble.GradientBoostingClassifier": {"n_estimators": 3},
    "sklearn.ensemble.AdaBoostClassifier": {"n_estimators": 3},
    "sklearn.ensemble.HistGradientBoostingClassifier": {"max_iter": 3, "min_samples_leaf": 2},
}


@functools.cache
def stored_forest(path):
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(fitted(path, FORESTS[path])))) as whole:
        return {name: whole.read(name) for name in whole.namelist()}


@pytest.mark.parametrize(
    "change",
    [
        {"left_child": 0}, {"left_child": 60_000}, {"right_child": 0}, {"right_child": 60_000}, {"feature": 6},
        {"feature": 60_000}, {"feature": -5},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("path", FORESTS)
def test_trees_that_lead_nowhere_are_refused(tmp_path, path, change):
    files = dict(stored_forest(path))
    (field, value), *_ = change.items()
    for name, content in reversed(files.items()):
        if not name.endswith(".npy"):
            continue
        nodes = np.load(io.BytesIO(content), allow_pickle=False)
        names = nodes.dtype.names or ()
        other = {"left_child": "left", "right_child": "right", "feature": "feature_idx"}[field]
        if nodes.size > 1 and (field in names or other in names):
            nodes[field if field in names else other][0] = value
            buffer = io.BytesIO()
            np.save(buffer, nodes)
            files[name] = buffer.getvalue()
            break
    assert files != stored_forest(path)
    (tmp_path / "head.skops").write_bytes(archive(stored_forest(path)))
    load_head(tmp_path)
    (tmp_path / "head.skops").write_bytes(archive(files))
    refused(tmp_path, "a tree whose nodes lead nowhere")


def test_a_tree_that_hides_nodes_from_the_check_is_refused(tmp_path):
    head = fitted("sklearn.tree.DecisionTreeClassifier")

    def put(schema):
        tree = schema["content"]["content"]["tree_"]["content"]["content"]
        tree["node_count"] = {**tree["node_count"], "content": "2", "__id__": 10**9}
        return schema

    crafted(tmp_path, put, head)
    refused(tmp_path, "a tree whose nodes lead nowhere")


def tensors(**changed):
    good = {"coef": np.arange(12.0).reshape(3, 4), "intercept": np.zeros(3)}
    return {key: value for key, value in {**good, **changed}.items() if value is not None}


def facts(**changed):
    good = {"format": "featx-linear-head", "format_version": 1, "classes": [0, 1, 2], "link": "softmax"}
    return {key: value for key, value in {**good, **changed}.items() if value is not ...}


@pytest.mark.parametrize(
    ("arrays", "metadata", "words"),
    [
        (tensors(coef=None), facts(), "tensors coef and intercept; got ['intercept']"),
        (tensors(more=np.zeros(1)), facts(), "tensors coef and intercept"),
        (tensors(coef=np.zeros((3, 4), np.float32)), facts(), "float64"),
        (tensors(coef=np.zeros((2, 4))), facts(), "shape (3, d)"),
        (tensors(coef=np.zeros(12)), facts(), "shape (3, d)"),
        (tensors(coef=np.zeros((3, 0))), facts(), "shape (3, d)"),
        (tensors(intercept=np.zeros(4)), facts(), "3 intercept(s)"),
        (tensors(intercept=np.array([0, np.nan, 0])), facts(), "must be finite"),
        (tensors(coef=np.full((3, 4), np.inf)), facts(), "must be finite"),
        (tensors(), facts(classes=[0, 1]), "shape (1, d)"),
        (tensors(), facts(classes=[0, 2, 1]), "increasing"),
        (tensors(), facts(classes=[0]), "two or more"),
        (tensors(), facts(classes=["a", "b", "c"]), "must name its classes"),
        (tensors(), facts(classes=[0, 1, 2.5]), "must name its classes"),
        (tensors(), facts(classes=[0, 1, True]), "must name its classes"),
        (tensors(), facts(classes=[0, 1, 10**30]), "must name its classes"),
        (tensors(), facts(classes=...), "must name its classes"),
        (tensors(), facts(link="sigmoid"), "softmax or none; got 'sigmoid'"),
        (tensors(), facts(link="tanh"), "softmax or none; got 'tanh'"),
        (tensors(), facts(link=...), "its link"),
        (tensors(), facts(format="other"), "is no linear head of featx"),
        (tensors(), facts(format_version="1"), "format version; got '1'"),
        (tensors(), facts(format_version=0), "format version; got 0"),
        (tensors(), facts(format_version=...), "format version; got None"),
        (tensors(), facts(format_version=2), "upgrade featx"),
    ],
)
def test_malformed_safetensors_are_refused(tmp_path, arrays, metadata, words):
    save = {"featx": json.dumps(metadata)}
    safetensors.numpy.save_file(arrays, tmp_path / "head.safetensors", metadata=save)
    refused(tmp_path, words)


@pytest.mark.parametrize("save", [None, {"featx": "["}, {"featx": "3"}, {"other": "x"}, {"featx": "[" * 100_000}])
def test_safetensors_of_others_are_refused(tmp_path, save):
    safetensors.numpy.save_file(tensors(), tmp_path / "head.safetensors", metadata=save)
    refused(tmp_path, "is no linear head of featx")


def test_linear_classifier_alone():
    head = LinearClassifier(np.eye(3), np.zeros(3), [2, 5, 9], link="softmax")
    assert repr(head) == "LinearClassifier(3 classes, 3 features, link='softmax')"
    assert head.predict(np.eye(3)[::-1]).tolist() == [9, 5, 2]
    extreme = head.predict_proba(np.array([[1e4, -1e4, 0.0], [0, 0, 0]]))
    np.testing.assert_allclose(extreme, [[1, 0, 0], [1 / 3] * 3])
    binary = LinearClassifier([[1.0]], [0.0], [0, 1], link="sigmoid")
    np.testing.assert_allclose(binary.predict_proba([[1e4], [-1e4], [0]]), [[0, 1], [1, 0], [0.5, 0.5]])
    assert binary.predict([[0.0], [1e-9]]).tolist() == [0, 1]
    assert not hasattr(LinearClassifier([[1.0]], [0.0], [0, 1]), "predict_proba")
    with pytest.raises(HeadError, match=r"shape \(n, 3\)"):
        head.predict(np.zeros((2, 4)))
    with pytest.raises(HeadError, match="is not fitted again"):
        fit_head(head, np.eye(3), [0, 1, 2])


def test_linear_classifier_in_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    head = LinearClassifier(generator.normal(size=(4, 5)), generator.normal(size=4), range(4))
    X = generator.normal(size=(23, 5)).astype(np.float32)
    whole = head.decision_function(X)
    monkeypatch.setattr("featx.heads._linear._BLOCK_VALUES", 10)
    np.testing.assert_allclose(head.decision_function(X), whole, rtol=1e-14)
    np.testing.assert_allclose(whole, X.astype(float) @ head.coef_.T + head.intercept_, rtol=1e-14)
