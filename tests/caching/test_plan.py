import pytest

from featx.caching import extract, plan
from featx.errors import ParameterError, SampleError
from featx.sources import FolderSource
from tests.tiny import BACKBONE, picture, write_folder


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", per_class=8)


def test_rows_and_bytes_are_those_of_the_store(photos, tmp_path):
    found = plan(photos, BACKBONE, cache=tmp_path / "cache", layers=["output", "conv2"], pool="none", dtype="float16")
    assert (found.rows, found.unchanged, found.to_read, found.tried) == (24, 0, 24, 24)
    stores = [
        extract(photos, BACKBONE, layer=layer, pool="none", dtype="float16", cache=tmp_path / "cache")
        for layer in ("output", "conv2")
    ]
    assert found.bytes == sum(store.features.nbytes for store in stores)
    assert found.needed_bytes == 2 * found.bytes
    assert found.free_bytes > found.needed_bytes
    assert not list((tmp_path / "cache").glob("*.tmp"))


def test_only_what_is_new_costs(photos, tmp_path):
    cache = tmp_path / "cache"
    extract(photos, BACKBONE, cache=cache)
    whole = plan(photos, BACKBONE, cache=cache)
    assert (whole.unchanged, whole.to_read, whole.tried, whole.seconds) == (24, 0, 0, 0.0)
    picture(1).save(photos / "red" / "new.png")
    more = plan(photos, BACKBONE, cache=cache)
    assert (more.rows, more.unchanged, more.to_read, more.tried) == (25, 24, 1, 1)
    assert more.needed_bytes == (25 + 1) * 5 * 4


def test_the_try_is_short_spread_and_adds_up(photos, tmp_path, monkeypatch):
    opened = []
    read = FolderSource._read
    monkeypatch.setattr(FolderSource, "_read", lambda self, index: opened.append(index) or read(self, index))
    found = plan(photos, BACKBONE, cache=tmp_path / "cache", probe=6)
    assert opened == [0, 4, 8, 12, 16, 20]
    assert found.tried == 6
    assert set(found.stages) == {"read", "decode", "forward", "write"}
    assert all(seconds > 0 for seconds in found.stages.values())
    stages = found.stages
    each = stages["forward"] + (stages["read"] + stages["decode"]) / found.workers + stages["write"]
    assert found.seconds == pytest.approx(24 * each)
    assert (found.engine, found.batch_size) == ("torch", 8)


def test_bad_images_are_passed_over(photos, tmp_path):
    for file in sorted(photos.rglob("*.png"))[::2]:
        file.write_bytes(b"bad")
    assert plan(photos, BACKBONE, cache=tmp_path / "cache").tried == 12
    for file in photos.rglob("*.png"):
        file.write_bytes(b"bad")
    with pytest.raises(SampleError, match="none of 24 images could be used to try it"):
        plan(photos, BACKBONE, cache=tmp_path / "cache")


def test_a_probe_of_nothing_is_refused(photos):
    with pytest.raises(ParameterError, match="probe must be at least 1; got 0"):
        plan(photos, BACKBONE, probe=0)
