"""Contestants in processes of their own: what is measured of them, and what becomes of those that fail."""

import sys
import textwrap

import numpy as np
import pytest

from tests.scripts.conftest import SCRIPTS

CONTESTANT = """
import sys
import time
sys.path.insert(0, {scripts!r})
import numpy as np
from bench.contestants import Result
from bench.host import serve
from bench.photos import image_files

class Toy:
    runs = 0

    def prepare(self, folder):
        self.keys = [path.relative_to(folder).as_posix() for path in image_files(folder)]

    def run(self, folder):
        Toy.runs += 1
        print("what a contestant prints is no answer")
        features = np.array([[len(key), sum(map(ord, key))] for key in self.keys], np.float32)
        {body}
        return Result(self.keys, features, stages={{"prepare": 0.01}})

serve(Toy)
"""


@pytest.fixture
def begin(bench, tmp_path):
    """Return what starts a contestant that does, beside what it should, what its name says in `bodies`."""

    def start(name, bodies=()):
        body = textwrap.indent(textwrap.dedent(dict(bodies).get(name, "")), " " * 8).strip() or "pass"
        code = CONTESTANT.format(scripts=str(SCRIPTS), body=body)
        return bench.host.Host([sys.executable, "-c", code], tmp_path / f"{name}.log")

    return start


@pytest.fixture
def images(bench, tmp_path):
    bench.photos.make_photos(tmp_path / "made", 6, (32, 32))
    return tmp_path / "made"


def test_a_run_is_watched_from_outside(begin, images, tmp_path):
    work = """
    memory = np.ones(2**25, np.uint8)
    while time.process_time() < 1.5:
        memory += 1
    """
    host = begin("busy", [("busy", work)])
    try:
        answer = host.run(images)
    finally:
        host.close()
    assert len(answer.keys) == 6
    assert answer.features.shape == (6, 2)
    assert answer.seconds >= answer.usage.cpu * 0.5
    assert answer.usage.cpu > 0.5
    assert 32 < answer.usage.peak < 300
    assert host.loading > 0
    assert "no answer" in (tmp_path / "busy.log").read_text()


def test_memory_and_time_of_children_count(begin, images):
    work = """
    import subprocess
    child = "import time; memory = bytearray(bytes(1) * 2**26); end = time.time() + 0.6"
    subprocess.run([sys.executable, "-c", child + chr(10) + "while time.process_time() < 0.6: pass"])
    """
    host = begin("parent", [("parent", work)])
    try:
        usage = host.run(images).usage
    finally:
        host.close()
    assert usage.peak > 64
    assert usage.cpu > 0.5


def test_contestants_take_turns(bench, begin, images, tmp_path):
    match = bench.match.Match(["one", "two"], begin, images, tmp_path, count=4, seconds=1)
    for turn in range(2):
        match.play(turn)
    match.close()
    assert match.count == 4
    assert match.failures == {}
    assert [len(figures.answers) for figures in match.found.values()] == [2, 2]
    assert match.found["two"].worst.error == 0
    assert match.found["two"].counts
    two = match.found["two"]
    assert two.seconds() == pytest.approx(np.median([answer.seconds for answer in two.answers]) - 0.01)
    assert two.startup >= two.loading


def test_wrong_features_do_not_count(bench, begin, images, tmp_path):
    wrong = [("wrong", "features = features[::-1].copy()")]
    match = bench.match.Match(["right", "wrong"], lambda name: begin(name, wrong), images, tmp_path, count=6, seconds=1)
    match.play(0)
    match.close()
    assert not match.found["wrong"].counts


def test_who_fails_is_named_and_the_others_go_on(bench, begin, images, tmp_path):
    bodies = [
        ("raises", "raise KeyError('no such thing')"),
        ("dies", "import os; os._exit(3)"),
        ("later", "assert Toy.runs < 2, 'only once'"),
        ("fewer", "self.keys, features = self.keys[1:], features[1:]"),
    ]

    def start(name):
        if name == "absent":
            raise bench.peers.UnavailableError("cannot be installed: no such package")
        return begin(name, bodies)

    names = ["right", "raises", "dies", "absent", "later", "fewer"]
    match = bench.match.Match(names, start, images, tmp_path, count=6, seconds=1)
    match.play(0)
    match.play(1)
    match.close()
    assert list(match.found) == ["right"]
    assert len(match.found["right"].answers) == 2
    assert match.failures["raises"] == "KeyError: 'no such thing'"
    assert match.failures["dies"].startswith("ended by itself")
    assert match.failures["absent"] == "cannot be installed: no such package"
    assert match.failures["later"] == "AssertionError: only once"
    assert "5 of the reference's 6 images" in match.failures["fewer"]


def test_without_the_reference_there_is_no_match(bench, begin, images, tmp_path):
    match = bench.match.Match(
        ["broken", "right"],
        lambda name: begin(name, [("broken", "raise OSError('gone')")]),
        images,
        tmp_path,
        count=6,
        seconds=1,
    )
    match.play(0)
    match.close()
    assert match.found == {}
    assert match.failures == {"broken": "OSError: gone"}
