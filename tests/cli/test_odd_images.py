"""A folder as people have it: damaged files and images of every mode, from the first command to the last."""

import json

import numpy as np
import pytest
from PIL import Image

import featx as library
from tests.caching.helpers import plain_features
from tests.tiny import BACKBONE, COLOURS, picture, write_folder

CYAN, ORIENTATION = (0, 180, 180), 0x0112


def opened(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def truncated(path):
    picture(1, size=(200, 200)).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:5000])


def empty(path):
    path.touch()


def text(path):
    path.write_text("<html>404 Not Found</html>")


def cmyk(path):
    seen = picture(2, CYAN)
    seen.convert("CMYK").save(path, quality=100)
    return opened(path)


def deep(path):
    values = np.random.default_rng(3).integers(0, 65536, (32, 40), dtype=np.uint16)
    Image.fromarray(values).save(path)
    grey = (values / 257).round().astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def palette(path):
    seen = picture(4).quantize(16)
    seen.info["transparency"] = 0
    transparent = np.asarray(seen) == 0
    seen.save(path, transparency=0)
    pixels = np.array(seen.convert("RGB"))
    pixels[transparent] = 255  # what lies behind is white
    return Image.fromarray(pixels)


def rotated(path):
    seen = picture(5, size=(40, 32))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned by 90 degrees, clockwise
    seen.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=100, subsampling=0)
    return opened(path).transpose(Image.Transpose.ROTATE_270)


def animated(path):
    frames = [picture(seed, colour) for seed, colour in enumerate(COLOURS.values())]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    return opened(path)


def dot(path):
    seen = Image.new("RGB", (1, 1), (200, 40, 40))
    seen.save(path)
    return seen


GOOD = {"cmyk.jpg": cmyk, "deep.png": deep, "palette.png": palette, "rotated.jpg": rotated, "moving.gif": animated}
GOOD["dot.png"] = dot
BAD = {"truncated.jpg": truncated, "empty.jpg": empty, "text.jpg": text}


@pytest.fixture
def photos(here):
    """Odd images among plain ones, and beside them what a person sees in the good ones, as plain PNG files."""
    write_folder(here / "photos", per_class=4)
    (here / "seen").mkdir()
    for number, (name, make) in enumerate({**GOOD, **BAD}.items()):
        folder = here / "photos" / list(COLOURS)[number % 3]
        seen = make(folder / name)
        if seen is not None:
            seen.save(here / "seen" / f"{name}.png")
    return here / "photos"


def test_good_ones_are_right_and_bad_ones_are_listed(featx, photos, here):
    answer = featx("extract", "photos", "--backbone", BACKBONE)
    assert "18 rows of 5 float32 from layer output, 3 classes" in answer.out
    lines = answer.err.splitlines()
    assert lines[0] == "3 samples could not be used and are left out:"
    assert sorted(line.split(": ")[0].rpartition("/")[2] for line in lines[1:]) == sorted(BAD)
    assert all(len(line.split(": ", 1)[1]) > 5 for line in lines[1:])

    store = library.find_store("photos")
    files = []
    for key in store.keys:
        name = key.rpartition("/")[2]
        files.append(here / "seen" / f"{name}.png" if name in GOOD else photos / key)
    expected = plain_features(files)["output"]
    np.testing.assert_allclose(store.features, expected, rtol=1e-3, atol=1e-4)
    assert [store.classes[label] for label in store.labels] == [key.partition("/")[0] for key in store.keys]
    assert {key.rpartition("/")[2] for key, _ in store.failures} == set(BAD)

    failures = json.loads(featx("info", "photos", "--json").out)["failures"]
    assert failures == [list(failure) for failure in store.failures]
    text = featx("info", "photos").out
    assert all(f"{key} " in text for key, _ in store.failures)


def test_the_answers_for_them_are_those_of_their_rows(featx, photos):
    featx("extract", "photos", "--backbone", BACKBONE)
    run = featx("fit-head", "photos").out.splitlines()[-1]
    answer = featx("predict", run, "photos", "--json", "-")
    found = {one["key"].removeprefix("photos/"): one for one in json.loads(answer.out)}
    store = library.find_store("photos")
    head = library.load(run).run.head
    for key, row in zip(store.keys, head.predict_proba(np.asarray(store.features)), strict=True):
        assert [found[key]["probabilities"][name] for name in store.classes] == pytest.approx(row.tolist(), abs=1e-4)
        assert found[key]["error"] is None
    for key, reason in store.failures:
        assert (found[key]["label"], found[key]["error"]) == (None, reason)
    assert len(found) == 21
    assert len(answer.err.splitlines()) == 3
    lines = featx("predict", run, "photos").out.splitlines()
    assert len(lines) == 18


def test_strict_refuses_the_first_bad_one(featx, photos):
    line = featx.fails("extract", "photos", "--backbone", BACKBONE, "--strict")
    assert "cannot be used" in line
    assert any(name in line for name in BAD)
