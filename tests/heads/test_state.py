"""Heads as safetensors: what the files say, and what is refused."""

import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from featx.errors import HeadError
from featx.heads import LinearClassifier, LinearRegressor, load_head, save_head
from tests.heads.helpers import fitted, refused


def tensors(**changed):
    good = {"coef": np.arange(12.0).reshape(3, 4), "intercept": np.zeros(3)}
    return {key: value for key, value in {**good, **changed}.items() if value is not None}


def facts(**changed):
    good = {"format": "featx-linear-head", "format_version": 1, "classes": [0, 1, 2], "link": "softmax"}
    return {key: value for key, value in {**good, **changed}.items() if value is not ...}


@pytest.mark.parametrize(
    ("arrays", "metadata", "words"),
    [
        (tensors(), facts(format_version=2, multilabel=True), "sigmoid or none; got 'softmax'"),
        (tensors(), facts(format_version=2, multilabel=1, link="none"), "must name its classes"),
        (tensors(), facts(format_version=2, multilabel=True, link="none", classes=[0, 1, 3]), "0 to k - 1"),
        (tensors(), facts(link="identity"), "softmax or none; got 'identity'"),
        (tensors(intercept=np.zeros(2)), facts(format_version=2, link="identity"), "shape (2, d)"),
        (tensors(intercept=np.zeros(0)), facts(format_version=2, link="identity"), "shape (1, d)"),
        (tensors(coef=None), facts(), "coef and intercept; got intercept"),
        (tensors(more=np.zeros(1)), facts(), "coef and intercept; got coef, intercept, more"),
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
        (tensors(), facts(format="other"), "is no head of featx"),
        (tensors(), facts(format_version="1"), "format version; got '1'"),
        (tensors(), facts(format_version=0), "format version; got 0"),
        (tensors(), facts(format_version=...), "format version; got None"),
        (tensors(), facts(format_version=3), "upgrade featx"),
    ],
)
def test_malformed_linear_heads_are_refused(tmp_path, arrays, metadata, words):
    save = {"featx": json.dumps(metadata)}
    safetensors.numpy.save_file(arrays, tmp_path / "head.safetensors", metadata=save)
    refused(tmp_path, words)


@pytest.mark.parametrize("save", [None, {"featx": "["}, {"featx": "3"}, {"other": "x"}, {"featx": "[" * 100_000}])
def test_safetensors_of_others_are_refused(tmp_path, save):
    safetensors.numpy.save_file(tensors(), tmp_path / "head.safetensors", metadata=save)
    refused(tmp_path, "is no head of featx")


def written(folder):
    """Return the facts and arrays of a stored head."""
    file = folder / "head.safetensors"
    with safetensors.safe_open(file, "numpy") as opened:
        return json.loads(opened.metadata()["featx"]), safetensors.numpy.load_file(file)


def test_what_older_featx_reads_is_written_for_it(tmp_path):
    save_head(LinearClassifier(np.eye(3), np.zeros(3), [2, 5, 9], link="softmax"), tmp_path)
    facts_of_one, arrays = written(tmp_path)
    assert facts_of_one == {
        "classes": [2, 5, 9], "format": "featx-linear-head", "format_version": 1, "link": "softmax",
    }  # fmt: skip
    assert {name: array.dtype for name, array in arrays.items()} == {"coef": np.float64, "intercept": np.float64}
    assert (tmp_path / "head.safetensors").read_bytes() == safetensors.numpy.save(
        {"coef": np.eye(3), "intercept": np.zeros(3)}, metadata={"featx": json.dumps(facts_of_one, sort_keys=True)}
    )


def test_what_older_featx_would_misread_is_of_version_two(tmp_path):
    save_head(LinearClassifier(np.eye(2), np.zeros(2), [0, 1], link="sigmoid", multilabel=True), tmp_path)
    assert written(tmp_path)[0] == {
        "classes": [0, 1], "format": "featx-linear-head", "format_version": 2, "link": "sigmoid", "multilabel": True,
    }  # fmt: skip
    save_head(LinearRegressor(np.eye(2), np.zeros(2)), tmp_path)
    assert written(tmp_path)[0] == {"format": "featx-linear-head", "format_version": 2, "link": "identity"}


def test_a_version_one_file_is_never_multilabel(tmp_path):
    metadata = {"featx": json.dumps({**facts(), "multilabel": True})}
    safetensors.numpy.save_file(tensors(), tmp_path / "head.safetensors", metadata=metadata)
    assert not load_head(tmp_path).multilabel_


NATIVE = {
    "gaussian_nb": ("GaussianNBClassifier", "classification"),
    "knn": ("KNNClassifier", "multilabel"),
    "mlp": ("NetClassifier", "classification"),
    "conv": ("NetRegressor", "regression"),
}


@pytest.mark.parametrize("name", NATIVE)
def test_other_heads_are_a_class_parameters_and_arrays(tmp_path, name):
    save_head(fitted(name, task=NATIVE[name][1]), tmp_path)
    found, arrays = written(tmp_path)
    assert set(found) == {"class", "format", "format_version", "params"}
    assert (found["class"], found["format"], found["format_version"]) == (NATIVE[name][0], "featx-head", 1)
    assert isinstance(found["params"], dict)
    assert arrays
    first = (tmp_path / "head.safetensors").read_bytes()
    save_head(load_head(tmp_path), tmp_path)
    assert (tmp_path / "head.safetensors").read_bytes() == first


def crafted(folder, name, change):
    """Write a head whose facts or arrays were changed after it was made."""
    save_head(fitted(name, task=NATIVE[name][1]), folder)
    found, arrays = written(folder)
    change(found, arrays)
    safetensors.numpy.save_file(arrays, folder / "head.safetensors", metadata={"featx": json.dumps(found)})


def put(key, value):
    def change(found, arrays):
        found[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("class", "LogisticRegression"), "must name one of GaussianNBClassifier"),
        (put("class", "os.system"), "must name one of"),
        (put("class", ["KNNClassifier"]), "must name one of"),
        (put("class", None), "must name one of"),
        (put("more", 1), "must name one of"),
        (put("params", [1]), "must be a JSON object; got list"),
        (put("params", {}), "is damaged"),
        (put("format_version", 2), "upgrade featx"),
        (put("format", "featx-linear-head"), "float64 coef and intercept"),
        (put("format", "other"), "is no head of featx"),
        (put("format", ["featx-head"]), "is no head of featx"),
    ],
)
@pytest.mark.parametrize("name", ["gaussian_nb", "knn", "mlp"])
def test_crafted_facts_are_refused(tmp_path, name, change, words):
    crafted(tmp_path, name, change)
    refused(tmp_path, words)


@pytest.mark.parametrize("name", NATIVE)
def test_every_array_is_checked(tmp_path, name):
    save_head(fitted(name, task=NATIVE[name][1]), tmp_path)
    found, arrays = written(tmp_path)
    for key, array in arrays.items():
        spoilt = [np.zeros((*array.shape, 2), array.dtype), array.astype(np.float16), None]
        if array.dtype.kind == "f" and array.size:
            spoilt.append(np.full_like(array, np.nan))
        if array.ndim and array.shape[0] > 1:
            spoilt.append(array[:-1].copy())
        for other in spoilt:
            changed = {**arrays, key: other} if other is not None else {k: v for k, v in arrays.items() if k != key}
            safetensors.numpy.save_file(changed, tmp_path / "head.safetensors", metadata={"featx": json.dumps(found)})
            refused(tmp_path, "fit the head again")
    more = {**arrays, "more": np.zeros(3)}
    safetensors.numpy.save_file(more, tmp_path / "head.safetensors", metadata={"featx": json.dumps(found)})
    refused(tmp_path, "is damaged")


@pytest.mark.parametrize("name", NATIVE)
def test_every_parameter_is_checked(tmp_path, name):
    save_head(fitted(name, task=NATIVE[name][1]), tmp_path)
    found, arrays = written(tmp_path)
    for key in found["params"]:
        for params in (
            {k: v for k, v in found["params"].items() if k != key},
            {**found["params"], key: {"a": [1, {}]}},
        ):
            metadata = {"featx": json.dumps({**found, "params": params})}
            safetensors.numpy.save_file(arrays, tmp_path / "head.safetensors", metadata=metadata)
            refused(tmp_path, "is damaged")
    metadata = {"featx": json.dumps({**found, "params": {**found["params"], "more": 1}})}
    safetensors.numpy.save_file(arrays, tmp_path / "head.safetensors", metadata=metadata)
    refused(tmp_path, "is damaged")


def test_parameters_that_json_has_no_word_for(tmp_path):
    head = fitted("gaussian_nb")
    head.var_smoothing = np.inf
    with pytest.raises(HeadError, match="must be plain numbers and texts to be stored"):
        save_head(head, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_arrays_that_are_not_finite_are_not_stored(tmp_path):
    head = fitted("gaussian_nb")
    state = head.head_state

    def spoilt():
        params, arrays = state()
        return params, {name: np.full(array.shape, np.nan) for name, array in arrays.items()}

    head.head_state = spoilt
    with pytest.raises(HeadError, match="must be finite; got nan or inf"):
        save_head(head, tmp_path)
