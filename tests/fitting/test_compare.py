"""Two runs compared by the samples they share."""

import json
from dataclasses import replace

import numpy as np
import pytest

from featx.errors import ParameterError
from featx.evaluation import compare_predictions
from featx.fitting import evaluate, fit_head
from featx.fitting._compare import compare
from tests.fitting.helpers import clouds, write


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    splits = ["test" if i % 5 == 0 else "" for i in range(180)]
    return write(tmp_path_factory.mktemp("cache") / "photos.toy.000000000000.h5", *clouds(180), splits=splits)


@pytest.fixture(scope="module")
def fitted(store):
    return fit_head(store, "lda"), fit_head(store, "nearest_centroid", {"standardize": False})


@pytest.fixture
def runs(fitted):
    """Two heads, one with probabilities and one without."""
    return tuple(replace(run, answers=dict(run.answers)) for run in fitted)


def test_is_the_comparison_of_the_answers(runs):
    a, b = runs
    found = compare(a, b)
    mine, theirs = a.answers["val"], b.answers["val"]
    assert mine.keys == theirs.keys
    assert found.comparison == compare_predictions(
        "classification",
        mine.truth,
        mine.scores,
        theirs.scores,
        a_is_probability=mine.is_probability,
        b_is_probability=theirs.is_probability,
    )
    assert (found.a, found.b, found.part, found.left_out, found.folds) == (a.name, b.name, "val", 0, None)
    assert found.comparison.differences["accuracy"].a == pytest.approx(a.metrics["val"].accuracy)
    assert found.comparison.differences["accuracy"].b == pytest.approx(b.metrics["val"].accuracy)


def test_samples_are_matched_by_key(runs, store):
    """Another fraction leaves other samples out; those in common are few, and in another order."""
    a = runs[0]
    b = fit_head(store, "lda", val=0.5, seed=1)
    found = compare(a, b)
    common = set(a.answers["val"].keys) & set(b.answers["val"].keys)
    assert found.comparison.n == len(common)
    assert found.left_out == len(set(a.answers["val"].keys) ^ set(b.answers["val"].keys))
    turned = {
        part: replace(
            answers,
            keys=answers.keys[::-1],
            truth=answers.truth[::-1],
            scores=np.ascontiguousarray(answers.scores[::-1]),
        )
        for part, answers in b.answers.items()
    }
    again = compare(a, replace(b, answers=turned))
    assert again.comparison == found.comparison


def test_sentences(runs):
    """a is right on 18 of 30, b on these and 6 more."""
    a, b = runs
    answers = a.answers["val"]
    wrong = (answers.truth + 1) % 3
    for run, right in ((a, 18), (b, 24)):
        given = np.where(np.arange(30) < right, answers.truth, wrong)
        run.answers["val"] = replace(run.answers["val"], scores=np.eye(3, dtype=np.float32)[given])
    found, turned, same = compare(a, b), compare(b, a), compare(a, a)
    difference = found.comparison.differences["accuracy"]
    interval = f"({100 * difference.low:.1f} to {100 * difference.high:.1f})"
    assert found.sentence == f"b is right on 20.0 points more {interval}, p = 0.031, over 30 common samples"
    assert turned.sentence == f"b is right on 20.0 points fewer {interval}, p = 0.031, over 30 common samples"
    high = same.comparison.differences["accuracy"].high
    assert same.sentence == (
        f"a and b are right equally often (-{100 * high:.1f} to +{100 * high:.1f} points), over 30 common samples"
    )
    assert json.loads(json.dumps(found.to_dict()))["sentence"] == found.sentence


def test_sentences_of_other_tasks(runs):
    """The headline is named; of losses, which come first where no other figure is, less is better."""
    a, _ = runs
    answers = replace(a.answers["val"], task="regression", truth=np.arange(30.0)[:, None])
    near, far = (
        replace(a, answers={"val": replace(answers, scores=np.float32(np.arange(30)[:, None] + step))})
        for step in (0.0, 30.0)
    )
    found = compare(far, near)
    difference = found.comparison.differences["r2"]
    assert found.sentence == (
        f"b is better by {difference.value:.3f} in r2 ({difference.low:.3f} to {difference.high:.3f}), over 30 common"
        " samples"
    )
    assert compare(near, far).sentence.startswith(f"b is worse by {difference.value:.3f} in r2 ({difference.low:.3f}")
    for run in (near, far):
        first = run.answers["val"]
        run.answers["val"] = replace(first, keys=first.keys[:1], truth=first.truth[:1], scores=first.scores[:1])
    assert compare(near, far).sentence == "b is worse by 30.000 in mae (30.000 to 30.000), over 1 common sample"
    assert compare(far, near).sentence.startswith("b is better by 30.000 in mae (30.000")


def test_folds_are_compared_if_they_are_the_same(store):
    a, b = fit_head(store, "lda", cv=4), fit_head(store, "gaussian_nb", cv=4)
    found = compare(a, b, "cv")
    assert found.folds is not None
    assert found.folds.folds == 4
    assert found.folds.value == pytest.approx(np.mean(b.cv["values"]) - np.mean(a.cv["values"]))
    assert found.comparison.n == 144
    assert compare(a, fit_head(store, "lda", cv=3), "cv").folds is None
    assert compare(a, fit_head(store, "lda", cv=4, seed=1), "cv").folds is None


def test_test_splits_are_compared_once_both_are_evaluated(runs, store, tmp_path):
    with pytest.raises(ParameterError, match=r"answers to \(val\); got 'test': run `featx evaluate` on it first"):
        compare(*runs, part="test")
    folders = [run.save(tmp_path / name) for run, name in zip(runs, "ab", strict=True)]
    for folder in folders:
        evaluate(folder)
    found = compare(*folders, part="test")
    assert (found.comparison.n, found.left_out) == (36, 0)


def test_refused(runs, store, tmp_path):
    a, b = runs
    with pytest.raises(ParameterError, match="got 'cv': fit it with --cv"):
        compare(a, b, "cv")
    with pytest.raises(ParameterError, match="the same classes in the same order; these differ in ant, eel"):
        compare(a, replace(b, classes=("cat", "dog", "ant")))
    with pytest.raises(ParameterError, match="these differ in the order"):
        compare(a, replace(b, classes=("dog", "cat", "eel")))
    answers = b.answers["val"]
    other = replace(answers, keys=tuple(f"other {key}" for key in answers.keys))
    with pytest.raises(ParameterError, match=r"must have val samples in common; .* have none"):
        compare(a, replace(b, answers={"val": other}))
    with pytest.raises(ParameterError, match="must agree about the truth of their samples"):
        compare(a, replace(b, answers={"val": replace(answers, truth=(answers.truth + 1) % 3)}))
    with pytest.raises(ParameterError, match="of one task; got a classification and a regression"):
        compare(a, replace(b, answers={"val": replace(answers, task="regression")}))
