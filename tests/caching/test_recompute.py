import re
import shutil
import struct
import zipfile

import numpy as np
import pytest
import torch

from featx.caching import RowDrift, Tolerance, extract, recompute, tolerance_for
from featx.errors import BackboneError, ParameterError, SourceError, SpecMismatchError, StoreError
from featx.sources import FolderSource, Source, open_source
from featx.store import FeatureStore, import_features, merge_stores, open_store, write_store
from tests.caching.helpers import plain_features
from tests.tiny import BACKBONE, TinyNet, picture, tiny_net, write_folder


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos")


@pytest.fixture
def store(photos, tmp_path):
    return extract(photos, BACKBONE, layer="conv2", cache=tmp_path)


def rewritten(store: FeatureStore, *, features=None, **changes) -> FeatureStore:
    """Write a copy with sound digests in which some things are others."""
    features = np.array(store.features) if features is None else features
    arguments = {
        "spec": store.spec,
        "samples": store.samples,
        "digests": store.digests,
        "features": [features],
        "feature_shape": features.shape[1:],
        "axes": store.axes,
        "source": store.source,
        "backbone": store.backbone,
        "creation": store.creation,
    }
    path = store.path.with_name("rewritten.h5")
    write_store(path, **(arguments | changes))
    return open_store(path)


def test_the_network_gives_the_rows_again(store):
    before = TinyNet.images
    report = recompute(store, 7)
    assert TinyNet.images - before == 7
    assert report.ok
    assert (report.checked, report.skipped, report.drifted) == (7, (), ())
    assert report.path == store.path
    assert report.device in ("cpu", "cuda")
    assert report.tolerance == Tolerance(relative=1e-3, cosine=1 - 1e-5)
    assert 0 <= report.max_absolute < 1e-4
    assert 0 <= report.max_relative < 1e-4
    assert report.min_cosine == pytest.approx(1, abs=1e-9)


def test_the_figures_are_those_of_plain_torch(store, photos):
    """Against stored rows that are off in a known way."""
    files = sorted(photos.glob("*/*.png"))
    plain = plain_features(files)["conv2"].mean(axis=(2, 3))
    noise = np.random.default_rng(0).normal(0, 0.01, plain.shape).astype(np.float32)
    off = (plain + noise).astype(np.float32)
    report = recompute(rewritten(store, features=off), 1000)
    assert report.checked == len(files)
    largest = np.maximum(np.abs(plain), np.abs(off)).max(axis=1)
    relative = np.abs(off - plain).max(axis=1) / largest
    cosine = (off * plain).sum(axis=1) / np.linalg.norm(off, axis=1) / np.linalg.norm(plain, axis=1)
    assert report.max_absolute == pytest.approx(np.abs(off - plain).max(), rel=1e-3)
    assert report.max_relative == pytest.approx(relative.max(), rel=1e-3)
    assert report.min_cosine == pytest.approx(cosine.min(), rel=1e-6)
    assert [drift.row for drift in report.drifted] == np.flatnonzero((relative > 1e-3) | (cosine < 1 - 1e-5)).tolist()
    for drift in report.drifted:
        assert drift.key == store.keys[drift.row]
        assert drift.relative == pytest.approx(relative[drift.row], rel=1e-3)


def test_exactly_the_row_that_is_another_is_found(store):
    features = np.array(store.features)
    features[4] += np.float32(0.01) * np.abs(features[4]).max()
    report = recompute(rewritten(store, features=features), 100)
    assert not report.ok
    (drift,) = report.drifted
    assert (drift.row, drift.key, drift.reason) == (4, store.keys[4], None)
    assert drift.relative == pytest.approx(0.01, rel=0.05)
    assert report.max_relative == drift.relative
    assert report.checked == len(store)


def test_two_rows_that_changed_places_are_found(store):
    features = np.array(store.features)
    features[[2, 9]] = features[[9, 2]]
    assert [drift.row for drift in recompute(rewritten(store, features=features), 100).drifted] == [2, 9]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_found(store, value):
    features = np.array(store.features)
    features[3, 1] = value
    report = recompute(rewritten(store, features=features), 100)
    assert report.drifted == (RowDrift(3, store.keys[3], reason="it holds numbers that are not finite"),)
    assert report.max_relative < 1e-4


def test_a_row_of_zeros_is_found(store):
    features = np.array(store.features)
    features[3] = 0
    (drift,) = recompute(rewritten(store, features=features), 100).drifted
    assert (drift.row, drift.relative, drift.cosine) == (3, 1, 0)


def test_the_choice_is_the_seeds(store):
    everything = recompute(rewritten(store, features=np.array(store.features) + 1), 100)
    assert [drift.row for drift in everything.drifted] == list(range(len(store)))

    def chosen(seed):
        return [d.row for d in recompute(rewritten(store, features=np.array(store.features) + 1), 5, seed=seed).drifted]

    assert chosen(1) == chosen(1) == sorted(set(chosen(1)))
    assert len(chosen(1)) == 5
    assert len({tuple(chosen(seed)) for seed in range(6)}) > 1


def test_changed_and_lost_images_are_skipped(store, photos):
    keys = store.keys
    picture(99).save(photos / keys[2])
    (photos / keys[5]).unlink()
    (photos / keys[7]).write_bytes(b"no image")
    (photos / keys[9]).rename(photos / "renamed.png")
    report = recompute(store, 100)
    assert report.ok
    assert report.checked == len(store) - 4
    reasons = dict(report.skipped)
    assert list(reasons) == [keys[row] for row in (2, 5, 7, 9)]
    assert reasons[keys[2]] == "its image has changed since"
    assert reasons[keys[5]] == reasons[keys[9]] == "its source has no image of that name any more"
    assert reasons[keys[7]].startswith("its image has changed since: ")


def test_an_image_that_cannot_be_read_is_skipped(store, monkeypatch):
    from featx.errors import SampleError

    whole = FolderSource._read

    def failing(self, index):
        if self.samples[index].key == store.keys[1]:
            raise SampleError("the disk has gone")
        return whole(self, index)

    monkeypatch.setattr(FolderSource, "_read", failing)
    report = recompute(store, 100)
    assert report.ok
    assert report.skipped == ((store.keys[1], "its image cannot be read now: the disk has gone"),)


def test_an_unchanged_image_that_gives_no_features_any_more_is_found(store, photos, monkeypatch):
    from featx.errors import SampleError
    from featx.extraction import _sample

    whole = _sample.decode_image
    content = (photos / store.keys[1]).read_bytes()

    def failing(data, **options):
        if data == content:
            raise SampleError("unknown to this Pillow")
        return whole(data, **options)

    monkeypatch.setattr(_sample, "decode_image", failing)
    report = recompute(store, 100)
    assert report.drifted == (RowDrift(1, store.keys[1], reason="it has no features now: unknown to this Pillow"),)
    assert report.checked == len(store)


def test_when_no_image_is_as_it_was_nothing_is_compared(store, photos):
    for number, file in enumerate(sorted(photos.glob("*/*.png"))):
        picture(100 + number % 2).save(file)  # two contents, which no row was waiting for
    report = recompute(store, 100)
    assert report.ok
    assert (report.checked, report.max_absolute, report.max_relative, report.min_cosine) == (0, None, None, None)
    assert len(report.skipped) == len(store)


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr("featx.caching._recompute.default_batch_size", lambda engine, device: 2)


@pytest.mark.usefixtures("small_batches")
def test_equal_images_are_computed_once_and_all_compared(photos, tmp_path):
    files = sorted(photos.glob("*/*.png"))
    for file in (files[7], files[12], files[17]):
        shutil.copyfile(files[0], file)
    store = extract(photos, BACKBONE, layer="conv2", cache=tmp_path)
    features = np.array(store.features)
    features[12] += 1
    before = TinyNet.images
    report = recompute(rewritten(store, features=features), 100)
    assert TinyNet.images - before == len(files) - 3
    assert [drift.row for drift in report.drifted] == [12]
    assert report.checked == len(files)


@pytest.mark.usefixtures("small_batches")
def test_an_image_that_took_another_ones_content(store, photos):
    """It is skipped, and the other one is compared all the same, though it is not computed again."""
    keys = store.keys
    shutil.copyfile(photos / keys[11], photos / keys[0])
    report = recompute(store, 100)
    assert report.ok
    assert report.skipped == ((keys[0], "its image has changed since"),)
    assert report.checked == len(store) - 1
    features = np.array(store.features)
    features[11] += 1
    assert [drift.row for drift in recompute(rewritten(store, features=features), 100).drifted] == [11]


def test_the_sources_that_lie_in_files(photos, tmp_path, monkeypatch):
    files = sorted(photos.glob("*/*.png"))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(photos))
    shutil.make_archive(str(tmp_path / "bundle"), "tar", photos)
    names = [str(file.relative_to(tmp_path)) for file in files]
    (tmp_path / "list.csv").write_text("\n".join(["path", *names]) + "\n")
    images = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    np.savez(tmp_path / "arrays.npz", images=images)
    pixels = images[..., 0].tobytes()
    (tmp_path / "images-idx3-ubyte").write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, 5, 40, 40) + pixels)
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "photos.zip", "bundle.tar", "list.csv", "arrays.npz", "images-idx3-ubyte"):
        report = recompute(extract(name, BACKBONE, cache=tmp_path / "cache"), 3)
        assert (report.ok, report.checked, report.skipped) == (True, 3, ()), name


def test_part_of_each_class(photos, tmp_path):
    source = open_source(photos, label_pattern="^(.)", max_per_class=2, split_seed=3)
    store = extract(source, BACKBONE, limit=5, cache=tmp_path)
    assert store.source["identity"].endswith("#per-class=2,3#first=5")
    assert (recompute(store, 100).checked, len(store)) == (5, 5)


def test_a_limited_source(photos, tmp_path):
    store = extract(photos, BACKBONE, limit=4, cache=tmp_path)
    assert store.source["identity"].endswith("#first=4")
    picture(99).save(photos / "0.png")  # before the others: it would take the place of the fourth
    report = recompute(store, 100)
    assert (report.ok, report.checked, report.skipped) == (True, 4, ())
    shutil.rmtree(photos)
    with pytest.raises(SourceError, match=r"\(folder:.*photos#first=4\) cannot be opened again"):
        recompute(store, 1)


def test_a_folder_that_is_called_like_a_limit(tmp_path):
    store = extract(write_folder(tmp_path / "a#first=3"), BACKBONE, cache=tmp_path)
    assert recompute(store, 100).checked == len(store) > 3


def test_stored_as_float16(photos, tmp_path):
    store = extract(photos, BACKBONE, dtype="float16", cache=tmp_path)
    report = recompute(store, 100)
    assert report.ok
    assert report.checked == len(store)
    assert report.tolerance.relative == 2e-3


def test_compressed(photos, tmp_path):
    store = extract(photos, BACKBONE, compress=True, cache=tmp_path)
    assert recompute(store, 5).checked == 5


def test_maps(photos, tmp_path):
    store = extract(photos, BACKBONE, layer="conv2", pool="none", image_size=24, cache=tmp_path)
    assert store.features.ndim == 4
    features = np.array(store.features)
    features[3, 1, 1, 1] += np.abs(features[3]).max() * 0.01
    assert recompute(store, 100).ok
    assert [drift.row for drift in recompute(rewritten(store, features=features), 100).drifted] == [3]


def test_bf16(photos, tmp_path):
    store = extract(photos, BACKBONE, precision="bf16", device="cpu", cache=tmp_path)
    report = recompute(store, 5, device="cpu", workers=1)
    assert report.ok
    assert report.tolerance == Tolerance(relative=2e-2, cosine=1 - 1e-3)


def test_the_tolerance_is_by_precision_and_stored_type(store):
    from dataclasses import replace

    for precision, dtype, relative, cosine in (
        ("fp32", "float32", 1e-3, 1 - 1e-5),
        ("fp32", "float16", 2e-3, 1 - 1e-5),
        ("bf16", "float32", 2e-2, 1 - 1e-3),
        ("fp16", "float16", 2e-2, 1 - 1e-3),
    ):
        assert tolerance_for(replace(store.spec, precision=precision, dtype=dtype)) == Tolerance(relative, cosine)


def test_other_weights_are_refused(photos, tmp_path):
    network = tiny_net()
    path = tmp_path / "mine.pth"
    torch.save(network.state_dict(), path)
    store = extract(photos, BACKBONE, weights=path, cache=tmp_path)
    assert recompute(store, 2).ok
    with torch.no_grad():
        network.fc.weight.add_(0.5)
    torch.save(network.state_dict(), path)
    message = rf"differs from what made {re.escape(str(store.path))} in weights: '[0-9a-f]+' against '[0-9a-f]+' \("
    with pytest.raises(SpecMismatchError, match=message):
        recompute(store, 2)


class TestWhatCannotBeDoneAgain:
    def test_a_network_given_as_an_object(self, photos, tmp_path):
        with pytest.raises(BackboneError, match=r"tests\.tiny:TinyNet of .* was given as a network"):
            recompute(extract(photos, tiny_net(), cache=tmp_path), 2)

    def test_imported_features(self, tmp_path):
        np.save(tmp_path / "clip.npy", np.eye(4, dtype=np.float32))
        with pytest.raises(BackboneError, match="were imported as 'clip', whose network featx does not have"):
            recompute(import_features(tmp_path / "clip.npy", name="clip", cache=tmp_path), 2)

    def test_arrays_in_memory(self, tmp_path):
        images = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
        with pytest.raises(SourceError, match=r"\(arrays:[0-9a-f]{64}\) cannot be opened again"):
            recompute(extract(images, BACKBONE, cache=tmp_path), 2)

    def test_a_merged_store(self, store, tmp_path):
        other = rewritten(store, source={"name": "other", "identity": "folder:/other"})
        merged = merge_stores([store, other], tmp_path / "merged.h5")
        with pytest.raises(SourceError, match=r"\(merged:[0-9a-f]+\) cannot be opened again"):
            recompute(merged, 2)

    @pytest.mark.parametrize(
        "source", [{}, {"identity": "mine:photos"}, {"identity": "folder:"}, {"identity": "torchvision:CIFAR10:/none"}]
    )
    def test_a_source_that_is_not_known(self, store, source):
        with pytest.raises(SourceError, match="cannot be opened again"):
            recompute(rewritten(store, source=source), 2)

    def test_a_store_that_does_not_say_how_its_backbone_is_loaded(self, store):
        with pytest.raises(BackboneError, match="does not say how its backbone tests"):
            recompute(rewritten(store, backbone={}), 2)

    def test_a_source_of_ones_own(self, photos, tmp_path):
        class Mine(Source):
            def __init__(self):
                super().__init__("mine", "mine")
                self._inner = open_source(photos)

            def _list(self):
                return self._inner.samples

            def _read(self, index):
                return self._inner.read(index)

        with pytest.raises(SourceError, match=r"\(mine\) cannot be opened again"):
            recompute(extract(Mine(), BACKBONE, cache=tmp_path), 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": 0}, "n must be a whole number of at least 1; got 0"),
        ({"n": 2.5}, "n must be"),
        ({"n": True}, "n must be"),
        ({"n": 1, "seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ({"n": 1, "workers": 0}, "workers must be"),
        ({"n": 1, "device": "tpu"}, "device must be"),
    ],
)
def test_wrong_arguments(store, arguments, words):
    with pytest.raises(ParameterError, match=words):
        recompute(store, **arguments)


def test_a_store_by_its_path_or_name(store, tmp_path, monkeypatch):
    assert recompute(store.path, 1).checked == 1
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path))
    assert recompute("photos", 1).checked == 1
    with pytest.raises(StoreError, match="neither a file nor a store"):
        recompute("nothing", 1)
