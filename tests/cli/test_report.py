"""``featx report``: what it writes, and where."""

import re

import pytest

import featx as library
from featx import reports
from tests.fitting.helpers import clouds, write


@pytest.fixture
def run(here):
    """A folder in ``runs``, of a net on made-up features."""
    store = write(here / "cache" / "photos.toy.000000000000.h5", *clouds(60))
    return library.fit_head(store, "mlp", {"max_epochs": 3}).save("runs/mine")


def test_a_page_is_named_after_the_run(featx, here, run):
    assert featx("report", run).out == "report-mine.html\n"
    page = (here / "report-mine.html").read_text()
    assert "<title>mine</title>" in page
    assert "featx fit-head" in page
    assert featx("report", "mine", "--out", "other.html", "--title", "a < b").out == "other.html\n"
    assert "<title>a &lt; b</title>" in (here / "other.html").read_text()
    assert featx("report", "runs/mine/.").out == "report-mine.html\n"


def test_figures_are_written_besides(featx, here, run):
    out, *lines = featx("report", run, "--figures", "pictures").out.splitlines()
    assert out == "report-mine.html"
    names = ["learning-curves", *(f"{name}-val" for name in ("confusion-matrix", "recall-by-class", "roc"))]
    names += ["precision-recall-val", "calibration-val"]
    assert lines == [f"pictures/{name}{suffix}" for name in names for suffix in (".png", ".svg")]
    assert all((here / line).stat().st_size > 5000 for line in lines)
    assert len(re.findall("<svg", (here / out).read_text())) == len(names)


def test_the_text_that_the_run_keeps(featx, here, run):
    assert featx("report", run, "--text").out == (run / "report.md").read_text()
    assert not (here / "report-mine.html").exists()


def test_options_reach_the_library(featx, run, monkeypatch):
    made, asked = reports.run_report(run), []
    monkeypatch.setattr(reports, "run_report", lambda *words, **options: asked.append((words, options)) or made)
    featx("report", run, "--no-images", "--cache", "elsewhere", "--title", "t")
    assert asked == [((str(run),), {"title": "t", "images": False, "cache": "elsewhere"})]


def test_long_names_fit_into_a_files(featx, here, run):
    long = "ä" * 120
    run.rename(here / "runs" / long)
    assert featx("report", f"runs/{long}").out == f"report-{'ä' * 100}.html\n"


def test_runs_side_by_side(featx, here, run):
    library.fit_head("photos", "ridge").save("runs/other")
    assert featx("report", "--compare", run, "other").out == "report-comparison.html\n"
    page = (here / "report-comparison.html").read_text()
    assert "By val samples, " in page
    assert "<title>Comparison of 2 runs</title>" in page
    lines = featx("report", run, "other", "--compare", "--out", "c.html", "--figures", "f", "--title", "x").out.split()
    assert lines == ["c.html", "f/differences-1.png", "f/differences-1.svg"]
    assert "two runs or more" in featx.fails("report", "--compare", run, code=2)
    assert "without --text" in featx.fails("report", "--compare", run, run, "--text", code=2)
    assert "one report is made at a time; got 2" in featx.fails("report", run, run, code=2)


def test_what_cannot_be_reported(featx, here, run):
    assert "is no run" in featx.fails("report", "nothing")
    assert "must end in .html" in featx.fails("report", run, "--out", "a.png", code=2)
    assert "must be in a folder that is there" in featx.fails("report", run, "--out", "no/a.html")
    assert not list(here.glob("*.html"))


@pytest.fixture
def store(here):
    return write(here / "cache" / "photos.toy.000000000000.h5", *clouds(60))


def test_a_store_has_a_page_too(featx, here, store):
    assert featx("report", "photos").out == "report-photos.html\n"
    page = (here / "report-photos.html").read_text()
    assert "<title>photos</title>" in page
    assert "by PCA of their features" in page
    out, *lines = featx("report", store.path, "--map", "tsne", "--figures", "pictures").out.splitlines()
    assert out == "report-photos.html"
    assert "by t-SNE of their features" in (here / out).read_text()
    assert lines == [f"pictures/{name}{suffix}" for name in ("class-counts", "map") for suffix in (".png", ".svg")]


def test_a_store_that_is_called_as_its_source_folder(featx, here, store):
    (here / "photos").mkdir()
    assert featx("report", "photos").out == "report-photos.html\n"


def test_options_of_a_store_reach_the_library(featx, store, monkeypatch):
    made, asked = reports.store_report(store), []
    monkeypatch.setattr(reports, "store_report", lambda store, **options: asked.append((store.path, options)) or made)
    featx("report", "photos")
    featx("report", "photos", "--map", "umap", "--seed", "3", "--no-images", "--title", "t")
    assert [options for _, options in asked] == [
        {"title": None, "images": True},
        {"title": "t", "images": False, "method": "umap", "seed": 3},
    ]


def test_a_run_comes_before_a_store_of_its_name(featx, here, run):
    (here / "runs" / "mine").rename(here / "runs" / "photos")
    featx("report", "photos")
    assert "featx fit-head" in (here / "report-photos.html").read_text()


def test_options_go_with_what_they_are_of(featx, run):
    assert "--map and --seed are of stores" in featx.fails("report", run, "--map", "pca", code=2)
    assert "--map and --seed are of stores" in featx.fails("report", run, "--seed", "1", code=2)
    assert "--text is of runs" in featx.fails("report", "photos", "--text", code=2)
    assert "'phots' is no run, in runs or elsewhere; store 'phots' is neither a file nor a store in cache; did you" in (
        featx.fails("report", "phots")
    )
