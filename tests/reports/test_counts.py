"""Counts are of the right samples, and what is odd about them is said."""

import numpy as np
import pytest

from featx.reports._counts import counts_of, split_order, target_rows
from tests.fitting.helpers import write
from tests.store.helpers import make_labelled, save


def test_counts_are_by_class_and_split(tmp_path):
    labels = [0, 0, 1, 2, -1, 0]
    splits = ["val", "train", "train", "", "test", "train"]
    counts = counts_of(write(tmp_path / "a.h5", np.ones((6, 2), "f4"), labels, splits=splits))
    assert counts.splits == ("train", "val", "test", "")
    np.testing.assert_array_equal(counts.table, [[2, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(counts.samples, [3, 1, 1, 1])
    np.testing.assert_array_equal(counts.unlabelled, [0, 0, 1, 0])
    head, rows = counts.rows()
    assert head == ["class", "samples", "share", "train", "val", "test", "no split"]
    assert [cell if isinstance(cell, str) else cell["text"] for cell in rows[0]] == [
        *("cat", "3", "60.0%", "2", "1", "0", "0"),
    ]
    assert counts.notes() == [
        "No sample of eel is in train.",
        "No sample of dog, eel is in val.",
        "1 sample has no label (1 in test).",
    ]


def test_several_labels_are_counted_each(tmp_path):
    table = make_labelled("multilabel", 7)
    store = save(tmp_path / "a.h5", samples=table)
    counts = counts_of(store)
    np.testing.assert_array_equal(counts.totals, store.multilabels.sum(axis=0))
    assert counts.unlabelled.sum() == 1
    shares = [row[2]["value"] for row in counts.rows()[1]]
    assert shares == pytest.approx(store.multilabels[store.labelled].mean(axis=0))


def test_splits_that_differ_by_more_than_chance_are_told(tmp_path):
    splits = ["train"] * 200 + ["val"] * 200
    even = np.arange(400) % 3
    odd = np.where(np.arange(400) < 200, even, np.arange(400) % 3 // 2)
    fair = counts_of(write(tmp_path / "a.h5", np.ones((400, 2), "f4"), even, splits=splits))
    unfair = counts_of(write(tmp_path / "b.h5", np.ones((400, 2), "f4"), odd, splits=splits))
    assert fair.notes() == []
    assert unfair.notes()[-1] == (
        "The splits differ in their classes by more than chance, most in cat: 66.5% of val and 33.5% of train."
    )


def test_a_class_that_nobody_is_of_is_told(tmp_path):
    counts = counts_of(write(tmp_path / "a.h5", np.ones((2, 2), "f4"), [0, 0]))
    assert counts.notes() == ["No sample is of dog, eel."]
    assert counts.rows()[0] == ["class", "samples", "share"]


def test_values_are_summed_up_by_split(tmp_path):
    store = save(tmp_path / "a.h5", samples=make_labelled("regression", 7))
    head, rows = target_rows(store)
    assert head[:3] == ["target", "split", "samples"]
    assert [row[:3] for row in rows] == [
        ["value0", "train", 4], ["value0", "val", 2], ["value1", "train", 4], ["value1", "val", 2],
    ]  # fmt: skip
    known = store.targets[[1, 2, 4, 5], 0]
    assert [cell["value"] for cell in rows[0][3:]] == pytest.approx(
        [known.min(), np.percentile(known, 25), np.median(known), np.percentile(known, 75), known.max()]
    )


def test_splits_are_in_the_order_people_have_them_in():
    assert split_order(["b", "test", "val", "", "a", "train", "val"]) == ["train", "val", "test", "", "a", "b"]
