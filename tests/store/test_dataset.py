import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from featx.errors import ParameterError
from featx.store import FeatureDataset, open_store
from tests.store.helpers import TASKS, make_features, make_labelled, make_table, save

METHODS = ["fork", "spawn"]
quiet = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def doubled(features):
    return torch.from_numpy(features * 2)


def test_items_are_features_and_label(tmp_path):
    array = make_features(7, 5)
    store = save(tmp_path / "a.h5", array)
    dataset = store.dataset()
    assert isinstance(dataset, FeatureDataset)
    assert len(dataset) == 7
    for row, (features, label) in enumerate(dataset):
        assert type(features) is np.ndarray
        assert np.array_equal(features, array[row])
        assert type(label) is int
        assert label == store.labels[row]
        features[0] = 0  # its own
    assert np.array_equal(dataset[-1][0], array[-1])
    assert np.array_equal(store.features, array)
    with pytest.raises(IndexError):
        dataset[7]


def test_splits_and_rows(tmp_path):
    array = make_features(30, 5)
    store = save(tmp_path / "a.h5", array)
    assert store.dataset(split="val").rows.tolist() == store.select("val").tolist()
    dataset = store.dataset(rows=[9, 2, 2, 29])
    assert np.array_equal([features for features, _ in dataset], array[[9, 2, 2, 29]])
    for wrong in ([30], [-1], [0.5], [[1]]):
        with pytest.raises(ParameterError, match="rows must"):
            store.dataset(rows=wrong)
    with pytest.raises(ParameterError, match="give one of them"):
        store.dataset(split="val", rows=[1])
    with pytest.raises(ParameterError, match="split must be one of"):
        store.dataset(split="vall")
    assert len(store.dataset(rows=[])) == 0


@pytest.mark.parametrize("compress", [False, True])
def test_batches_are_fetched_at_once_and_in_order(tmp_path, compress):
    array = make_features(300, 5)
    store = save(tmp_path / "a.h5", array, compress=compress)
    items = store.dataset(transform=doubled).__getitems__([200, 3, 3, 299])
    assert np.array_equal(np.stack([features for features, _ in items]), array[[200, 3, 3, 299]] * 2)
    assert [label for _, label in items] == store.labels[[200, 3, 3, 299]].tolist()


@quiet
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_loader_with_workers_gives_every_row(tmp_path, method, compress):
    array = make_features(300, 5)
    store = save(tmp_path / "a.h5", array, compress=compress)
    loader = DataLoader(
        store.dataset(transform=doubled), batch_size=32, shuffle=True, num_workers=2, multiprocessing_context=method
    )
    batches = list(loader)
    features, labels = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert labels.dtype == torch.int64
    order = np.lexsort(features.numpy().T)
    expected = np.lexsort(array.T)
    assert np.array_equal(features.numpy()[order], array[expected] * 2)
    assert np.array_equal(labels.numpy()[order], store.labels[expected])


@quiet
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.slow
def test_reading_goes_on_while_the_store_is_extended(tmp_path, method, compress):
    array = make_features(4000, 50)
    store = save(tmp_path / "a.h5", array, compress=compress)
    loader = DataLoader(store.dataset(), batch_size=10, num_workers=2, multiprocessing_context=method)
    batches = iter(loader)
    seen = [next(batches)]
    longer = np.concatenate([make_features(500, 50, seed=1), array])
    save(tmp_path / "a.h5", longer, samples=make_table(4500), compress=compress)
    seen.extend(batches)
    assert np.array_equal(torch.cat([x for x, _ in seen]).numpy(), array)
    assert np.array_equal(torch.cat([y for _, y in seen]).numpy(), store.labels)
    assert sum(len(labels) for _, labels in loader) == 4000  # workers that start now read the old one, too
    again = open_store(tmp_path / "a.h5")
    assert np.array_equal(np.asarray(again.features), longer)


def test_float16_and_maps_are_collated(tmp_path):
    array = make_features(9, 2, 3, 4, dtype="float16")
    store = save(tmp_path / "a.h5", array)
    ((features, labels),) = DataLoader(store.dataset(), batch_size=9)
    assert np.array_equal(features.numpy(), array)
    assert labels.tolist() == store.labels.tolist()


def test_torch_is_not_imported_for_it(tmp_path):
    save(tmp_path / "a.h5")
    code = "import sys, featx.store as s; s.open_store(sys.argv[1]).dataset()[0]; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, tmp_path / "a.h5"]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True, cwd=Path(__file__).parents[2]
    )
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize("task", TASKS)
def test_other_tasks_give_their_targets(tmp_path, task):
    store = save(tmp_path / "a.h5", samples=make_labelled(task))
    wanted = store.multilabels if task == "multilabel" else store.targets
    known = np.flatnonzero(store.labelled)
    ((features, targets),) = DataLoader(store.dataset(rows=known), batch_size=6)
    assert np.array_equal(features.numpy(), store.features[:6])
    assert targets.dtype == (torch.bool if task == "multilabel" else torch.float64)
    assert np.array_equal(targets.numpy(), wanted[:6])
    assert store.dataset()[6][1].shape == wanted.shape[1:]
