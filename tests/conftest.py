"""What tests of several rooms share."""

from contextlib import closing

import pytest
from hypothesis import settings

settings.register_profile("featx", deadline=None, max_examples=50)  # how long a test takes says how busy the machine is
settings.load_profile("featx")

FIRST = ("distributed", "test_house.py")
"""What waits for many processes of its own, and should not be what is left at the end."""


def pytest_collection_modifyitems(items):
    """Have what takes longest begin first."""
    items.sort(key=lambda item: not set(FIRST) & set(item.path.parts))


@pytest.fixture(scope="session")
def shared_browser():
    """One for all tests of a process."""
    from tests.browser import CHROMIUM, DRIVER, SharedBrowser

    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no chromium with chromedriver here: apt-get install chromium chromium-driver")
    with closing(SharedBrowser()) as shared:
        yield shared


@pytest.fixture
def browser(shared_browser):
    """A headless Chromium with an empty page, driven by Selenium; see :mod:`tests.browser`."""
    return shared_browser.get()


@pytest.fixture
def memory():
    """The files in memory that all of a process share, emptied."""
    filesystem = pytest.importorskip("fsspec").filesystem("memory")
    _empty(filesystem)
    yield filesystem
    _empty(filesystem)


def _empty(filesystem):
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
