import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from featx.errors import ParameterError
from featx.fitting._trials import Setting, Trial, TrialFile, fold_figure, mean_figure, read_trials


def trial(seed=0, **changes):
    values = {
        "stores": ("a", "b"),
        "head": "knn",
        "params": {"n_neighbors": 3, "layers": [1, 2], "metric": None},
        "seed": seed,
        "figure": "accuracy",
        "values": (0.1 + 0.2, 1 / 3, 1.0),
        "n": 90,
        "seconds": 0.25,
        "warnings": ("a – b\n",),
    }
    return Trial(**{**values, **changes})


def test_trials_come_back_as_they_went(tmp_path):
    file = TrialFile(tmp_path / "new" / "trials.jsonl")
    for seed in range(3):
        file.add(f"key{seed}", trial(seed))
    again = TrialFile(tmp_path / "new" / "trials.jsonl")
    assert [again.get(f"key{seed}") for seed in range(3)] == [trial(seed) for seed in range(3)]
    assert again.get("key3") is None
    assert read_trials(file.path) == [trial(seed) for seed in range(3)]


def test_a_file_cut_anywhere_loses_the_last_line_at_most(tmp_path):
    path = tmp_path / "trials.jsonl"
    file = TrialFile(path)
    file.add("a", trial(0))
    first = len(path.read_bytes())
    file.add("b", trial(1))
    whole = path.read_bytes()
    for cut in range(first, len(whole) - 1):
        path.write_bytes(whole[:cut])
        torn = TrialFile(path)
        assert torn.get("a") == trial(0)
        assert torn.get("b") is None
        torn.add("c", trial(2))
        assert read_trials(path) == [trial(0), trial(2)]


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"key": "a"}',
        b"[" * 100_000,
        json.dumps({"key": "a", **asdict(trial(values=(1.0, float("nan"))))}).encode(),
        json.dumps({"key": "a", **asdict(trial(values=(1.0,)))}).encode(),
        json.dumps({"key": "a", **asdict(trial()), "values": 3}).encode(),
    ],
)
def test_what_is_no_trial_is_passed_over(tmp_path, line):
    path = tmp_path / "trials.jsonl"
    path.write_bytes(line + b"\n")
    file = TrialFile(path)
    assert file.get("a") is None
    file.add("b", trial())
    assert read_trials(path) == [trial()]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match=r"cannot be written .* FEATX_RUNS"):
        TrialFile(tmp_path / "file" / "trials.jsonl").add("a", trial())


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.integers(2, 10))
def test_intervals_are_students(values, folds):
    mean, deviation, count = np.mean(values), np.std(values, ddof=1), len(values)
    for found, variance in (
        (fold_figure(values, folds, "accuracy"), 1 / count + 1 / (folds - 1)),
        (mean_figure(values, "accuracy"), 1 / count),
    ):
        half = t.ppf(0.975, count - 1) * deviation * np.sqrt(variance)
        assert found.value == pytest.approx(mean)
        assert found.low == pytest.approx(max(mean - half, 0), abs=1e-9)
        assert found.high == pytest.approx(min(mean + half, 1), abs=1e-9)
        assert found.low <= found.value <= found.high


def test_figures_keep_their_range():
    assert fold_figure([-3.0, 0.9], 2, "r2").low < -3
    assert fold_figure([-3.0, 0.9], 2, "r2").high == 1
    assert mean_figure([0.7], "accuracy") == mean_figure([0.7, 0.7], "accuracy")


def test_parameters_as_text():
    assert Setting("knn", {"C": 0.0001, "n": 3, "layers": "gap dense"}).text == "C=0.0001 n=3 layers=gap dense"
