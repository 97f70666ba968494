"""Names, class paths, parameters and seeds of heads."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import is_regressor
from sklearn.linear_model import Ridge
from sklearn.multiclass import OneVsRestClassifier

import featx.heads
from featx.errors import HeadError, ParameterError
from featx.heads import list_heads, make_head, parse_grid, parse_params

NAMES = [
    "conv", "gaussian_nb", "knn", "lda", "linear_svm", "logistic", "mlp", "nearest_centroid", "ridge",
]  # fmt: skip
CASES = [(info, task) for info in list_heads() for task in info.tasks]


def final(head):
    return head[-1] if hasattr(head, "steps") else head


def test_all_is_sorted_and_there():
    assert featx.heads.__all__ == sorted(featx.heads.__all__)
    assert all(hasattr(featx.heads, name) for name in featx.heads.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = featx.heads.nothing


def test_importing_loads_no_scikit_learn():
    code = (
        "import sys, featx.heads, featx.evaluation\n"
        "featx.heads.list_heads()\n"
        "print([m for m in ('sklearn', 'scipy', 'skops', 'torch', 'h5py', 'PIL', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_list_is_sorted_and_a_copy():
    heads = list_heads()
    assert [info.name for info in heads] == NAMES
    heads[2].defaults["n_neighbors"] = 3
    assert list_heads()[2].defaults["n_neighbors"] == 10


@pytest.mark.parametrize(("info", "task"), CASES, ids=lambda value: value if isinstance(value, str) else value.name)
def test_info_tells_the_truth(info, task):
    head = make_head(info.name, task=task)
    of_scikit_learn = info.class_path.startswith("sklearn.")
    assert hasattr(head, "steps") is of_scikit_learn
    inner = final(head)
    if of_scikit_learn and task == "multilabel":
        assert type(inner) is OneVsRestClassifier
        inner = inner.estimator
    params = inner.get_params()
    own = {key: value for key, value in info.defaults.items() if key != "standardize" or not of_scikit_learn}
    assert {key: params[key] for key in own} == own
    if task != "regression":
        assert hasattr(inner, "predict_proba") is info.probabilities
    module, _, name = (info.regressor_path if task == "regression" else info.class_path).rpartition(".")
    assert getattr(importlib.import_module(module), name) is type(inner)
    assert is_regressor(head) is (task == "regression")


def test_a_head_that_cannot_learn_a_task_names_those_that_can():
    with pytest.raises(HeadError) as caught:
        make_head("lda", task="multilabel")
    assert str(caught.value) == (
        "head 'lda' cannot learn multilabel targets: take one of conv, knn, linear_svm, logistic, mlp, ridge"
    )
    with pytest.raises(HeadError, match="take one of conv, knn, mlp, ridge"):
        make_head("logistic", task="regression")
    with pytest.raises(HeadError, match="has no score for a label on its own"):
        make_head("sklearn.multiclass.OutputCodeClassifier", {"estimator": make_head("linear_svm")}, task="multilabel")
    with pytest.raises(ParameterError, match=r"task must be one of .* got 'ranking'"):
        make_head("logistic", task="ranking")


def test_estimators_of_scikit_learn_for_several_labels():
    forest = make_head(
        "sklearn.ensemble.RandomForestClassifier",
        {"n_estimators": 3, "standardize": True},
        seed=7,
        task="multilabel",
    )
    assert [name for name, _ in forest.steps] == ["standardize", "head"]
    assert type(final(forest)) is OneVsRestClassifier
    assert (final(forest).estimator.n_estimators, final(forest).estimator.random_state) == (3, 7)


def test_regressors_by_class_path():
    assert type(make_head("sklearn.linear_model.Ridge", {"alpha": 2.0}, task="regression")) is Ridge
    neighbours = make_head("sklearn.neighbors.KNeighborsRegressor", task="regression")
    assert neighbours.algorithm == "brute"
    with pytest.raises(HeadError) as caught:
        make_head("sklearn.ensemble.RandomForestClassifier", task="regression")
    assert "must be a regressor" in str(caught.value)
    assert "did you mean 'sklearn.ensemble.RandomForestRegressor'?" in str(caught.value)


@pytest.mark.parametrize("name", ["linear-svm", "nearest-centroid", "linear_svm"])
def test_hyphens_and_underscores_are_the_same(name):
    assert type(final(make_head(name))) is type(final(make_head(name.replace("-", "_"))))


def test_parameters_reach_the_estimator():
    head = make_head("logistic", {"C": 3, "standardize": False})
    assert (head.C, head.standardize) == (3, False)
    svm = make_head("linear_svm", {"C": 3, "standardize": False})
    assert not hasattr(svm, "steps")
    assert (svm.C, svm.max_iter) == (3, 10_000)
    forest = make_head("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 7, "standardize": True})
    assert final(forest).n_estimators == 7
    assert final(make_head("ridge", {"alpha": 5.0})).alpha == 5.0
    nested = make_head(
        "sklearn.calibration.CalibratedClassifierCV", {"estimator": final(forest), "estimator__max_depth": 2}
    )
    assert nested.estimator.max_depth == 2


def test_seed_is_set_where_there_is_one_and_none_was_given():
    assert final(make_head("mlp", seed=5)).random_state == 5
    assert final(make_head("mlp", {"random_state": 1}, seed=5)).random_state == 1
    assert final(make_head("mlp", {"random_state": None}, seed=5)).random_state is None
    assert "random_state" not in make_head("knn", seed=5).get_params()
    nested = make_head(
        "sklearn.ensemble.BaggingClassifier", {"estimator": make_head("sklearn.tree.DecisionTreeClassifier")}, seed=3
    )
    assert nested.random_state == 3
    inner = make_head(
        "sklearn.ensemble.BaggingClassifier", {"estimator": final(make_head("mlp", {"random_state": None}))}, seed=3
    )
    assert inner.estimator.random_state == 3


@pytest.mark.parametrize("seed", [-1, 1 << 32, 1.0, True, "0", None])
def test_bad_seed(seed):
    with pytest.raises(ParameterError, match="seed must be an integer"):
        make_head("logistic", seed=seed)


def test_neighbours_by_class_path_search_by_brute_force():
    assert make_head("sklearn.neighbors.KNeighborsClassifier").algorithm == "brute"
    assert make_head("sklearn.neighbors.KNeighborsClassifier", {"algorithm": "kd_tree"}).algorithm == "kd_tree"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("logistik", "did you mean 'logistic'?"),
        ("linear-swm", "did you mean 'linear_svm'?"),
        ("RandomForestClassifier", "did you mean 'sklearn.ensemble.RandomForestClassifier'?"),
        ("sklearn.ensemble.RandomForrestClassifier", "did you mean 'sklearn.ensemble.RandomForestClassifier'?"),
        ("sklearn.RandomForestClassifier", "did you mean 'sklearn.ensemble.RandomForestClassifier'?"),
        ("sklearn.ensembl.RandomForestClassifier", "did you mean 'sklearn.ensemble.RandomForestClassifier'?"),
        ("sklearn.linear_model.Ridge", "must be a classifier"),
        ("sklearn.decomposition.PCA", "must be a classifier"),
        ("sklearn.datasets.load_digits", "must be a classifier"),
        ("sklearn.pipeline.Pipeline", "must be a classifier"),
        ("sklearn.linear_model._stochastic_gradient.BaseSGDClassifier", "abstract"),
        ("sklearn.ensemble.", "no classifier"),
        ("sklearn.", "no classifier"),
        ("sklearn..x", "no classifier"),
        ("sklearn", "no head"),
        ("os.system", "no head"),
        ("sklearnx.A", "no head"),
        ("featx.heads.CentroidClassifier", "no head"),
        ("", "no head"),
        ("xgboost.XGBClassifier", "sklearn.ensemble.RandomForestClassifier"),
    ],
)
def test_unknown_heads(name, words):
    with pytest.raises(HeadError) as caught:
        make_head(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("logistic", {"c": 1}, "no parameter 'c'"),
        ("logistic", {"max_itr": 1}, "did you mean 'max_iter'?"),
        ("linear_svm", {"max_itr": 1}, "class_weight, dual"),
        ("linear_svm", {"standardise": True}, "did you mean 'standardize'?"),
        ("ridge", {"alphas": (1.0,)}, "did you mean 'alpha'?"),
        ("logistic", {"standardise": True}, "did you mean 'standardize'?"),
        ("logistic", {"standardize": "yes"}, "standardize must be true or false; got 'yes'"),
        ("logistic", {"C__x": 1}, "does not take these parameters"),
        ("logistic", {"head__C": 1}, "no parameter 'head__C'"),
        ("nearest_centroid", {"metric": "manhattan"}, "no parameter 'metric'"),
        ("sklearn.ensemble.VotingClassifier", {}, "needs a value for its parameter 'estimators'"),
    ],
)
def test_wrong_parameters(name, params, words):
    with pytest.raises(ParameterError) as caught:
        make_head(name, params)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_make_head_leaves_its_argument_alone():
    params = {"standardize": False, "alpha": 1.0}
    make_head("ridge", params)
    assert params == {"standardize": False, "alpha": 1.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("C=1", 1),
        ("C = -2", -2),
        ("C=1e-3", 1e-3),
        ("C=inf", np.inf),
        ("C=true", True),
        ("C=False", False),
        ("C=NONE", None),
        ("C=balanced", "balanced"),
        ("C='1'", "1"),
        ("C=", ""),
        ("C=a=b", "a=b"),
        ("C=[1, 2.5, 'x']", [1, 2.5, "x"]),
        ("C=(128,)", (128,)),
        ("C=128,64", (128, 64)),
        ("C=a,b", "a,b"),
        ("C={0: 1, 1: 5}", {0: 1, 1: 5}),
        ("C=1if", "1if"),
        ("C=1+2j", "1+2j"),
        ("C=__import__('os').system('x')", "__import__('os').system('x')"),
        ("C=0 or 1", "0 or 1"),
        ("C=007", 7),
        ("C=a\0b", "a\0b"),
        ("C=0.1,1,10", (0.1, 1, 10)),
        ("C=conv(100,2) dropout(0.4) gap dropout(0.3) dense", "conv(100,2) dropout(0.4) gap dropout(0.3) dense"),
        ("C='dense(64) relu dense'", "dense(64) relu dense"),
        ("C=conv(100,2)", "conv(100,2)"),
        ("C=été", "été"),
        ("C=" + "9" * 5000, float("inf")),
    ],
)
def test_parse_params(text, value):
    parsed = parse_params([text])
    assert parsed == {"C": value}
    assert type(parsed["C"]) is type(value)


def test_parse_params_keeps_all():
    assert parse_params([]) == {}
    assert parse_params(["a=1", "b__c=x"]) == {"a": 1, "b__c": "x"}


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["C"], "KEY=VALUE"),
        (["=1"], "KEY=VALUE"),
        ([""], "KEY=VALUE"),
        (["a b=1"], "KEY=VALUE"),
        (["C=1", "C=2"], "'C' must be given once"),
        (["C=[1, 2"], "one Python literal"),
        (["C=[x]"], "one Python literal"),
        (["C='x"], "one Python literal"),
        (["C=" + "(" * 100_000], "one Python literal"),
    ],
)
def test_parse_params_refuses(pairs, words):
    with pytest.raises(ParameterError, match=words):
        parse_params(pairs)


def test_parse_grid():
    assert parse_grid([]) == {}
    assert parse_grid(["C=0.1,1, 10", "knn.n_neighbors=5,10", "linear-svm.C=1", "dual=true,auto"]) == {
        "": {"C": [0.1, 1, 10], "dual": [True, "auto"]},
        "knn": {"n_neighbors": [5, 10]},
        "linear_svm": {"C": [1]},
    }
    layers = "conv(100,2) dropout(0.4) gap dropout(0.3) dense"
    assert parse_grid([f"conv.layers={layers},gap dense"]) == {"conv": {"layers": [layers, "gap dense"]}}
    assert parse_grid(["alpha=(0.1,1),(10,),'a,b'"]) == {"": {"alpha": [(0.1, 1), (10,), "a,b"]}}
    forest = "sklearn.ensemble.RandomForestClassifier"
    assert parse_grid([f"{forest}.max_depth=none,3"]) == {forest: {"max_depth": [None, 3]}}


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["C"], "KEY=V1,V2"),
        (["=1"], "KEY=V1,V2"),
        ([".C=1"], "KEY=V1,V2"),
        (["a b.C=1"], "KEY=V1,V2"),
        (["knn.=1"], "KEY=V1,V2"),
        (["C=1", "C=2"], "'C' must be given once"),
        (["C="], "values between its commas"),
        (["C=1,,2"], "values between its commas"),
        (["C=1,"], "values between its commas"),
        (["C=[1,2"], "one Python literal"),
    ],
)
def test_parse_grid_refuses(pairs, words):
    with pytest.raises(ParameterError, match=words):
        parse_grid(pairs)
