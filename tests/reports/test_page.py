"""Pages: in one file, and nothing in a name is more than text."""

import pytest

from featx.errors import ParameterError
from featx.reports import Page, page_policy, render_page, write_page
from featx.reports._page import environment
from tests.browser import complaints, requested, show

HOSTILE = [
    "<script>document.title = 'caught'</script>",
    '"><img src=x onerror="document.title = \'caught\'">',
    "{{ 7 * 7 }}",
    "javascript:alert(1)",
    "</style></title></textarea>",
    "caf\udce9 \u202egnp.exe",
]

TEMPLATE = """{% extends "base.html" %}
{% block main %}
{{ parts.table(["name", "n", "p"], rows, caption=names[0]) }}
{{ parts.pictures(items) }}
{{ parts.commands(names) }}
{{ parts.facts(pairs) }}
{{ parts.notes(names) }}
{% endblock %}
"""


@pytest.fixture
def page(monkeypatch):
    from jinja2 import ChoiceLoader, DictLoader

    made = environment()
    monkeypatch.setattr(made, "loader", ChoiceLoader([DictLoader({"some.html": TEMPLATE}), made.loader]))
    rows = [[name, i * 7 % 10, {"text": f"{i}0%", "value": i / 10}] for i, name in enumerate(HOSTILE)]
    items = [{"src": None, "alt": name, "lines": [name, name]} for name in HOSTILE]
    values = {"rows": rows, "items": items, "names": HOSTILE, "pairs": [(name, name) for name in HOSTILE]}
    return Page("some.html", HOSTILE[0], values)


def test_names_stay_text_and_nothing_is_asked_of_the_network(page, tmp_path, browser):
    show(browser, write_page(page, tmp_path / "page.html"))
    assert browser.title == HOSTILE[0]
    assert browser.find_element("css selector", "h1").text == HOSTILE[0]
    cells = [row.find_elements("css selector", "td")[0].text for row in table_rows(browser)]
    assert cells == [*HOSTILE[:-1], "caf\\udce9 \\u202egnp.exe"]
    assert complaints(browser) == []
    assert requested(browser) == [(tmp_path / "page.html").as_uri()]
    assert not browser.find_elements("css selector", "main script, main img")


def table_rows(browser):
    return browser.find_elements("css selector", "tbody tr")


def test_tables_are_sorted_by_the_column_that_is_pressed(page, tmp_path, browser):
    show(browser, write_page(page, tmp_path / "page.html"))

    def column(i):
        return [row.find_elements("css selector", "td")[i].text for row in table_rows(browser)]

    numbers = [str(i * 7 % 10) for i in range(len(HOSTILE))]
    assert column(1) == numbers
    button = browser.find_elements("css selector", "th button")[1]
    button.click()
    assert column(1) == sorted(numbers)
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    button.click()
    assert column(1) == sorted(numbers, reverse=True)
    browser.find_elements("css selector", "th button")[2].click()
    assert column(2) == ["00%", "10%", "20%", "30%", "40%", "50%"]


def test_a_script_that_is_not_the_pages_own_does_not_run(page, tmp_path, browser):
    path = write_page(page, tmp_path / "page.html")
    path.write_text(path.read_text().replace("<main>", "<main><script>document.title = 'caught'</script>"))
    show(browser, path)
    assert browser.title == HOSTILE[0]
    assert any("Content Security Policy" in line for line in complaints(browser))


def test_pages_are_replaced_whole_or_not_at_all(page, tmp_path):
    from jinja2 import UndefinedError

    path = write_page(page, tmp_path / "page.html")
    before = path.read_bytes()
    del page.values["rows"]
    with pytest.raises(UndefinedError):
        write_page(page, path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(ParameterError, match=r"path must end in \.html; got '.*page\.png'"):
        write_page(page, tmp_path / "page.png")
    with pytest.raises(ParameterError, match="path must be in a folder that is there"):
        write_page(page, tmp_path / "not" / "page.html")


def test_a_page_of_a_server_leads_back_and_may_ask_it_alone(page, tmp_path):
    (tmp_path / "some.html").write_text('{% extends "base.html" %}{% block main %}its own{% endblock %}')
    (tmp_path / "linked.html").write_text("""{% extends "base.html" %}{% block policy %}{% endblock %}
{% block main %}{{ parts.table(["a"], [[{"text": "<b>", "value": 1, "href": "/runs/1"}]]) }}{% endblock %}""")
    assert "its own" not in render_page(page, home="/")
    assert '<a href="/">' in render_page(page, home="/")
    assert '<a href="/">' not in render_page(page)
    assert "its own" in render_page(page, templates=[tmp_path])
    linked = render_page(Page("linked.html", "links"), templates=[tmp_path])
    assert '<td data-value="1" class="number"><a href="/runs/1">&lt;b&gt;</a></td>' in linked
    assert "Content-Security-Policy" not in linked
    alone, served = (
        dict(each.split(" ", 1) for each in policy.split("; ")) for policy in (page_policy(), page_policy(served=True))
    )
    assert {name: served[name].removesuffix(" 'self'") for name in alone} == alone
    assert served["connect-src"] == "'self'"
    assert served["script-src"].endswith(" 'self'")
    assert "unsafe-inline" not in served["script-src"]
