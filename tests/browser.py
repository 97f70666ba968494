"""A real browser without a window: Debian's Chromium, driven by Selenium."""

import json
import os
import shutil
import signal
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from urllib3.exceptions import HTTPError

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

WIDTH, HEIGHT = 1200, 900
"""Of the window."""

FLAGS = [
    "--headless",
    "--no-sandbox",  # root and containers have none; only pages of the tests are opened
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
]

_LONGEST = 90
"""Seconds until a command has failed, whatever became of the browser; longer than any page may take."""

_PATIENCE = 20
"""Seconds until a browser that does not react to nothing much counts as dead."""

_DEAD = (WebDriverException, HTTPError)
"""What commands to a browser raise that has crashed, or does not answer."""


@contextmanager
def chromium(*flags, width=WIDTH, height=HEIGHT):
    """Give a browser; what it prints to its console is kept for :func:`complaints`."""
    with TemporaryDirectory(prefix="featx-chromium-", ignore_cleanup_errors=True) as profile, ExitStack() as end:
        options = Options()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}", *flags):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = _started(options, profile, end)
        driver.command_executor.client_config.timeout = _LONGEST
        driver.set_page_load_timeout(60)
        driver.get("about:blank")  # the page it starts with asks for things of its own
        yield driver


def _started(options, profile, end):
    """Start a browser in a process group of its own, all of which is gone at the `end`.

    It is tried three times, for its driver is given a port that was free a moment ago.
    """
    for last in (False, False, True):
        service = Service(DRIVER, env={**os.environ, "HOME": profile}, popen_kw={"start_new_session": True})
        try:
            with patch.dict(os.environ, no_proxy="localhost"):
                driver = webdriver.Chrome(options=options, service=service)
        except BaseException as error:
            _kill(service)
            if last or not isinstance(error, WebDriverException):
                raise
        else:
            end.callback(_kill, service)
            end.callback(driver.quit)
            return driver
    raise AssertionError


def _kill(service):
    process = getattr(service, "process", None)
    if process is not None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class SharedBrowser:
    """A browser for many tests, each of which finds it as if it had just been started; a dead one is replaced."""

    def __init__(self):
        self._end = ExitStack()
        self._driver = None

    def get(self):
        """Return the browser with an empty page."""
        if self._driver is None or not _reset(self._driver):
            self.close()
            self._driver = self._end.enter_context(chromium())
        return self._driver

    def close(self):
        """Stop it."""
        if self._driver is not None:
            _reset(self._driver)  # one that hangs would not quit
        self._end.close()
        self._driver = None


def _reset(driver):
    """Undo what a test may have done to a browser, and return whether it is alive; one that is not is killed."""
    driver.command_executor.client_config.timeout = _PATIENCE
    try:
        for method, parameters in (("clearDeviceMetricsOverride", {}), ("setEmulatedMedia", {"features": []})):
            driver.execute_cdp_cmd(f"Emulation.{method}", parameters)
        driver.set_window_size(WIDTH, HEIGHT)
        driver.delete_all_cookies()
        driver.get("about:blank")
    except _DEAD:
        _kill(driver.service)
        return False
    driver.command_executor.client_config.timeout = _LONGEST
    return True


def show(driver, path: Path):
    """Open a file."""
    driver.get_log("browser")
    driver.get_log("performance")
    driver.get(path.absolute().as_uri())


def complaints(driver):
    """Return what the console says since the page was opened: errors, warnings, refused connections."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requested(driver):
    """Return the addresses that were asked for since the page was opened, but for data in the page."""
    events = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith(("data:", "chrome"))]
