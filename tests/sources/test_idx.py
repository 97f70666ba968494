import gzip
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchvision.datasets import EMNIST, MNIST
from torchvision.datasets.mnist import read_image_file

from featx.errors import SampleError, SourceError
from featx.sources import FolderSource, IdxSource, open_images, open_source
from featx.sources._idx import _load

from .helpers import encoded, listing, write_folder

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
TRAIN, TEST = IMAGES[:3], IMAGES[3:]
MAPPING = b"0 48\n3 65 97\r\n\n11 66\n"


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def files(start="", *, train="train-", test="t10k-", labels=(11, 0, 3, 3)):
    return {
        f"{start}{train}images-idx3-ubyte": idx(TRAIN),
        f"{start}{train}labels-idx1-ubyte": idx(np.array(labels[:3])),
        f"{start}{test}images-idx3-ubyte": idx(TEST),
        f"{start}{test}labels-idx1-ubyte": idx(np.array(labels[3:])),
    }


def zipped(these):
    return {f"{name}.gz": gzip.compress(data) for name, data in these.items()}


def grey(source):
    return [source.read(row)[..., 0] for row in range(len(source))]


LISTING = [
    ("test/00000", "3", "test", 15),
    ("train/00000", "11", "train", 15),
    ("train/00001", "0", "train", 15),
    ("train/00002", "3", "train", 15),
]


@pytest.mark.parametrize("form", [files(), zipped(files()), files(train="train.", test="TEST_"), files("fashion-")])
def test_a_folder_of_splits(tmp_path, form):
    root = write_folder(tmp_path / "digits", form)
    source = open_source(root)
    assert isinstance(source, IdxSource)
    assert listing(source) == LISTING
    assert source.classes == ("0", "3", "11")
    assert (source.name, source.identity) == ("digits", f"idx:{root.resolve()}")
    for row, image in enumerate([*TEST, *TRAIN]):
        assert (source.read(row) == image[..., None]).all()
        assert source.read(row).shape == (5, 3, 3)
    assert (pickle.loads(pickle.dumps(source)).read(1) == source.read(1)).all()


def test_pixels_and_labels_are_torchvisions(tmp_path):
    (tmp_path / "MNIST").mkdir()
    root = write_folder(tmp_path / "MNIST" / "raw", files())
    source = open_source(root)
    for split, train in (("train", True), ("test", False)):
        rows = [row for row, sample in enumerate(source.samples) if sample.split == split]
        theirs = MNIST(tmp_path, train=train)
        assert [source.samples[row].label for row in rows] == [str(target) for _, target in theirs]
        for row, (image, _) in zip(rows, theirs, strict=True):
            assert (source.read(row)[..., 0] == np.asarray(image)).all()


def test_emnist_is_turned_upright_and_labelled_with_characters(tmp_path):
    (tmp_path / "EMNIST").mkdir()
    these = files("emnist-balanced-", test="test-")
    root = write_folder(tmp_path / "EMNIST" / "raw", {**these, "emnist-balanced-mapping.txt": MAPPING})
    source = open_source(root)
    assert [sample.label for sample in source.samples] == ["Aa", "B", "0", "Aa"]
    assert source.classes == ("0", "Aa", "B")
    theirs = EMNIST(tmp_path, split="balanced", train=True)  # which leaves the images as they lie in the file
    for row, (image, _) in enumerate(theirs, start=1):
        assert (source.read(row)[..., 0] == np.asarray(image).T).all()
        assert source.read(row).flags.c_contiguous


@given(arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3)))
def test_any_shape_is_read_as_torchvision_reads_it(tmp_path_factory, images):
    path = tmp_path_factory.mktemp("any") / "images-idx3-ubyte"
    path.write_bytes(idx(images))
    source = open_source(path)
    assert (np.stack(grey(source)) == read_image_file(str(path)).numpy()).all()
    assert [sample.key for sample in source.samples] == [f"{row:05d}" for row in range(len(images))]


def test_one_file_of_images(tmp_path):
    root = write_folder(tmp_path, zipped(files("emnist-letters-", test="test-")))
    path = root / "emnist-letters-train-images-idx3-ubyte.gz"
    source = open_source(path)
    assert listing(source) == LISTING[1:]
    assert source.name == "emnist-letters-train"
    assert [sample.key for sample in open_images([path]).samples] == [f"{path}/train/0000{row}" for row in range(3)]


def test_a_link_counts_by_its_own_name(tmp_path):
    write_folder(tmp_path, {"blobs/1": idx(IMAGES), "blobs/2": idx(np.arange(4))})
    (tmp_path / "links").mkdir()
    for blob, name in (("1", "val-images-idx3-ubyte"), ("2", "val-labels-idx1-ubyte")):
        os.symlink(tmp_path / "blobs" / blob, tmp_path / "links" / name)
    for given_path in (tmp_path / "links", tmp_path / "links" / "val-images-idx3-ubyte"):
        source = open_source(given_path)
        assert [(sample.key, sample.label) for sample in source.samples] == [(f"val/0000{i}", str(i)) for i in range(4)]


def test_labels_are_none_where_there_is_no_file_of_them(tmp_path):
    write_folder(tmp_path, {"images.idx3-ubyte": idx(IMAGES)})
    source = open_source(tmp_path)
    assert [(sample.key, sample.label, sample.split) for sample in source.samples][:1] == [("00000", None, None)]
    assert source.classes == ()


def test_of_a_file_in_two_forms_the_plain_one_counts(tmp_path):
    write_folder(tmp_path, {**files(), "train-images-idx3-ubyte.gz": b"", "train-labels-idx1-ubyte.gz": b""})
    assert listing(open_source(tmp_path)) == LISTING


def test_folders_without_such_files_are_folders(tmp_path):
    picture = encoded(TRAIN[0])
    root = write_folder(tmp_path / "a", {"train-images-idx3-ubyte/x.png": picture, "images-idx3-ubyte.png": picture})
    assert isinstance(open_source(root), FolderSource)
    with pytest.raises(SourceError, match=r"holds no images in IDX files: their names must end in images-idx3-ubyte"):
        IdxSource(root).samples  # noqa: B018


def test_keys_of_many_images_are_in_their_order(tmp_path):
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(idx(np.zeros((100_001, 1, 1))))
    keys = [sample.key for sample in open_source(path).samples]
    assert (keys[0], keys[-1]) == ("000000", "100000")
    assert keys == sorted(keys)


def test_a_file_that_changes_is_not_read(tmp_path):
    root = write_folder(tmp_path / "a", files())
    source = open_source(root)
    path = root / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SampleError, match="has changed since it was listed"):
        source.read(3)
    path.unlink()
    with pytest.raises(SampleError, match="cannot be read: no such file"):
        source.read(1)
    assert (source.read(0)[..., 0] == TEST[0]).all()


ONE = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"
WRONG = {
    "empty": ({ONE: b""}, "0 0 8 3; got nothing"),
    "header": ({ONE: idx(TRAIN)[:15]}, "must begin like an IDX file"),
    "dimensions": ({ONE: idx(TRAIN[0])}, "in 3 dimensions, 0 0 8 3; got 0 0 8 2"),
    "type": ({ONE: b"\0\0\x0d" + idx(TRAIN)[3:]}, "got 0 0 13 3"),
    "short": ({ONE: idx(TRAIN)[:-1]}, r"must hold the 45 bytes that its header says \(3 x 5 x 3\); got 44: give"),
    "long": ({ONE: idx(TRAIN) + b"x"}, "got more: give an intact file"),
    "none": ({ONE: idx(TRAIN[:0])}, "holds no images: its header says 0 x 5 x 3"),
    "liar": ({f"{ONE}.gz": gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12)}, "got 0: give an intact file"),
    "no gzip": ({f"{ONE}.gz": idx(TRAIN)}, "is damaged"),
    "short gzip": ({f"{ONE}.gz": gzip.compress(idx(TRAIN))[:-9]}, "is damaged"),
    "flipped gzip": ({f"{ONE}.gz": gzip.compress(idx(TRAIN))[:-5] + b"12345"}, "is damaged"),
    "fewer labels": ({ONE: idx(TRAIN), LABELS: idx(np.arange(2))}, "label for each of the 3 images; got 2: match"),
    "labels": ({ONE: idx(TRAIN), LABELS: idx(TRAIN)}, "in 1 dimensions"),
    "two sets": ({f"a-{ONE}": idx(TRAIN), f"b-{ONE}": idx(TRAIN)}, r"one data set; got those of 2 \('a', 'b'\): put"),
}
TEN = {f"e-{ONE}": idx(TRAIN), f"e-{LABELS}": idx(np.array([0, 3, 9]))}
WRONG |= {
    "unnamed": ({**TEN, "e-mapping.txt": MAPPING}, "must name all labels; it lacks 9"),
    "mapping": ({**TEN, "e-mapping.txt": b"0 a\n"}, "the codes of its characters in each line"),
    "binary mapping": ({**TEN, "e-mapping.txt": b"\xff"}, "the codes of its characters in each line"),
    "no character": ({**TEN, "e-mapping.txt": b"0 -1\n"}, "the codes of its characters in each line"),
    "twice": ({**TEN, "e-mapping.txt": b"0 65\n1 65\n"}, "other characters"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(tmp_path, case):
    these, message = WRONG[case]
    root = write_folder(tmp_path / "set", these)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(root)
    assert str(root.resolve()) in str(caught.value)


def test_a_header_is_not_believed_of_the_memory_it_would_take(tmp_path):
    """A reader that set aside what the header says would ask for four gigabytes here."""
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(struct.pack(">BBBB3I", 0, 0, 8, 3, 1 << 16, 1 << 8, 1 << 8) + bytes(99)))
    with pytest.raises(SourceError, match="got 99: give"):
        _load(str(path), 3)
