import json

import numpy as np
import pytest

from featx.caching import extract
from featx.store import open_store, verify_store
from tests.caching.test_recompute import rewritten
from tests.cli.helpers import python_process
from tests.tiny import BACKBONE, picture, tiny_net, write_folder


@pytest.fixture
def photos(here):
    return write_folder(here / "photos")


@pytest.fixture
def store(photos):
    return extract(photos, BACKBONE)


def spoil(path, rows):
    """Flip a bit in the features of some rows of a file."""
    store = open_store(path)
    data = bytearray(path.read_bytes())
    for row in rows:
        place = data.find(store.features[row].tobytes())
        assert place > 0
        data[place] ^= 1
    path.write_bytes(data)


def test_all_is_well(featx, store):
    for words in (["photos"], [store.path], ["photos", "--cache", "cache"]):
        answer = featx("verify", *words)
        (line,) = answer.out.splitlines()
        assert line.startswith(f"{store.path}: all as it was written (18 rows, ")
        assert line.endswith(" checked)")
        assert answer.err == ""


def test_damaged_rows_are_named(featx, store):
    spoil(store.path, [3])
    answer = featx("verify", "photos", code=1)
    report = verify_store(store.path)
    assert answer.out.splitlines() == list(report.problems)
    assert report.damaged_keys[0] in answer.out
    assert answer.err == ""


def test_a_store_that_cannot_be_opened(featx, store, here):
    data = store.path.read_bytes()
    store.path.write_bytes(data[:-1])
    for words in (["photos"], [store.path], [store.path.name]):
        (line,) = featx("verify", *words, code=1).out.splitlines()
        assert line == verify_store(store.path).problems[0]
        assert str(store.path) in line
    facts = json.loads(featx("verify", "photos", "--json", code=1).out)
    assert facts["path"] == str(store.path)
    assert facts["problems"] == [line]
    (here / "text.h5").write_text("no store")
    assert "text.h5" in featx("verify", "text.h5", code=1).out


def test_no_such_store(featx, store):
    assert "store 'photso' is neither a file nor a store" in featx.fails("verify", "photso")
    other = store.path.with_name("broken.tiny.000000000000.h5")
    other.write_text("no store")
    assert "store 'photso' is neither a file nor a store" in featx.fails("verify", "photso")
    extract("photos", BACKBONE, layer="conv2")
    assert "is the name of 2 stores" in featx.fails("verify", "photos")


def test_json(featx, store):
    facts = json.loads(featx("verify", "photos", "--json").out)
    assert facts == {
        "path": str(store.path),
        "ok": True,
        "rows": 18,
        "bytes": verify_store(store.path).bytes,
        "problems": [],
        "damaged_rows": [],
        "damaged_keys": [],
        "recomputed": None,
    }
    spoil(store.path, [3])
    facts = json.loads(featx("verify", "photos", "--json", "--recompute", 5, code=1).out)
    report = verify_store(store.path)
    assert not facts["ok"]
    assert facts["damaged_rows"] == [list(stretch) for stretch in report.damaged_rows]
    assert facts["damaged_keys"] == list(report.damaged_keys)
    assert facts["recomputed"] is None


class TestRecompute:
    def test_all_is_well(self, featx, store):
        lines = featx("verify", "photos", "--recompute", 5, "--seed", 3, "--device", "cpu").out.splitlines()
        assert len(lines) == 2
        assert lines[0].startswith(f"{store.path}: all as it was written (18 rows, ")
        assert lines[1].startswith("5 rows computed again on cpu: largest difference ")
        assert "(at most 0.001), smallest cosine 1.0000000 (at least 0.99999)" in lines[1]

    def test_rows_out_of_tolerance_are_named(self, featx, store):
        features = np.array(store.features)
        features[4] *= np.float32(1.01)
        path = rewritten(store, features=features).path
        lines = featx("verify", path, "--recompute", 100, code=1).out.splitlines()
        assert len(lines) == 3
        assert lines[2].startswith(f"row 4, {store.keys[4]}, is out of tolerance: difference ")
        facts = json.loads(featx("verify", path, "--recompute", 100, "--json", code=1).out)
        assert not facts["ok"]
        assert facts["problems"] == []
        again = facts["recomputed"]
        (drift,) = again["drifted"]
        assert (drift["row"], drift["key"], drift["reason"]) == (4, store.keys[4], None)
        assert drift["relative"] == again["max_relative"] == pytest.approx(0.01, rel=0.05)
        assert again["rows"] == 18
        assert again["tolerance"] == {"relative": 1e-3, "cosine": 1 - 1e-5}

    def test_a_changed_image_is_skipped(self, featx, store, photos):
        picture(99).save(photos / store.keys[2])
        lines = featx("verify", "photos", "--recompute", 100).out.splitlines()
        assert lines[1].startswith("17 rows computed again on ")
        assert ", 1 skipped: largest difference " in lines[1]
        assert lines[2:] == [f"skipped {store.keys[2]}: its image has changed since"]
        facts = json.loads(featx("verify", "photos", "--recompute", 100, "--json").out)
        assert facts["ok"]
        assert facts["recomputed"]["skipped"] == [{"key": store.keys[2], "reason": "its image has changed since"}]

    def test_when_all_are_skipped_that_is_said(self, featx, store, photos):
        for number, key in enumerate(store.keys):
            picture(100 + number).save(photos / key)
        lines = featx("verify", "photos", "--recompute", 2).out.splitlines()
        assert lines[1].startswith("0 rows computed again on ")
        assert lines[1].endswith(", 2 skipped")

    def test_a_row_that_cannot_be_compared(self, featx, store):
        features = np.array(store.features)
        features[4, 0] = np.nan
        path = rewritten(store, features=features).path
        line = featx("verify", path, "--recompute", 100, code=1).out.splitlines()[2]
        assert line == f"row 4, {store.keys[4]}, is out of tolerance: it holds numbers that are not finite"

    def test_a_damaged_store_is_not_computed_again(self, featx, store):
        spoil(store.path, [3])
        lines = featx("verify", "photos", "--recompute", 2, code=1).out.splitlines()
        assert lines[1:] == ["no rows are computed again: the store is damaged"]

    def test_what_cannot_be_done_again(self, featx, photos):
        mine = extract(photos, tiny_net(), name="mine")
        line = featx.fails("verify", mine.path, "--recompute", 2)
        assert "tests.tiny:TinyNet" in line
        assert "was given as a network" in line

    @pytest.mark.parametrize("words", [["--recompute", 0], ["--recompute", "x"], ["--seed", -1]])
    def test_wrong_usage(self, featx, store, words):
        featx("verify", "photos", *words, code=2)


def test_without_recompute_no_torch_is_loaded(store):
    code = (
        "import sys; from featx.cli._app import main; assert main(sys.argv[1:]) == 0; assert 'torch' not in sys.modules"
    )
    answer = python_process("-c", code, "verify", str(store.path.absolute()))
    assert answer.returncode == 0, answer.stderr
