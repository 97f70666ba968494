"""What ``featx predict`` says of answers that are more than one class."""

import csv
import io
import json

import numpy as np
import pytest

import featx as library
from featx.heads import LinearClassifier, LinearRegressor
from tests.prediction.helpers import make_run
from tests.tiny import BACKBONE, write_folder

CLASSES = ["blue", "green", "a|b"]


@pytest.fixture
def store(here):
    return library.extract(write_folder(here / "photos", per_class=4), BACKBONE, layer="conv2")


@pytest.fixture
def coefficients(store):
    X = store.features[:].astype(np.float64)
    coef = np.random.default_rng(0).standard_normal((3, X.shape[1])) / X.std(axis=0)
    return coef, -coef @ X.mean(axis=0)


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_unsure(featx, store, coefficients):
    head = LinearClassifier(*coefficients, range(3), link="softmax")
    free = library.load(make_run(head, [store], classes=CLASSES)).predict("photos")
    threshold = float(np.median([max(answer.scores.values()) for answer in free])) + 1e-4
    shares = {"precision": [0.9, 0.5, 1.0], "coverage": [0.5, 0.3, 0.7]}
    make_run(head, [store], classes=CLASSES, reject={"threshold": threshold, "wanted": 0.9, **shares}).save("run")
    answers = library.load("run").predict("photos")
    assert {answer.accepted for answer in answers} == {True, False}
    for line, answer in zip(featx("predict", "run", "photos", "--top", "2").out.splitlines(), answers, strict=True):
        words = ", ".join(f"{score:.0%} {name}" for name, score in list(answer.scores.items())[:2])
        assert line == f"{answer.key}: {words if answer.accepted else f'unsure ({words})'}"
    rows = rows_of(featx("predict", "run", "photos", "--csv", "-").out)
    assert list(rows[0]) == ["key", "label", "accepted", *CLASSES, "error"]
    assert [row["accepted"] for row in rows] == [str(answer.accepted).lower() for answer in answers]
    assert [row["label"] for row in rows] == [answer.label for answer in answers]
    found = json.loads(featx("predict", "run", "photos", "--json", "-").out)
    assert [one["accepted"] for one in found] == [answer.accepted for answer in answers]


@pytest.mark.parametrize("link", ["sigmoid", "none"])
def test_several_labels_a_sample(featx, store, coefficients, here, link):
    head = LinearClassifier(*coefficients, range(3), link=link, multilabel=True)
    make_run(head, [store], task="multilabel", classes=CLASSES).save("run")
    (here / "bad.jpg").write_text("no image")
    answers = library.load("run").predict(["photos", "bad.jpg"])
    lines = featx("predict", "run", "photos", "bad.jpg", "--top", "1").out.splitlines()
    for line, answer in zip(lines, answers[:-1], strict=True):
        name, score = next(iter(answer.scores.items()))
        words = f"{score:.0%} {name}" if link == "sigmoid" else f"{name} ({score:.2f})"
        assert line == f"{answer.key}: {', '.join(answer.labels) or 'none'} ({words})"
    rows = rows_of(featx("predict", "run", "photos", "bad.jpg", "--csv", "-").out)
    assert list(rows[0]) == ["key", "labels", *CLASSES, "error"]
    for row, answer in zip(rows, answers, strict=True):
        text = row["labels"]
        labels = json.loads(text) if text.startswith("[") else text.split("|") if text else []
        assert labels == list(answer.labels)
        assert text.startswith("[") == ("a|b" in answer.labels)
    assert float(rows[0]["a|b"]) == pytest.approx(answers[0].scores["a|b"])
    found = json.loads(featx("predict", "run", "photos", "bad.jpg", "--json", "-").out)
    assert [one["labels"] for one in found] == [list(answer.labels) for answer in answers]
    assert list(found[0]) == ["key", "labels", "probabilities" if link == "sigmoid" else "scores", "error"]
    assert (found[-1]["labels"], found[-1]["error"]) == ([], answers[-1].error)


def test_values(featx, store, coefficients):
    run = make_run(LinearRegressor(*coefficients), [store], task="regression", classes=("age", "size", "error"))
    run.save("run")
    answers = library.load("run").predict("photos")
    lines = featx("predict", "run", "photos").out.splitlines()
    for line, answer in zip(lines, answers, strict=True):
        words = ", ".join(f"{name} {value:.4g}" for name, value in answer.values.items())
        assert line == f"{answer.key}: {words}"
    table = list(csv.reader(io.StringIO(featx("predict", "run", "photos", "--csv", "-").out)))
    assert table[0] == ["key", "age", "size", "error", "error"]  # a target may be called that
    assert [float(cell) for cell in table[1][1:4]] == pytest.approx(list(answers[0].values.values()))
    (first, *_) = json.loads(featx("predict", "run", "photos", "--json", "-").out)
    assert first == {"key": answers[0].key, "values": pytest.approx(answers[0].values), "error": None}
