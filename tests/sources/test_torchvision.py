import io
import pickle
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from featx.errors import SampleError, SourceError
from featx.sources import TorchvisionSource, decode_image, open_source
from featx.sources._torchvision import _is_union, _labels_of, _parameters

from .helpers import encoded, listing, write_folder

torchvision = pytest.importorskip("torchvision")
DIGITS = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)


@pytest.fixture
def mnist(tmp_path):
    """Write a root as torchvision's MNIST has it: three training and two test images."""
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, images, labels in (("train", DIGITS[:3], [7, 0, 7]), ("t10k", DIGITS[3:], [1, 0])):
        (raw / f"{name}-images-idx3-ubyte").write_bytes(
            struct.pack(">4i", 2051, len(images), 28, 28) + images.tobytes()
        )
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(labels)) + bytes(labels))
    return tmp_path / "root"


def test_all_splits_with_the_names_the_data_set_gives(mnist):
    source = open_source(f"torchvision:MNIST:{mnist}")
    assert listing(source) == [
        ("test/00000000", "1 - one", "test", -1),
        ("test/00000001", "0 - zero", "test", -1),
        ("train/00000000", "7 - seven", "train", -1),
        ("train/00000001", "0 - zero", "train", -1),
        ("train/00000002", "7 - seven", "train", -1),
    ]
    assert len(source.classes) == 10
    for row, expected in enumerate([3, 4, 0, 1, 2]):
        assert (np.asarray(decode_image(source.read(row))) == DIGITS[expected][..., None]).all()
    assert source.name == "MNIST"


def test_root_from_the_environment(mnist, monkeypatch):
    monkeypatch.setenv("FEATX_DATA", str(mnist))
    assert open_source("torchvision:MNIST").identity == open_source(f"torchvision:MNIST:{mnist}").identity


def test_no_image_is_loaded_for_the_labels(mnist, monkeypatch):
    def refuse(self, index):
        raise AssertionError("loaded")

    monkeypatch.setattr(torchvision.datasets.MNIST, "__getitem__", refuse)
    source = open_source(f"torchvision:MNIST:{mnist}")
    assert source.samples[0].label == "1 - one"
    with pytest.raises(SampleError, match="loaded"):
        source.read(0)


def test_pickled(mnist):
    source = pickle.loads(pickle.dumps(open_source(f"torchvision:MNIST:{mnist}")))
    assert (source.read(0) == DIGITS[3][..., None]).all()


def test_data_without_a_list_of_labels_in_many_threads():
    source = TorchvisionSource("FakeData", size=12, image_size=(3, 8, 8), num_classes=3)
    plain = torchvision.datasets.FakeData(size=12, image_size=(3, 8, 8), num_classes=3)
    assert [sample.label for sample in source.samples] == [str(int(plain[i][1])) for i in range(12)]
    assert source.samples[0].split is None
    expected = [np.asarray(plain[i][0]) for i in range(12)]  # before other threads seed torch's generator
    with ThreadPoolExecutor(8) as pool:
        for row, image in enumerate(pool.map(source.read, list(range(12)) * 20)):
            assert (image == expected[row % 12]).all()


def test_options_are_part_of_the_identity():
    assert len({TorchvisionSource("FakeData", "/r", size=n).identity for n in (1, 2)}) == 2


def test_files_come_as_they_are(tmp_path):
    files = {"b/1.png": encoded(np.zeros((2, 2), np.uint8)), "a/2.png": encoded(np.ones((3, 3), np.uint8))}
    source = open_source(f"torchvision:ImageFolder:{write_folder(tmp_path / 'x', files)}")
    assert [sample.label for sample in source.samples] == ["a", "b"]
    assert [source.read(0), source.read(1)] == [files["a/2.png"], files["b/1.png"]]
    (tmp_path / "x/a/2.png").unlink()
    with pytest.raises(SampleError, match="no such file"):
        source.read(0)


def test_splits_are_found_where_the_constructor_hides_them(tmp_path, monkeypatch):
    built = []

    class Toy(torchvision.datasets.VisionDataset):
        """Splits as STL10 has them."""

        classes = ("cat", "dog")

        def __init__(self, root, split="train", download=False):
            valid = ("train", "trainval", "train+val", "val", "all", "extra")
            if split not in valid:
                listed = ", ".join(map(repr, valid))
                raise ValueError(f"Unknown value {split!r}. Valid values are {{{listed}}}.")
            if not download:
                raise RuntimeError("Dataset not found")
            print("downloading")
            print("bar", file=sys.stderr)
            built.append(split)
            self.labels = np.array([1, -1])

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return Image.new("L", (2, 2), 9), int(self.labels[index])

    monkeypatch.setattr(torchvision.datasets, "Toy", Toy, raising=False)
    monkeypatch.setattr(torchvision.datasets, "__all__", (*torchvision.datasets.__all__, "Toy"))
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    source = open_source(f"torchvision:Toy:{tmp_path}")
    assert out.getvalue() == err.getvalue() == ""
    assert sorted(set(built)) == ["extra", "train", "val"]
    assert listing(source)[:3] == [
        ("extra/00000000", "dog", "extra", -1),
        ("extra/00000001", None, "extra", -1),
        ("train/00000000", "dog", "train", -1),
    ]


@pytest.mark.parametrize(
    ("value", "values", "union"),
    [
        ("trainval", ["train", "val", "trainval", "test"], True),
        ("trainval", ["trainval", "test"], False),
        ("train+unlabeled", ["train", "train+unlabeled", "unlabeled"], True),
        ("train", ["train", "test"], False),
        ("valid", ["train", "valid", "val"], False),
    ],
)
def test_splits_that_are_others_together(value, values, union):
    assert _is_union(value, values) is union


def test_parameters_of_parents_count():
    assert {"split", "train", "root", "download"} <= _parameters(torchvision.datasets.EMNIST)
    assert "train" not in _parameters(torchvision.datasets.STL10)


def test_labels_that_are_no_classes_are_none():
    class Boxes:
        targets = ((1, 2), (3, 4))

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return None, {"boxes": []}

    assert _labels_of(Boxes()) == [None, None]


def test_what_cannot_be_had(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("<urlopen error no network>\nmore")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    for name in ("CIFAR10", "Food101", "GTSRB"):
        with pytest.raises(SourceError, match=rf"{name} is not complete in .*cannot be downloaded") as caught:
            open_source(f"torchvision:{name}:{tmp_path}")
        assert "\n" not in str(caught.value)


def test_unknown_names_and_missing_arguments(tmp_path):
    with pytest.raises(SourceError, match="'CIFAR11'; did you mean 'CIFAR10'"):
        open_source("torchvision:CIFAR11")
    with pytest.raises(SourceError, match=r"needs more than a folder .*ann_file"):
        open_source(f"torchvision:Flickr8k:{tmp_path}")


def test_a_damaged_data_set_is_one_clear_line(mnist, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    (mnist / "MNIST/raw/t10k-labels-idx1-ubyte").write_bytes(b"\0\0")
    with pytest.raises(SourceError, match="MNIST is not complete"):
        open_source(f"torchvision:MNIST:{mnist}")
