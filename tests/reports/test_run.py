"""The report of a run: its numbers are the run's, its images those of the samples that it speaks of."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import featx
from featx.evaluation import find_label_errors
from featx.reports import Album, origins_of, run_report, write_page
from featx.reports._origin import Pictures
from tests.browser import complaints, requested, show
from tests.fitting.helpers import clouds, write
from tests.reports.helpers import as_text, cells, listed, pictures, section, table, unfold, write_confusing
from tests.tiny import BACKBONE

OLD = Path(__file__).parents[1] / "data" / "runs" / "v1"
HOSTILE = {
    "blue": "<script>alert(1)</script>",
    "green": '"><img src=x onerror=alert(2)>',
    "red": "{{ 7 * 7 }} \u202egnp.exe",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def store(place):
    return featx.extract(write_confusing(place / "images"), BACKBONE, cache=place / "cache")


@pytest.fixture(scope="module")
def run(store):
    return featx.fit_head(store, cv=3)


@pytest.fixture(scope="module")
def report(run):
    return run_report(run)


@pytest.fixture(scope="module")
def path(report, place):
    return write_page(report.page, place / "run.html")


@pytest.fixture
def opened(path, browser):
    show(browser, path)
    return browser


def test_the_figures_are_the_runs(run, path, opened):
    assert opened.title == run.name
    headlines = [item.text.splitlines() for item in opened.find_elements("css selector", ".headline li")]
    value, interval = as_text(run.metrics["val"].figures["accuracy"]).split(" (")
    assert headlines[0] == [value, interval.rstrip(")").replace("–", " to "), "accuracy, val, 18 samples"]
    assert headlines[1][2] == "accuracy, cv, 18 samples"
    (_, *rows) = cells(opened, table(opened, "figures"))
    for name, *found in rows:
        figures = [run.metrics[part].figures.get(name.replace(" ", "_")) for part in ("val", "cv", "train")]
        assert found == ["–" if figure is None else as_text(figure) for figure in figures]
    assert {name.replace(" ", "_") for name, *_ in rows} == set(run.metrics["val"].figures)
    values = run.cv["values"]
    words = f"Accuracy over 3 folds: {np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}."
    assert section(opened, "cv")[0].text.endswith(words)
    assert complaints(opened) == []
    assert requested(opened) == [path.as_uri()]


def test_the_classes_come_with_the_worst_first_and_are_sorted_by_any_column(run, opened):
    unfold(opened)
    for part in ("val", "cv"):
        found = cells(opened, table(opened, part))
        by_name = {row.name: row for row in run.metrics[part].per_class}
        for name, *figures, n in found:
            row = by_name[name]
            order = ("precision", "recall", "f1", "roc_auc", "average_precision")
            assert figures == [as_text(row.figures[figure]) for figure in order]
            assert n == str(row.support)
        f1 = [by_name[name].f1.value for name, *_ in found]
        assert f1 == sorted(f1)
    shown = table(opened, "val")
    for button in shown.find_elements("css selector", "th button")[:2]:
        button.click()
    names = [row[0] for row in cells(opened, shown)]
    precision = [
        next(row for row in run.metrics["val"].per_class if row.name == name).precision.value for name in names
    ]
    assert precision == sorted(precision)
    counts = np.array(run.metrics["val"].confusion)
    found = {(row[0], row[1]): int(row[2]) for row in cells(opened, table(opened, "val", 1))}
    pairs = {(i, j): counts[i, j] for i in range(3) for j in range(3) if i != j and counts[i, j]}
    assert found == {(run.classes[i], run.classes[j]): count for (i, j), count in pairs.items()}


def expected(store, keys):
    rows = [store.keys.index(key) for key in keys]
    found = Album(store).thumbnails(rows, side=128)
    return [found[row] for row in rows]


def test_mistakes_and_doubts_are_of_the_right_images(run, store, opened):
    answers = run.answers["val"]
    scores = answers.scores.astype(float)
    answer, truth = scores.argmax(axis=1), answers.truth
    wrong = sorted(np.flatnonzero(answer != truth), key=lambda row: -scores[row].max())
    assert len(wrong) > 2
    shown = pictures(opened, "mistakes")
    assert [lines for _, lines in shown] == [
        [
            f"answered: {run.classes[answer[row]]}, {scores[row].max():.0%}",
            f"true: {run.classes[truth[row]]}, {scores[row, truth[row]]:.0%}",
            answers.keys[row],
        ]
        for row in wrong
    ]
    assert [src for src, _ in shown] == expected(store, [answers.keys[row] for row in wrong])
    doubtful = sorted(range(len(answers)), key=lambda row: np.subtract(*np.sort(scores[row])[[-1, -2]]))
    shown = pictures(opened, "uncertain")
    assert [lines[-1] for _, lines in shown] == [answers.keys[row] for row in doubtful]
    assert [lines[0].startswith("right: ") for _, lines in shown] == [answer[row] == truth[row] for row in doubtful]
    assert [src for src, _ in shown] == expected(store, [answers.keys[row] for row in doubtful])


def test_suspected_labels_are_those_of_all_answers(run, store, opened):
    found = []
    for answers in run.answers.values():
        errors = find_label_errors(answers.truth, answers.scores)
        found += [(margin, answers.keys[row]) for margin, row in zip(errors.margin, errors.rows, strict=True)]
    keys = [key for _, key in sorted(found)]
    assert keys
    shown = pictures(opened, "suspects")
    assert [lines[-1] for _, lines in shown] == keys
    assert [src for src, _ in shown] == expected(store, keys)
    (words, *_) = (element.text for element in section(opened, "suspects"))
    assert words.startswith(f"{len(keys)} of 36 labels are suspected")


def test_hostile_names_stay_text(tmp_path, browser):
    manifest = write_confusing(tmp_path / "images", names=HOSTILE)
    name = '"><img src=x onerror=alert(3)>.png'
    (tmp_path / "images" / "003.png").rename(tmp_path / "images" / name)
    manifest.write_text(manifest.read_text().replace('"003.png"', f'"{name.replace(chr(34), chr(92) + chr(34))}"'))
    store = featx.extract(manifest, BACKBONE, cache=tmp_path / "cache")
    run = featx.fit_head(store, cv=3)
    report = run_report(run, title=HOSTILE["blue"])
    path = write_page(report.page, tmp_path / "run.html")
    show(browser, path)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    try:
        unfold(browser)
        assert browser.title == HOSTILE["blue"]
        shown = {row[0] for row in cells(browser, table(browser, "val"))}
        assert shown == {HOSTILE["blue"], HOSTILE["green"], "{{ 7 * 7 }} \\u202egnp.exe"}
        assert name in {lines[-1] for _, lines in pictures(browser, "uncertain")}
        assert not browser.find_elements("css selector", "main script, [onerror], img[src=x]")
        assert complaints(browser) == []
        assert requested(browser) == [path.as_uri()]
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(22, 24, 28)"
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_drawings_say_in_numbers_what_they_show(run, report, opened):
    unfold(opened)
    said = [one.get_attribute("aria-label") for one in opened.find_elements("css selector", ".drawing svg")]
    assert len(said) == len(report.figures) == 10
    evaluation = run.metrics["val"]
    counts = np.array(evaluation.confusion)
    assert said[0].startswith(f"Confusion matrix of 18 samples. Right are {np.trace(counts)}: blue {counts[0, 0]} of 6")
    for i, figure in ((1, "recall"), (2, "roc_auc"), (3, "average_precision")):
        for row in evaluation.per_class:
            assert f"{row.name} {as_text(row.figures[figure])}" in said[i]
    confident = run.answers["val"].scores.max(axis=1)
    bins = [int(count) for count in re.findall(r"(\d+) of confidence", said[4])]
    assert sum(bins) == 18
    assert bins == [count for count in np.histogram(confident, np.linspace(0, 1, 16))[0] if count]


def test_the_test_split_comes_first_once_it_is_judged(tmp_path, browser):
    manifest = write_confusing(tmp_path / "images")
    text = manifest.read_text().splitlines()
    text = [line.replace('"val"', '"test"') if i % 5 else line for i, line in enumerate(text)]
    manifest.write_text("\n".join(text))
    store = featx.extract(manifest, BACKBONE, cache=tmp_path / "cache")
    folder = featx.fit_head(store).save(tmp_path / "runs" / "mine")
    show(browser, write_page(run_report(folder).page, tmp_path / "run.html"))
    assert browser.title == "mine"
    assert "The test split has not been touched" in browser.find_element("css selector", "header").text
    assert not browser.find_elements("id", "test")
    evaluation = featx.evaluate(folder)
    featx.evaluate(folder, store)
    show(browser, write_page(run_report(folder).page, tmp_path / "run.html"))
    assert "not been touched" not in browser.find_element("css selector", "body").text
    headings = [one.get_attribute("id") for one in browser.find_elements("css selector", "h2")]
    assert headings[:4] == ["figures", "test", "val", "other-2"]  # which was trained on, too
    assert "were trained on" in " ".join(element.text for element in section(browser, "other-2"))
    assert cells(browser, table(browser, "figures"))[1][1] == as_text(evaluation.figures["accuracy"])
    val = featx.Run.load(folder).keys["val"]
    assert {lines[-1] for _, lines in pictures(browser, "uncertain")} == set(val)


def test_a_store_that_is_gone_or_another_is_told_in_a_line(run, place, store, tmp_path, browser):
    def problem(cache=None, **options):
        return Pictures(origins_of(run, cache), **options).problem

    assert problem(images=False) == "Images were left out on request."
    images = place / "images"
    images.rename(place / "elsewhere")
    try:
        show(browser, write_page(run_report(run).page, tmp_path / "run.html"))
        assert "cannot be opened again" in browser.find_element("css selector", "main").text
        assert not browser.find_elements("css selector", "main img, .missing")
        assert len(listed(browser, "uncertain")) == 18
        assert listed(browser, "mistakes")[0].startswith(run.answers["val"].keys[0][:1])
    finally:
        (place / "elsewhere").rename(images)
    kept = tmp_path / "kept.h5"
    shutil.move(store.path, kept)
    try:
        assert problem() == f"No images are shown: store list is not there any more ({store.path})."
        shutil.copy(kept, tmp_path / store.path.name)
        assert problem(tmp_path) == ""
        write(store.path, *clouds(9))
        assert "has changed since" in problem()
    finally:
        shutil.move(kept, store.path)


def test_runs_of_version_1_have_a_page(tmp_path, browser):
    run = featx.Run.load(OLD)
    show(browser, write_page(run_report(OLD).page, tmp_path / "run.html"))
    assert browser.title == "v1"
    assert cells(browser, table(browser, "figures"))[1][1] == as_text(run.metrics["val"].figures["accuracy"])
    assert "is not there any more" in browser.find_element("css selector", "main").text
    assert not browser.find_elements("id", "mistakes")
    assert complaints(browser) == []


def test_several_labels(tmp_path, browser):
    X, y = clouds(90, seed=3)
    several = np.stack([y == 0, y > 0, X[:, 0] > 0], axis=1)
    table_ = {"indicator": several.astype(np.int8)}
    store = write(tmp_path / "a.h5", X, np.full(90, -1), table=table_)
    run = featx.fit_head(store)
    show(browser, write_page(run_report(run).page, tmp_path / "run.html"))
    answers = run.answers["val"]
    gap = np.abs(answers.scores - 0.5) * ((answers.scores > 0.5) != answers.truth)
    worst = int(gap.max(axis=1).argmax())
    lines = listed(browser, "mistakes")
    assert lines[0].startswith(answers.keys[worst])
    assert (
        f"wrong: {run.classes[int(gap[worst].argmax())]}, {answers.scores[worst, gap[worst].argmax()]:.0%}" in lines[0]
    )
    assert len(lines) == min(21, int((gap > 0).any(axis=1).sum()))
    nearest = int(np.abs(answers.scores - 0.5).min(axis=1).argmin())
    assert listed(browser, "uncertain")[0].startswith(answers.keys[nearest])
    names = list(run_report(run).figures)
    assert names == ["recall-by-class-val", "roc-val", "precision-recall-val"]
    assert complaints(browser) == []


def test_numbers(tmp_path, browser):
    X, _ = clouds(90, seed=3)
    targets = np.stack([X[:, 0] + 0.3 * X[:, 1] ** 2, 50 * X[:, 2] - X[:, 3] ** 3], axis=1).astype(np.float64)
    table_ = {"targets": targets, "target_names": ("age", "<b>size</b>")}
    store = write(tmp_path / "a.h5", X, np.full(90, -1), classes=(), table=table_)
    run = featx.fit_head(store, "ridge")
    report = run_report(run)
    show(browser, write_page(report.page, tmp_path / "run.html"))
    answers = run.answers["val"]
    error = (np.abs(answers.scores - answers.truth) / answers.truth.std(axis=0)).max(axis=1)
    first = listed(browser, "mistakes")[0]
    row = int(error.argmax())
    assert first.startswith(answers.keys[row])
    assert f"age {answers.scores[row, 0]:.4g}, true: {answers.truth[row, 0]:.4g}" in first
    assert not browser.find_elements("css selector", "#uncertain, #suspects, main b")
    assert list(report.figures) == ["residuals-1-val", "residuals-2-val"]
    found = cells(browser, table(browser, "val"))
    assert [row[0] for row in found] == ["age", "<b>size</b>"]
    assert found[0][1] == as_text(run.metrics["val"].per_class[0].figures["r2"])
    assert complaints(browser) == []


def test_heads_without_probabilities_are_doubted_by_their_margins(store, tmp_path, browser):
    run = featx.fit_head(store, "ridge")
    report = run_report(run)
    show(browser, write_page(report.page, tmp_path / "run.html"))
    answers = run.answers["val"]
    margin = np.subtract(*np.sort(answers.scores.astype(float), axis=1)[:, [-1, -2]].T)
    shown = [lines[-1] for _, lines in pictures(browser, "uncertain")]
    assert shown == [answers.keys[row] for row in np.argsort(margin, kind="stable")]
    wrong = np.flatnonzero(answers.scores.argmax(axis=1) != answers.truth)
    shown = [lines[-1] for _, lines in pictures(browser, "mistakes")]
    assert shown == [answers.keys[row] for row in wrong[np.argsort(-margin[wrong], kind="stable")]]
    assert "calibration-val" not in report.figures
    assert not browser.find_elements("id", "suspects")


def test_what_was_learned_is_drawn(store, tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "runs"))
    run = featx.fit_head(store, "mlp", {"max_epochs": 3})
    report = run_report(run)
    (drawing,) = report.page.values["learned"]
    assert drawing.figure is report.figures["learning-curves"]
    assert drawing.alt.startswith("Loss and accuracy over 3 epochs; at the end loss ")
    assert f"val loss {run.history[-1]['val_loss']:.4g}" in drawing.alt
    found = featx.sweep(store, "logistic", {"C": [10, 0.1, 1]}, cv=3)
    report = run_report(found.run)
    (drawing,) = report.page.values["learned"]
    scores = {result.setting.params["C"]: result.score for result in found.results}
    words = ", ".join(f"{value:g}: {as_text(scores[value])}" for value in (0.1, 1, 10))
    assert drawing.alt == f"Accuracy in cross-validation by C; {words}. Chosen: {found.best.setting.params['C']:g}."
    assert next(iter(report.figures)) == "path-C"


def test_many_classes_are_folded_with_the_worst_first_and_the_page_stays_small(tmp_path, browser):
    k = 120
    X, y = clouds(5 * k, 8, classes=k, seed=2)
    store = write(tmp_path / "a.h5", X, y, classes=[f"class {i} of many" for i in range(k)])
    run = featx.fit_head(store, "gaussian_nb", val=0.4)
    path = write_page(run_report(run).page, tmp_path / "run.html")
    assert path.stat().st_size < 1_500_000
    show(browser, path)
    (folded, *_) = browser.find_elements("css selector", "details")
    assert folded.text == "120 classes, the worst F1 first"
    assert not folded.get_attribute("open")
    folded.find_element("css selector", "summary").click()
    rows = cells(browser, folded.find_element("css selector", "table"))
    f1 = [float(row[3].split()[0]) for row in rows]
    assert len(rows) == k
    assert f1 == sorted(f1)
    counts = np.array(run.metrics["val"].confusion)
    np.fill_diagonal(counts, 0)
    pairs = cells(browser, table(browser, "val", 1))
    assert [int(row[2]) for row in pairs] == np.sort(counts.ravel())[::-1][:20].tolist()
    matrix = browser.find_element("css selector", ".drawing svg").get_attribute("aria-label")
    assert f"Right are {round(run.metrics['val'].accuracy * run.metrics['val'].n)}: the worst are " in matrix
    assert complaints(browser) == []
