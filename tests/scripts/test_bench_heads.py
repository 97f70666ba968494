"""What the bench of the heads prints, row by row, and as a script."""

import json
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import featx
from featx.heads.logistic._softmax import _Objective
from tests.fitting.helpers import clouds, write
from tests.scripts.helpers import fitted, head_modules, small_case


@pytest.fixture(autouse=True)
def one_blas_thread():
    """Keep threads from waiting for one another: these arrays are tiny."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def heads(bench):
    return head_modules()


@pytest.fixture(params=[2, 4])
def case(heads, tmp_path, request):
    return small_case(heads, tmp_path / "case", request.param)


def found_of(heads, package, title, seconds, **more):
    return heads.reports.Found(package, title, fit=seconds, facts={"n_iter_": 7}, **more)


# The tables


def test_the_quickest_that_came_near_enough_is_compared(heads):
    found = [
        found_of(heads, "featx", "featx", [2.0], distance=5e-5),
        found_of(heads, "other", "other, loose", [1.0], distance=1e-2),
        found_of(heads, "other", "other, tight", [9.0], distance=1e-7),
        found_of(heads, "other", "other, right", [6.0, 5.0, 7.0], distance=9e-5),
    ]
    assert heads.reports.quickest(found, "other", 1e-4).title == "other, right"
    assert heads.reports.quickest(found, "featx", 1e-6) is None
    near, nearer = heads.reports.within_sentences(found, [1e-4, 1e-6], "featx")
    assert near.endswith("featx: 2.000 s; other, right: 6.000 s (3.00 times as long).")
    assert nearer.endswith("featx comes no nearer than 5.0e-05; other, tight: 9.000 s.")


def test_a_row_says_how_far_and_how_right(heads, case):
    head = fitted(case)
    found = found_of(
        heads, "featx", "featx", [1.0, 3.0], result=heads.contestants.pack(head.coef_, head.intercept_), growth=12.4
    )
    found.objective, found.distance = 3.5, 2e-5
    (row,) = heads.reports.single_rows(case, [found])
    X, y = case.standardised, case.labels
    assert row["accuracy"] == f"{head.score(X[case.n :], y[case.n :]):.4f}"
    assert row["in training"] == f"{head.score(X[: case.n], y[: case.n]):.4f}"
    assert (row["s"], row["least"], row["distance"], row["growth MiB"]) == ("2.000", "1.000", "2.0e-05", "12")


def test_answers_are_compared_with_the_reference(heads, case):
    truth = case.labels[case.n :]
    other = truth.copy()
    other[:10] = (other[:10] + 1) % case.k
    found = [
        found_of(heads, "featx", "featx", [1.0], predict=[1.0], result=other),
        found_of(heads, "scikit-learn", "scikit-learn", [2.0], predict=[4.0], result=truth),
    ]
    ours, theirs = heads.reports.agreement_rows(case, "lda", found, "scikit-learn")
    assert (ours["ratio"], ours["equal answers"], ours["accuracy"]) == ("3.00", "0.7500", "0.7500")
    assert (theirs["ratio"], theirs["equal answers"], theirs["accuracy"]) == ("1.00", "1.0000", "1.0000")


def test_few_fits_are_scaled_to_all(heads):
    ours, theirs = found_of(heads, "featx", "featx", [3.0]), found_of(heads, "other", "other", [6.0])
    few = heads.evenly(100, 10)
    figures = {
        "featx": {"objective": dict.fromkeys(range(100), 1.0), "accuracy": {i: i / 1000 for i in range(100)}},
        "other": {"objective": dict.fromkeys(few, 1.1), "accuracy": {i: i / 1000 + 0.01 for i in few}},
    }
    first, second = heads.reports.sweep_rows([ours, theirs], figures, dict.fromkeys(range(100), 1.0), "featx")
    assert (first["s for 100"], first["best accuracy"]) == ("3.00", "0.0970 at C=1e+02")
    assert (second["fits"], second["s for 100"], second["times as long"]) == ("10", "60.00", "20.00")
    assert (second["worst distance"], second["accuracies apart"]) == ("1.0e-01", "0.0100")
    assert second["best accuracy"] == ""


# The script


@pytest.fixture
def sweeps_uncounted(monkeypatch):
    """Put featx's solver back as it was: a contestant counts its sweeps, which its process never has to undo."""
    monkeypatch.setattr(_Objective, "evaluate", _Objective.evaluate)


@pytest.fixture
def bench_heads(bench, heads, script, monkeypatch, capsys, sweeps_uncounted):
    """Return what runs the script and returns what it printed; contestants have no processes of their own."""
    module = script("bench_heads")

    class Inside:
        def __init__(self, command, log):
            self.contestant = heads.contestants.make(json.loads(command[-1]))

        def run(self, folder):
            self.contestant.prepare(folder)
            return bench.host.Answer(
                seconds=1.0, usage=bench.host.Usage(0, 0, 0.5), **vars(self.contestant.run(folder))
            )

        def close(self):
            pass

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["bench_heads", *map(str, arguments)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of being stopped by max_iter, in processes' logs otherwise
            module.main()
        return capsys.readouterr().out

    def fail(command, log):
        if "intelex" in command[-1]:
            raise bench.host.FailureError("No module named 'sklearnex'")
        return Inside(command, log)

    monkeypatch.setattr(module, "Host", fail)
    floors = heads.Floors(size=1e6, bandwidth=1e9, flops=1e6, thin_rate=1e9, square_rate=1e10)
    monkeypatch.setattr(module, "Floors", SimpleNamespace(measure=lambda X, columns: floors))
    return run


def test_single_fits_are_printed(bench_heads, tmp_path):
    figures = tmp_path / "figures.json"
    heads = ["logistic", "nearest_centroid", "knn, cosine"]
    printed = bench_heads("--sizes", "120x8x3", "--rounds", 2, "--heads", *heads, "--json", figures)
    assert "## 120 × 8, 3 classes, 24 held out" in printed
    assert "- scikit-learn-intelex is not in the table: No module named 'sklearnex'" in printed
    for title in (
        "featx, tol 1e-04",
        "scikit-learn, stopped at 1e-04",
        "nearest_centroid: featx",
        "knn, cosine: featx",
    ):
        assert f"\n| {title} |" in printed
    assert "2 of 2 |" in printed
    assert re.search(r"Within 1e-04 of the lowest objective: featx, .*; scikit-learn, .* times as long", printed)
    assert "What bounds it is memory" in printed
    found = json.loads(figures.read_text(encoding="utf-8"))["120 × 8, 3 classes"]
    stopped = found["logistic"]["contestants"]["scikit-learn, stopped at 1e-04"]
    assert 0 <= stopped["distance"] < 1e-4
    assert len(stopped["fit"]) == 2
    assert found["logistic"]["reference"]["distance"] < 1e-8


def test_a_sweep_is_printed(bench_heads):
    options = ["--sweep", "--warm", "--sklearn-fits", 4, "--rounds", 1]
    printed = bench_heads("--sizes", "100x6x2", *options)
    assert "others than featx made 4, spread evenly over C" in printed
    assert "\n| featx | 100 |" in printed
    assert "\n| scikit-learn, tol 1e-04 | 4 |" in printed
    assert "\n| scikit-learn, stopped at 1e-04 | 4 |" in printed
    assert "\n| LogisticRegressionCV | 100 |" in printed


def test_a_store_is_measured_by_its_splits(bench_heads, tmp_path):
    features, labels = clouds(90)
    splits = [*["train"] * 60, *["test"] * 20, *[""] * 10]
    write(tmp_path / "clouds.h5", features, np.where(np.arange(90) < 85, labels, -1), splits=splits)
    printed = bench_heads("--store", tmp_path / "clouds.h5", "--heads", "lda", "--rounds", 1)
    assert "65 × 6, 3 classes, 20 held out" in printed  # what is in no split is fitted on, without a label it is not
    assert "\n| lda: scikit-learn |" in printed


def test_all_heads_are_in_one_table(bench_heads, script, tmp_path, monkeypatch):
    features, labels = clouds(90)
    for name, split in (("one", "val"), ("two", "test")):
        write(tmp_path / f"{name}.h5", features, labels, splits=[*["train"] * 60, *[split] * 30])
    info = {head.name: head for head in featx.list_heads()}
    monkeypatch.setattr(featx, "list_heads", lambda: [info["conv"], info["lda"], info["ridge"]])
    printed = bench_heads("--table", tmp_path / "one.h5", tmp_path / "two.h5", "--rounds", 1)
    header = next(line for line in printed.splitlines() if line.startswith("|"))
    assert re.fullmatch(r"\|  \| (.*): s \| .*: accuracy \(val, 30\) \| .*: s \| .*: accuracy \(test, 30\) \|", header)
    run = featx.fit_head(tmp_path / "two.h5", "lda", val="none")
    figure = featx.evaluate(run).figures["accuracy"]
    row = next(line for line in printed.splitlines() if line.startswith("| lda"))
    assert f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})" in row
    assert "\n- conv on " in printed
