"""The report of a store, in a browser: what it says is so, its images are the right ones, and names are only text."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

import featx
from featx.errors import ParameterError
from featx.reports import Album, _sections, _survey, render_page, store_report, write_page
from tests.browser import complaints, requested, show
from tests.fitting.helpers import clouds, write
from tests.reports.helpers import cells, pictures, section
from tests.store.helpers import make_features, make_labelled, make_spec, make_table, save
from tests.tiny import BACKBONE, COLOURS, picture

HOSTILE = {
    "blue": "<script>alert(1)</script>",
    "green": '"><img src=x onerror=alert(2)>',
    "red": "{{ 7 * 7 }} \u202egnp.exe",
}
NEARLY = "nearly caf\udce9\n<script>.png"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def store(place):
    """A store of hostile names, with images that are in both splits, equal, nearly, and under two labels."""
    root, lines = place / "images", []
    root.mkdir()

    def add(name, label, split, image=None):
        if image is not None:
            image.save(root / name, format="PNG")
        lines.append(json.dumps({"path": name, "label": HOSTILE[label], "split": split}))

    for number in range(60):
        colour = list(COLOURS)[number % 3]
        add(
            f"{number:02d} <b> & {{{{ 1 }}}}.png",
            colour,
            ("train", "val")[number % 2],
            picture(number, COLOURS[colour]),
        )
    add("copy.png", "blue", "val", picture(0, COLOURS["blue"]))
    add("other label.png", "red", "train", picture(2, COLOURS["red"]))
    lines.append(json.dumps({"path": "as green.png", "label": HOSTILE["green"], "split": "train"}))
    picture(2, COLOURS["red"]).save(root / "as green.png")
    Image.fromarray(np.asarray(picture(4, COLOURS["green"])) ^ 1).save(root / NEARLY)
    lines.append(json.dumps({"path": NEARLY, "label": HOSTILE["green"], "split": "val"}))
    Image.new("RGB", (40, 32), "white").save(root / "odd \u202e.png")
    lines.append(json.dumps({"path": "odd \u202e.png", "label": HOSTILE["blue"], "split": "train"}))
    (root / "broken '\">.png").write_bytes(b"no image")
    lines.append(json.dumps({"path": "broken '\">.png", "label": HOSTILE["blue"], "split": "train"}))
    manifest = root / "list.jsonl"
    manifest.write_text("\n".join(lines))
    return featx.extract(manifest, BACKBONE, cache=place / "cache")


@pytest.fixture(scope="module")
def report(store):
    return store_report(store)


@pytest.fixture(scope="module")
def path(report, place):
    return write_page(report.page, place / "store.html")


@pytest.fixture
def opened(path, browser):
    show(browser, path)
    return browser


def row_of(store, start):
    return next(row for row, key in enumerate(store.keys) if key.startswith(start))


def thumbnail(store, row, side=128):
    return Album(store).thumbnails([row], side=side)[row]


def texts(browser, selector):
    return [element.text for element in browser.find_elements("css selector", selector)]


def test_what_it_says_is_so(store, path, opened):
    assert opened.title == store.name
    headlines = [item.text.splitlines() for item in opened.find_elements("css selector", ".headline li")]
    splits = [store.splits.count(name) for name in ("train", "val")]
    assert headlines[0] == ["65", f"{splits[0]} in train, {splits[1]} in val", "samples"]
    counts = [int((store.labels == i).sum()) for i in range(3)]
    assert headlines[1] == ["3", f"{min(counts)} to {max(counts)} each", "classes"]
    assert headlines[2] == ["2", "1 across splits", "duplicated images"]
    assert headlines[3][2] == "near-duplicates"
    assert headlines[4] == ["1", "bad images"]
    (table,) = [e for one in section(opened, "classes") for e in one.find_elements("css selector", "table")]
    shown = {row[0]: row[1:] for row in cells(opened, table)}
    for i, name in enumerate(store.classes):
        own = [
            sum(store.splits[row] == split for row in np.flatnonzero(store.labels == i)) for split in ("train", "val")
        ]
        assert shown[name.replace("\u202e", "\\u202e")] == [str(counts[i]), f"{counts[i] / 65:.1%}", *map(str, own)]
    notes = texts(opened, "#notes + ul li")
    assert notes[0] == "1 image is in both train and val, byte for byte: figures there are too good."
    assert "1 image is labelled differently in different places, though the bytes are equal." in notes
    assert "1 sample could not be used: see bad images." in notes
    facts = opened.find_element("css selector", "#made + dl").text
    for fact in (str(store.path), "65 x 5 float32", store.spec.digest, BACKBONE):
        assert fact in facts
    assert complaints(opened) == []
    assert requested(opened) == [path.as_uri()]


def test_names_stay_text(store, opened):
    assert texts(opened, "main h4")[:3] == [name.replace("\u202e", "\\u202e") for name in store.classes]
    shown = [e for one in section(opened, "failures") for e in one.find_elements("css selector", "td")]
    assert shown[0].text == "broken '\">.png"
    assert len(opened.find_elements("css selector", "main script")) == 1  # the map's data
    sources = {image.get_attribute("src")[:11] for image in opened.find_elements("css selector", "img")}
    assert sources == {"data:image/"}
    assert not opened.find_elements("css selector", "main b:not([class])")


def test_samples_of_each_class_are_of_that_class(store, opened):
    strips = [one for one in section(opened, "classes") if one.tag_name == "ul"]
    assert len(strips) == 3
    for i, strip in enumerate(strips):
        images = strip.find_elements("css selector", "img")
        keys = [image.get_attribute("alt").replace("\\u202e", "\u202e") for image in images]
        rows = [store.keys.index(key) for key in keys]
        assert len(rows) == 12
        assert {int(label) for label in store.labels[rows]} == {i}
        assert [image.get_attribute("src") for image in images] == [thumbnail(store, row) for row in rows]


def test_duplicates_are_shown_with_leaks_and_conflicts(store, opened):
    groups = [e for one in section(opened, "duplicates") for e in one.find_elements("css selector", ".groups > li")]
    assert [group.find_element("css selector", "p").text for group in groups] == [
        "train / val: leak\n2 times.",
        "labels differ\n3 times.",
    ]
    rows = [row_of(store, "00"), row_of(store, "copy")]
    shown = pictures(opened, "duplicates")[:2]
    assert {src for src, _ in shown} == {thumbnail(store, rows[0])}
    assert {lines[2] for _, lines in shown} == {store.keys[row] for row in rows}
    assert {lines[1] for _, lines in shown} == {"train", "val"}


def test_near_duplicates_are_shown_across_splits_first(store, opened):
    first = section(opened, "near")[1].find_elements("css selector", ".groups > li")[0]
    assert first.find_element("css selector", "p").text.startswith("train / val: leak\n")
    assert "nearly caf\\udce9\\n<script>.png" in section(opened, "near")[1].text


def test_outliers_are_the_farthest(tmp_path, browser):
    from sklearn.neighbors import NearestNeighbors

    X, y = clouds(90)
    store = write(tmp_path / "a.h5", X, y)
    show(browser, write_page(store_report(store).page, tmp_path / "a.html"))

    def farthest(rows, count):
        mean = NearestNeighbors(n_neighbors=10, metric="cosine").fit(X[rows]).kneighbors()[0].mean(axis=1)
        order = np.argsort(-mean)[:count]
        return [f"{store.keys[rows[i]]} · distance {mean[i]:.3g} · {store.classes[y[rows[i]]]}" for i in order]

    shown = [e.text for one in section(browser, "outliers") for e in one.find_elements("css selector", "li")]
    assert shown == farthest(np.arange(90), 24) + [
        line for i in range(3) for line in farthest(np.flatnonzero(y == i), 4)
    ]


def test_an_image_unlike_all_others_stands_apart(store, opened):
    shown = pictures(opened, "outliers")
    odd = row_of(store, "odd")
    assert shown[0][0] == thumbnail(store, odd)
    assert shown[0][1][1:] == [store.classes[store.labels[odd]], "train", "odd \\u202e.png"]


def spots(browser):
    return json.loads(browser.find_element("css selector", ".map script").get_attribute("textContent"))


def point_at(browser, across, down):
    """Move the pointer to a place on the map's drawing, given in fractions of it."""
    drawing = browser.find_element("css selector", ".map svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", drawing)
    size = drawing.size
    left, top = (across - 0.5) * size["width"], (down - 0.5) * size["height"]
    ActionChains(browser).move_to_element_with_offset(drawing, round(left), round(top)).perform()


def lonely(found):
    """Return the index of the spot that is farthest from its nearest."""
    places = np.array([spot[:2] for spot in found])
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 9 * np.eye(len(places))
    return int(distances.min(axis=1).argmax())


def test_the_sample_under_the_pointer_is_named_and_shown(store, opened):
    from featx.plots import axes_box
    from featx.reports._map import map_points
    from featx.reports._sketch import sketch_of

    found = spots(opened)
    index = lonely(found)
    card = opened.find_element("css selector", ".map .card")
    assert not card.is_displayed()
    point_at(opened, *found[index][:2])
    assert card.is_displayed()
    label = store.classes[store.labels[index]]
    wanted = [label, store.splits[index], store.keys[index]]
    assert texts(opened, ".map .card span") == [text.replace("\u202e", "\\u202e") for text in wanted]
    image = opened.find_element("css selector", ".map .card img")
    assert image.get_attribute("src") == thumbnail(store, index, 64)
    points = map_points(sketch_of(store.features), "pca")
    box = axes_box(store_report(store, images=False).figures["map"])
    across = box.left + box.width * (points[index, 0] - box.x_low) / (box.x_high - box.x_low)
    assert found[index][0] == pytest.approx(across, abs=1e-4)
    ring = opened.find_element("css selector", ".map .ring").rect
    drawing = opened.find_element("css selector", ".map svg").rect
    assert ring["x"] + ring["width"] / 2 == pytest.approx(drawing["x"] + across * drawing["width"], abs=1.5)
    point_at(opened, 0.99, 0.01)
    assert not card.is_displayed()
    assert complaints(opened) == []


def test_arrow_keys_go_from_one_sample_to_the_next(opened):
    found = spots(opened)
    figure = opened.find_element("css selector", ".map")
    spoken = opened.find_element("css selector", ".map [aria-live=polite]")
    figure.send_keys(Keys.ARROW_RIGHT)
    seen = []
    for key in [Keys.ARROW_RIGHT] * 60 + [Keys.ARROW_UP] * 60:
        text = spoken.get_attribute("textContent")
        seen.append(next(spot for spot in found if ", ".join(spot[2]) == text))
        figure.send_keys(key)
    across, down = zip(*(spot[:2] for spot in seen), strict=True)
    assert list(across[:60]) == sorted(across[:60])
    assert list(down[60:]) == sorted(down[60:], reverse=True)
    assert len({spot[2][-1] for spot in seen}) > 6
    assert texts(opened, ".map .card span") == seen[-1][2]
    figure.send_keys(Keys.ESCAPE)
    assert not opened.find_element("css selector", ".map .card").is_displayed()


def test_a_dark_page_is_dark(opened):
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    found = spots(opened)
    point_at(opened, *found[lonely(found)][:2])
    for selector, style in ((".map .card", "background-color"), ("body", "background-color")):
        colour = opened.find_element("css selector", selector).value_of_css_property(style)
        assert max(map(int, re.findall(r"\d+", colour)[:3])) < 60
    for selector in (".map .card", ".leak", ".map svg"):
        colour = opened.find_element("css selector", selector).value_of_css_property("color")
        assert max(map(int, re.findall(r"\d+", colour)[:3])) > 200


def made(tmp_path, task):
    """Return a store of 40 samples of some kind."""
    if task in ("multilabel", "regression"):
        return save(tmp_path / "a.h5", make_features(40), samples=make_labelled(task, 40))
    if task == "unlabelled":
        return save(tmp_path / "a.h5", make_features(40), samples=make_table(40, classes=()))
    if task == "maps":
        return save(tmp_path / "a.h5", make_features(40, 3, 3, 20))
    spec = make_spec(views=3, augment="hflip")
    return save(tmp_path / "a.h5", make_features(40, 3, 5), axes="NVC", spec=spec)


@pytest.mark.parametrize("task", ["multilabel", "regression", "unlabelled", "maps", "views"])
def test_stores_of_all_kinds_have_pages(task, tmp_path, browser):
    store = made(tmp_path, task)
    report = store_report(store)
    show(browser, write_page(report.page, tmp_path / "a.html"))
    assert complaints(browser) == []
    assert texts(browser, ".headline b")[0] == "40"
    assert "cannot be opened again" in browser.find_element("css selector", "main").text
    assert set(report.figures) == ({"map"} if task in ("regression", "unlabelled") else {"map", "class-counts"})
    assert len(spots(browser)) == 40
    if task == "multilabel":
        assert spots(browser)[3][2][0] == "a, b"
    if task == "regression":
        assert texts(browser, "#classes") == ["Values"]
        assert spots(browser)[3][2][0] == "1, -3e+300"


def test_several_labels_are_a_kind_of_their_own_on_the_map(tmp_path):
    store = made(tmp_path, "multilabel")
    kinds, names = _sections._kinds(store, np.arange(40))
    assert names == ("a", "b", "c", "several of them", "none of them")
    wanted = [{0: 4, 1: 0, 2: 1, 3: 3, 4: 2, 5: 3, 6: 3, 7: 3}[row % 8] for row in range(39)]  # bits of the row
    assert kinds.tolist() == [*wanted, -1]


def test_of_maps_and_views_the_averages_and_plain_images_are_on_the_map(tmp_path):
    from sklearn.decomposition import PCA

    for task, vectors in (("maps", lambda X: X.mean(axis=(1, 2))), ("views", lambda X: X[:, 0])):
        (tmp_path / task).mkdir()
        store = made(tmp_path / task, task)
        variance = PCA().fit(vectors(store.features)).explained_variance_ratio_
        words = store_report(store, images=False).page.values["map"]["words"]
        assert f"with {variance[0]:.1%} and {variance[1]:.1%} of the variance" in words


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_samples_have_pages_too(n, tmp_path):
    store = write(tmp_path / "a.h5", *clouds(n))
    assert "<svg" in render_page(store_report(store).page)


def test_features_that_are_no_numbers_are_told(tmp_path):
    X, y = clouds(30)
    X[4, 0], X[7] = np.nan, 0
    page = store_report(write(tmp_path / "a.h5", X, y), images=False).page
    assert "Left out are features that are not finite, or beyond all reason: 0004.jpg." in page.values["notes"]
    assert "There are features that are all 0: 0007.jpg." in page.values["notes"]
    X[:] = np.inf
    page = store_report(write(tmp_path / "b.h5", X, y), images=False).page
    assert page.values["notes"] == ["No features could be looked at."]
    assert "Near-duplicates" not in render_page(page)


def test_of_many_samples_some_are_looked_at_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(_survey, "_MOST", 30)
    monkeypatch.setattr(_sections, "_SPOTS", 26)
    store = write(tmp_path / "a.h5", *clouds(60))
    page = store_report(store, images=False).page
    assert page.values["notes"] == [
        "Map, near-duplicates and outliers are of 30 samples, spread evenly over the 60.",
    ]
    assert page.values["map"]["remark"].startswith("26 of 30 samples can be named, spread evenly, with those")
    named = {spot[2][-1] for spot in page.values["map"]["spots"]}
    assert len(named) == 26
    assert {item["alt"] for item in page.values["outliers"]["items"]} <= named


def test_groups_of_samples_in_two_splits_are_told(tmp_path):
    groups = {"table": {"groups": ["anna", "bo", "anna", ""] * 3}}
    store = write(tmp_path / "a.h5", *clouds(12), splits=["train", "train", "val", "val"] * 3, **groups)
    notes = store_report(store, images=False).page.values["notes"]
    assert "1 group of samples in more than one split: what these have in common leaks." in notes


def test_images_are_left_out_where_they_are_not_wanted_or_not_there(store, place, tmp_path):
    page = store_report(store, images=False).page
    assert page.values["problem"] == "Images were left out on request."
    html = render_page(page)
    assert "data:image" not in html
    assert "other label.png" in html
    moved = featx.open_source(place / "images" / "list.jsonl")
    found = store_report(store, source=moved).page.values["outliers"]["items"]
    assert all(item["src"] for item in found)
    assert store_report(store, images=False, title="Mine").page.title == "Mine"


def test_a_method_that_is_not_there_is_told(store):
    with pytest.raises(ParameterError, match="method must be one of pca, tsne, umap; got 'mds'"):
        store_report(store, method="mds")


def test_the_map_may_be_another(tmp_path):
    store = write(tmp_path / "a.h5", *clouds(40))
    first, again = (store_report(store, method="tsne", images=False).page.values["map"] for _ in range(2))
    assert "by t-SNE of their features: what is close stays close" in first["words"]
    assert first["spots"] == again["spots"] != store_report(store, images=False).page.values["map"]["spots"]
