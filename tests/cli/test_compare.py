"""``featx compare`` and ``featx label-errors``."""

import csv
import io
import json

import numpy as np
import pytest

from featx.fitting import fit_head
from tests.fitting.helpers import clouds, write


@pytest.fixture
def store(here):
    features, labels = clouds(150)
    features = features + 4 * np.eye(6, dtype=np.float32)[labels]
    labels = labels.copy()
    labels[31] = (labels[31] + 1) % 3
    write(here / "cache" / "photos.toy.000000000000.h5", features, labels)
    return here


def test_compare(featx, store):
    folders = [fit_head("photos", head, cv=4).save() for head in ("lda", "gaussian_nb")]
    shown = featx("compare", *(folder.name for folder in folders), "--part", "cv")
    lines = shown.out.splitlines()
    assert lines[:2] == [f"a: {folders[0].name}", f"b: {folders[1].name}"]
    assert any(line.startswith("macro f1") for line in lines)
    assert "over 4 folds: b - a = " in shown.out
    assert lines[-1].startswith("b is right on") or "equally often" in lines[-1]
    found = json.loads(featx("compare", *folders, "--part", "cv", "--json").out)
    assert found["comparison"]["n"] == 150
    assert found["sentence"] == lines[-1]
    assert featx.fails("compare", *folders).endswith("got 'val': fit it with --val")


def test_label_errors(featx, store):
    shown = featx("label-errors", "photos", "--head", "lda", "--neighbors", "3")
    (row,) = [line.split() for line in shown.out.splitlines() if line.startswith("0031.jpg")]
    assert row[1] == "eel"
    assert row[3:] == ["dog", row[4], "dog", "3"]
    assert shown.err.startswith("1 of 150 labels are suspected; the head agrees with ")
    found = json.loads(featx("label-errors", "photos", "--head", "lda", "--json").out)
    assert [one["key"] for one in found["suspects"]] == ["0031.jpg"]


def test_label_errors_as_csv(featx, store):
    arguments = ("label-errors", "photos", "--head", "lda", "--neighbors", "2", "--csv")
    (row,) = csv.DictReader(io.StringIO(featx(*arguments, "-").out))
    assert (row["key"], row["given"], row["suggested"]) == ("0031.jpg", "eel", "dog")
    assert float(row["given_probability"]) < float(row["suggested_probability"])
    assert row["neighbor_2"].endswith(".jpg")
    featx(*arguments, "suspects.csv")
    assert next(csv.DictReader((store / "suspects.csv").open(newline=""))) == row


def test_only_so_many_lines(featx, here):
    features, labels = clouds(150, seed=4)
    labels = np.where(np.arange(150) % 7 == 0, (labels + 1) % 3, labels)
    write(
        here / "cache" / "noisy.toy.000000000000.h5", features + 4 * np.eye(6, dtype=np.float32)[clouds(150)[1]], labels
    )
    shown = featx("label-errors", "noisy", "--head", "lda", "--limit", "2")
    assert sum(".jpg" in line for line in shown.out.splitlines()) == 2
    assert "of which 2 are shown" in shown.err
