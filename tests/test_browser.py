"""The browser of the tests: whatever a test has done to it, the next one finds it as new."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from selenium.common.exceptions import WebDriverException

from tests.browser import HEIGHT, WIDTH, SharedBrowser, complaints, requested, show


@pytest.fixture
def shared(shared_browser):
    """A browser of this test's own; only where there is one at all."""
    with closing(SharedBrowser()) as made:
        yield made


def group_of(driver):
    """Return the processes of a browser."""
    leader = driver.service.process.pid
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = entry.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) == leader and state != "Z":
            found.append(int(entry.parent.name))
    return found


def assert_gone(driver):
    """Check that no process of a browser is left, once those that were killed have had time to die."""
    until = time.monotonic() + 30
    while group_of(driver) and time.monotonic() < until:
        time.sleep(0.05)
    assert group_of(driver) == []


def test_a_page_leaves_no_traces(shared, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<title>one</title><script>console.error('a'); localStorage.a = 1; throw 'b'</script>")
    driver = shared.get()
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 300, "deviceScaleFactor": 2, "mobile": False}
    )
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    show(driver, page)
    assert driver.execute_script("return [innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]") == [
        400,
        True,
    ]
    assert shared.get() is driver
    assert driver.current_url == "about:blank"
    show(driver, page)
    assert requested(driver) == [page.as_uri()]
    assert len(complaints(driver)) == 2
    window = driver.execute_script(
        "return [outerWidth, outerHeight, matchMedia('(prefers-color-scheme: dark)').matches]"
    )
    assert window == [WIDTH, HEIGHT, False]


@pytest.mark.slow
def test_a_dead_browser_is_replaced_and_leaves_nothing_behind(shared, monkeypatch):
    monkeypatch.setattr("tests.browser._PATIENCE", 5)
    for how in ("page crashes", "browser dies", "driver dies", "browser hangs"):
        driver = shared.get()
        group = group_of(driver)
        ours = driver.service.process.pid
        assert ours in group
        assert len(group) > 3
        if how == "page crashes":
            with pytest.raises(WebDriverException, match="tab crashed"):
                driver.get("chrome://crash")
        for pid in group:
            if how == "driver dies" and pid == ours:
                os.kill(pid, signal.SIGKILL)
            elif how.startswith("browser") and pid != ours:
                os.kill(pid, signal.SIGKILL if how == "browser dies" else signal.SIGSTOP)
        other = shared.get()
        assert other is not driver, how
        assert other.execute_script("return 6 * 7") == 42
        assert_gone(driver)
    shared.close()
    assert_gone(other)
