"""TensorBoard's own plugin reads back what is exported for it."""

import json
from types import SimpleNamespace
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image
from werkzeug.test import Client

import featx
from featx.errors import ParameterError, StoreError
from featx.reports import _projector, export_projector
from tests.fitting.helpers import clouds, write
from tests.store.helpers import make_features, make_labelled, make_spec, save
from tests.tiny import BACKBONE, picture, write_folder

FILES = {"projector_config.pbtxt", "metadata.tsv", "tensors.bytes"}


class Projector:
    """TensorBoard's plugin, asked as its page asks it."""

    def __init__(self, folder):
        from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin

        plugin = ProjectorPlugin(SimpleNamespace(data_provider=None, logdir=str(folder)))
        self._apps = plugin.get_plugin_apps()
        assert json.loads(self.get("/runs").data) == ["."]
        (self.info,) = json.loads(self.get("/info").data)["embeddings"]

    def get(self, route, **words):
        answer = Client(self._apps[route]).get(f"{route}?{urlencode({'run': '.', **words})}")
        assert answer.status_code == 200, answer.data
        return answer

    def tensor(self):
        data = self.get("/tensor", name=self.info["tensorName"], num_rows=100_000).data
        return np.frombuffer(data, "<f4").reshape(-1, self.info["tensorShape"][1])

    def metadata(self):
        data = self.get("/metadata", name=self.info["tensorName"], num_rows=100_000).data
        return [line.split("\t") for line in data.decode().removesuffix("\n").split("\n")]

    def sprite(self):
        return self.get("/sprite_image", name=self.info["tensorName"])


def pixels(path):
    with Image.open(path) as image:
        return np.array(image)


def test_the_plugin_reads_features_names_and_images(tmp_path):
    photos = write_folder(tmp_path / "photos", splits=("train", "val"), per_class=3)
    store = featx.extract(photos, BACKBONE, cache=tmp_path / "cache")
    made = export_projector(store, tmp_path / "logs")
    assert (made.rows, made.left_out, made.side, made.problem) == (18, 0, 40, None)
    assert {file.name for file in made.folder.iterdir()} == FILES | {"sprite.png"}
    projector = Projector(made.folder)
    assert projector.info["tensorName"] == "photos"
    assert projector.info["tensorShape"] == [18, store.features.shape[1]]
    np.testing.assert_array_equal(projector.tensor(), store.features)
    head, *lines = projector.metadata()
    assert head == ["key", "label", "split"]
    assert lines == [
        [key, store.classes[label], split]
        for key, label, split in zip(store.keys, store.labels, store.splits, strict=True)
    ]
    answer = projector.sprite()
    assert answer.content_type == "image/png"
    sprite = pixels(made.folder / "sprite.png").astype(int)
    assert projector.info["sprite"]["singleImageDim"] == [40, 40]  # they are 40 x 32
    assert sprite.shape == (4 * 40, 5 * 40, 3)  # the plugin's page finds images row by row
    for row in range(18):
        tile = sprite[row // 5 * 40 :, row % 5 * 40 :][:40, :40]
        with Image.open(photos / store.keys[row]) as image:
            np.testing.assert_array_equal(tile[4:36], np.asarray(image))
        assert (tile[:4] == 255).all()
        assert (tile[36:] == 255).all()
    assert (sprite[3 * 40 :, 3 * 40 :] == 255).all()


def test_names_do_not_break_lines_or_the_configuration(tmp_path):
    names = ["tab\there", "line\nfeed", "carriage\rreturn", "caf\udce9", "\u2028", '"quoted\\"']
    X, y = clouds(6)
    store = write(tmp_path / 'a "\\ \u00e4.toy.000000000000.h5', X, y, classes=["a\tb", "c\nd", "e"], keys=names)
    made = export_projector(store, tmp_path / "logs")
    projector = Projector(made.folder)
    assert projector.info["tensorName"] == "a_____"
    head, *lines = projector.metadata()
    assert head == ["key", "label"]
    assert [line[0] for line in lines] == [
        *("tab\\there", "line\\nfeed", "carriage\\rreturn", "caf\\udce9", "\\u2028", '"quoted\\"'),
    ]
    assert [line[1] for line in lines[:3]] == ["a\\tb", "c\\nd", "e"]


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_several_labels_and_numbers(task, tmp_path):
    store = save(tmp_path / "a.h5", samples=make_labelled(task))
    head, *lines = Projector(export_projector(store, tmp_path / "logs").folder).metadata()
    if task == "multilabel":
        assert head == ["key", "label", "split", "group"]
        assert lines[3][1:] == ["a, b", "val", ""]
    else:
        assert head == ["key", "value0", "value1", "split", "group"]
        assert [float(cell) for cell in lines[3][1:3]] == [1.0, -3e300]
        assert lines[6][1:3] == ["", ""]


def test_keys_alone_have_no_head(tmp_path):
    store = write(tmp_path / "a.h5", clouds(3)[0], [-1] * 3)
    assert Projector(export_projector(store, tmp_path / "logs").folder).metadata() == [[key] for key in store.keys]


@pytest.mark.parametrize(("shape", "axes"), [((3, 3, 5), "NHWC"), ((2, 5), "NVC")])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_maps_are_averaged_and_views_are_plain(shape, axes, dtype, tmp_path):
    views = {"views": 2, "augment": "hflip"} if "V" in axes else {}
    array = make_features(7, *shape, dtype=dtype)
    store = save(tmp_path / "a.h5", array, axes=axes, spec=make_spec(dtype, **views))
    made = export_projector(store, tmp_path / "logs", split="val")
    rows = store.select("val")
    wanted = array[rows, 0] if "V" in axes else array[rows].mean(axis=(1, 2), dtype=np.float32)
    np.testing.assert_allclose(Projector(made.folder).tensor(), wanted, rtol=1e-6)
    assert made.rows == len(rows)


def test_numbers_whose_bytes_are_text_are_written_as_text(tmp_path):
    X = np.full((4, 3), 0.5, dtype=np.float32)  # 00 00 00 3f
    made = export_projector(write(tmp_path / "a.h5", X, [0] * 4), tmp_path / "logs")
    assert (made.folder / "tensors.tsv").exists()
    np.testing.assert_array_equal(Projector(made.folder).tensor(), X)
    X[2, 1] = 1 / 3
    made = export_projector(write(tmp_path / "b.h5", X, [0] * 4), tmp_path / "logs", overwrite=True)
    assert {file.name for file in made.folder.iterdir()} == FILES
    np.testing.assert_array_equal(Projector(made.folder).tensor(), X)


def test_what_is_not_finite_is_left_out(tmp_path):
    X, y = clouds(9)
    X[3, 2], X[5] = np.nan, np.inf
    store = write(tmp_path / "a.h5", X, y)
    made = export_projector(store, tmp_path / "logs")
    assert (made.rows, made.left_out) == (7, 2)
    projector = Projector(made.folder)
    np.testing.assert_array_equal(projector.tensor(), np.delete(X, [3, 5], axis=0))
    assert [line[0] for line in projector.metadata()[1:]] == [
        key for i, key in enumerate(store.keys) if i not in (3, 5)
    ]
    with pytest.raises(ParameterError, match="store must have finite features to export"):
        export_projector(write(tmp_path / "b.h5", X * np.nan, y), tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


def test_of_many_samples_some_are_written_and_images_are_smaller(tmp_path, monkeypatch):
    photos = write_folder(tmp_path / "photos", per_class=5)
    store = featx.extract(photos, BACKBONE, cache=tmp_path / "cache")
    monkeypatch.setattr(_projector, "_MOST", 10)
    monkeypatch.setattr(_projector, "_SPRITE", 100)
    made = export_projector(store, tmp_path / "logs")
    assert (made.rows, made.left_out, made.side) == (10, 5, 25)
    np.testing.assert_array_equal(Projector(made.folder).tensor(), store.features[np.arange(10) * 15 // 10])
    assert pixels(made.folder / "sprite.png").shape == (75, 100, 3)


def test_large_images_are_made_smaller(tmp_path):
    root = tmp_path / "photos" / "a"
    root.mkdir(parents=True)
    for number in range(3):
        picture(number, size=(200, 100)).save(root / f"{number}.png")
    store = featx.extract(tmp_path / "photos", BACKBONE, cache=tmp_path / "cache")
    made = export_projector(store, tmp_path / "logs")
    assert made.side == 64
    sprite = pixels(made.folder / "sprite.png").astype(int)
    for row in range(3):
        tile = sprite[row // 2 * 64 :, row % 2 * 64 :][:64, :64]
        with Image.open(root / f"{row}.png") as image:
            small = np.asarray(image.resize((64, 32), Image.Resampling.BOX), dtype=int)
        assert np.abs(tile[16:48] - small).mean() < 2
        assert (tile[:16] == 255).all()


def test_without_images_there_is_no_picture(tmp_path):
    photos = write_folder(tmp_path / "photos", per_class=2)
    store = featx.extract(photos, BACKBONE, cache=tmp_path / "cache")
    moved = photos.rename(tmp_path / "elsewhere")
    made = export_projector(store, tmp_path / "logs")
    assert made.side is None
    assert "cannot be opened again" in made.problem
    assert "sprite" not in Projector(made.folder).info
    picture(99).save(moved / store.keys[0])  # is another image now
    made = export_projector(store, tmp_path / "logs", overwrite=True, source=featx.open_source(moved))
    sprite = pixels(made.folder / "sprite.png")
    assert (sprite[:40, :40] == 255).all()
    assert (sprite[20, 40:80] < 255).any()


def test_files_that_are_there_stay(tmp_path):
    store = write(tmp_path / "a.h5", *clouds(5))
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "events.out").write_text("mine")
    export_projector(store, folder)
    before = (folder / "tensors.bytes").read_bytes()
    with pytest.raises(ParameterError, match=r"projector_config\.pbtxt is there already: give another folder"):
        export_projector(store, folder)
    damaged = tmp_path / "b.h5"
    damaged.write_bytes((tmp_path / "a.h5").read_bytes().replace(before[:20], before[:19] + b"\7"))
    with pytest.raises(StoreError, match="is damaged"):
        export_projector(featx.open_store(damaged), folder, overwrite=True)
    assert (folder / "tensors.bytes").read_bytes() == before
    assert {file.name for file in folder.iterdir()} == FILES | {"events.out"}
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        export_projector(store, tmp_path / "file")
