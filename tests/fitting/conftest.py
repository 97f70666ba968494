import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def one_thread():
    """Keep OpenMP's threads from waiting for one another on a busy machine: these arrays are tiny."""
    with threadpool_limits(1):
        yield
