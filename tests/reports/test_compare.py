"""Runs side by side: what the page says is what compare says, and the samples are those that they disagree about."""

import numpy as np
import pytest

import featx
from featx.errors import ParameterError
from featx.fitting import compare
from featx.reports import Album, compare_report, write_page
from tests.browser import complaints, requested, show
from tests.fitting.helpers import clouds, write
from tests.reports.helpers import as_text, cells, listed, pictures, section, table, unfold, write_confusing
from tests.tiny import BACKBONE


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def store(place):
    return featx.extract(write_confusing(place / "images"), BACKBONE, cache=place / "cache")


@pytest.fixture(scope="module")
def runs(store, place):
    """Three runs, of which the last two are unlike the first."""
    made = [
        featx.fit_head(store, "logistic", cv=3),
        featx.fit_head(store, "knn", {"n_neighbors": 1}, cv=3),
        featx.fit_head(store, "gaussian_nb", seed=4),
    ]
    return [run.save(place / "runs" / name) for run, name in zip(made, ("one", "two", "<b>three"), strict=True)]


@pytest.fixture
def opened(runs, place, browser):
    show(browser, write_page(compare_report(runs).page, place / "page.html"))
    return browser


def test_figures_stand_side_by_side(runs, place, opened):
    loaded = [featx.Run.load(run) for run in runs]
    rows = cells(opened, table(opened, "runs"))
    names = ["one", "two", "<b>three"]
    assert [row[0] for row in rows] == names
    assert [row[1] for row in rows] == ["logistic", "knn n_neighbors 1", "gaussian_nb"]
    for row, run in zip(rows, loaded, strict=True):
        parts = [run.metrics.get(part) for part in ("val", "cv")]
        assert row[4:] == ["–" if found is None else as_text(found.figures["accuracy"]) for found in parts]
    unfold(opened)
    head = [cell.text for cell in table(opened, "runs", 1).find_elements("css selector", "th")]
    assert head == ["figure", *names]
    found = {row[0]: row[1:] for row in cells(opened, table(opened, "runs", 1))}
    assert found["macro f1"] == [as_text(run.metrics["val"].figures["macro_f1"]) for run in loaded]
    assert complaints(opened) == []
    assert requested(opened) == [(place / "page.html").as_uri()]
    assert not opened.find_elements("css selector", "main b")


@pytest.mark.parametrize("i", [1, 2])
def test_each_is_held_against_the_first(runs, opened, i):
    found = compare(runs[0], runs[i], "val")
    words = " ".join(element.text for element in section(opened, f"pair-{i}"))
    assert f"By val samples, {found.sentence}." in words
    rows = cells(opened, table(opened, f"pair-{i}"))
    assert rows == [
        [
            name.replace("_", " "),
            f"{one.a:.3f}",
            f"{one.b:.3f}",
            f"{one.value:+.3f}",
            f"{one.low:+.3f} to {one.high:+.3f}",
        ]
        for name, one in found.comparison.differences.items()
    ]
    (drawing,) = [one for each in section(opened, f"pair-{i}") for one in each.find_elements("css selector", "svg")]
    for name, one in found.comparison.differences.items():
        assert f"{name.replace('_', ' ')} {one.value:+.3f} (" in drawing.get_attribute("aria-label")


def test_the_samples_are_those_that_one_alone_answers_right(runs, store, opened):
    a, b = (featx.Run.load(run).answers["val"] for run in runs[:2])
    right = [one.scores.argmax(axis=1) == one.truth for one in (a, b)]
    assert (right[0] & ~right[1]).any() or (right[1] & ~right[0]).any()
    album = Album(store)
    for name, rows in (("a", right[0] & ~right[1]), ("b", right[1] & ~right[0])):
        shown = pictures(opened, f"pair-1-{name}")
        keys = {a.keys[row] for row in np.flatnonzero(rows)}
        assert {lines[-1] for _, lines in shown} == keys
        for src, lines in shown:
            assert src == album.thumbnails([store.keys.index(lines[-1])], side=128)[store.keys.index(lines[-1])]
            row = a.keys.index(lines[-1])
            answers = [one.scores[row] for one in (a, b)]
            classes = store.classes
            assert lines[:2] == [
                f"{letter}: {classes[int(scores.argmax())]}, {scores.max():.0%}"
                for letter, scores in zip("ab", answers, strict=True)
            ]
            assert lines[2] == f"true: {classes[a.truth[row]]}"
        assert section(opened, f"pair-1-{name}", "H3")[0].text.startswith(f"{len(keys)} of 18 val samples")


def test_settings_that_differ_and_no_others(opened):
    found = {row[0]: row[1:] for row in cells(opened, table(opened, "settings"))}
    assert found.pop("head") == ["logistic", "knn", "gaussian_nb"]
    assert found.pop("seed") == ["0", "0", "4"]
    assert found.pop("parameter n_neighbors") == ["–", "1", "–"]
    assert found == {}


def test_the_part_is_the_most_trusted_that_both_have(tmp_path):
    X, y = clouds(120)
    splits = ["train", "val", "test", "train"] * 30
    store = write(tmp_path / "a.h5", X, y, splits=splits)
    runs = [featx.fit_head(store, head, cv=3).save(tmp_path / head) for head in ("logistic", "lda")]

    def words(*more):
        (pair,) = compare_report([*runs, *more]).page.values["pairs"]
        return pair["words"]

    assert words().startswith("By val samples")
    featx.evaluate(runs[0])
    assert words().startswith("By val samples")
    featx.evaluate(runs[1])
    assert words().startswith("By test samples")
    other = write(tmp_path / "b.h5", *clouds(90, seed=5), keys=[f"other/{i}" for i in range(90)])
    pair = compare_report([runs[0], featx.fit_head(other)]).page.values["pairs"][0]
    assert pair["words"].startswith(
        "There is no paired difference: runs to be compared must have val samples in common"
    )
    assert pair["drawing"] is None
    alone = compare_report([featx.fit_head(store, val="none"), featx.fit_head(other)])
    assert "they have no answers to the same part" in alone.page.values["pairs"][0]["words"]
    assert alone.figures == {}


def test_several_labels_and_numbers(tmp_path, browser):
    X, y = clouds(90, seed=3)
    several = np.stack([y == 0, y > 0, X[:, 0] > 0], axis=1)
    store = write(tmp_path / "a.h5", X, np.full(90, -1), table={"indicator": several.astype(np.int8)})
    runs = [featx.fit_head(store), featx.fit_head(store, "knn", {"n_neighbors": 1})]
    show(browser, write_page(compare_report(runs).page, tmp_path / "page.html"))
    a, b = (run.answers["val"] for run in runs)
    wrong = [((one.scores > 0.5) != one.truth).sum(axis=1) for one in (a, b)]
    shown = [line.split(" · ")[0] for line in listed(browser, "pair-1-a", "H3")]
    gaps = [(wrong[1] - wrong[0])[a.keys.index(key)] for key in shown]
    assert gaps == sorted(gaps, reverse=True)
    assert len(shown) == (wrong[0] < wrong[1]).sum() > 0
    numbers = {"targets": np.stack([X[:, 0] ** 2, 9 * X[:, 1]], axis=1).astype(float), "target_names": ("age", "size")}
    store = write(tmp_path / "b.h5", X, np.full(90, -1), classes=(), table=numbers)
    runs = [featx.fit_head(store, "ridge"), featx.fit_head(store, "sklearn.tree.DecisionTreeRegressor")]
    show(browser, write_page(compare_report(runs).page, tmp_path / "page.html"))
    a, b = (run.answers["val"] for run in runs)
    spread = a.truth.std(axis=0)
    error = [(np.abs(one.scores - one.truth) / spread).max(axis=1) for one in (a, b)]
    best = int((error[1] - error[0]).argmax())
    first = listed(browser, "pair-1-a", "H3")[0]
    assert first.startswith(a.keys[best])
    assert f"b: age {b.scores[best, 0]:.4g}, size {b.scores[best, 1]:.4g}" in first
    assert complaints(browser) == []


def test_names_tell_runs_apart_and_one_is_not_enough(runs, tmp_path, store):
    run = featx.Run.load(runs[0])
    folders = [run.save(tmp_path / name / "one") for name in ("x", "y")]
    assert compare_report(folders).page.values["settings"]["head"] == ["setting", *map(str, folders)]
    same = compare_report([run, run], title="t", images=False)
    assert same.page.title == "t"
    assert same.page.values["settings"] == {"head": ["setting", f"{run.name} (1)", f"{run.name} (2)"], "rows": []}
    assert same.page.values["pictures_problem"] == "Images were left out on request."
    with pytest.raises(ParameterError, match="must be at least two; got 1"):
        compare_report(runs[:1])
