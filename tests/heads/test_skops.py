"""Heads of scikit-learn as skops files: they come back, and nothing else is let in."""

import functools
import io
import json
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import all_estimators

from featx.heads import fit_head, head_scores, head_values, load_head, make_head, save_head
from tests.heads.helpers import archive, fitted, numbers, refused, several_labels, small

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
    X, y = small(k=k)
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
    X, y = small(k=k)
    head = make_head(f"sklearn.{name}", params)
    fit_head(head, X, y)
    save_head(head, tmp_path)
    ours, theirs = head_scores(load_head(tmp_path), X), head_scores(head, X)
    assert ours[1] is theirs[1]
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-9)


REGRESSORS = sorted(f"{cls.__module__.partition('._')[0]}.{name}" for name, cls in all_estimators("regressor"))
REGRESSORS_OF_OTHERS = {"MultiOutputRegressor", "RegressorChain", "StackingRegressor", "VotingRegressor"}
FOR_SEVERAL_NUMBERS = {
    "CCA", "MultiTaskElasticNet", "MultiTaskElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV", "PLSCanonical",
}  # fmt: skip
SMALLER = {"n_estimators": 3, "max_iter": 50, "max_subpopulation": 20}
REGRESSOR_PARAMS = {
    "OrthogonalMatchingPursuitCV": {"max_iter": 3},
    "QuantileRegressor": {"alpha": 0.01},
    "RadiusNeighborsRegressor": {"radius": 100.0},
    "TweedieRegressor": {"power": 1.5},
}


@pytest.mark.parametrize("path", [path for path in REGRESSORS if path.rpartition(".")[2] not in REGRESSORS_OF_OTHERS])
@pytest.mark.filterwarnings("ignore:Class PassiveAggressiveRegressor is deprecated:FutureWarning")
def test_every_regressor_of_scikit_learn_is_kept(tmp_path, path):
    X, _ = small()
    name = path.rpartition(".")[2]
    params = REGRESSOR_PARAMS.get(name, {})
    known = make_head(path, params, task="regression").get_params()
    head = make_head(
        path, {**{key: value for key, value in SMALLER.items() if key in known}, **params}, task="regression"
    )
    y = numbers(X) if name in FOR_SEVERAL_NUMBERS else np.abs(numbers(X)[:, 0]) + 1
    if name == "IsotonicRegression":
        X = X[:, :1]
    fit_head(head, X, y)
    save_head(head, tmp_path)
    np.testing.assert_allclose(head_values(load_head(tmp_path), X), head_values(head, X), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "path", ["ensemble.RandomForestClassifier", "naive_bayes.GaussianNB", "neighbors.KNeighborsClassifier", "svm.SVC"]
)
def test_several_labels_a_sample_are_kept(tmp_path, path):
    X, y = small()
    Y = several_labels(X, y)
    Y[:, 1] = 0  # a label that no row has
    head = make_head(f"sklearn.{path}", {"n_estimators": 3} if "Forest" in path else {}, task="multilabel")
    fit_head(head, X, Y)
    assert save_head(head, tmp_path) == "head.skops"
    loaded = load_head(tmp_path)
    ours, theirs = head_scores(loaded, X), head_scores(head, X)
    assert ours[1] is theirs[1]
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(loaded.predict(X), head.predict(X))


def crafted(tmp_path, change, head=None):
    """Write a skops file whose schema was changed after it was made."""
    head = head if head is not None else fitted("sklearn.neural_network.MLPClassifier", {"max_iter": 2, "tol": 0.0})
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
    X, y = small()
    things = (
        [1, 2], StandardScaler().fit(X), LogisticRegression(), LinearRegression(),
        LogisticRegression().fit(X, y * 1.0), RandomForestClassifier(2).fit(X, several_labels(X, y)),
    )  # fmt: skip
    for thing in things:
        (tmp_path / "head.skops").write_bytes(skops.io.dumps(thing))
        refused(tmp_path, "must hold a classifier fitted on integer labels, or a regressor")


def test_a_compressed_file_is_refused(tmp_path):
    (tmp_path / "head.skops").write_bytes(
        skops.io.dumps(fitted("sklearn.neighbors.KNeighborsClassifier"), compression=zipfile.ZIP_DEFLATED)
    )
    refused(tmp_path, "must not be compressed")


FORESTS = {
    "sklearn.tree.DecisionTreeClassifier": {},
    "sklearn.ensemble.RandomForestClassifier": {"n_estimators": 3},
    "sklearn.ensemble.ExtraTreesClassifier": {"n_estimators": 3, "standardize": True},
    "sklearn.ensemble.BaggingClassifier": {"n_estimators": 3, "max_features": 0.5},
    "sklearn.ensemble.GradientBoostingClassifier": {"n_estimators": 3},
    "sklearn.ensemble.AdaBoostClassifier": {"n_estimators": 3},
    "sklearn.ensemble.HistGradientBoostingClassifier": {"max_iter": 3, "min_samples_leaf": 2},
    "sklearn.ensemble.RandomForestRegressor": {"n_estimators": 3},
    "sklearn.ensemble.HistGradientBoostingRegressor": {"max_iter": 3, "min_samples_leaf": 2},
    "sklearn.multioutput.MultiOutputRegressor": {"estimator": DecisionTreeRegressor(random_state=0)},
}


def forest(path):
    X, _ = small()
    if path.endswith("Classifier"):
        return fitted(path, FORESTS[path])
    head = make_head(path, FORESTS[path], task="regression")
    fit_head(head, X, numbers(X) if "MultiOutput" in path else numbers(X)[:, 0])
    return head


@functools.cache
def stored_forest(path):
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(forest(path)))) as whole:
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
