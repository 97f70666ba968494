import numpy as np
import pytest
from scipy.stats import ttest_1samp

from featx.errors import ParameterError
from featx.fitting import sweep
from featx.fitting._contest import Result
from featx.fitting._selection import select_stores
from featx.fitting._trials import Setting, fold_figure
from tests.fitting.helpers import write

KNN = "sklearn.neighbors.KNeighborsClassifier"


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """Four classes: `a` tells the first two from the others, `b` the even from the odd, `c` and `d` nothing."""
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "runs"))
    generator = np.random.default_rng(0)
    labels = np.arange(240) % 4
    sides = {"a": labels // 2, "b": labels % 2}
    found = []
    for name in "dabc":
        features = generator.standard_normal((240, 3))
        if name in sides:
            features[:, 0] += 4.0 * sides[name]
        found.append(
            write(
                tmp_path / f"{name}.h5",
                features.astype(np.float32),
                labels,
                classes=("p", "q", "r", "s"),
                spec={"layer": name},
            )
        )
    return found


def test_stores_that_help_are_joined_and_others_left(stores):
    found = sweep(stores, ["nearest_centroid", KNN], {"n_neighbors": [9]}, cv=5, join="auto")
    assert set(found.best.stores) == {"a", "b"}
    assert {result.setting.head for result in found.results} == {"nearest_centroid", KNN}
    assert {result.stores for result in found.results} == {found.best.stores}
    looked_at = [set(step.stores) for step in found.steps]
    first = found.best.stores[0]
    assert looked_at[:4] == [{"d"}, {"a"}, {"b"}, {"c"}]
    assert looked_at[4:7] == [{first, name} for name in "dabc" if name != first]
    assert looked_at[7:] == [{"a", "b", "d"}, {"a", "b", "c"}]
    assert [step.stores for step in found.steps if step.taken] == [(first,), found.best.stores]
    assert found.run.settings["sweep"]["tried"] == 9 + 1
    assert [spec.layer for spec in found.run.specs] == list(found.best.stores)


def test_a_store_of_noise_is_rarely_joined(tmp_path):
    """The best of five useless stores helps in more than half of all cases, and is joined in less than a fifth."""
    generator = np.random.default_rng(1)
    stores = [
        write(tmp_path / f"{i}.h5", np.zeros((6, 2), np.float32), np.arange(6) % 3, spec={"layer": str(i)})
        for i in range(6)
    ]
    joined = helped = 0
    for _ in range(200):
        base = generator.normal(0.8, 0.02, 5)

        def judge(these, base=base):
            if len(these) > 1:
                return result(these, base + generator.normal(0, 0.01, 5))
            return result(these, base if these == (stores[0],) else base - 0.5)

        chosen, steps = select_stores(stores, judge, 5)
        assert chosen[0] is stores[0]
        joined += len(chosen) > 1
        helped += max(step.gain.value for step in steps if step.gain is not None) > 0
    assert helped > 100
    assert joined < 40


def result(stores, values):
    names = tuple(store.name for store in stores)
    values = tuple(float(value) for value in values)
    return Result(names, Setting("knn", {}), "accuracy", fold_figure(values, 5, "accuracy"), 0.0, values, 100, 0.0, ())


@pytest.mark.parametrize("gain", [0.002, 0.004, 0.006, 0.008, 0.02])
def test_the_rule_is_a_t_test_at_a_level_for_all_that_were_tried(tmp_path, gain):
    stores = [
        write(tmp_path / f"{i}.h5", np.zeros((6, 2), np.float32), np.arange(6) % 3, spec={"layer": str(i)})
        for i in range(3)
    ]
    noise = np.array([-0.01, 0.006, 0.0, -0.004, 0.008])
    values = {"0": np.full(5, 0.8), "1": np.full(5, 0.5), "2": np.full(5, 0.5)}
    values |= {"0+1": 0.8 + gain + noise, "0+2": np.full(5, 0.6), "0+1+2": np.full(5, 0.1)}

    def judge(these):
        return result(these, values["+".join(store.name for store in these)])

    chosen, steps = select_stores(stores, judge, 5)
    plain = ttest_1samp(gain + noise, 0, alternative="greater")
    from scipy.stats import t

    corrected = t.sf(plain.statistic * np.sqrt((1 / 5) / (1 / 5 + 1 / 4)), 4)
    assert (len(chosen) == 2) == (corrected < 0.16 / 2)
    assert steps[3].gain.value == pytest.approx(gain)


def test_equal_stores_are_not_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "runs"))
    labels = np.arange(60) % 3
    features = np.eye(3, dtype=np.float32)[labels]
    same = [write(tmp_path / f"{name}.h5", features, labels, spec={"layer": name}) for name in "ab"]
    found = sweep(same, "nearest_centroid", cv=3, join="auto")
    assert found.best.stores == ("a",)


def test_stores_of_other_samples_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "runs"))
    features, labels = np.eye(3, dtype=np.float32)[np.arange(60) % 3], np.arange(60) % 3
    a = write(tmp_path / "a.h5", features, labels)
    b = write(tmp_path / "b.h5", features[:57], labels[:57], spec={"layer": "other"})
    with pytest.raises(ParameterError, match=r"the same samples in the same order; b\.h5 and a\.h5 do not"):
        sweep([a, b], "nearest_centroid", cv=3, join="auto")
