"""One folder without labels and splits, arranged on the command line."""

import json
from collections import Counter

import pytest

from featx.store import open_store
from tests.tiny import BACKBONE, COLOURS, TinyNet, picture

WORDS = ("pets", "--backbone", BACKBONE, "--engine", "torch")
LABELLED = (*WORDS, "--label-pattern", r"^(\w+)\.")


@pytest.fixture
def pets(here):
    (here / "pets").mkdir()
    for number in range(20):
        for seed, (name, colour) in enumerate(COLOURS.items()):
            picture(100 * seed + number, colour).save(here / "pets" / f"{name}.{number:02d}.png")
    return here / "pets"


def store_of(answer):
    return open_store(json.loads(answer.out)[0]["path"])


def test_labels_and_splits_cost_no_computation(featx, pets):
    plain = store_of(featx("extract", *WORDS, "--json"))
    before = TinyNet.images
    named = store_of(featx("extract", *LABELLED, "--split-pattern", "val=*.1?.png", "--json"))
    assert (named.path, TinyNet.images) == (plain.path, before)
    assert named.classes == ("blue", "green", "red")
    assert Counter(named.splits) == {"": 30, "val": 30}
    assert (named.features == plain.features).all()
    words = ("--val-fraction", "0.2", "--test-fraction", "0.1", "--split-seed", "123")
    answer = featx("extract", *LABELLED, *words)
    assert "3 classes, test 6, train 42, val 12" in answer.out
    drawn = open_store(plain.path)
    assert drawn.source["arranged"] == {
        "label_pattern": r"^(\w+)\.",
        "val_fraction": 0.2,
        "test_fraction": 0.1,
        "split_seed": 123,
    }
    assert "arranged" not in plain.source
    assert TinyNet.images == before
    assert Counter(zip(drawn.splits, drawn.labels.tolist(), strict=True)) == {
        **{("train", label): 14 for label in range(3)},
        **{("val", label): 4 for label in range(3)},
        **{("test", label): 2 for label in range(3)},
    }
    assert "in the cache already" in featx("extract", *LABELLED, *words).out
    assert featx("explain", "pets", "--backbone", BACKBONE, *LABELLED[-2:], *words).code == 0
    assert "60 relabelled" in featx("explain", "pets", "--backbone", BACKBONE, code=1).out


def test_fewer_of_a_class_are_a_store_of_their_own(featx, pets):
    whole = store_of(featx("extract", *LABELLED, "--json"))
    before = TinyNet.images
    few = store_of(featx("extract", *LABELLED, "--max-per-class", "4", "--json"))
    assert (few.path != whole.path, len(few), TinyNet.images) == (True, 12, before)
    assert few.name == "pets-max4"
    row_of = {key: row for row, key in enumerate(whole.keys)}
    assert (few.features == whole.features[[row_of[key] for key in few.keys]]).all()
    assert featx("plan", *LABELLED[:3], *LABELLED[-2:], "--max-per-class", "5").out.startswith("15 rows, ")


def test_what_is_wrong_is_one_line(featx, pets):
    assert "does not match 60 of 60" in featx.fails("extract", *WORDS, "--label-pattern", r"(\d)-")
    assert "must be a split and a pattern" in featx.fails("extract", *WORDS, "--split-pattern", "val", code=2)
    assert "split_hash needs a share" in featx.fails("plan", "pets", "--split-hash")
    assert "0<x<1" in featx.fails("explain", "pets", "--val-fraction", "1", code=2)
