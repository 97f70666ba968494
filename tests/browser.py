"""A real browser without a window: Debian's Chromium, driven by Selenium."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
]


@contextmanager
def chromium(*flags, width=1200, height=900):
    """Give a browser; what it prints to its console is kept for :func:`complaints`."""
    with TemporaryDirectory(prefix="featx-chromium-") as profile:
        options = Options()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}", *flags):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        driver.set_page_load_timeout(60)
        driver.get("about:blank")  # the page it starts with asks for things of its own
        try:
            yield driver
        finally:
            driver.quit()


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
