"""``featx neighbours``: what it prints, writes and draws."""

import csv
import io
import json
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import featx as library
from featx import plots
from tests.browser import complaints, requested, show
from tests.plots.helpers import assert_legible
from tests.tiny import BACKBONE, picture, write_folder


@pytest.fixture
def photos(here):
    return write_folder(here / "photos", per_class=4)


@pytest.fixture
def store(photos):
    return library.extract(photos, BACKBONE)


@pytest.fixture
def new(here):
    picture(1000, (60, 180, 70)).save(here / "new.png")
    return "new.png"


@pytest.fixture
def drawn(monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: figures.append(figure))
    return figures


def test_a_table_for_each_image(featx, store, new):
    answer = featx("neighbours", "photos", new, "photos/red/001.png", "blue/002.png", "-k", "2")
    assert answer.err == ""
    found = library.neighbors(store, [new, "photos/red/001.png", "blue/002.png"], 2)
    tables = [table.splitlines() for table in answer.out.split("\n\n")]
    assert [table[0] for table in tables] == [
        "new.png:",
        "photos/red/001.png, in the store itself as red/001.png:",
        "blue/002.png, in the store itself:",
    ]
    for table, one in zip(tables, found, strict=True):
        assert table[1].split() == ["rank", "key", "label", "distance"]
        assert [line.split() for line in table[3:]] == [
            [str(rank), near.key, near.label, f"{near.distance:.4f}"] for rank, near in enumerate(one.neighbors, 1)
        ]
    assert found[0].neighbors[0].label == "green"


def test_the_other_spelling_and_the_other_metric(featx, store, new):
    words = [new, "--metric", "euclidean", "-k", "3", "--json"]
    (found,) = json.loads(featx("neighbors", "photos", *words).out)
    (expected,) = library.neighbors(store, new, 3, "euclidean")
    assert found == json.loads(json.dumps(expected.to_dict()))
    assert "neighbors" not in featx("--help").out


def test_csv_and_images_that_cannot_be_used(featx, here, store, new):
    (here / "bad.jpg").write_text("no image")
    answer = featx("neighbours", "photos", new, "bad.jpg", "-k", "2", "--csv", "-")
    assert answer.err.startswith("bad.jpg: cannot be used: ")
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    (first, _) = library.neighbors(store, [new, "bad.jpg"], 2)
    assert [(row["image"], row["rank"], row["key"], row["label"]) for row in rows] == [
        *((new, str(rank), near.key, near.label) for rank, near in enumerate(first.neighbors, 1)),
        ("bad.jpg", "", "", ""),
    ]
    got = [float(row["distance"]) for row in rows[:2]]
    np.testing.assert_allclose(got, [near.distance for near in first.neighbors], rtol=1e-3, atol=1e-6)
    assert [bool(row["error"]) for row in rows] == [False, False, True]
    assert featx("neighbours", "photos", "bad.jpg", "--gallery", "a.png", code=1).out == ""
    assert not (here / "a.png").exists()


def test_mistakes_are_told_in_a_line(featx, store, new):
    assert "there is no file or folder 'nix.jpg'" in featx.fails("neighbours", "photos", "nix.jpg")
    assert "split must be one of none (the store has no splits)" in featx.fails(
        "neighbours", "photos", new, "--split", "val"
    )
    assert "is neither a file nor a store" in featx.fails("neighbours", "nothing", new)
    assert "'manhattan' is not one of" in featx.fails("neighbours", "photos", new, "--metric", "manhattan", code=2)
    assert "must end in .png or .svg or .pdf or .html" in featx.fails(
        "neighbours", "photos", new, "--gallery", "a.jpg", code=2
    )


def test_a_row_is_an_image_with_its_neighbours(featx, here, store, new, drawn):
    words = [new, "blue/002.png", "photos/red/001.png"]
    answer = featx("neighbours", "photos", *words, "-k", "3", "--gallery", "a.png")
    assert answer.err == ""
    (figure,) = drawn
    assert_legible(figure)
    found = library.neighbors(store, words, 3)
    titles, files = [], []
    for one, file in zip(found, [new, "photos/blue/002.png", "photos/red/001.png"], strict=True):
        titles += [f"{one.key}\nquery", *(f"{near.key}\n{near.label}, {near.distance:.4f}" for near in one.neighbors)]
        files += [file, *(f"photos/{near.key}" for near in one.neighbors)]
    assert [axes.get_title() for axes in figure.axes] == titles
    for axes, file in zip(figure.axes, files, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), np.asarray(Image.open(here / file)))
    tops = [round(axes.get_position().y1, 6) for axes in figure.axes]
    assert [len(set(tops[i : i + 4])) for i in (0, 4, 8)] == [1, 1, 1]
    assert len(set(tops)) == 3


def test_as_many_as_there_is_room_for(featx, store, drawn):
    answer = featx("neighbours", "photos", "photos", "-k", "99", "--gallery", "a.png")
    assert answer.err == "note: a.png shows the neighbours of 4 of 12 images\n"
    assert [len(figure.axes) for figure in drawn] == [4 * 12]
    featx("neighbours", "photos", "red/001.png", "--gallery", "a.png", "-k", "1")
    assert len(drawn[1].axes) == 2


def test_images_that_have_gone_are_a_question_mark(featx, photos, store, new, drawn):
    answer = featx("neighbours", "photos", new, "-k", "1", "--gallery", "a.png")
    key = library.neighbors(store, new, 1)[0].neighbors[0].key
    assert answer.err == ""
    (photos / key).unlink()
    featx("neighbours", "photos", new, "-k", "1", "--gallery", "a.png")
    shutil.rmtree(photos)
    answer = featx("neighbours", "photos", new, "blue/000.png", "-k", "1", "--gallery", "a.png")
    assert answer.err.startswith("note: the source of ")
    assert "cannot be opened again" in answer.err
    shown = [[axes.images[0].get_array() for axes in figure.axes] for figure in drawn]
    marks = [[image.shape == (330, 330, 3) and set(np.unique(image[:9])) == {221} for image in row] for row in shown]
    assert marks == [[False, False], [False, True], [False, True, True, True]]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_page(featx, here, new, browser):
    names = ["<script>alert(1)</script>", "{{ 7 * 7 }}", "caf\udce9 \u202egnp"]
    files = ['"><img src=x onerror="document.title = 1">.png', "new\nline.png"]
    for number, name in enumerate(names):
        # a slash may not be in a name
        os.makedirs(folder := b"odd/" + name.replace("/", "_").encode("utf-8", "surrogateescape"))
        for file in files:
            picture(number + len(file), (60 * number, 90, 120)).save("scratch.png")
            os.rename("scratch.png", folder + b"/" + file.encode())
    store = library.extract("odd", BACKBONE)
    (here / "bad.jpg").touch()
    words = [store.keys[0], "bad.jpg", new]
    featx("neighbours", "odd", *words, "-k", "3", "--gallery", "page.html")
    show(browser, here / "page.html")
    assert (complaints(browser), requested(browser)) == ([], [(here / "page.html").as_uri()])
    assert browser.title == "Nearest images of odd"
    found = [one for one in library.neighbors(store, words, 3) if one.error is None]

    def plain(text):
        return text.replace("\udce9", "\\udce9").replace("\u202e", "\\u202e").replace("\n", "\\n")

    headings = [one.text for one in browser.find_elements("css selector", "h2")]
    assert headings == [plain(f"{store.keys[0]}, in the store itself"), new]
    strips = browser.find_elements("css selector", ".pictures")
    for strip, one in zip(strips, found, strict=True):
        captions = [caption.text.split("\n") for caption in strip.find_elements("css selector", "figcaption")]
        assert captions[0] == [plain(one.key), "query"]
        assert captions[1:] == [
            [plain(near.key), plain(f"{near.label}, {near.distance:.4f}")] for near in one.neighbors
        ]
        images = strip.find_elements("css selector", "img")
        assert len(images) == 4
        assert all(image.get_property("naturalWidth") == 40 for image in images)
