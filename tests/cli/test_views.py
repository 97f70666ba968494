"""Augmentation views, from the command that makes them to the one that answers for them."""

import json

import pytest

import featx as library
from tests.tiny import BACKBONE, TinyNet, write_folder

AUGMENT = "affine(shear=10,scale=0.8:1.2) hflip"


@pytest.fixture
def extract(featx, here):
    write_folder(here / "photos", splits=("train", "val"), per_class=4)

    def run(*words, command="extract", **options):
        return featx(command, "photos", "--backbone", BACKBONE, *words, **options)

    return run


def test_views_are_kept_looked_at_and_added(featx, extract):
    lines = extract("--views", 3, "--augment", AUGMENT, "--augment-seed", 7).out.splitlines()
    assert lines[1] == "  24 rows of 3 views of 5 float32 from layer output, 3 classes, train 12, val 12"
    assert lines[2].startswith("  24 new: computed 72 in ")
    store = library.open_store(lines[0])
    assert (store.spec.views, store.spec.augment, store.spec.augment_seed) == (3, AUGMENT, 7)
    assert store.features.shape == (24, 3, 5)
    info = featx("info", "photos").out
    assert "24x3x5 float32 (NVC)" in info
    assert f"views           3: the plain image, and {AUGMENT}, seed 7" in info
    assert "24 rows computed again" in featx("verify", "photos", "--recompute", 100).out
    more = ("--views", 5, "--augment", AUGMENT, "--augment-seed", 7)
    missed = extract(*more, command="explain", code=1).out.splitlines()
    assert missed[2:4] == [
        "    views: 5 against 3 (asked for against there)",
        "    the first 3 views are taken from there",
    ]
    assert "24 rows, 0 of them in the cache as they are, 24 to work on" in extract(*more, command="plan").out
    assert extract(*more).out.splitlines()[2].startswith("  24 new: computed 48 in ")
    missed = extract(command="explain", code=1).out
    assert "the plain images are taken from there" in missed
    assert extract().out.splitlines()[2].startswith("  24 new, 24 copied: computed 0 in ")


@pytest.mark.parametrize("head", [["logistic"], ["mlp", "--set", "max_epochs=2"], ["knn"]])
def test_heads_are_fitted_on_them_and_answer_for_them(featx, extract, here, head):
    extract("--views", 2, "--augment", "flip")
    featx("fit-head", "photos", "--head", *head, "--out", "runs/mine")
    before = TinyNet.images
    files = sorted((here / "photos" / "val" / "red").glob("*.png"))
    answers = json.loads(featx("predict", "runs/mine", *files, "--json", "-").out)
    assert TinyNet.images - before == 2 * len(files)
    store = library.find_store("photos")
    rows = [store.keys.index(file.relative_to(here / "photos").as_posix()) for file in files]
    by_key = {answer.key: answer for answer in library.load("runs/mine").predict(store)}
    for answer, row in zip(answers, rows, strict=True):
        expected = by_key[store.keys[row]].scores
        assert answer["probabilities"] == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert "averages over 2 views of each" in featx.fails("export-onnx", "runs/mine")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--views", "4"], "views 4 needs augment, which says how those beyond the plain image are drawn"),
        (["--augment", "hflip"], "augment 'hflip' is of views beyond the plain image, and views 1 has none: add views"),
        (["--augment-seed", "3"], "augment_seed 3 is of views beyond the plain image"),
        (["--views", "2", "--augment", "hflap"], "did you mean 'hflip'?"),
        (
            ["--views", "3", "--augment", "flip"],
            "views of augment 'flip' are at most 2, the plain image included; got 3",
        ),
    ],
)
@pytest.mark.parametrize("command", ["extract", "explain", "plan"])
def test_what_is_missing_is_said(featx, extract, command, words, message):
    assert message in featx.fails(command, "photos", "--backbone", BACKBONE, *words)
