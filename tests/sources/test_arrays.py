import pickle

import numpy as np
import pytest

from featx.errors import ParameterError, SourceError
from featx.sources import ArraySource, content_digest, decode_image, open_source

from .helpers import listing

GREY = np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5)
RGB = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
AS_RGB = np.stack([GREY] * 3, axis=-1)


@pytest.mark.parametrize(
    ("images", "seen"),
    [
        (GREY, AS_RGB),
        (GREY[..., None], AS_RGB),
        (GREY[:, None], AS_RGB),
        (RGB, RGB),
        (RGB.transpose(0, 3, 1, 2), RGB),
        (RGB[:, :3], RGB[:, :3]),  # either axis could be the colours: the last one is
        (RGB / 255, RGB),
        ((RGB / 255).astype(np.float32), RGB),
        ((RGB / 255).astype(np.float16), RGB),
        (GREY > 7, (AS_RGB > 7) * 255),
        (np.full((1, 2, 2), 0.5), np.full((1, 2, 2, 3), 128)),
    ],
)
def test_shapes_and_types(images, seen):
    source = open_source(images)
    assert len(source) == len(images)
    for row in range(len(source)):
        image = source.read(row)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert (image == seen[row]).all()
        assert (np.asarray(decode_image(image)) == seen[row]).all()


def test_labels_splits_and_classes():
    source = ArraySource(RGB, [[1], [-1]], splits=["Training", "extra"], classes=["cat", "dog"], name="my/set")
    assert listing(source) == [("00000000", "dog", "train", 60), ("00000001", None, "extra", 60)]
    assert source.classes == ("cat", "dog")
    assert source.name == "my_set"
    assert open_source((RGB, np.array([10, 9]))).classes == ("9", "10")
    assert [sample.label for sample in open_source((RGB, ["b", "a"])).samples] == ["b", "a"]


def test_identity_is_the_content():
    assert open_source(RGB).identity == open_source(RGB.copy()).identity == f"arrays:{content_digest(RGB)}"
    assert open_source(RGB).identity != open_source(RGB[::-1]).identity
    assert open_source(RGB, limit=1).identity.startswith("arrays:")


def test_arrays_are_not_copied_and_sources_can_be_pickled():
    images = RGB.copy()
    source = open_source(images)
    images[0] = 7
    assert (source.read(0) == 7).all()
    assert (pickle.loads(pickle.dumps(source)).read(1) == RGB[1]).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (RGB[0], r"shape.*\(4, 5, 3\): for a single image give images\[None\]"),
        (np.zeros((2, 5, 5, 4), np.uint8), r"shape.*\(2, 5, 5, 4\)"),
        (np.zeros((0, 5, 5), np.uint8), "shape"),
        (np.zeros(5, np.uint8), "shape"),
        (RGB.astype(np.int64), r"int64 with values from .*astype\(numpy.uint8\)"),
        (RGB.astype(np.float32), r"float32 with values from .*astype\(numpy.uint8\)"),
        (GREY / 2.5, r"0 to 15.6: scale"),
        (RGB / 127.5 - 1, "scale them"),
        (np.full((1, 2, 2), np.nan), "finite"),
        (np.full((1, 2, 2), np.inf), "finite"),
        (np.full((1, 2, 2), "x"), "convert them"),
        (RGB.astype(complex), "convert them"),
    ],
)
def test_wrong_images(images, message):
    with pytest.raises(ParameterError, match=message):
        open_source(images)


@pytest.mark.parametrize(
    ("labels", "message"),
    [([1], "as many as the images, 2; got 1"), (np.eye(2), r"argmax"), (np.array(3), "shape")],
)
def test_wrong_labels(labels, message):
    with pytest.raises(ParameterError, match=message):
        open_source((RGB, labels))


def test_labels_outside_the_classes():
    with pytest.raises(SourceError, match="0 to 1; got 2"):
        ArraySource(RGB, [0, 2], classes=["a", "b"]).samples  # noqa: B018


ONE, TWO = RGB[:1], RGB[1:]
LAYOUTS = {
    "keras": {"x_test": ONE, "y_test": [5], "x_train": TWO, "y_train": [3]},
    "medmnist": {"train_images": TWO, "train_labels": [[3]], "test_images": ONE, "test_labels": [[5]]},
    "spelled": {"Images_Training": TWO, "Labels_Training": [3], "X_testing": ONE, "targets_testing": ["5"], "z": [0]},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_splits(tmp_path, layout, save):
    save(tmp_path / "set.npz", **LAYOUTS[layout])
    source = open_source(tmp_path / "set.npz")
    assert listing(source) == [("test/00000000", "5", "test", 60), ("train/00000000", "3", "train", 60)]
    assert (source.read(0) == RGB[0]).all()
    assert (source.read(1) == RGB[1]).all()
    assert source.identity == f"npz:{(tmp_path / 'set.npz').resolve()}"
    assert source.name == "set"
    assert source.samples[0].mtime_ns == (tmp_path / "set.npz").stat().st_mtime_ns


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("X", "Y")])
def test_npz_without_splits(tmp_path, names):
    arrays = dict(zip(names, (RGB, [1, 0]), strict=True))
    np.savez(tmp_path / "set.npz", **arrays, classes=["cat", "dog"], splits=["val", "train"])
    source = open_source(tmp_path / "set.npz")
    assert listing(source) == [("00000000", "dog", "val", 60), ("00000001", "cat", "train", 60)]


def test_npz_without_labels(tmp_path):
    np.savez(tmp_path / "set.npz", images=RGB)
    assert [sample.label for sample in open_source(tmp_path / "set.npz").samples] == [None, None]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": RGB}, "got 'features'"),
        ({"x": RGB, "images": RGB}, "'x' and 'images' mean the same"),
        ({"x": RGB, "y": [1]}, "as many as"),
        ({"x": RGB, "y": np.array(["a", None], object)}, "without Python objects"),
    ],
)
def test_wrong_npz(tmp_path, arrays, message):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(tmp_path / "set.npz")
    assert "set.npz" in str(caught.value)


def test_damaged_npz(tmp_path):
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=RGB)
    data = path.read_bytes()
    for broken in (b"", b"text", data[:-40], data[:200] + b"\0\0\0\0" + data[204:]):
        path.write_bytes(broken)
        with pytest.raises(SourceError, match=r"set\.npz"):
            open_source(path)
    with path.open("wb") as file:
        np.save(file, RGB)
    with pytest.raises(SourceError, match=r"numpy\.savez"):
        open_source(path)


FOUR = np.zeros((4, 2, 2), np.uint8)


def labels_of(*arguments, **options):
    source = ArraySource(FOUR, *arguments, **options)
    return [sample.label for sample in source.samples], source.classes


def test_tables_and_lists_of_classes():
    table = np.array([[1, 1, 0], [0, 0, 0], [-1, -1, -1], [0, 1, 0]])
    assert labels_of(table) == ([("0", "1"), (), None, ("1",)], ("0", "1", "2"))
    assert labels_of(table, classes=["b", "a", "never"]) == ([("a", "b"), (), None, ("a",)], ("a", "b", "never"))
    assert labels_of([["b", "a"], [], None, ["a"]]) == ([("a", "b"), (), None, ("a",)], ("a", "b"))
    assert ArraySource(FOUR, table).limit(1).classes == ("0", "1", "2")


def test_values_and_groups():
    assert labels_of([0.5, 1, None, 2]) == ([(0.5,), (1.0,), None, (2.0,)], ())
    assert labels_of(np.arange(8).reshape(4, 2) / 2)[0] == [(0.0, 0.5), (1.0, 1.5), (2.0, 2.5), (3.0, 3.5)]
    source = ArraySource(FOUR, [1, 2, 1, 2], groups=["p", None, "q", 3])
    assert [sample.group for sample in source.samples] == ["p", None, "q", "3"]
    assert [sample.label for sample in source.samples] == ["1", "2", "1", "2"]


def test_an_npz_says_what_its_arrays_are(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(
        path, x_train=FOUR, multilabels_train=np.eye(4), x_test=FOUR, test_multilabels=np.eye(4), groups_test=[1] * 4
    )
    source = open_source(path)
    assert [sample.label for sample in source.samples] == [("0",), ("1",), ("2",), ("3",)] * 2
    assert [sample.group for sample in source.samples] == ["1"] * 4 + [None] * 4
    np.savez(path, images=FOUR, values=[1, 2, 3, 4])
    assert [sample.label for sample in open_source(path).samples] == [(1.0,), (2.0,), (3.0,), (4.0,)]
    np.savez(path, images=FOUR, values=[1, 2, 3, 4], labels=[1, 2, 3, 4])
    with pytest.raises(SourceError, match=r"set\.npz.*one array of labels or values"):
        open_source(path)
