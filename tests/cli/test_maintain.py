import csv
import json
import os
import time

import click
import numpy as np
import pytest
from click.testing import CliRunner

from featx.cli._maintain import FORMATS, export, import_command, merge, prune
from featx.errors import FeatxError
from featx.store import EXPORT_SUFFIXES, SampleTable, open_store, store_path
from tests.store.helpers import make_features, make_spec, make_table, save


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_store(cache, name, prefix="", **changes):
    table = make_table(7)
    samples = SampleTable(
        keys=tuple(prefix + key for key in table.keys),
        labels=table.labels,
        classes=table.classes,
        splits=table.splits,
        sizes=table.sizes,
        mtimes_ns=table.mtimes_ns,
    )
    path = store_path(cache, name=name, identity=f"folder:/none/{name}", spec=make_spec())
    source = {"name": name, "identity": f"folder:/none/{name}"}
    return save(path, make_features(7), samples=samples, source=source, **changes)


def run(command: click.Command, *arguments: str, code: int = 0):
    result = CliRunner().invoke(command, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("to", FORMATS)
def test_export_writes_into_the_current_folder(cache, to):
    store = make_store(cache, "photos")
    result = run(export, "photos", "--to", to)
    name = f"{store.path.stem}{EXPORT_SUFFIXES[to]}"
    assert os.path.getsize(name) > 0
    assert result.stdout.splitlines()[0] == name
    assert result.stdout.splitlines()[1].startswith("  7 rows, ")
    with pytest.raises(FeatxError, match="is there already"):
        run(export, "photos", "--to", to)
    run(export, "photos", "--to", to, "--overwrite")


def test_export_for_the_projector(cache):
    store = make_store(cache, "photos")
    folder = f"{store.path.stem}.projector"
    result = run(export, "photos", "--to", "projector")
    assert result.stdout == f"{folder}\n  7 rows, no images\n"
    assert "without images: the source of" in result.stderr
    assert os.path.getsize(f"{folder}/tensors.bytes") == store.features.nbytes
    with pytest.raises(FeatxError, match="is there already"):
        run(export, "photos", "--to", "projector")
    facts = json.loads(run(export, "photos", "--to", "projector", "--split", "val", "--json").stdout)
    assert facts == {"path": f"{store.path.stem}.val.projector", "to": "projector", "rows": 3, "image_side": None}
    run(export, "photos", "--to", "projector", "--overwrite", "--out", folder)


def test_export_of_a_split(cache):
    store = make_store(cache, "photos")
    facts = json.loads(run(export, "photos", "--to", "csv", "--split", "val", "--json").stdout)
    assert facts["path"] == f"{store.path.stem}.val.csv"
    assert facts["rows"] == 3
    assert facts["bytes"] == os.path.getsize(facts["path"])
    with open(facts["path"], newline="") as file:
        assert [row["key"] for row in csv.DictReader(file)] == ["cat/0.jpg", "dog/3.jpg", "cat/6.jpg"]
    run(export, "photos", "--to", "npz", "--out", "x.npz")
    assert np.array_equal(np.load("x.npz")["features"], store.features)
    assert "Invalid value for '--to'" in run(export, "photos", "--to", "xlsx", code=2).output


def test_import_makes_a_store_in_the_cache(cache):
    np.save("a.npy", make_features(3, 4))
    with open("labels.txt", "w") as file:
        file.write("x\ny\nx\n")
    result = run(import_command, "a.npy", "--labels", "labels.txt", "--name", "clip")
    (path,) = cache.iterdir()
    assert result.stdout.splitlines() == [str(path), "  3 rows of 4 float32, 2 classes"]
    facts = json.loads(run(import_command, "a.npy", "--out", "b.h5", "--json").stdout)
    assert facts["rows"] == 3
    assert facts["spec"]["backbone"] == "imported:a"
    with pytest.raises(FeatxError, match=r"b\.h5 is there already"):
        run(import_command, "a.npy", "--out", "b.h5")
    run(import_command, "a.npy", "--out", "b.h5", "--overwrite")


def test_merge_takes_names_of_stores(cache):
    make_store(cache, "a"), make_store(cache, "b", prefix="b/")
    result = run(merge, "a", "b", "--out", "c.h5")
    assert result.stdout.splitlines() == ["c.h5", "  14 rows of 5 float32, 2 classes"]
    facts = json.loads(run(merge, "a", "b", "--out", "d.h5", "--name", "all", "--prefix", "--json").stdout)
    assert facts["source"]["name"] == "all"
    assert open_store("d.h5").keys[7] == "b/b/cat/0.jpg"
    assert "Missing option '--out'" in run(merge, "a", "b", code=2).output


def test_prune_removes_only_with_yes(cache):
    path = make_store(cache, "a").path
    os.utime(path, (time.time() - 31 * 86400,) * 2)
    kept = make_store(cache, "b").path
    result = run(prune, "--older-than", "30d")
    assert str(path) in result.stdout
    assert "older than asked for" in result.stdout
    assert str(kept) not in result.stdout
    assert result.stderr.startswith("nothing is removed yet: ")
    assert path.exists()
    facts = json.loads(run(prune, "--older-than", "4.5w", "--json").stdout)
    assert facts == {"removed": False, "bytes": 0, "items": []}
    facts = json.loads(run(prune, "--older-than", "30 D", "--max-size", "1TB", "--json", "--yes").stdout)
    assert facts["items"][0]["path"] == str(path)
    assert facts["items"][0]["removed"]
    assert facts["bytes"] > 1000
    assert not path.exists()
    assert run(prune, "--older-than", "30d", "--yes").stderr == "removed 0 of 0: 0 B\n"
    assert run(prune, "--broken").stderr == "nothing to remove\n"
    assert run(prune, "--orphaned", "--yes").stderr.startswith("removed 1 of 1: ")
    assert not kept.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say what could go: --older-than, --max-size, --broken or --orphaned"),
        (("--yes",), "say what could go"),
        (("--older-than", "30"), "'30' must be a number and one of s, min, h, d, w, such as 30d"),
        (("--older-than", "-1d"), "must be a number"),
        (("--max-size", "10GiB"), "'10GiB' must be a number and one of B, KB, MB, GB, TB, such as 10GB"),
    ],
)
def test_prune_says_what_it_needs(cache, arguments, words):
    assert words in " ".join(run(prune, *arguments, code=2).output.split())


def test_the_formats_are_those_of_the_library():
    assert tuple(EXPORT_SUFFIXES) == FORMATS


@pytest.mark.parametrize("command", [export, import_command, merge, prune])
def test_each_has_an_example(command):
    assert "Example" in run(command, "--help").output


def test_merge_and_import_put_features_into_shards(cache, tmp_path):
    make_store(cache, "a")
    make_store(cache, "b", prefix="b")
    run(merge, "a", "b", "--out", "both.h5", "--shards", "3")
    store = open_store("both.h5")
    assert len(store.shards) == 3
    np.save("clip.npy", make_features(9, 3))
    run(import_command, "clip.npy", "--out", "clip.h5", "--shards", "60B")
    assert [len(open_store(shard)) for shard in open_store("clip.h5").shards] == [5, 4]
    with pytest.raises(FeatxError, match="shards must be a number of files, at least 1, or the most bytes of each"):
        run(import_command, "clip.npy", "--out", "clip.h5", "--overwrite", "--shards", "some")
