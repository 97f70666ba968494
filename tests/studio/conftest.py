"""A cache and runs of a tiny network, and a studio over them."""

import pytest

import featx
from featx.studio import Studio
from tests.studio.helpers import Visitor
from tests.tiny import BACKBONE, write_folder


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder with `photos`, a cache with their store, and runs with one of a head on it; nobody changes it."""
    root = tmp_path_factory.mktemp("studio")
    photos = write_folder(root / "photos", splits=("train", "val"), per_class=4)
    store = featx.extract(photos, BACKBONE, cache=root / "cache")
    featx.fit_head(store).save(root / "runs" / "mine")
    return root


@pytest.fixture
def studio(home):
    with Studio(home / "cache", home / "runs", port=0) as made:
        yield made


@pytest.fixture
def visitor(home):
    made = Visitor(home / "cache", home / "runs")
    yield made
    made.pages.close(wait=True)
