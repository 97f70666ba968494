"""What tests of several rooms share."""

import pytest


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, one for all tests of a process."""
    from tests.browser import CHROMIUM, DRIVER, chromium

    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no chromium with chromedriver here: apt-get install chromium chromium-driver")
    with chromium() as driver:
        yield driver
