"""Views of each image: what is stored of them, and that only what is missing is computed."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from featx.caching import explain, extract, plan, recompute
from featx.errors import ParameterError
from featx.extraction import Augmentation
from featx.sources import content_digest, open_source
from featx.store import export_store, merge_stores, verify_store, write_store
from tests.caching.helpers import assert_same, extracted
from tests.tiny import BACKBONE, PREPROCESSING, TinyNet, picture, tiny_net, write_folder

AUGMENT = "affine(shear=10,scale=0.8:1.2) hflip"
VIEWS = {"augment": AUGMENT, "augment_seed": 5}


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", per_class=4)  # 12 images


def plain_features(folder, views, *, seed=5, augment=AUGMENT, preprocessing=PREPROCESSING):
    """Return what plain torch gives for each view of each image, drawn one by one: two layers, (n, views, ...)."""
    network = tiny_net().eval()
    maps = []
    network.conv2.register_forward_hook(lambda _, __, output: maps.append(output.numpy().copy()))
    drawing = Augmentation.parse(augment)
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    rows = []
    for file in sorted(folder.glob("*/*.png")):
        image, digest = Image.open(file).convert("RGB"), content_digest(file.read_bytes())
        pixels = [drawing.view(image, preprocessing, digest=digest, number=v, seed=seed) for v in range(views)]
        batch = (torch.from_numpy(np.stack(pixels)).movedim(-1, 1) / 255 - mean) / std
        with torch.no_grad():
            rows.append(network(batch).numpy())
    return np.stack(rows), np.moveaxis(np.stack(maps), 2, -1)


def test_they_are_the_networks_of_each_view(photos, tmp_path):
    (vectors, maps), _, _ = extracted(photos, tmp_path, ["output", "conv2"], pool="none", views=4, **VIEWS)
    assert vectors.store.axes == "NVC"
    assert maps.store.axes == "NVHWC"
    outputs, expected = plain_features(photos, 4)
    np.testing.assert_allclose(vectors.store.features, outputs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(maps.store.features, expected, rtol=1e-4, atol=1e-5)
    for extraction in (vectors, maps):
        spec = extraction.store.spec
        assert (spec.views, spec.augment, spec.augment_seed) == (4, AUGMENT, 5)
        assert extraction.changes.computed == 48
        assert verify_store(extraction.store.path).ok


def test_more_views_are_added(photos, tmp_path):
    ((plain,), _, _) = extracted(photos, tmp_path)
    ((four,), _, images) = extracted(photos, tmp_path, views=4, **VIEWS)
    assert images == 3 * 12
    np.testing.assert_array_equal(four.store.features[:, 0], plain.store.features)
    ((six,), _, images) = extracted(photos, tmp_path, views=6, **VIEWS)
    assert (images, six.changes.computed, six.changes.copied) == (2 * 12, 24, 0)
    np.testing.assert_array_equal(six.store.features[:, :4], four.store.features)
    ((fresh,), _, _) = extracted(photos, tmp_path / "fresh", views=6, **VIEWS)
    assert fresh.changes.computed == 6 * 12
    np.testing.assert_allclose(six.store.features, fresh.store.features, rtol=1e-5, atol=1e-6)
    assert len({four.store.path, six.store.path, plain.store.path}) == 3


def test_fewer_views_are_taken_without_opening_an_image(photos, tmp_path, monkeypatch):
    ((four,), _, _) = extracted(photos, tmp_path, views=4, **VIEWS)
    source = open_source(photos)
    monkeypatch.setattr(type(source), "_read", lambda self, index: pytest.fail("opened"))
    for views, options in ((2, VIEWS), (1, {})):
        ((fewer,), _, images) = extracted(source, tmp_path, views=views, **options)
        assert (images, fewer.changes.computed, fewer.hit) == (0, 0, False)
        np.testing.assert_array_equal(fewer.store.features.reshape(12, views, -1), four.store.features[:, :views])
        ((again,), *_) = extracted(source, tmp_path, views=views, **options)
        assert again.hit


@pytest.mark.parametrize("other", [{"augment": "hflip"}, {"augment_seed": 6}])
def test_views_that_are_drawn_otherwise_share_the_plain_image(photos, tmp_path, other):
    ((four,), _, _) = extracted(photos, tmp_path, views=4, **VIEWS)
    ((second,), _, images) = extracted(photos, tmp_path, views=3, **VIEWS | other)
    assert images == 2 * 12
    np.testing.assert_array_equal(second.store.features[:, 0], four.store.features[:, 0])
    assert (second.store.features[:, 1] != four.store.features[:, 1]).any()


def test_the_spelling_does_not_count(photos, tmp_path):
    first = extract(photos, BACKBONE, cache=tmp_path, views=2, augment="rotate(15) hflip")
    before = TinyNet.images
    again = extract(photos, BACKBONE, cache=tmp_path, views=2, augment=" rotate( degrees=-15:15 )  hflip(p=0.50)")
    assert (again.path, TinyNet.images) == (first.path, before)


def test_order_batches_and_workers_do_not_count(photos, tmp_path):
    one = extract(photos, BACKBONE, cache=tmp_path / "one", views=5, batch_size=1, workers=1, **VIEWS)
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for number, file in enumerate(sorted(photos.glob("*/*.png"))):
        shutil.copyfile(file, renamed / f"{99 - number}.png")
    other = extract(renamed, BACKBONE, cache=tmp_path / "other", views=5, batch_size=7, workers=3, **VIEWS)
    assert other.digests == one.digests[::-1]
    np.testing.assert_allclose(other.features, one.features[::-1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{"dtype": "float16"}, {"compress": True}, {"dtype": "float16", "compress": True}])
def test_other_ways_to_store_them(photos, tmp_path, options):
    ((three,), _, _) = extracted(photos, tmp_path, ["conv2"], pool="none", views=3, **VIEWS, **options)
    ((five,), _, images) = extracted(photos, tmp_path, ["conv2"], pool="none", views=5, **VIEWS, **options)
    assert images == 24
    _, expected = plain_features(photos, 5)
    tolerance = 2e-3 if "dtype" in options else 1e-4
    np.testing.assert_allclose(five.store.features[:], expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(five.store.features[:, :3], three.store.features[:])


def test_equal_images_new_ones_and_bad_ones(photos, tmp_path):
    files = sorted(photos.glob("*/*.png"))
    shutil.copyfile(files[0], files[7])
    files[3].write_bytes(b"no image")
    ((first,), _, images) = extracted(photos, tmp_path, views=3, **VIEWS)
    assert (images, len(first.store), first.changes.failed) == (30, 11, 1)
    np.testing.assert_array_equal(first.store.features[0], first.store.features[6])
    picture(77).save(photos / "red" / "new.png")
    ((second,), _, images) = extracted(photos, tmp_path, views=3, **VIEWS)
    assert (images, second.changes.kept, second.changes.new) == (3, 11, 1)
    np.testing.assert_array_equal(second.store.features[:11], first.store.features)
    _, _, images = extracted(photos, tmp_path, views=4, **VIEWS)
    assert images == 11


def test_a_view_that_is_not_finite_fails_its_sample(photos, tmp_path, monkeypatch):
    whole = TinyNet.forward
    drawn = plain_features(photos, 3)[0]
    bad = drawn[5, 2]

    def forward(self, x):
        features = whole(self, x)
        features[(features - torch.from_numpy(bad)).abs().amax(dim=1) < 1e-3] = torch.nan
        return features

    monkeypatch.setattr(TinyNet, "forward", forward)
    ((extraction,), _, _) = extracted(photos, tmp_path, ["output"], views=3, **VIEWS)
    ((key, reason),) = extraction.store.failures
    assert reason == "its features are not finite"
    assert key == sorted(file.relative_to(photos).as_posix() for file in photos.glob("*/*.png"))[5]
    np.testing.assert_allclose(extraction.store.features, np.delete(drawn, 5, axis=0), rtol=1e-4, atol=1e-5)


class TestWorkThatIsTakenUpAgain:
    def stopped(self, photos, cache, **options):
        def stop(done, total):
            if done >= 6:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            extracted(photos, cache, batch_size=4, progress=stop, **options)

    def test_ends_as_if_nothing_had_happened(self, photos, tmp_path):
        ((undisturbed,), _, _) = extracted(photos, tmp_path / "undisturbed", batch_size=4, views=3, **VIEWS)
        self.stopped(photos, tmp_path / "cache", views=3, **VIEWS)
        ((extraction,), _, images) = extracted(photos, tmp_path / "cache", batch_size=4, views=3, **VIEWS)
        assert (images, extraction.changes.computed, extraction.changes.resumed) == (18, 18, 18)
        assert_same(extraction.store, undisturbed.store)

    def test_when_the_plain_images_were_extracted_meanwhile(self, photos, tmp_path):
        self.stopped(photos, tmp_path, views=3, **VIEWS)
        extracted(photos, tmp_path)
        ((extraction,), _, images) = extracted(photos, tmp_path, batch_size=4, views=3, **VIEWS)
        assert (images, extraction.changes.computed, extraction.changes.resumed) == (12, 12, 18)
        ((outputs,), _, _) = extracted(photos, tmp_path / "other", views=3, **VIEWS)
        np.testing.assert_allclose(extraction.store.features, outputs.store.features, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("views", [1, 3])
    def test_when_what_it_had_taken_is_gone(self, photos, tmp_path, views):
        """The parts that leaned on it are computed again."""
        options = VIEWS if views > 1 else {}
        other = shutil.copytree(photos, tmp_path / "some")
        for file in sorted(other.glob("*/*.png"))[2:]:
            file.unlink()
        ((lean,), _, _) = extracted(other, tmp_path / "cache")
        self.stopped(photos, tmp_path / "cache", views=views, **options)
        lean.store.path.unlink()
        ((extraction,), _, _) = extracted(photos, tmp_path / "cache", batch_size=4, views=views, **options)
        ((fresh,), _, _) = extracted(photos, tmp_path / "fresh", batch_size=4, views=views, **options)
        np.testing.assert_allclose(extraction.store.features, fresh.store.features, rtol=1e-5, atol=1e-6)


def test_plan_and_explain(photos, tmp_path):
    extracted(photos, tmp_path)
    found = plan(photos, BACKBONE, cache=tmp_path, views=4, **VIEWS)
    row = 5 * 4 * 4
    assert (found.rows, found.unchanged, found.to_read, found.tried) == (12, 0, 12, 12)
    assert (found.bytes, found.needed_bytes) == (12 * row, 24 * row)
    (miss,) = explain(photos, BACKBONE, cache=tmp_path, views=4, **VIEWS)
    assert (miss.hit, miss.shared_views) == (False, 1)
    assert miss.differences == ("views: 4 against 1", f"augment: {AUGMENT!r} against ''", "augment_seed: 5 against 0")
    four = extract(photos, BACKBONE, cache=tmp_path, views=4, **VIEWS)
    (hit,) = explain(photos, BACKBONE, cache=tmp_path, views=4, **VIEWS)
    assert hit.hit
    (miss,) = explain(photos, BACKBONE, cache=tmp_path, views=6, **VIEWS)
    assert (miss.nearest, miss.differences, miss.shared_views) == (four.path, ("views: 6 against 4",), 4)
    assert plan(photos, BACKBONE, cache=tmp_path, views=2, **VIEWS).to_read == 0


def test_recompute(photos, tmp_path):
    store = extract(photos, BACKBONE, layer="conv2", cache=tmp_path, views=3, **VIEWS)
    before = TinyNet.images
    report = recompute(store, 5)
    assert (report.ok, report.checked, TinyNet.images - before) == (True, 5, 15)
    features = np.array(store.features)
    features[4, 2] += 0.05 * np.abs(features[4]).max()
    path = tmp_path / "rewritten.h5"
    write_store(
        path,
        spec=store.spec,
        samples=store.samples,
        digests=store.digests,
        features=[features],
        feature_shape=features.shape[1:],
        axes=store.axes,
        source=store.source,
        backbone=store.backbone,
        creation=store.creation,
    )
    assert [drift.row for drift in recompute(path, 100).drifted] == [4]


def test_merged_and_exported(photos, tmp_path):
    other = write_folder(tmp_path / "others", per_class=2)
    stores = [extract(source, BACKBONE, cache=tmp_path, views=2, **VIEWS) for source in (photos, other)]
    merged = merge_stores(stores, tmp_path / "merged.h5", prefix=True)
    assert merged.features.shape == (18, 2, 5)
    npz = np.load(export_store(merged, tmp_path / "merged.npz", to="npz"))
    np.testing.assert_array_equal(npz["features"], merged.features)
    rows = np.genfromtxt(export_store(merged, tmp_path / "merged.csv", to="csv"), delimiter=",", skip_header=1)
    np.testing.assert_allclose(rows[:, -10:], merged.features.reshape(18, 10), rtol=1e-6)
    features, _ = merged.dataset(rows=[3])[0]
    np.testing.assert_array_equal(features, merged.features[3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 4}, "views 4 needs augment"),
        ({"augment": "hflip"}, "augment 'hflip' is of views beyond the plain image"),
        ({"views": 3, "augment": "flip"}, "views of augment 'flip' are at most 2"),
        ({"views": 2, "augment": "rrc(16)"}, "size of rrc must be at least that of the network's images, 32 pixels"),
        ({"views": 2, "augment": "fivecrop", "resize": "squash"}, "augment 'fivecrop' needs images that are larger"),
    ],
)
def test_what_cannot_be_asked_for(photos, tmp_path, options, message):
    with pytest.raises(ParameterError, match=message):
        extract(photos, BACKBONE, cache=tmp_path, **options)
