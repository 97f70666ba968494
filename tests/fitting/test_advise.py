import shlex

import click
import numpy as np
import pytest
from scipy.stats import t
from sklearn.neighbors import KNeighborsClassifier

from featx.cli._app import featx as group
from featx.errors import ParameterError
from featx.fitting import advise
from featx.fitting._commands import network_words
from featx.fitting._ground import Ground
from featx.sources import ArraySource, open_source
from tests.fitting.helpers import clouds, write

FOLDER = "folder:/data/my pets"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("FEATX_CACHE", "FEATX_RUNS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def put(cache, layer, X, y, *, depth=None, identity=FOLDER, spec=None, source=None, backbone=None, **changes):
    """Write a store of a layer into the cache."""
    facts = {"name": "torchvision:net", "weights": "V1", "reloadable": True, "early": "layer2"}
    facts |= {} if depth is None else {"depth": {layer: depth}}
    return write(
        cache / f"pets.net.{len(list(cache.glob('*'))):012x}.h5",
        X,
        y,
        spec={"backbone": "torchvision:net", "layer": layer, "pool": "none", **(spec or {})},
        source={"name": "pets", "identity": identity, **(source or {})},
        backbone=facts | (backbone or {}),
        **changes,
    )


def blurred(X, share, seed=1):
    """Return features of which noise has taken a share."""
    return ((1 - share) * X + share * np.random.default_rng(seed).standard_normal(X.shape) * 4).astype(np.float32)


@pytest.fixture
def data():
    return clouds(240)


def commands(advice):
    return [line for _, line in advice.steps]


def check_that_commands_are_understood(advice):
    for line in commands(advice):
        featx, name, *words = shlex.split(line)
        assert featx == "featx"
        top = click.Context(group, **group.context_settings)
        group.commands[name].make_context(name, words, parent=top).close()


def test_small_and_similar(here, data):
    X, y = data
    early = put(here, "layer2", blurred(X, 0.6), y, depth=0.4)
    last = put(here, "fc.input", X, y, depth=0.99)
    advice = advise(last)
    assert (advice.size, advice.kinship) == ("small", "similar")
    assert advice.situation == "small data, similar to what torchvision:net was trained on"
    assert "train a head" in advice.way
    assert [one.layer for one in advice.layers] == ["layer2", "fc.input"]
    assert advice.early.store == early.path
    assert (advice.n, advice.classes, advice.most_frequent) == (240, 3, pytest.approx(1 / 3))
    assert advice.gain.low > 0
    assert advice.doubts == ()
    assert commands(advice) == [f"featx sweep {last.path} --head logistic --head knn --head mlp"]
    assert "the last layer is the better one" in advice.reasons[-1]
    check_that_commands_are_understood(advice)
    assert advise([early, last]) == advice == advise(early)


def test_figures_are_scikit_learns_over_the_same_folds(here, data):
    X, y = data
    early = blurred(X, 0.4)
    put(here, "layer2", early, y, depth=0.4)
    store = put(here, "fc.input", X, y, depth=0.99)
    advice = advise(store, cv=4, seed=3)
    folds = Ground((store,)).folds(4, 3)
    for one, features in zip(advice.layers, (early, X), strict=True):
        knn = KNeighborsClassifier(10, metric="cosine", algorithm="brute")
        right = [knn.fit(features[a], y[a]).score(features[b], y[b]) for a, b in folds]
        half = t.ppf(0.975, 3) * np.sqrt((1 / 4 + 1 / 3) * np.var(right, ddof=1))
        assert vars(one.neighbors) == pytest.approx(
            {"value": np.mean(right), "low": np.mean(right) - half, "high": min(np.mean(right) + half, 1)}
        )
    base = np.bincount(y).max() / len(y)
    last = advice.layers[-1]
    assert vars(advice.skill) == pytest.approx(
        {name: (value - base) / (1 - base) for name, value in vars(last.neighbors).items()}
    )
    gains = np.subtract(last.values, advice.layers[0].values)
    assert advice.gain.value == pytest.approx(np.mean(gains))
    assert np.mean(last.values) == pytest.approx(last.linear.value)


def test_different_since_an_earlier_layer_is_better(here, data):
    X, y = data
    early = put(here, "layer2", X, y, depth=0.4)
    last = put(here, "fc.input", blurred(X, 0.4), y, depth=0.99)
    advice = advise(last)
    assert (advice.size, advice.kinship) == ("small", "different")
    assert advice.gain.high < 0
    assert "earlier layer" in advice.way
    assert commands(advice) == [f"featx sweep {early.path} {last.path} --stores auto"]
    check_that_commands_are_understood(advice)


def test_different_since_knn_sees_little(here, data):
    X, y = data
    put(here, "layer2", blurred(X, 0.9), y, depth=0.4)
    advice = advise(put(here, "fc.input", blurred(X, 0.7), y, depth=0.99))
    assert advice.kinship == "different"
    assert advice.skill.high < 0.5
    assert advice.gain.high >= 0


def test_what_is_within_the_noise_is_a_doubt(here, data):
    X, y = data
    put(here, "layer2", blurred(X, 0.1, seed=5), y, depth=0.4)
    advice = advise(put(here, "fc.input", blurred(X, 0.1, seed=6), y, depth=0.99))
    assert advice.gain.low < 0 < advice.gain.high
    assert advice.kinship == "similar"  # as kNN says
    assert any("equally good within the noise" in doubt for doubt in advice.doubts)
    assert "difference is within the noise" in advice.reasons[-1]


def test_nearly_a_toss_up_is_a_doubt(here, data):
    X, y = data
    skills = {}
    for share in np.arange(0.3, 0.6, 0.02):
        skills[share] = advise(put(here / f"{share:.2f}", "fc.input", blurred(X, share), y, depth=0.99))
    doubtful = [any("toss-up" in doubt for doubt in advice.doubts) for advice in skills.values()]
    assert doubtful == [advice.skill.low < 0.5 <= advice.skill.high for advice in skills.values()]
    assert 0 < sum(doubtful) < len(doubtful)


def test_without_an_earlier_layer_it_says_how_to_get_one(here, data):
    arranged = {"label_pattern": "^(cat|dog|eel)", "split_pattern": [["val", "*.9.jpg"]], "split_hash": True}
    source = {"arranged": {**arranged, "max_per_class": 80, "split_seed": 3}}
    identity = f"{FOLDER}#per-class=80,3#first=240"
    last = put(here, "fc.input", *data, depth=0.99, identity=identity, source=source)
    advice = advise(last)
    assert advice.early is None
    assert advice.gain is None
    assert any("kNN alone has spoken" in doubt for doubt in advice.doubts)
    extract, again, _ = commands(advice)
    words = shlex.split(extract)
    assert words[:3] == ["featx", "extract", "/data/my pets"]
    assert words[-6:] == [*("--backbone", "torchvision:net", "--weights", "V1", "--layer", "layer2")]
    given = {
        *(("--label-pattern", "^(cat|dog|eel)"), ("--split-pattern", "val=*.9.jpg"), ("--max-per-class", "80")),
        *(("--split-seed", "3"), ("--limit", "240")),
    }
    middle = words[3:-6]
    middle.remove("--split-hash")
    assert set(zip(middle[::2], middle[1::2], strict=True)) == given
    check_that_commands_are_understood(advice)
    assert again == f"featx advise {last.path}"


def test_what_decides_the_numbers_is_named(here, data):
    X, y = data
    spec = {"views": 2, "augment": "hflip(p=0.5)", "augment_seed": 3, "precision": "bf16", "dtype": "float16"}
    facts = {"reloadable": False, "changes": {"image_size": 96, "mean": [0.5, 0.5, 0.25]}}
    views = np.stack([X, X], axis=1).astype(np.float16)
    store = put(here, "fc.input", views, y, depth=0.99, spec=spec, axes="NVC", backbone=facts)
    advice = advise(store)
    check_that_commands_are_understood(advice)
    network = ["--backbone", "BACKBONE", "--weights", "V1", "--image-size", "96", "--mean", "0.5,0.5,0.25"]
    network += ["--dtype", "float16", "--precision", "bf16"]
    views = ["--views", "2", "--augment", "hflip(p=0.5)", "--augment-seed", "3"]
    assert shlex.split(commands(advice)[0])[3:] == [*network, *views, "--layer", "layer2"]
    assert network_words(store, views=False) == network  # for training it as a whole, which shows it no kept views


def test_the_cache_is_named_where_it_is_another(here, data):
    elsewhere = here.parent / "else where"
    (extract, *_) = commands(advise(put(elsewhere, "fc.input", *data, depth=0.99)))
    words = shlex.split(extract)
    assert words[words.index("--cache") + 1] == str(elsewhere)


def test_large_data(here):
    X, y = clouds(10_002, 2, classes=3)
    advice = advise(put(here, "fc.input", X * 4, y, depth=0.99), cv=2)
    assert (advice.size, advice.kinship) == ("large", "similar")
    names = [line.split()[1] for line in commands(advice)]
    assert names == ["extract", "advise", "fit-head", "fine-tune"]
    assert commands(advice)[-1].endswith("--from layer2 --init-head runs/pets-head")
    noise = np.random.default_rng(0).standard_normal(X.shape).astype(np.float32)
    advice = advise(put(here.parent / "b", "fc.input", noise, y, depth=0.99, splits=["x"] * len(X)), cv=2, train="x")
    check_that_commands_are_understood(advice)
    assert (advice.size, advice.kinship) == ("large", "different")
    assert "--train x --out runs/pets-head" in commands(advice)[-3]
    assert commands(advice)[-2].endswith("--from input --init-head runs/pets-head")
    assert commands(advice)[-1].endswith("--train-split x")
    assert "--backbone small_cnn --weights random:0 --from input --fresh-head" in commands(advice)[-1]


def test_large_is_so_many_of_each_class(here):
    X, y = clouds(10_010, 2, classes=11)
    names = [f"c{i}" for i in range(11)]
    assert advise(put(here, "fc.input", X, y, depth=0.99, classes=names), cv=2).size == "small"


def test_rows_for_validation_and_test_take_no_part(here, data):
    splits = np.array(["train", "train", "val", "test"] * 60)
    X = np.where((splits == "test")[:, None], np.nan, data[0]).astype(np.float32)
    store = put(here, "fc.input", X, data[1], depth=0.99, splits=splits.tolist())
    assert advise(store).n == 120
    advice = advise(store, train="val", val="train")
    assert advice.n == 60
    assert [line[-23:] for line in commands(advice)[1:]] == ["--train val --val train"] * 2


def test_which_stores_are_found_beside_one(here, data):
    X, y = data
    last = put(here, "fc.input", X, y, depth=0.99)
    put(here, "layer1", X, y, depth=0.2, identity="folder:/other")
    put(here, "layer1", X, y, depth=0.2, spec={"weights": "1" * 64})
    put(here, "maps", X.reshape(240, 1, 2, 3), y, depth=0.3)
    half = put(here, "layer2", X.astype(np.float16), y, depth=0.4, spec={"dtype": "float16", "pool": "gem"})
    (here / "broken.h5").write_bytes(b"no store")
    assert [one.store for one in advise(last).layers] == [half.path, last.path]
    other = put(here, "layer3", X, 2 - y, depth=0.5)
    advice = advise(last)
    assert len(advice.layers) == 2
    assert any(f"{other.path} is left out" in doubt for doubt in advice.doubts)


def test_a_layer_near_the_last_is_no_earlier_one(here, data):
    X, y = data
    put(here, "layer4", X, y, depth=0.9, spec={"pool": "gem"})
    advice = advise(put(here, "fc.input", blurred(X, 0.2), y, depth=0.99))
    assert (len(advice.layers), advice.early) == (2, None)


def test_depth_where_the_store_does_not_say(here, data):
    X, y = data
    put(here, "layer2", X, y)
    last = put(here, "fc.input", X, y)
    assert [one.depth for one in advise(last).layers] == [0.5, 1.0]


def test_only_an_early_layer(here, data):
    early = put(here, "layer2", *data, depth=0.4)
    advice = advise(early)
    assert any("layer2 is no late layer" in doubt for doubt in advice.doubts)
    assert commands(advice)[0] == ("featx extract '/data/my pets' --backbone torchvision:net --weights V1")


def test_wrong_stores(here, data):
    X, y = data
    last = put(here, "fc.input", X, y, depth=0.99)
    with pytest.raises(ParameterError, match=r"must be of one network; .* differ in weights: "):
        advise([last, put(here, "layer2", X, y, spec={"weights": "1" * 64})])
    with pytest.raises(ParameterError, match="different layers of the same samples"):
        advise([last, put(here, "layer2", X, y), put(here, "layer2", X, y)])
    with pytest.raises(ParameterError, match="different layers of the same samples"):
        advise([last, put(here, "layer2", X, y, keys=[f"other{i}" for i in range(240)])])
    with pytest.raises(ParameterError, match=r"advice is on vectors, and .* has maps"):
        advise(put(here, "maps", X.reshape(240, 1, 2, 3), y))


def test_arrangements_are_told(data):
    source = ArraySource(np.zeros((4, 1, 1), np.uint8), [0, 0, 1, 1])
    arranged = open_source(source, split_pattern={"val": "*3"}, limit=2)
    assert arranged.arranged == {"split_pattern": [["val", "*3"]]}
    both = open_source(arranged, max_per_class=1, split_seed=0)
    assert both.arranged == {"split_pattern": [["val", "*3"]], "max_per_class": 1, "split_seed": 0}
    assert source.arranged == {}
