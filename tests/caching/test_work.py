"""Whatever becomes of a source: the stores hold what a fresh extraction would, and nothing is computed twice."""

import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.caching import Changes
from featx.caching._cluster import ThisMachine
from featx.caching._known import Known, stores_of
from featx.caching._recall import Resolved
from featx.caching._targets import Target, Wanted, listing_digest
from featx.caching._work import fill_stores
from featx.errors import SampleError, StoreError
from featx.extraction import STAGES
from featx.sources import Sample, Source, content_digest
from featx.spec import ExtractionSpec, Preprocessing
from featx.store import open_store
from tests.extraction.helpers import Mean

PREPROCESSING = Preprocessing(crop_size=(4, 4), resize_size=(4, 4), resize="squash")
WANTED = [
    Wanted(
        ExtractionSpec(backbone="test:mean", weights="0", layer=layer, pool="none", preprocessing=PREPROCESSING),
        shape,
        "NC",
    )
    for layer, shape in (("mean", (1,)), ("both", (2,)))
]


class MeanNetwork:
    """Stands in for the network; its engine gives the wanted ones of the mean colour and its double."""

    resolved = Resolved(tuple(WANTED), "cpu", {})

    def __init__(self):
        self.sizes = []

    def memory_file(self, name):
        return None

    def engine(self, name, wanted):
        class Chosen(Mean):
            def __call__(self, pixels):
                features = super().__call__(pixels)
                return tuple(features[WANTED.index(one)] for one in wanted)

        engine = Chosen()
        engine.sizes = self.sizes
        return engine


class Album(Source):
    """Pictures of one colour each by key; -1 for one that cannot be read. Times change when colours do."""

    def __init__(self, colours, name="album", touched=0):
        super().__init__(name, f"album:{name}")
        self.colours = dict(sorted(colours.items()))
        self.touched = touched
        self.opened = []

    def _list(self):
        return [
            Sample(key, ("even", "odd")[colour % 2], None, 100, 1000 + colour + self.touched, 7)
            for key, colour in self.colours.items()
        ]

    def _read(self, index):
        key = self.samples[index].key
        self.opened.append(key)
        if self.colours[key] < 0:
            raise SampleError("bad")
        return self.pixels(key)

    def pixels(self, key):
        return np.full((5, 6, 3), self.colours[key], dtype=np.uint8)


def fill(source, folder, wanted=WANTED, *, rehash=False, batch_size=3, **options):
    network = MeanNetwork()
    targets = []
    for one in wanted:
        path = folder / f"{source.name}-{one.spec.layer}.h5"
        old = open_store(path) if path.exists() else None
        others = [other for other in sorted(folder.glob("*.h5")) if other != path]
        targets.append(
            Target(one, path, old, Known(one.spec, ([] if old is None else [old]) + stores_of(one.spec, others)))
        )
    arguments = {
        "cluster": ThisMachine(),
        "engine": "torch",
        "listing": listing_digest(source),
        "batch_size": batch_size,
        "workers": 2,
        "strict": False,
        "rehash": rehash,
        "compress": False,
        "shards": None,
        "progress": None,
    }
    changes, stages = fill_stores(source, targets, network, **(arguments | options))
    assert tuple(stages) == STAGES
    return [open_store(target.path) for target in targets], changes, sum(network.sizes)


def check(source, stores):
    usable = [key for key, colour in source.colours.items() if colour >= 0]
    for store, width in zip(stores, (1, 2), strict=True):
        assert list(store.keys) == usable
        colours = np.array([source.colours[key] for key in usable], dtype=np.float32)
        np.testing.assert_array_equal(store.features, np.stack([colours, 2 * colours], 1)[:, :width])
        assert list(store.digests) == [content_digest(source.pixels(key)) for key in usable]
        assert [store.classes[label] for label in store.labels] == [("even", "odd")[int(c) % 2] for c in colours]
        assert dict(store.failures) == {key: "bad" for key, colour in source.colours.items() if colour < 0}


albums = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-1, 6), min_size=1).filter(
    lambda colours: max(colours.values()) >= 0
)


@settings(max_examples=40)
@given(albums, albums, albums, st.booleans(), st.integers(1, 4))
def test_a_source_that_changes(first, second, third, rehash, batch_size):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seen: set[int] = set()
        before: dict[str, int] = {}
        for number, colours in enumerate((first, second, second, third)):
            source = Album(colours, touched=500 * (number >= 2))
            stores, changes, computed = fill(source, folder, rehash=rehash, batch_size=batch_size)
            check(source, stores)
            good = {key: colour for key, colour in colours.items() if colour >= 0}
            assert computed == len(set(good.values()) - seen)
            # Only what the older store held is there to be taken: what was removed is computed again.
            seen = set(good.values())
            same = {key for key in good if before.get(key) == good[key]}
            if not rehash and number != 2 and before:
                assert same.isdisjoint(source.opened)
            counted = changes[0]
            assert (counted.kept, counted.computed, counted.resumed) == (len(same), computed, 0)
            assert counted.new == len(colours.keys() - before.keys())
            assert counted.removed == len(before.keys() - colours.keys())
            assert counted.failed == len(colours) - len(good)
            assert counted.copied == len(good.keys() - same) - len(
                {good[key] for key in good.keys() - same} & (set(good.values()) - {before[k] for k in before})
            )
            before = colours


def test_another_source_of_the_same_images_costs_nothing(tmp_path):
    fill(Album({"a": 1, "b": 2, "c": 3}), tmp_path)
    other = Album({"x": 2, "y": 3, "z": 9}, name="other")
    stores, changes, computed = fill(other, tmp_path)
    check(other, stores)
    assert computed == 1
    assert asdict(changes[0]) == asdict(Changes(new=3, copied=2, computed=1))


def test_a_layer_that_one_store_has_and_another_lacks(tmp_path):
    album = Album({"a": 1, "b": 2})
    fill(album, tmp_path, WANTED[:1])
    stores, changes, computed = fill(album, tmp_path)
    check(album, stores)
    assert computed == 2
    assert [(change.kept, change.new) for change in changes] == [(2, 0), (0, 2)]


def test_nothing_is_opened_for_other_labels(tmp_path):
    album = Album({"a": 1, "b": 2})
    fill(album, tmp_path)
    again = Album({"a": 1, "b": 2})
    again.samples = tuple(replace(sample, label="new") for sample in again.samples)
    stores, changes, computed = fill(again, tmp_path)
    assert (again.opened, computed, changes[0].kept) == ([], 0, 2)
    assert stores[0].classes == ("new",)


def test_a_workspace_left_behind_is_used(tmp_path):
    album = Album({f"{i:02d}": i for i in range(12)})

    def stop(done, total):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(album, tmp_path, progress=stop)
    stores, changes, computed = fill(album, tmp_path)
    check(album, stores)
    assert (changes[0].resumed, changes[0].computed, computed) == (6, 6, 6)
    assert not (tmp_path / ".work").exists()


class Idle(ThisMachine):
    """Says that all is computed, and has computed the first half."""

    def compute(self, job, ranges, *arguments, **options):
        return super().compute(job, [(0, len(job.order) // 2)], *arguments, **options)


def test_what_was_not_computed_is_never_left_out_unsaid(tmp_path):
    album = Album({f"{n}.png": n for n in range(6)})
    with pytest.raises(StoreError, match=r"has parts for 3 of 6 samples, though all were computed: .*run the same"):
        fill(album, tmp_path, cluster=Idle())
    stores, changes, images = fill(album, tmp_path)
    check(album, stores)
    assert (images, changes[0].resumed) == (3, 3)
