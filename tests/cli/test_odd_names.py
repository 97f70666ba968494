"""File names of every kind come through HDF5, CSV, JSON and the terminal: exactly, or escaped in one line."""

import csv
import io
import json
import os
import sys

import h5py
import pytest

import featx as library
from tests.cli.helpers import python_process
from tests.tiny import BACKBONE, COLOURS, picture

NAMES = [
    b"plain.jpg",
    b"two words.jpg",
    b'it\'s "quoted".jpg',
    b"new\nline.jpg",
    b"return\rtab\t.jpg",
    b"escape \x1b[31mred\x1b[0m.jpg",
    b"a[bold].jpg",
    b"back\\slash\\n.jpg",
    b"-rf.jpg",
    b"--json.jpg",
    b"=cmd(),;.jpg",
    b"%s %(x)s {0} $HOME `id`.jpg",
    "emoji \U0001f408\u200d\u2b1b.jpg".encode(),
    "שלום عليكم.jpg".encode(),
    "\u202egpj.exe.jpg".encode(),
    "line\u2028separator.jpg".encode(),
    "é.jpg".encode(),
    "e\u0301.jpg".encode(),
    b"caf\xe9.jpg",
    b"\xff\xfe.jpg",
    b":smile:.jpg",
]
FOLDERS = [b"a[", b"caf\xe9", b"-up..", "日本".encode()]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")


def text(name):
    return name.decode("utf-8", "surrogateescape")


@pytest.fixture
def photos(here):
    """Class folders and images with all these names; and ``a[/b].jpg``."""
    for number, folder in enumerate(FOLDERS):
        os.makedirs(b"photos/" + folder)
        colour = list(COLOURS.values())[number % 3]
        for seed, name in enumerate([*NAMES, b"b].jpg"]):
            picture(100 * number + seed, colour).save(b"scratch.png".decode())
            os.rename("scratch.png", b"photos/" + folder + b"/" + name)
    return here / "photos"


@pytest.fixture
def keys(photos):
    # as featx sorts them: by text
    return sorted(text(folder + b"/" + name) for folder in FOLDERS for name in [*NAMES, b"b].jpg"])


@pytest.fixture
def run(featx, photos):
    featx("extract", "photos", "--backbone", BACKBONE)
    return featx("fit-head", "photos").out.splitlines()[-1]


def test_they_survive_the_store(featx, photos, keys, run):
    store = library.find_store("photos")
    assert sorted(store.keys) == keys
    assert set(store.classes) == set(map(text, FOLDERS))
    assert [store.classes[label] for label in store.labels] == [key.partition("/")[0] for key in store.keys]
    with h5py.File(store.path) as file:  # as anyone reads it
        assert sorted(file["key"].asstr(errors="surrogateescape")[:]) == keys


def test_info_and_list(featx, photos, keys, run):
    classes = json.loads(featx("info", "photos", "--json").out)["classes"]
    assert set(classes) == set(map(text, FOLDERS))
    lines = featx("info", "photos").out.splitlines()
    assert len(lines) == 13 + 1 + 2 + len(FOLDERS)
    assert any(line.startswith("caf\\udce9 ") for line in lines)
    assert json.loads(featx("list", "--json").out)[0]["classes"] == classes


def test_failures_keep_their_names(featx, photos):
    for name in NAMES:
        with open(b"photos/a[/" + name, "wb") as file:
            file.write(b"no image")
    answer = featx("extract", "photos", "--backbone", BACKBONE)
    assert len(answer.err.splitlines()) == 1 + 10 + 1
    failures = json.loads(featx("info", "photos", "--json").out)["failures"]
    assert {key for key, _ in failures} == {text(b"a[/" + name) for name in NAMES}
    lines = featx("info", "photos").out.splitlines()
    assert len(lines) == 13 + 1 + 2 + len(FOLDERS) + 1 + 2 + len(NAMES)
    assert any(line.startswith("a[/new\\nline.jpg ") for line in lines)
    assert any(line.startswith("a[/back\\\\slash\\\\n.jpg ") for line in lines)
    assert any(line.startswith("a[/:smile:.jpg ") for line in lines)
    assert not any("\x1b" in line or "\u202e" in line for line in lines)


def test_predict_as_json_csv_and_lines(featx, photos, keys, run, here):
    expected = [f"photos/{key}" for key in keys]
    answer = featx("predict", run, "photos", "--json", "a.json", "--csv", "a.csv")
    found = json.loads((here / "a.json").read_bytes())
    assert sorted(one["key"] for one in found) == expected
    assert {name for one in found for name in one["probabilities"]} == set(map(text, FOLDERS))
    data = (here / "a.csv").read_bytes()
    assert b"caf\xe9.jpg" in data  # the bytes of the name
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")))
    assert sorted(row["key"] for row in rows) == expected
    assert [row["label"] for row in rows] == [one["label"] for one in found]
    assert set(rows[0]) == {"key", "label", *map(text, FOLDERS), "error"}
    assert answer.out == ""
    lines = featx("predict", run, "photos").out.split("\n")
    assert len(lines) == len(keys) + 1
    assert all(line.isprintable() or "\u200d" in line for line in lines)


def test_files_named_one_by_one(featx, photos, run):
    words = [text(b"photos/a[/" + name) for name in NAMES]
    answer = featx("predict", run, "--json", "-", *words)
    assert [one["key"] for one in json.loads(answer.out)] == words
    os.chdir(b"photos/a[")
    words = list(map(text, NAMES))
    answer = featx("predict", "--json", "-", "--", f"../../{run}", *words)
    assert [one["key"] for one in json.loads(answer.out)] == words
    assert [one["error"] for one in json.loads(answer.out)] == [None] * len(words)


def test_errors_about_them_are_one_line(featx, here):
    for name in NAMES:
        line = featx.fails("extract", "--backbone", BACKBONE, "--", f"nowhere/{text(name)}")
        assert "\x1b" not in line
    assert "'nowhere/caf\\udce9.jpg'" in featx.fails("extract", "--", "nowhere/caf\udce9.jpg")
    assert "'new\\nline'" in featx.fails("info", "new\nline")
    assert "'new\\nline'" in featx.fails("predict", "new\nline", "a.jpg")


def test_sources_of_such_names(featx, photos, here):
    for folder in FOLDERS:
        os.makedirs(b"all/" + folder + b"/x")
        picture(3).save("scratch.png")
        os.rename("scratch.png", b"all/" + folder + b"/x/1.png")
        answer = featx("extract", "--backbone", BACKBONE, "--json", "--", f"all/{text(folder)}")
        (one,) = json.loads(answer.out)
        assert one["path"].isprintable()
        assert one["source"]["identity"].endswith(f"all/{text(folder)}")
        assert len(featx("info", one["path"]).out.splitlines()) >= 13
    out = "caf\udce9 [1].h5"
    assert featx("extract", "photos", "--backbone", BACKBONE, "--out", out).out.startswith("caf\\udce9 [1].h5\n")
    assert json.loads(featx("info", out, "--json").out)["path"] == out


SCRIPT = """
import json, sys
from featx.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as end:
        sys.stdout.buffer.write(f"\\x1e{end.code}\\x1e".encode())
        sys.stdout.buffer.flush()
"""


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, id="C"),
        pytest.param({"PYTHONIOENCODING": "ascii"}, id="ascii", marks=pytest.mark.slow),
        pytest.param({"PYTHONIOENCODING": "latin-1"}, id="latin-1", marks=pytest.mark.slow),
    ],
)
def test_terminals_that_know_little(photos, keys, run, here, environment):
    commands = [
        ["predict", run, "photos"],
        ["predict", run, "photos", "--csv", "-"],
        ["info", "photos"],
        ["list"],
        ["fit-head", "photos", "--cv", "2"],
        ["heads"],
        ["predict", "caf\udce9 \U0001f408", "a.jpg"],
    ]
    answer = python_process("-c", SCRIPT, json.dumps(commands), cwd=here, **environment)
    assert answer.returncode == 0, answer.stderr
    *pieces, rest = answer.stdout.split(b"\x1e")
    assert rest == b""
    outputs, codes = pieces[::2], pieces[1::2]
    assert codes == [b"0"] * 6 + [b"1"]
    assert answer.stderr.count(b"\n") == 1
    assert b"caf\\udce9" in answer.stderr
    assert outputs[0].count(b"\n") == len(keys)
    rows = list(csv.DictReader(io.StringIO(outputs[1].decode("utf-8", "surrogateescape"), newline="")))
    assert sorted(row["key"] for row in rows) == [f"photos/{key}" for key in keys]
    assert all(outputs[2:6])
