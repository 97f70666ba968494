"""The pages as a person has them: in a real browser."""

import base64
import os
import shutil
import threading

import pytest
from selenium.webdriver.support.ui import Select, WebDriverWait

import featx
from featx.reports import Page, Report
from featx.store import list_stores
from featx.studio import Studio
from tests.browser import complaints, requested
from tests.studio.helpers import png
from tests.tiny import BACKBONE, COLOURS, picture

HOSTILE = [
    '"><img src=x onerror="document.title=1">',
    "<script>document.title = 'caught'<",
    "{{7*7}} &amp; $x$",
    "\u202egnp.exe",
    "new\nline",
    "caf\udce9",
]


def escaped(name):
    """Return a name as it is shown."""
    return "".join(repr(mark)[1:-1] if mark in "\u202e\n\udce9" else mark for mark in name)


class Sight:
    """A browser that has opened a studio."""

    def __init__(self, browser, studio):
        self.browser, self.studio = browser, studio
        browser.delete_all_cookies()
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(studio.url)
        self.until(lambda: browser.current_url == studio.address and self("footer"))

    def __call__(self, selector):
        """Return the texts of elements."""
        return [each.text for each in self.browser.find_elements("css selector", selector)]

    def until(self, condition):
        return WebDriverWait(self.browser, 60).until(lambda _: condition())

    def column(self, table, number):
        return self(f"#{table}-table tbody tr:not([hidden]) td:nth-child({number})")

    def bring(self, event, *files):
        """Drop or paste files, pairs of name and bytes."""
        script = """
            const transfer = new DataTransfer();
            for (const [name, data] of arguments[1]) {
              transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
            }
            const init = { bubbles: true, cancelable: true };
            const event = arguments[0] === "paste" ? new ClipboardEvent("paste", { ...init, clipboardData: transfer })
              : new DragEvent(arguments[0], { ...init, dataTransfer: transfer });
            return document.querySelector("h1").dispatchEvent(event);
        """
        return self.browser.execute_script(
            script, event, [[name, base64.b64encode(data).decode()] for name, data in files]
        )

    def answers(self, count):
        """Return the answers, once there are so many."""
        self.until(lambda: len(self("#answers > li")) == count)
        return self.browser.find_elements("css selector", "#answers > li")

    def is_content(self):
        assert complaints(self.browser) == []
        assert all(url.startswith(self.studio.address) for url in requested(self.browser))


@pytest.fixture
def sight(browser, studio):
    return Sight(browser, studio)


def test_the_secret_leaves_the_address(sight):
    assert sight.browser.current_url == sight.studio.address
    (cookie,) = sight.browser.get_cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    sight.browser.delete_all_cookies()
    sight.browser.refresh()
    assert "open the one that `featx studio` printed" in sight("main p")[0]


def test_what_there_is_with_a_link_to_each(sight):
    assert sight.column("runs", 1) == ["mine"]
    assert sight.column("stores", 1) == ["photos"]
    assert sight("#runs-table a") == ["mine"]
    assert sight(".filter") == []  # of one there is nothing to choose
    sight.is_content()


def test_a_dropped_image_is_answered(sight, home):
    expected = featx.load(home / "runs" / "mine").predict(picture(0, COLOURS["red"]))[0]
    assert not sight.bring("dragover", ("a.png", png()))  # which a browser would open itself
    assert "dragging" in sight.browser.find_element("css selector", "body").get_attribute("class")
    assert not sight.bring("drop", ("<b>a</b>.png", png()), ("green.png", png(1, COLOURS["green"])))
    second, first = sight.answers(2)
    assert "dragging" not in sight.browser.find_element("css selector", "body").get_attribute("class")
    assert first.find_element("css selector", "h3").text == "<b>a</b>.png"
    assert first.find_element("css selector", ".said").text == expected.text(1)
    names = [each.text for each in first.find_elements("css selector", ".numbers > li > span:first-child")]
    assert names == list(expected.scores)
    bar = first.find_element("css selector", "meter")
    assert float(bar.get_attribute("value")) == pytest.approx(expected.scores[names[0]], abs=1e-5)
    near = first.find_elements("css selector", ".pictures li")
    assert len(near) == 6
    assert {each.find_element("css selector", "span").text for each in near} == {"red"}
    widths = sight.browser.execute_script(
        "return [...document.querySelectorAll('#answers img')].map((image) => image.naturalWidth)"
    )
    assert len(widths) == 14
    assert set(widths) == {40}
    assert second.find_element("css selector", ".said").text.endswith("green")
    assert sight("#status")[0].startswith("green.png: ")
    sight.is_content()


def test_images_may_be_chosen_and_pasted(sight, home, tmp_path):
    (tmp_path / "not.png").write_text("an image")
    names = [str(home / "photos" / "val" / "blue" / "000.png"), str(tmp_path / "not.png")]
    sight.browser.find_element("id", "files").send_keys("\n".join(names))
    bad, good = sight.answers(2)
    assert good.find_element("css selector", ".said").text.endswith("blue")
    assert "The image itself is in the store, as val/blue/000.png." in good.text
    assert "not an image of a known format" in bad.find_element("css selector", ".failed").text
    sight.bring("paste", ("image.png", png(2, COLOURS["green"])))
    pasted, *_ = sight.answers(3)
    assert pasted.find_element("css selector", ".said").text.endswith("green")
    sight.is_content()


def test_text_that_is_dropped_is_left_alone(sight):
    assert sight.browser.execute_script("""
        const transfer = new DataTransfer();
        transfer.setData("text/plain", "words");
        const init = { bubbles: true, cancelable: true, dataTransfer: transfer };
        return document.body.dispatchEvent(new DragEvent("drop", init));
    """)
    assert sight("#answers > li") == []


def test_what_is_too_large_is_not_even_sent(sight):
    sight.browser.execute_script("document.getElementById('files').dataset.most = 10")
    before = len(requested(sight.browser))
    sight.bring("drop", ("a.png", png()))
    assert "too large" in sight.answers(1)[0].text
    assert before
    assert requested(sight.browser) == []


def test_a_studio_that_is_gone_is_told(sight):
    sight.studio.close()
    sight.bring("drop", ("a.png", png()))
    assert "is it still running?" in sight.answers(1)[0].text


@pytest.fixture
def many(home, tmp_path):
    """Runs to be sorted, of different strength and age."""
    store = featx.open_store(*list_stores(home / "cache"))
    for name, C in (("b-run", 1e-6), ("a-run", 1.0), ("c-run", 1e-4)):
        featx.fit_head(store, "logistic", params={"C": C}).save(tmp_path / "runs" / name)
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    with Studio(home / "cache", tmp_path / "runs", port=0) as made:
        yield made


def test_tables_are_sorted_and_filtered(browser, many):
    sight = Sight(browser, many)
    browser.find_element("css selector", "#runs-table th:first-child button").click()
    assert sight.column("runs", 1) == ["a-run", "b-run", "broken", "c-run"]
    assert sight("#runs-table a") == ["a-run", "b-run", "c-run"]
    assert [option.text.partition(":")[0] for option in Select(browser.find_element("id", "run")).options] != ["broken"]
    box = browser.find_element("css selector", "#runs ~ p .filter, section[aria-labelledby=runs] .filter")
    box.send_keys("C-RUN logistic")
    assert sight.column("runs", 1) == ["c-run"]
    assert sight("section[aria-labelledby=runs] span[role=status]") == ["1 of 4 shown"]
    box.clear()
    box.send_keys("damaged")
    assert sight.column("runs", 1) == ["broken"]
    sight.is_content()


def test_the_run_that_is_chosen_is_asked(browser, many, tmp_path):
    sight = Sight(browser, many)
    choice = Select(browser.find_element("id", "run"))
    for number, name in enumerate(("a-run", "b-run"), 1):
        (option,) = [each for each in choice.options if each.text.startswith(name)]
        choice.select_by_visible_text(option.text)
        sight.bring("drop", ("a.png", png()))
        newest, *_ = sight.answers(number)
        (expected,) = featx.load(tmp_path / "runs" / name).predict(picture(0, COLOURS["red"]))
        assert newest.find_element("css selector", ".said").text == expected.text(1)
        assert f"by {name}" in newest.text


def test_hostile_names_stay_text(browser, tmp_path):
    folders = [name for name in HOSTILE if "/" not in name]
    for seed, name in enumerate(folders):
        folder = tmp_path / "photos" / name
        os.makedirs(os.fsencode(folder))
        for number in range(2):
            picture(10 * seed + number, list(COLOURS.values())[seed % 3]).save(tmp_path / "scratch.png")
            os.rename(tmp_path / "scratch.png", os.fsencode(folder / f"{name}{number}.png"))
    store = featx.extract(tmp_path / "photos", BACKBONE, cache=tmp_path / "cache")
    for name in HOSTILE:
        shutil.copy(store.path, os.fsencode(tmp_path / "cache" / f"{name}.toy.000000000000.h5"))
        featx.fit_head(store).save(tmp_path / "runs" / name)
    with Studio(tmp_path / "cache", tmp_path / "runs", port=0) as studio:
        sight = Sight(browser, studio)
        assert set(sight.column("runs", 1)) == set(map(escaped, HOSTILE))
        assert set(sight.column("stores", 1)) == {*map(escaped, HOSTILE), "photos"}
        sight.bring("drop", *[(name.replace("\udce9", "é"), png(seed)) for seed, name in enumerate(HOSTILE)])
        answers = sight.answers(len(HOSTILE))
        said = " ".join(each.text for each in answers)
        for name in HOSTILE[:5]:
            assert escaped(name) in said
        assert {each.text for each in browser.find_elements("css selector", ".numbers li span:first-child")} <= set(
            map(escaped, HOSTILE)
        )
        assert browser.title == "featx studio"
        assert browser.find_elements("css selector", "main script, main b, img[src=x]") == []
        sight.is_content()
        for kind in ("runs", "stores"):
            browser.get(studio.address)
            browser.find_element("css selector", f"#{kind}-table a").click()
            sight.until(lambda: sight("main h2"))
            assert browser.title in [*map(escaped, HOSTILE), "photos"]
            assert browser.find_elements("css selector", "img[src=x]") == []
            sight.is_content()


def test_the_first_steps_where_there_is_nothing(browser, tmp_path):
    for name in ("cache", "runs"):
        (tmp_path / name).mkdir()
    with Studio(tmp_path / "cache", tmp_path / "runs", port=0) as studio:
        sight = Sight(browser, studio)
        assert sight("h2") == ["Nothing here yet", "Runs", "Stores"]
        assert f"featx extract photos/ --cache {tmp_path / 'cache'}" in sight("pre")[0]
        sight.is_content()


@pytest.mark.parametrize("kind", ["runs", "stores"])
def test_reports_are_those_that_are_written(sight, home, tmp_path, kind):
    from featx.reports import run_report, store_report, write_page

    sight.browser.find_element("css selector", f"#{kind}-table a").click()
    sight.until(lambda: sight("main h2"))
    seen = sight("h1, main h2, main table td")
    sight.is_content()
    store = featx.open_store(*list_stores(home / "cache"))
    made = run_report(home / "runs" / "mine") if kind == "runs" else store_report(store)
    sight.browser.get(write_page(made.page, tmp_path / "page.html").as_uri())
    assert sight("h1, main h2, main table td") == seen
    assert len(seen) > 8


def test_reports_are_made_once_while_a_page_says_so(sight, monkeypatch):
    release, made = threading.Event(), []

    def slow(run, **more):
        made.append(run)
        release.wait(60)
        return Report(Page("base.html", "the report"))

    monkeypatch.setattr("featx.studio._app.run_report", slow)
    sight.browser.find_element("css selector", "#runs-table a").click()
    sight.until(lambda: "being made" in "".join(sight("main")))
    assert sight.browser.title == "mine"
    release.set()
    sight.until(lambda: sight("h1") == ["the report"])
    assert len(made) == 1
    sight.browser.refresh()
    sight.until(lambda: sight("h1") == ["the report"])
    assert len(made) == 1
    sight.browser.find_element("css selector", "header a").click()
    sight.until(lambda: sight("h1") == ["featx studio"])
    sight.is_content()


def test_a_report_that_fails_says_why(sight, monkeypatch):
    def fails(run, **more):
        raise featx.FeatxError("it is too late")

    monkeypatch.setattr("featx.studio._app.run_report", fails)
    sight.browser.find_element("css selector", "#runs-table a").click()
    sight.until(lambda: sight("main p")[:1] == ["it is too late"])
