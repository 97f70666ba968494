"""What the tests of sources share."""

import pytest

from featx.sources import _remote


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Try again at once."""
    monkeypatch.setattr(_remote, "WAIT", 0.001)
