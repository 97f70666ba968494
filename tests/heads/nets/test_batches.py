import threading

import numpy as np
import pytest
import torch

from featx.heads.nets._batches import Batches, Rows, as_tensor


@pytest.fixture
def features():
    return np.random.default_rng(0).random((23, 3, 4), dtype=np.float32)


def rows_of(features, index=None, **options):
    index = np.arange(len(features)) if index is None else index
    return Rows(features, index, torch.arange(len(features)), np.linspace(1, 2, len(features)), **options)


def sweep(batches):
    """Return all batches, copied while they are valid."""
    return [(x.clone(), target.clone(), weight.clone()) for x, (target, weight) in batches]


def mapped(features, folder):
    np.save(folder / "features.npy", features)
    return np.load(folder / "features.npy", mmap_mode="r")


def check(found, features, weights):
    for x, target, weight in found:
        np.testing.assert_array_equal(x.numpy(), features[target.numpy()])
        np.testing.assert_allclose(weight.numpy(), weights[target.numpy()], rtol=1e-6)
        assert x.dtype == torch.float32


@pytest.mark.parametrize("kind", ["memory", "mapped", "view of mapped", "half", "double", "strided"])
def test_a_sweep_gives_every_row_once_with_its_target_and_weight(features, tmp_path, kind):
    given = {
        "memory": lambda: features,
        "mapped": lambda: mapped(features, tmp_path),
        "view of mapped": lambda: np.asarray(mapped(features, tmp_path)),
        "half": lambda: features.astype(np.float16),
        "double": lambda: features.astype(np.float64),
        "strided": lambda: np.repeat(features, 2, axis=0)[::2],
    }[kind]()
    rows = rows_of(given)
    assert rows.ahead == ("mapped" in kind)
    batches = Batches(rows, 5, torch.Generator().manual_seed(0))
    found = sweep(batches)
    assert [len(target) for _, target, _ in found] == [5, 5, 5, 5, 3]
    assert len(batches) == 5
    check(found, np.asarray(given, dtype=np.float32), np.linspace(1, 2, 23))
    order = torch.cat([target for _, target, _ in found])
    assert sorted(order.tolist()) == list(range(23))
    assert order.tolist() == torch.randperm(23, generator=torch.Generator().manual_seed(0)).tolist()


def test_rows_come_in_their_order_without_a_generator(features):
    found = sweep(Batches(rows_of(features), 10))
    assert torch.cat([target for _, target, _ in found]).tolist() == list(range(23))


def test_each_sweep_has_an_order_of_its_own(features):
    batches = Batches(rows_of(features), 23, torch.Generator().manual_seed(0))
    first, second = sweep(batches)[0][1], sweep(batches)[0][1]
    assert first.tolist() != second.tolist()


def test_only_the_rows_of_the_index_are_given(features):
    index = np.array([3, 20, 7, 8])
    found = sweep(Batches(rows_of(features, index), 3))
    assert [target.tolist() for _, target, _ in found] == [[3, 20, 7, 8]]
    check(found, features, np.linspace(1, 2, 23))


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (10, [5, 5]), (11, [5, 6]), (12, [5, 5, 2])])
def test_a_last_row_alone_joins_the_batch_before_it(features, count, sizes):
    found = sweep(Batches(rows_of(features, np.arange(count)), 5, torch.Generator().manual_seed(1)))
    assert [len(target) for _, target, _ in found] == sizes
    check(found, features, np.linspace(1, 2, 23))


def test_one_view_of_each_sample_is_drawn_in_training(features):
    seen = np.zeros((23, 3), dtype=int)
    batches = Batches(rows_of(features, views=True), 5, torch.Generator().manual_seed(0))
    for _ in range(60):
        for x, target, _ in sweep(batches):
            same = (x.numpy()[:, None] == features[target.numpy()]).all(axis=2)
            assert (same.sum(axis=1) == 1).all()
            seen[target.numpy()] += same
    assert (seen.sum(axis=1) == 60).all()
    assert seen.min() >= 6  # of 20 expected; a fair draw falls below once in 10,000 times


def test_all_views_come_in_validation(features):
    found = sweep(Batches(rows_of(features, views=True), 23))
    np.testing.assert_array_equal(found[0][0].numpy(), features.reshape(69, 4))
    assert found[0][1].tolist() == list(range(23))


def test_a_batch_uses_the_memory_of_the_one_before(features):
    places = [x.data_ptr() for x, _ in Batches(rows_of(features), 5)]
    assert len(set(places)) == 1


def test_mapped_features_are_gathered_ahead_and_by_one_thread(features, tmp_path):
    threads = threading.active_count()
    places = []
    for x, _ in Batches(rows_of(mapped(features, tmp_path)), 5):
        places.append(x.data_ptr())
        assert threading.active_count() <= threads + 1
    assert len(set(places)) == 2
    assert places[0] == places[2] != places[1]
    assert threading.active_count() == threads


def test_features_are_not_copied(features):
    assert as_tensor(features).data_ptr() == features.ctypes.data
    features.flags.writeable = False
    assert as_tensor(features).data_ptr() == features.ctypes.data
