import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.errors import ParameterError, SampleError, SourceError
from featx.sources import FolderSource, ManifestSource, ZipSource, decode_image, open_images, open_source

from .helpers import ODD_NAMES, contents, encoded, write_folder, write_zip

PICTURE = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder with a folder, an archive, a manifest and images."""
    write_folder(tmp_path, {"pets/cat/1.jpg": b"1", "pets/dog/2.jpg": b"2", "b.jpg": b"b", "a.jpg": b"a"})
    write_folder(tmp_path, {"noext": b"n", "notes.txt": b"", "list.csv": b"path\na.jpg\n"})
    write_zip(tmp_path / "more.ZIP", {"bird/3.jpg": b"3"})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_kinds(here):
    for given, kind in [("pets", FolderSource), (Path("more.ZIP"), ZipSource), ("list.csv", ManifestSource)]:
        assert type(open_source(given)) is kind
    source = open_source("pets")
    assert open_source(source) is source


def test_opening_loads_nothing_heavy(here):
    code = (
        "import sys; from featx.sources import open_source, open_images; open_source('pets'); open_images(['a.jpg']);"
        "print(*sorted({'torch', 'torchvision', 'datasets', 'pyarrow', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_keys_and_identity_do_not_depend_on_the_locale(here):
    write_folder(here / "odd", {f"c/{name}": b"" for name in ODD_NAMES})
    code = "from featx.sources import open_source; s = open_source('odd'); print(ascii((s.identity, s.samples)))"
    root = Path(__file__).parents[2]
    seen = set()
    for locale in ({"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        env = {**os.environ, **locale, "PYTHONPATH": str(root)}
        seen.add(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=env).stdout)
    assert len(seen) == 1
    assert len(seen.pop()) > 500


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("pet", "no file or folder 'pet'; did you mean 'pets'"),
        ("nothing/at/all", "no file or folder 'nothing/at/all': give"),
        ("a.jpg", "'a.jpg' is a single image: give the folder"),
        ("notes.txt", r"must be a folder, or a file that ends in one of \.zip, \.tar"),
        ("nul\0l", "cannot be opened"),
        ("a.jpg/x", "cannot be opened"),
    ],
)
def test_wrong_sources(here, given, message):
    with pytest.raises(SourceError, match=message):
        open_source(given)


@pytest.mark.parametrize(
    ("given", "message"), [(5, "got int"), (None, "got NoneType"), ((PICTURE,), "pair"), (["pets"], "got list")]
)
def test_wrong_types(given, message):
    with pytest.raises(ParameterError, match=message):
        open_source(given)


def test_images_of_every_kind_come_in_the_order_given(here):
    inputs = ["b.jpg", "./a.jpg", Path("noext"), "pets/", "more.ZIP", PICTURE, Image.fromarray(PICTURE), PICTURE / 255]
    source = open_images(inputs)
    assert [sample.key for sample in source.samples] == [
        *["b.jpg", "./a.jpg", "noext", "pets/cat/1.jpg", "pets/dog/2.jpg", "more.ZIP/bird/3.jpg"],
        *["image[5]", "image[6]", "image[7]"],
    ]
    assert [source.read(row) for row in range(6)] == [b"b", b"a", b"n", b"1", b"2", b"3"]
    assert all((source.read(row) == PICTURE).all() for row in (6, 7, 8))
    assert source.samples[4].label == "dog"
    assert source.classes == ("bird", "cat", "dog")
    assert (source.name, source.limit(2).read(1)) == ("b-and-7-more", b"a")
    assert contents(pickle.loads(pickle.dumps(source)))[:2] == [b"b", b"a"]


def test_what_is_given_twice_stands_there_twice(here):
    source = open_images(["a.jpg", "a.jpg", "b.jpg", "a.jpg"])
    assert [sample.key for sample in source.samples] == ["a.jpg", "a.jpg (2)", "b.jpg", "a.jpg (3)"]
    assert contents(source) == [b"a", b"a", b"b", b"a"]


def test_a_single_input_needs_no_list(here):
    assert [sample.key for sample in open_images("a.jpg").samples] == ["a.jpg"]
    assert len(open_images(Image.fromarray(PICTURE))) == len(open_images(PICTURE)) == 1
    assert len(open_images(np.stack([PICTURE] * 3))) == 3


def test_identity_of_images_is_what_and_in_which_order(here):
    spellings = [["a.jpg", "b.jpg"], ["./a.jpg", here / "b.jpg"]]
    assert len({open_images(each).identity for each in spellings}) == 1
    others = [["b.jpg", "a.jpg"], ["a.jpg"], ["a.jpg", PICTURE]]
    assert len({open_images(each).identity for each in [spellings[0], *others]}) == 4


def test_odd_names_of_files(here):
    write_folder(here, {name: name.encode("utf-8", "surrogateescape") for name in ODD_NAMES})
    source = open_images(ODD_NAMES)
    assert [sample.key for sample in source.samples] == ODD_NAMES
    assert contents(source) == [name.encode("utf-8", "surrogateescape") for name in ODD_NAMES]


def test_wrong_images(here):
    for given, message in [(["a.jpg", "aa.jpg"], "'aa.jpg'; did you mean 'a.jpg'"), (["a.jpg", "none/"], "'none/'")]:
        with pytest.raises(SourceError, match=message):
            open_images(given)
    with pytest.raises(ParameterError, match="got none"):
        open_images([])
    with pytest.raises(ParameterError, match=r"image\[0\].*\(2,\)"):
        open_images([np.zeros(2, np.uint8)])


def test_a_fifo_among_images_does_not_hang(here):
    os.mkfifo("fifo.jpg")
    with pytest.raises(SampleError, match="not a regular file"):
        open_images(["fifo.jpg"]).read(0)


def test_a_pillow_image_is_seen_as_a_file_would_be(here):
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert (decode_image(open_images([image]).read(0)).getpixel((0, 0))) == (255, 255, 255)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PICTURE, exif=exif.tobytes())
    Path("turned.png").write_bytes(data)
    opened = Image.open("turned.png")
    try:
        assert (open_images([opened]).read(0) == np.asarray(decode_image(data))).all()
    finally:
        opened.close()
