"""The pictures that commands draw: with which titles, of which images, where to."""

import json

import numpy as np
import pytest
from PIL import Image

import featx as library
from featx import plots
from featx.heads import LinearClassifier, LinearRegressor
from tests.browser import complaints, requested, show
from tests.plots.helpers import assert_legible
from tests.prediction.helpers import make_run
from tests.tiny import BACKBONE, picture, write_folder


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were written, by the name of their file."""
    figures = {}
    save = plots.save_figure

    def keep(figure, path):
        figures[str(path)] = figure
        return save(figure, path)

    monkeypatch.setattr(plots, "save_figure", keep)
    return figures


def titles_of(figure):
    assert_legible(figure)
    return [axes.get_title() for axes in figure.axes]


@pytest.fixture
def photos(here):
    return write_folder(here / "photos", per_class=4)


@pytest.fixture
def store(photos):
    return library.extract(photos, BACKBONE)


@pytest.fixture
def coefficients(store):
    X = store.features[:].astype(np.float64)
    coef = np.random.default_rng(0).standard_normal((3, X.shape[1])) / X.std(axis=0)
    return coef, -coef @ X.mean(axis=0)


def words_of(answer, top=3):
    return ", ".join(f"{score:.0%} {name}" for name, score in list(answer.scores.items())[:top])


def test_a_gallery_has_the_answers_and_the_truth(featx, photos, store, drawn):
    library.fit_head(store).save("run")
    answers = library.load("run").predict("photos")
    answer = featx("predict", "run", "photos", "--gallery", "a.png", "--top", "2")
    assert answer.err == ""
    assert len(answer.out.splitlines()) == 12
    marks = {True: "✓", False: "✗"}
    assert titles_of(drawn["a.png"]) == [
        f"{words_of(one, 2)}\ntrue: {truth} {marks[one.label == truth]}"
        for one, truth in zip(answers, [one.key.split("/")[1] for one in answers], strict=True)
    ]
    for axes, one in zip(drawn["a.png"].axes, answers, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), np.asarray(Image.open(one.key)))
    with Image.open("a.png") as image:
        assert image.width > 1000


def captions_of(browser, path):
    """Return the lines below each picture of a page, by what the picture is called."""
    show(browser, path)
    assert (complaints(browser), requested(browser)) == ([], [path.as_uri()])
    items = browser.find_elements("css selector", ".pictures li")
    assert all(item.find_element("css selector", "img").get_property("naturalWidth") for item in items)
    return [
        (
            item.find_element("css selector", "img").get_attribute("alt"),
            item.find_element("css selector", "figcaption").text.split("\n"),
        )
        for item in items
    ]


def test_a_page_has_the_answers_and_the_truth_in_words(featx, here, photos, store, browser):
    run = library.fit_head(store)
    run.save("run")
    (here / "bad.jpg").touch()
    answers = library.load("run").predict(["photos", "photos/red/000.png"])
    answer = featx("predict", "run", "photos", "photos/red/000.png", "bad.jpg", "--gallery", "a.html")
    assert answer.err.startswith("bad.jpg: cannot be used: ")
    found = captions_of(browser, here / "a.html")
    assert browser.title == f"Answers of {run.name}"
    marks = {True: "✓ right", False: "✗ wrong"}
    for (alt, lines), one in zip(found[:-1], answers[:-1], strict=True):
        truth = one.key.split("/")[1]
        assert alt == one.key
        assert lines == [words_of(one), f"true: {truth}", marks[one.label == truth], one.key]
    assert found[-1] == ("photos/red/000.png (2)", [words_of(answers[-1]), "photos/red/000.png (2)"])


def test_a_page_has_room_for_many(featx, here, photos, store, browser, monkeypatch):
    library.fit_head(store).save("run")
    write_folder(here / "more", per_class=20)
    assert featx("predict", "run", "more", "--gallery", "a.html").err == ""
    assert len(captions_of(browser, here / "a.html")) == 60
    monkeypatch.setattr("featx.cli._predict.most_pictures", lambda path: 6)
    answer = featx("predict", "run", "more", "--gallery", "a.html")
    assert answer.err == "note: a.html shows 6 of 60 images\n"
    found = captions_of(browser, here / "a.html")
    assert [name.split("/")[1] for name, _ in found] == ["blue"] * 2 + ["green"] * 2 + ["red"] * 2
    assert [one.text for one in browser.find_elements("css selector", ".notes li")] == ["a.html shows 6 of 60 images"]


def test_a_preview_as_a_page(featx, here, photos, browser):
    words = ["--backbone", BACKBONE, "--views", "2", "--augment", "hflip", "--preview", "seen.html"]
    assert featx("extract", "photos", *words).err == "what the network sees is drawn in seen.html\n"
    found = captions_of(browser, here / "seen.html")
    assert browser.title == "What the network sees of photos"
    assert [lines for _, lines in found[:2]] == [["blue", found[0][0]], ["blue, view 1", found[0][0]]]
    assert {name.split("/")[0] for name, _ in found} == {"blue", "green", "red"}
    assert len(found) == 18


def test_single_files_have_no_truth_and_bad_ones_no_place(featx, here, photos, store, drawn):
    library.fit_head(store).save("run")
    (here / "bad.jpg").write_text("no image")
    files = ["photos/red/000.png", "bad.jpg", "photos/blue/003.png"]
    answer = featx("predict", "run", *files, "--gallery", "a.svg")
    assert answer.err.startswith("bad.jpg: cannot be used: ")
    found = library.load("run").predict(files)
    assert titles_of(drawn["a.svg"]) == [words_of(found[0]), words_of(found[2])]
    featx("predict", "run", "bad.jpg", "--gallery", "b.png", code=1)
    assert not (here / "b.png").exists()


def test_what_is_unsure_is_neither_right_nor_wrong(featx, store, coefficients, drawn):
    head = LinearClassifier(*coefficients, range(3), link="softmax")
    reject = {"threshold": 1.1, "wanted": 0.9, "precision": [0.9, 0.5, 1.0], "coverage": [0.5, 0.3, 0.7]}
    make_run(head, [store], reject=reject).save("run")
    featx("predict", "run", "photos", "--gallery", "a.png", "--top", "1")
    titles = titles_of(drawn["a.png"])
    assert all(title.startswith("unsure (") for title in titles)
    assert {title.splitlines()[-1] for title in titles} == {"true: blue", "true: green", "true: red"}


def test_several_labels_and_numbers(featx, here, store, coefficients, drawn):
    images = np.stack([np.asarray(picture(i)) for i in range(3)])
    head = LinearClassifier(*coefficients, range(3), link="sigmoid", multilabel=True)
    run = make_run(head, [store], task="multilabel")
    run.save("several")
    found = library.load(run).predict(list(images))
    truth = [sorted(found[0].labels), ["blue", "green", "other"], []]
    for number, image in enumerate(images):
        Image.fromarray(image).save(here / f"{number}.png")
    lines = [json.dumps({"path": f"{number}.png", "labels": labels}) for number, labels in enumerate(truth)]
    (here / "several.jsonl").write_text("\n".join(lines))
    featx("predict", "several", "several.jsonl", "--gallery", "a.png")
    first, second, third = [title.replace("\n", " ") for title in titles_of(drawn["a.png"])]
    assert first.endswith(f"true: {', '.join(truth[0]) or 'none'} ✓")
    assert second.endswith("true: blue, green, other ✗")
    assert third.endswith(f"true: none {'✗' if found[2].labels else '✓'}")
    make_run(
        LinearRegressor(coefficients[0][:1], coefficients[1][:1]), [store], task="regression", classes=["age"]
    ).save("numbers")
    (here / "numbers.csv").write_text("path,value\n0.png,31.25\n")
    featx("predict", "numbers", "numbers.csv", "--gallery", "b.pdf")
    (age,) = library.load("numbers").predict("numbers.csv")
    assert titles_of(drawn["b.pdf"]) == [f"age {age.values['age']:.4g}\ntrue: 31.25"]


def test_of_many_images_some_are_shown(featx, here, store, drawn):
    library.fit_head(store).save("run")
    write_folder(here / "more", per_class=20)
    answer = featx("predict", "run", "more", "--gallery", "a.png")
    assert answer.err == "note: a.png shows 48 of 60 images\n"
    truth = [title.split("true: ")[1].split()[0] for title in titles_of(drawn["a.png"])]
    assert [truth.count(name) for name in ("blue", "green", "red")] == [16, 16, 16]


def test_odd_class_names(featx, here, drawn):
    names = ["$a_1$", "<b> & {c}", "日本 \U0001f408"]
    for number, name in enumerate(names):
        (here / "odd" / name).mkdir(parents=True)
        for seed in range(4):
            picture(seed + 10 * number).save(here / "odd" / name / f"{seed}.png")
    featx("extract", "odd", "--backbone", BACKBONE, "--preview", "seen.png")
    run = featx("fit-head", "odd").out.splitlines()[-1]
    featx("predict", run, "odd", "--gallery", "a.svg")
    assert titles_of(drawn["seen.png"])[:8] == ["$a_1$"] * 4 + ["<b> & {c}"] * 4
    assert all("$a_1$" in title for title in titles_of(drawn["a.svg"]))


def test_a_preview_comes_before_the_features(featx, here, photos, drawn):
    answer = featx("extract", "photos", "--backbone", BACKBONE, "--image-size", "24", "--preview", "seen.png")
    assert answer.err == "what the network sees is drawn in seen.png\n"
    assert titles_of(drawn["seen.png"]) == ["blue"] * 4 + ["green"] * 4 + ["red"] * 4
    assert {axes.images[0].get_array().shape for axes in drawn["seen.png"].axes} == {(24, 24, 3)}
    assert "12 rows" in answer.out
    (found,) = json.loads(
        featx("extract", "photos", "--backbone", BACKBONE, "--image-size", "24", "--preview", "b.png", "--json").out
    )
    assert found["hit"]
    assert (here / "b.png").read_bytes() == (here / "seen.png").read_bytes()


def test_without_labels_a_preview_names_the_files(featx, here, drawn):
    (here / "flat").mkdir()
    for seed in range(2):
        picture(seed).save(here / "flat" / f"{seed}.png")
    featx("extract", "flat", "--backbone", BACKBONE, "--preview", "seen.png")
    assert sorted(titles_of(drawn["seen.png"])) == ["0.png", "1.png"]


def test_a_row_of_a_preview_is_an_image_with_its_views(featx, photos, drawn):
    words = ["--backbone", BACKBONE, "--views", "3", "--augment", "rotate(20) hflip", "--preview", "seen.png"]
    featx("extract", "photos", *words)
    row = ["{}", "{}, view 1", "{}, view 2"]
    classes = [name for name in ("blue", "green", "red") for _ in range(2)]
    assert titles_of(drawn["seen.png"]) == [title.format(name) for name in classes for title in row]
    tops = [round(axes.get_position().y1, 6) for axes in drawn["seen.png"].axes]
    assert all(len(set(tops[i : i + 3])) == 1 for i in range(0, 18, 3))
    assert len(set(tops)) == 6


@pytest.mark.parametrize("command", [["predict", "run", "a.png", "--gallery"], ["extract", "photos", "--preview"]])
def test_what_a_picture_may_be_called(featx, here, command):
    for name in ("a.htm", "a.jpg", "-"):
        assert f"'{name}' must end in .png or .svg or .pdf or .html" in featx.fails(*command, name, code=2)
    assert "'no/where.png' must be in a folder that is there: make 'no'" in featx.fails(*command, "no/where.png")
