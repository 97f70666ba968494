"""What is answered is what the library answers."""

import base64
import io
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import featx
from featx.heads import LinearClassifier, LinearRegressor
from featx.store import list_stores
from featx.studio._answers import Answerer
from tests.prediction.helpers import make_run
from tests.studio.helpers import Visitor, encoded
from tests.tiny import BACKBONE, COLOURS, picture, write_folder


def shown(address):
    kind, _, data = address.partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.fixture(scope="module")
def store(home):
    return featx.open_store(*list_stores(home / "cache"))


@pytest.fixture
def answerer(home):
    return Answerer(home / "runs" / "mine", home / "cache")


def test_label_and_probabilities_are_the_predictors(home, answerer, tmp_path):
    for seed, colour in enumerate(COLOURS.values()):
        path = tmp_path / f"{seed}.png"
        picture(1000 + seed, colour).save(path)
        got = answerer.answer(path.read_bytes())
        (expected,) = featx.load(home / "runs" / "mine").predict(path)
        assert got["text"] == expected.text(1)
        assert [one["name"] for one in got["numbers"]] == list(expected.scores)
        np.testing.assert_allclose([one["share"] for one in got["numbers"]], list(expected.scores.values()), atol=1e-6)
        assert got["numbers"][0]["text"] == f"{max(expected.scores.values()):.1%}"
        assert got["accepted"]


def test_neighbours_are_the_nearest_of_the_store_with_their_pictures(home, store, answerer, tmp_path):
    path = tmp_path / "new.png"
    picture(1000, COLOURS["red"]).save(path)
    got = answerer.answer(path.read_bytes())
    (expected,) = featx.neighbors(store, path, k=6)
    assert [(one["key"], one["label"]) for one in got["neighbors"]] == [
        (one.key, one.label) for one in expected.neighbors
    ]
    assert [one["split"] for one in got["neighbors"]] == [one.key.partition("/")[0] for one in expected.neighbors]
    np.testing.assert_allclose(
        [one["distance"] for one in got["neighbors"]], [one.distance for one in expected.neighbors], atol=1e-6
    )
    assert got["note"] is None
    photos = {key: np.asarray(Image.open(home / "photos" / key), int) for key in store.keys}
    for one in got["neighbors"]:
        image = np.asarray(shown(one["picture"]).convert("RGB"))
        assert min(photos, key=lambda key: np.abs(photos[key] - image).mean()) == one["key"]


def test_an_image_of_the_store_is_told_and_is_no_neighbour_of_itself(home, store, answerer):
    got = answerer.answer((home / "photos" / store.keys[3]).read_bytes())
    assert got["note"] == f"The image itself is in the store, as {store.keys[3]}."
    assert store.keys[3] not in [one["key"] for one in got["neighbors"]]
    assert len(got["neighbors"]) == 6


def test_pictures_are_as_featx_sees_them(answerer):
    turned = Image.new("RGB", (40, 20), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    assert shown(answerer.answer(encoded(turned, exif=exif))["picture"]).size == (20, 40)
    clear = shown(answerer.answer(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0))))["picture"])
    assert np.asarray(clear.convert("RGB")).min() > 250
    wide = shown(answerer.answer(encoded(picture(0, size=(1000, 500)), "TIFF"))["picture"])
    assert wide.size == (192, 96)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<svg onload=alert(1)>", r"not an image of a known format: starts with b'<svg onload=aler'"),
        (encoded(picture(0))[:300], "cannot be decoded"),
    ],
)
def test_a_bad_image_is_answered_with_the_reason(answerer, data, reason):
    got = answerer.answer(data)
    assert list(got) == ["error"]
    assert reason in got["error"]


def test_bombs_are_refused(answerer, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    assert "too large" in answerer.answer(encoded(picture(0)))["error"]


@pytest.fixture(scope="module")
def linear(store):
    X = store.features[:].astype(np.float64)
    coef = np.random.default_rng(0).standard_normal((3, X.shape[1])) / X.std(axis=0)
    return coef, -coef @ X.mean(axis=0)


@pytest.mark.parametrize("task", ["unsure", "scores", "multilabel", "regression"])
def test_all_kinds_of_answers(home, store, linear, tmp_path, task):
    several = task == "multilabel"
    kind = {"scores": "none", "multilabel": "sigmoid"}.get(task, "softmax")
    head = (
        LinearRegressor(*linear)
        if task == "regression"
        else LinearClassifier(*linear, range(3), link=kind, multilabel=several)
    )
    more = (
        {"reject": {"threshold": 1.1, "wanted": 0.9, "precision": [0.9], "coverage": [0.5]}} if task == "unsure" else {}
    )
    made = make_run(head, [store], task=task if task in ("multilabel", "regression") else "classification", **more)
    answerer = Answerer(made.save(tmp_path / "run"), home / "cache")
    path = home / "photos" / store.keys[0]
    got, (expected,) = answerer.answer(path.read_bytes()), featx.load(made).predict(path)
    assert got["accepted"] == (task != "unsure")
    assert (
        got["text"]
        == {
            "unsure": f"unsure ({max(expected.scores.values(), default=0):.0%} {expected.label})",
            "multilabel": ", ".join(expected.labels) or "none of the classes",
            "regression": ", ".join(f"{name} {value:.4g}" for name, value in expected.values.items()),
            "scores": expected.text(1),
        }[task]
    )
    assert [one["name"] for one in got["numbers"]] == list(expected.scores)
    assert {one["share"] is None for one in got["numbers"]} == ({task == "scores"} if expected.scores else set())


def test_without_its_store_or_its_images_a_run_still_answers(home, tmp_path):
    write_folder(tmp_path / "photos", per_class=2)
    store = featx.extract(tmp_path / "photos", BACKBONE, cache=tmp_path / "cache")
    run = featx.fit_head(store).save(tmp_path / "runs" / "one")
    cache, data = tmp_path / "cache", encoded(picture(0))
    shutil.rmtree(tmp_path / "photos")
    got = Answerer(run, cache).answer(data)
    assert "cannot be opened again" in got["note"]
    assert [one["picture"] for one in got["neighbors"]] == [None] * 6
    shutil.rmtree(tmp_path / "cache")
    got = Answerer(run, cache).answer(data)
    assert got["note"] == f"No neighbours are shown: store photos is not there any more ({store.path})"
    assert got["neighbors"] == []
    assert got["numbers"]


def test_a_run_whose_network_cannot_be_had_says_so(visitor, home, store, tmp_path):
    from tests.fitting.helpers import clouds, write

    made = write(
        tmp_path / "cache" / "toy.toy.000000000000.h5", *clouds(60), backbone={"name": "gone:net", "weights": None}
    )
    featx.fit_head(made).save(tmp_path / "runs" / "one")
    other = Visitor(tmp_path / "cache", tmp_path / "runs")
    refused = other.post(f"{other.run}/answer", encoded(picture(0)))
    other.pages.close(wait=True)
    assert refused.status_code == 422
    assert "gone" in refused.json["error"]


def test_runs_are_loaded_once_and_asked_one_at_a_time(visitor, monkeypatch):
    loads, inside, most = [], [], []

    class Watched(Answerer):
        def __init__(self, *given):
            loads.append(given)
            super().__init__(*given)
            predict = self._predictor.predict

            def watched(images):
                inside.append(1)
                most.append(len(inside))
                answer = predict(images)
                inside.pop()
                return answer

            self._predictor.predict = watched

    monkeypatch.setattr("featx.studio._app.Answerer", Watched)
    data = [encoded(picture(seed)) for seed in range(8)]
    address = f"{visitor.run}/answer"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: visitor.post(address, each).json, data))
    assert len(loads) == 1
    assert most == [1] * 8
    alone = [visitor.post(address, each).json for each in data]
    assert answers == alone


def test_another_run_in_its_place_is_loaded(home, tmp_path):
    shutil.copytree(home / "runs", tmp_path / "runs")
    visitor, data = Visitor(home / "cache", tmp_path / "runs"), encoded(picture(0))
    before = visitor.post(f"{visitor.run}/answer", data).json
    store = featx.open_store(*list_stores(home / "cache"))
    featx.fit_head(store, "logistic", params={"C": 1e-6}).save(tmp_path / "runs" / "mine")
    after = visitor.post(f"{visitor.run}/answer", data).json
    visitor.pages.close(wait=True)
    assert before["numbers"] != after["numbers"]


def test_names_are_written_as_escapes(home, store, linear, tmp_path):
    made = make_run(
        LinearClassifier(*linear, range(3), link="softmax"), [store], classes=("a\nb", "\u202egnp", "caf\udce9")
    )
    got = Answerer(made.save(tmp_path / "run"), home / "cache").answer(encoded(picture(0)))
    assert {one["name"] for one in got["numbers"]} == {r"a\nb", r"\u202egnp", r"caf\udce9"}
    assert got["text"].partition("% ")[2] == got["numbers"][0]["name"]
