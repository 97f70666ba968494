"""Nearest images: those of scikit-learn, wherever their features come from."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

import featx
from featx.errors import BackboneError, ParameterError, SourceError, SpecMismatchError
from featx.prediction import NeighborSearch, _neighbors, neighbors
from tests.fitting.helpers import clouds, write
from tests.tiny import BACKBONE, TinyNet, picture, tiny_net, write_folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), splits=("train", "test"), per_class=4)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def store(photos, cache):
    return featx.extract(photos, BACKBONE, cache=cache)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Five images that no store has."""
    folder = tmp_path_factory.mktemp("others")
    files = [folder / f"{seed}.png" for seed in range(5)]
    for seed, file in enumerate(files):
        picture(1000 + seed, (40 * seed, 200, 255 - 40 * seed)).save(file)
    return files


def expected_of(X, vectors, k, metric):
    """Return distances and rows by scikit-learn, in float64."""
    X, vectors = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (X, vectors))
    return NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute").fit(X).kneighbors(vectors)


def rows_of(found):
    return [[one.row for one in each.neighbors] for each in found]


def check(found, store, distances, rows, tolerance=1e-6):
    assert rows_of(found) == np.asarray(rows).tolist()
    got = [[one.distance for one in each.neighbors] for each in found]
    np.testing.assert_allclose(got, distances, rtol=1e-3, atol=tolerance)
    for one in (one for each in found for one in each.neighbors):
        assert one.key == store.keys[one.row]
        assert one.label == store.classes[store.labels[one.row]]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_are_scikit_learns_on_the_features(store, others, metric):
    vectors = featx.FeatureExtractor(tiny_net()).transform(others)
    found = neighbors(store, others, 6, metric)
    assert [(one.key, one.row, one.error) for one in found] == [(str(file), None, None) for file in others]
    check(found, store, *expected_of(store.features, vectors, 6, metric))


def test_what_is_in_the_store_is_found_by_bytes_without_a_network(photos, store):
    keys = [store.keys[row] for row in (3, 11, 20)]
    distances, rows = expected_of(store.features, store.features[[3, 11, 20]], 5, "cosine")
    before = TinyNet.forwards
    for given in (keys, [photos / key for key in keys]):
        found = neighbors(store, given, 4)
        assert [one.row for one in found] == [3, 11, 20]
        assert [one.key for one in found] == list(map(str, given))
        check(found, store, distances[:, 1:], rows[:, 1:])
    assert TinyNet.forwards == before
    (one,) = neighbors(store, keys[0], 4)
    assert one == neighbors(store, keys, 4)[0]


def test_keys_files_folders_and_images_in_memory_in_their_order(store, photos, others):
    inside = store.keys[5]
    found = neighbors(store, [inside, others[0], Image.open(others[1]), inside, photos / "test" / "red"], 2)
    files = [f"{photos}/test/red/00{i}.png" for i in range(4)]
    assert [one.key for one in found] == [inside, str(others[0]), "image[1]", inside, *files]
    assert [one.row for one in found[:4]] == [5, None, None, 5]
    assert [store.keys[one.row] for one in found[4:]] == [f"test/red/00{i}.png" for i in range(4)]
    assert rows_of(found[1:3]) == rows_of(neighbors(store, others[:2], 2))
    assert rows_of(neighbors(store, np.asarray(Image.open(others[0])), 2)) == rows_of(found[1:2])
    assert len(neighbors(store, featx.open_source(photos), 1)) == len(store)


def test_a_file_comes_before_a_key(store, photos, others, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key = store.keys[0]
    (tmp_path / key).parent.mkdir(parents=True)
    shutil.copy(others[0], key)
    (found,) = neighbors(store, key, 3)
    assert (found.key, found.row) == (key, None)
    assert rows_of([found]) == rows_of(neighbors(store, others[0], 3))
    (tmp_path / key).unlink()
    assert neighbors(store, key, 3)[0].row == 0


def test_copies_of_an_image_are_its_neighbours(tmp_path):
    photos = write_folder(tmp_path / "photos", per_class=3)
    shutil.copy(photos / "red" / "001.png", photos / "blue" / "copy.png")
    shutil.copy(photos / "red" / "001.png", tmp_path / "elsewhere.png")
    store = featx.extract(photos, BACKBONE, cache=tmp_path / "cache")
    for given, own, copy in [
        (photos / "red" / "001.png", "red/001.png", "blue/copy.png"),
        (photos / "blue" / "copy.png", "blue/copy.png", "red/001.png"),
        (tmp_path / "elsewhere.png", "blue/copy.png", "red/001.png"),  # the first
        ("red/001.png", "red/001.png", "blue/copy.png"),
    ]:
        (found,) = neighbors(store, given, 2)
        assert store.keys[found.row] == own
        assert (found.neighbors[0].key, found.neighbors[0].distance) == (copy, 0)
        assert own not in [one.key for one in found.neighbors]


def test_only_a_split(store, photos):
    key = store.keys[0]
    assert store.splits[0] == "test"
    train = store.select("train")
    distances, rows = expected_of(store.features[train], store.features[[0]], 5, "cosine")
    check(neighbors(store, key, 5, split="train"), store, distances, train[rows])
    (found,) = neighbors(store, key, 100, split="test")
    assert sorted([found.row, *(one.row for one in found.neighbors)]) == store.select("test").tolist()
    with pytest.raises(ParameterError, match="split must be one of 'test', 'train'; got 'tran'; did you mean 'train'"):
        neighbors(store, key, split="tran")


def test_bad_images_have_a_reason_and_shift_nothing(store, others, tmp_path):
    (tmp_path / "bad.jpg").write_text("no image")
    found = neighbors(store, [others[0], tmp_path / "bad.jpg", store.keys[2], tmp_path / "bad.jpg", others[1]], 3)
    assert [one.key for one in found[1::2]] == [f"{tmp_path}/bad.jpg"] * 2
    assert all("not an image of a known format" in one.error and one.neighbors == () for one in found[1::2])
    assert rows_of([found[0], found[4]]) == rows_of(neighbors(store, others[:2], 3))
    assert found[2].row == 2
    assert [one.error for one in neighbors(store, tmp_path / "bad.jpg", 3)] == [found[1].error]
    with pytest.raises(SourceError, match=r"no file or folder '.*nix\.jpg'.* \(and it is no key of photos\d+\."):
        neighbors(store, tmp_path / "nix.jpg")
    with pytest.raises(ParameterError, match="got none"):
        neighbors(store, [])


@pytest.mark.parametrize("pool", ["avg", "none"])
def test_views_count_by_the_plain_image_and_maps_by_their_values(photos, cache, others, pool):
    settings = {"layer": "conv2", "pool": pool, "dtype": "float16", "cache": cache}
    plain = featx.extract(photos, BACKBONE, **settings)
    views = featx.extract(photos, BACKBONE, views=3, augment="hflip rotate(20)", **settings)
    assert views.axes[1] == "V"
    X = np.asarray(plain.features).reshape(len(plain), -1)
    distances, rows = expected_of(X, X[[4]], 7, "cosine")
    for one in (plain, views):
        check(neighbors(one, one.keys[4], 6), one, distances[:, 1:], rows[:, 1:])
    expected = expected_of(
        X, featx.FeatureExtractor(tiny_net(), layer="conv2", pool=pool).transform(others), 6, "cosine"
    )
    for one in (plain, views):
        check(neighbors(one, others, 6), one, *expected, tolerance=1e-4)


@pytest.mark.parametrize("compress", [False, True])
def test_a_store_is_searched_block_by_block(tmp_path, monkeypatch, compress):
    features, labels = clouds(300, 8)
    features[200:210] = features[3]  # more at the same distance than are asked for
    store = write(
        tmp_path / "a.h5", features, labels, splits=[("a", "b")[i % 3 == 0] for i in range(300)], compress=compress
    )
    monkeypatch.setattr(_neighbors, "_BLOCK_BYTES", 32 * 37)
    asked = [3, 50, 299]
    distances, rows = expected_of(features, features[asked], 40, "euclidean")
    for found, row, own_distances, own_rows in zip(
        neighbors(store, [store.keys[row] for row in asked], 30, "euclidean"), asked, distances, rows, strict=True
    ):
        keep = own_rows != row
        np.testing.assert_allclose([one.distance for one in found.neighbors], own_distances[keep][:30], atol=1e-6)
        assert {one.row for one in found.neighbors if one.distance > 1e-6} <= set(own_rows.tolist())
        if row == 3:
            assert [one.row for one in found.neighbors[:10]] == list(range(200, 210))
    split = np.arange(0, 300, 3)
    distances, rows = expected_of(features[split], features[[50]], 9, "euclidean")
    (found,) = neighbors(store, store.keys[50], 9, "euclidean", split="b")
    assert rows_of([found]) == split[rows].tolist()


@pytest.mark.parametrize(
    ("task", "labels", "words"),
    [
        ("multilabel", [("a", "c"), (), None], ["a, c", "none", None]),
        ("regression", [(31.26666, 2.0), (0.5, 1e9), None], ["31.27, 2", "0.5, 1e+09", None]),
        ("classification", ["a", "c", None], ["a", "c", None]),
    ],
)
def test_labels_of_every_kind_as_people_read_them(tmp_path, task, labels, words):
    from featx.store import SampleTable
    from tests.store.helpers import save

    samples = SampleTable.of(
        labels,
        classes=() if task == "regression" else ("a", "b", "c"),
        keys=("0", "1", "2"),
        splits=("", "", ""),
        sizes=[1, 1, 1],
        mtimes_ns=[1, 1, 1],
        **({"target_names": ("x", "y")} if task == "regression" else {}),
    )
    features = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2]], np.float32)
    store = save(tmp_path / "a.h5", features, samples=samples, failures=[])
    assert store.task == task
    assert [one.label for one in neighbors(store, "0", 2)[0].neighbors] == words[1:]
    assert [one.label for one in neighbors(store, "2", 2)[0].neighbors] == words[1::-1]


def test_the_network_is_loaded_once_and_refused_if_it_is_another(store, others, cache, photos):
    search = NeighborSearch(store)
    expected = search.find(others)
    engine = search._engine
    assert search.find(others) == expected
    assert search._engine is engine
    other = tiny_net()
    other.conv1.weight.data += 1
    with pytest.raises(
        SpecMismatchError, match=r"differs from what made .*\.h5 in .*weights: .* \(stored against here\)"
    ):
        neighbors(store, others, backbone=other)
    given = featx.extract(photos, tiny_net(), cache=cache / "given")
    with pytest.raises(BackboneError, match="was given as a network, which a store does not hold: give it again"):
        neighbors(given, others)
    assert rows_of(neighbors(given, others, backbone=tiny_net())) == rows_of(expected)


def test_imported_features_have_neighbours_of_their_own(tmp_path, others):
    from featx.store import import_features

    features, _ = clouds(20)
    np.savez(tmp_path / "clip.npz", features=features)
    store = import_features(tmp_path / "clip.npz", name="clip", cache=tmp_path)
    (found,) = neighbors(store, store.keys[7], 3)
    assert rows_of([found]) == expected_of(features, features[[7]], 4, "cosine")[1][:, 1:].tolist()
    with pytest.raises(BackboneError, match=r"were imported as 'clip', whose network featx does not have.*give keys"):
        neighbors(store, others)


def test_json(store):
    (found,) = neighbors(store, store.keys[0], 2)
    back = json.loads(json.dumps(found.to_dict()))
    assert back["key"] == store.keys[0]
    assert (back["row"], back["error"]) == (0, None)
    assert [one["row"] for one in back["neighbors"]] == [one.row for one in found.neighbors]
    assert set(back["neighbors"][0]) == {"key", "label", "distance", "row"}


@pytest.mark.parametrize("k", [0, -1, True, 2.0, "5"])
def test_wrong_k(store, k):
    with pytest.raises(ParameterError, match="k must be a whole number of at least 1; got "):
        neighbors(store, store.keys[0], k)


def test_wrong_metric(store):
    with pytest.raises(ParameterError, match="metric must be cosine or euclidean; got 'manhattan'"):
        neighbors(store, store.keys[0], metric="manhattan")
