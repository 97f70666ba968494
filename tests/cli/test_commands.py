"""What the commands print when all is well, held against the library."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

import featx as library
from featx.cli import _extract
from featx.extraction import ENGINE_NAMES, STAGES
from tests.tiny import BACKBONE, TinyNet, write_folder


@pytest.fixture
def photos(here):
    write_folder(here / "photos", splits=("train", "test"), per_class=6)
    return "photos"


def extract(featx, *words):
    return featx("extract", "photos", "--backbone", BACKBONE, *words)


def fitted(featx, *words):
    return featx("fit-head", "photos", *words).out.splitlines()[-1]


class TestExtract:
    def test_it_says_where_what_and_how(self, featx, photos):
        lines = extract(featx).out.splitlines()
        store = library.open_store(lines[0])
        assert lines[0].startswith("cache/photos.tiny_net.")
        assert lines[1] == "  36 rows of 5 float32 from layer output, 3 classes, test 18, train 18"
        assert re.fullmatch(r"  36 new: computed 36 in \d+\.\d s \(\d+\.\d img/s\)", lines[2])
        stages = ", ".join(rf"{stage} \d+\.\d" for stage in STAGES)
        assert re.fullmatch(rf"  torch on cpu, batches of 8, \d+ threads; seconds of work: {stages}", lines[3])
        assert list(store.creation["stages"]) == sorted(STAGES)
        assert len(store) == 36
        before = TinyNet.forwards
        again = extract(featx).out.splitlines()
        assert again == [*lines[:2], "  in the cache already: nothing to compute"]
        assert TinyNet.forwards == before

    def test_what_is_kept_and_what_is_bad(self, featx, photos, here):
        extract(featx)
        for i in range(12):
            (here / "photos" / "train" / "red" / f"bad{i:02d}.png").write_text("no image")
        answer = extract(featx)
        assert "  36 kept, 12 new, 12 failed: computed 0 in " in answer.out
        lines = answer.err.splitlines()
        assert lines[0] == "12 samples could not be used and are left out:"
        assert lines[1].startswith("  train/red/bad00.png: ")
        assert len(lines) == 12
        assert lines[-1] == f"  ... `featx info {answer.out.splitlines()[0]}` lists all"

    def test_the_engines_that_can_be_asked_for(self):
        assert _extract._ENGINES[1:] == ENGINE_NAMES

    def test_as_json(self, featx, photos):
        (first,) = json.loads(extract(featx, "--json").out)
        store = library.open_store(first["path"])
        assert (first["hit"], first["computed"], first["new"], first["kept"]) == (False, 36, 36, 0)
        assert first["classes"] == {"blue": 12, "green": 12, "red": 12}
        assert first["key"] == store.spec.digest
        assert first["failures"] == []
        assert set(first["stages"]) == set(STAGES)
        assert first["stages"]["forward"] > 0
        (again,) = json.loads(extract(featx, "--json").out)
        assert again["hit"]

    def test_shards(self, featx, photos):
        path = extract(featx, "--shards", "200B").out.splitlines()[0]
        store = library.open_store(path)
        assert [len(library.open_store(shard)) for shard in store.shards] == [10, 10, 10, 6]
        size = [line.split(maxsplit=1)[1] for line in featx("info", "photos").out.splitlines() if line[:4] == "size"]
        assert len(size) == 1
        assert size[0].endswith(" KB, in 4 shards")
        (listed,) = json.loads(featx("list", "--json").out)
        assert listed["bytes"] == sum(file.stat().st_size for file in (store.path, *store.shards))
        assert "all as it was written (36 rows" in featx("verify", "photos").out
        featx("fit-head", "photos")
        store.shards[2].unlink()
        assert str(store.shards[2]) in featx.fails("fit-head", "photos")

    def test_every_option_arrives(self, featx, photos):
        words = "--layer conv2 --layer relu_1 --pool max --image-size 24 --resize pad --interpolation box"
        words += " --mean 0.1,0.2,0.3 --std 1,1,1"
        more = "--dtype float16 --engine torch --device cpu --precision fp32 --batch-size 5 --workers 1 --limit 7"
        found = json.loads(extract(featx, *words.split(), *more.split(), "--name", "mine", "--json", "--strict").out)
        assert [one["spec"]["layer"] for one in found] == ["conv2", "relu_1"]
        for one in found:
            spec, creation = one["spec"], one["creation"]
            assert one["name"] == "mine"
            assert one["shape"] == [7, 16]
            assert (spec["pool"], spec["dtype"], spec["precision"]) == ("max", "float16", "fp32")
            preprocessing = spec["preprocessing"]
            assert preprocessing["crop_size"] == preprocessing["resize_size"] == [24, 24]
            assert (preprocessing["resize"], preprocessing["mean"]) == ("pad", [0.1, 0.2, 0.3])
            assert preprocessing["interpolation"] == "box"
            assert preprocessing["std"] == [1.0, 1.0, 1.0]
            assert (creation["batch_size"], creation["workers"], creation["engine"]) == (5, 1, "torch")
        out = extract(featx, "--out", "deep/mine.h5", "--weights", "random:3").out.splitlines()[0]
        assert out == "deep/mine.h5"
        assert library.open_store(out).backbone["weights"] == "random:3"
        assert extract(featx, "--cache", "other").out.startswith("other/photos.")

    def test_no_progress_off_a_terminal(self, featx, photos):
        assert extract(featx).err == ""


class TestFitHead:
    def test_it_shows_the_figures_and_where_the_run_is(self, featx, photos):
        extract(featx)
        lines = featx("fit-head", "photos", "--cv", "3").out.splitlines()
        run = library.load(lines[-1]).run
        assert lines[0].split() == ["train", "cv"]
        assert lines[2].split() == ["samples", "18", "18"]
        rows = {" ".join(line.split()[:-4]): line.split()[-4:] for line in lines[3:]}
        for name in ("accuracy", "log_loss"):
            found = [run.metrics[part].figures[name] for part in ("train", "cv")]
            words = [word for one in found for word in (f"{one.value:.3f}", f"({one.low:.3f}–{one.high:.3f})")]
            assert rows[name.replace("_", " ")] == words
        assert f"3-fold cross-validation: accuracy {run.cv['mean']:.3f} ±" in "\n".join(lines)
        assert any(line.startswith("class (cv)   precision   recall      f1") for line in lines)

    def test_shards(self, featx, photos):
        path = extract(featx, "--shards", "200B").out.splitlines()[0]
        store = library.open_store(path)
        assert [len(library.open_store(shard)) for shard in store.shards] == [10, 10, 10, 6]
        size = [line.split(maxsplit=1)[1] for line in featx("info", "photos").out.splitlines() if line[:4] == "size"]
        assert len(size) == 1
        assert size[0].endswith(" KB, in 4 shards")
        (listed,) = json.loads(featx("list", "--json").out)
        assert listed["bytes"] == sum(file.stat().st_size for file in (store.path, *store.shards))
        assert "all as it was written (36 rows" in featx("verify", "photos").out
        featx("fit-head", "photos")
        store.shards[2].unlink()
        assert str(store.shards[2]) in featx.fails("fit-head", "photos")

    def test_every_option_arrives(self, featx, photos):
        extract(featx)
        words = "--head mlp --set max_epochs=3 --train train --val 0.5 --test test --seed 4"
        answer = featx("fit-head", "photos", *words.split(), "--out", "mine", "--json", "--cache", "cache")
        values = json.loads(answer.out)
        assert values["path"] == "mine"
        settings = values["settings"]
        assert (settings["head"], settings["seed"]) == ("mlp", 4)
        assert settings["params"] == {"max_epochs": 3}
        assert settings["rows"]["val"] == "0.5 of split train, stratified, seed 4"
        assert values["metrics"]["val"]["n"] == values["metrics"]["train"]["n"] == 9
        assert library.load("mine").run.to_dict() == {key: values[key] for key in values if key != "path"}

    def test_notes_are_messages(self, featx, photos):
        extract(featx)
        answer = featx("fit-head", "photos", "--set", "max_iter=1")
        assert "note: LogisticClassifier did not come within tol=0.0001 of the optimum" in answer.err
        assert "the 18 samples of the test split are untouched" in answer.err

    def test_a_nets_layers_and_parameters_are_shown(self, featx, photos):
        extract(featx)
        out = featx("fit-head", "photos", "--head", "mlp", "--set", "layers=dense(3) relu dense", "--out", "m").out
        assert library.load("m").run.head.summary() in out

    def test_calibrated_and_refusing(self, featx, photos):
        extract(featx)
        answer = featx(
            *("fit-head", "photos", "--head", "ridge", "--cv", "3", "--calibrate", "temperature", "--precision", "0.5"),
            *("--out", "m"),
        )
        reject = library.load("m").run.settings["reject"]
        assert f"answers below {reject['threshold']:.3f} are refused: " in answer.out


class TestEvaluate:
    def test_figures_as_a_table_and_as_json(self, featx, photos):
        extract(featx)
        run = fitted(featx)
        expected = library.evaluate(run, "photos", split="test")
        values = json.loads(featx("evaluate", run, "--json").out)
        assert values["part"] == "test"
        assert "judged 1 time before" in values["notes"][0]
        assert {key: values[key] for key in expected.to_dict()} == json.loads(json.dumps(expected.to_dict()))
        answer = featx("evaluate", run, "photos", "--split", "test")
        lines = answer.out.splitlines()
        assert lines[2].split() == ["samples", "18"]
        assert lines[3].split()[:2] == ["accuracy", f"{expected.accuracy:.3f}"]
        assert any(line.startswith("class (test)") for line in lines)
        assert "note: the test split has been judged 2 times before" in answer.err
        answer = featx("evaluate", run, "photos")
        assert answer.out.splitlines()[2].split() == ["samples", "36"]
        assert "15 of these 36 images were trained on" in answer.err


class TestPredict:
    @pytest.fixture
    def run(self, featx, photos):
        extract(featx)
        return fitted(featx)

    def test_lines_for_people(self, featx, run):
        answers = library.load(run).predict("photos/test/red")
        lines = featx("predict", run, "photos/test/red", "--top", "2").out.splitlines()
        for line, answer in zip(lines, answers, strict=True):
            first, second = list(answer.scores.items())[:2]
            assert line == f"{answer.key}: {first[1]:.0%} {first[0]}, {second[1]:.0%} {second[0]}"
        assert lines[0].startswith("photos/test/red/000.png: ")

    def test_scores_that_are_no_probabilities(self, featx, photos, run):
        ridge = fitted(featx, "--head", "ridge")
        (answer,) = library.load(ridge).predict("photos/test/red/000.png")
        name, score = next(iter(answer.scores.items()))
        assert featx("predict", ridge, "photos/test/red/000.png", "--top", "1").out == (
            f"photos/test/red/000.png: {name} ({score:.2f})\n"
        )
        assert "scores" in json.loads(featx("predict", ridge, "photos/test/red/000.png", "--json", "-").out)[0]

    def test_json_and_csv(self, featx, run, here):
        (here / "bad.jpg").write_text("no image")
        words = ["photos/test/red", "bad.jpg"]
        answers = library.load(run).predict(words)
        answer = featx("predict", run, *words, "--json", "a.json", "--csv", "a.csv")
        assert answer.out == ""
        assert answer.err.startswith("bad.jpg: cannot be used: ")
        for text in ((here / "a.json").read_text(), featx("predict", run, *words, "--json", "-").out):
            found = json.loads(text)
            assert [one["key"] for one in found] == [one.key for one in answers]
            assert [one["label"] for one in found] == [one.label for one in answers]
            assert found[0]["probabilities"] == pytest.approx(answers[0].scores)
            assert found[-1]["probabilities"] == {}
            assert found[-1]["error"] == answers[-1].error
        for text in ((here / "a.csv").read_text(), featx("predict", run, *words, "--csv", "-").out):
            rows = list(csv.DictReader(io.StringIO(text)))
            assert list(rows[0]) == ["key", "label", "blue", "green", "red", "error"]
            assert [row["key"] for row in rows] == [one.key for one in answers]
            assert float(rows[0]["red"]) == pytest.approx(answers[0].scores["red"])
            assert rows[-1] == {**dict.fromkeys(rows[0], ""), "key": "bad.jpg", "error": answers[-1].error}

    def test_only_bad_images_is_a_failure(self, featx, run, here):
        (here / "bad.jpg").write_text("no image")
        assert featx("predict", run, "bad.jpg", code=1).err.startswith("bad.jpg: cannot be used: ")


class TestStores:
    def test_list(self, featx, photos, here):
        assert "no stores in cache: `featx extract SOURCE` makes one" in featx("list").err
        path = extract(featx).out.splitlines()[0]
        lines = featx("list").out.splitlines()
        assert lines[0].split() == ["name", "key", "source", "backbone", "layer", "rows", "size", "age", "status"]
        name, key, source, *rest = lines[2].split()
        assert (name, source, rest[:3]) == ("photos", f"folder:{here / 'photos'}", [BACKBONE, "output", "36x5"])
        assert rest[-1] == "ok"
        assert library.find_store(key).path == Path(path)
        (one,) = json.loads(featx("list", "--json").out)
        assert (one["path"], one["rows"], one["status"]) == (path, 36, "ok")

    def test_a_damaged_store_does_not_stop_the_list(self, featx, photos, here):
        extract(featx)
        (here / "cache" / "broken.h5").write_text("nothing")
        lines = featx("list").out.splitlines()
        assert len(lines) == 4
        assert lines[2].startswith("broken ")
        assert "cache/broken.h5 must be an HDF5 file" in lines[2]
        assert lines[3].startswith("photos ")

    def test_info(self, featx, photos, here):
        (here / "photos" / "train" / "red" / "bad.png").write_text("no image")
        extract(featx)
        store = library.find_store("photos")
        text = featx("info", "photos").out
        assert f"spec digest     {store.spec.digest}" in text
        assert "features        36x5 float32 (NC)" in text
        assert re.search(r"^red +12$", text, re.M)
        assert re.search(r"^train/red/bad\.png +\S", text, re.M)
        values = json.loads(featx("info", "photos", "--json").out)
        assert values["failures"] == [list(failure) for failure in store.failures]
        assert values["spec"] == json.loads(store.spec.to_json())


class TestCatalog:
    def test_backbones(self, featx):
        names = featx("backbones", "torchvision:resnet*").out.split()
        assert names == library.list_backbones("torchvision:resnet*")
        assert "torchvision:resnet50" in names
        assert json.loads(featx("backbones", "torchvision:resnet*", "--json").out) == names
        tags = json.loads(featx("backbones", "torchvision:resnet50", "--tags", "--json").out)
        assert tags == {"torchvision:resnet50": ["IMAGENET1K_V2", "IMAGENET1K_V1"]}
        assert "IMAGENET1K_V2, IMAGENET1K_V1" in featx("backbones", "torchvision:resnet50", "--tags").out

    def test_layers(self, featx):
        lines = featx("layers", BACKBONE).out.splitlines()
        assert [line.split() for line in lines if line.startswith(("conv2", "output"))] == [
            ["conv2", "8x8x16", "Conv2d", "3"],
            ["output", "5", "TinyNet", "default"],
        ]
        values = json.loads(featx("layers", BACKBONE, "--image-size", "64", "--json").out)
        assert values["default"] == "output"
        assert {"name": "conv2", "shape": [16, 16, 16], "axes": "NHWC", "kind": "Conv2d", "index": 3} in values[
            "layers"
        ]

    def test_heads(self, featx):
        known = {head.name: head for head in library.list_heads()}
        found = json.loads(featx("heads", "--json").out)
        assert [one["name"] for one in found] == list(known)
        assert all(one["summary"] == known[one["name"]].summary for one in found)
        for line in featx("heads").out.splitlines()[2:]:
            assert known[line.split()[0]].summary in line
