import builtins
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from featx.errors import MissingDependencyError, SampleError, SourceError
from featx.sources import HuggingFaceSource, open_source

from .helpers import encoded, listing, write_folder

datasets = pytest.importorskip("datasets")
PICTURES = [encoded(np.full((2, 2), value, np.uint8)) for value in range(4)]


def table(rows, labels, *, image="image", feature=None, **more):
    features = {image: datasets.Image(), "label": feature or datasets.ClassLabel(names=["cat", "dog", "bird"])}
    columns = {image: [row if row is None else {"bytes": row, "path": None} for row in rows], "label": labels}
    features.update(dict.fromkeys(more, datasets.Value("string")))
    return datasets.Dataset.from_dict({**columns, **more}, datasets.Features(features))


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")


@pytest.fixture
def saved(tmp_path):
    splits = {
        "train": table(PICTURES[:2], [1, 0], caption=["x", "y"]),
        "validation": table(PICTURES[2:], [-1, 1], caption=["z", "w"]),
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "pets")
    return tmp_path / "pets"


def test_a_saved_data_set_with_splits(saved, monkeypatch):
    source = open_source(f"hf:{saved}")
    assert listing(source) == [
        ("train/00000000", "dog", "train", -1),
        ("train/00000001", "cat", "train", -1),
        ("validation/00000000", None, "val", -1),
        ("validation/00000001", "dog", "val", -1),
    ]
    assert source.classes == ("bird", "cat", "dog")
    assert [source.read(row) for row in range(4)] == PICTURES
    assert source.samples[0].mtime_ns == max(path.stat().st_mtime_ns for path in saved.glob("train/*.arrow"))
    assert source.name == "pets"
    monkeypatch.chdir(saved.parent)
    assert open_source("hf:pets").identity == source.identity == f"hf:{saved.resolve()}"
    assert [pickle.loads(pickle.dumps(source)).read(row) for row in range(4)] == PICTURES


def test_a_single_table_with_plain_labels(tmp_path):
    table(PICTURES[:2], ["b", None], image="img", feature=datasets.Value("string")).save_to_disk(tmp_path / "x")
    assert listing(open_source(f"hf:{tmp_path}/x")) == [("00000000", "b", None, -1), ("00000001", None, None, -1)]


def test_rows_in_another_order_keep_their_labels(tmp_path):
    table(PICTURES, [0, 1, 2, 0]).select([3, 2, 1]).save_to_disk(tmp_path / "x")
    source = open_source(f"hf:{tmp_path}/x")
    assert [sample.label for sample in source.samples] == ["cat", "bird", "dog"]
    assert [source.read(row) for row in range(3)] == [PICTURES[3], PICTURES[2], PICTURES[1]]


def test_a_folder_that_load_dataset_takes(tmp_path):
    folder = write_folder(tmp_path / "imgs", {"train/cat/1.png": PICTURES[0], "train/dog/2.png": PICTURES[1]})
    source = open_source(f"hf:{folder}")
    assert [(sample.label, sample.split) for sample in source.samples] == [("cat", "train"), ("dog", "train")]
    assert [source.read(0), source.read(1)] == PICTURES[:2]
    Path(folder / "train/cat/1.png").unlink()
    with pytest.raises(SampleError, match="no such file"):
        source.read(0)


def test_missing_and_damaged_images(tmp_path):
    table([None, b"no image"], [0, 1]).save_to_disk(tmp_path / "x")
    source = open_source(f"hf:{tmp_path}/x")
    with pytest.raises(SampleError, match="no image in this row"):
        source.read(0)
    assert source.read(1) == b"no image"


def test_no_column_of_images(tmp_path):
    datasets.Dataset.from_dict({"text": ["a"], "label": [1]}).save_to_disk(tmp_path / "x")
    with pytest.raises(SourceError, match="column of images; got 'text', 'label'"):
        open_source(f"hf:{tmp_path}/x")
    datasets.Dataset.from_dict({"image": [1.5], "label": [1]}).save_to_disk(tmp_path / "y")
    with pytest.raises(SourceError, match="'image' is not"):
        open_source(f"hf:{tmp_path}/y")


def test_names_that_cannot_be_had_and_configs(monkeypatch):
    calls = []

    def load(*args):
        calls.append(args)
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(SourceError, match=r"'hf:user/set:small' cannot be loaded \(no network\)"):
        open_source("hf:user/set:small")
    assert calls == [("user/set", "small")]
    assert HuggingFaceSource("user/set", "small").name == "set-small"


def test_without_the_package(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(sys.modules, "datasets")
    with pytest.raises(MissingDependencyError, match=r"pip install featx\[hf\]"):
        open_source("hf:user/set")


@pytest.mark.parametrize(
    ("feature", "column", "labels", "classes"),
    [
        (
            datasets.Sequence(datasets.ClassLabel(names=["cat", "dog", "bird"])),
            [[1, 0], [], None, [2]],
            [("cat", "dog"), (), None, ("bird",)],
            ("bird", "cat", "dog"),
        ),
        (
            datasets.Sequence(datasets.Value("string")),
            [["b", "a"], [], None, ["b"]],
            [("a", "b"), (), None, ("b",)],
            ("a", "b"),
        ),
        (datasets.Value("float32"), [1, 0.5, None, -2], [(1.0,), (0.5,), None, (-2.0,)], ()),
        (
            datasets.Sequence(datasets.Value("float64")),
            [[1, 2], [0.5, 3], None, [0, 0]],
            [(1.0, 2.0), (0.5, 3.0), None, (0.0, 0.0)],
            (),
        ),
    ],
)
def test_several_classes_and_values(tmp_path, feature, column, labels, classes):
    table(PICTURES, column, feature=feature).save_to_disk(tmp_path / "x")
    source = open_source(f"hf:{tmp_path}/x")
    assert [sample.label for sample in source.samples] == labels
    assert source.classes == classes


def test_values_that_are_none_are_refused(tmp_path):
    table(PICTURES[:2], [1.0, float("inf")], feature=datasets.Value("float32")).save_to_disk(tmp_path / "x")
    with pytest.raises(SourceError, match="is wrong in 00000001: a value must be a finite number; got inf"):
        open_source(f"hf:{tmp_path}/x")
