import re

import numpy as np
import pytest

from featx.fitting import fit_head
from featx.fitting._report import report_text
from tests.fitting.helpers import clouds, write

NASTY = ("<script>alert(1)</script>", "a|b\nc", "*bold* `code` [x](y) \\ #~")


@pytest.fixture
def run(tmp_path):
    store = write(
        tmp_path / "my_photos.h5", *clouds(90), splits=["train", "train", "test", "train", "test"] * 18, classes=NASTY
    )
    return fit_head(store, "knn", {"n_neighbors": 3}, cv=3)


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_figures_are_the_runs(run):
    text = report_text(run.to_dict())
    lines = text.splitlines()
    figures = lines.index("## Figures, with 95 % intervals") + 2
    assert cells(lines[figures]) == ["", "train", "cv"]
    rows = {row[0]: row[1:] for row in map(cells, lines[figures + 2 :]) if row}
    assert rows["samples"] == [str(run.metrics[part].n) for part in ("train", "cv")]
    for name in run.metrics["cv"].figures:
        assert rows[name.replace("_", " ")] == [
            f"{one.value:.4f} ({one.low:.3f} to {one.high:.3f})"
            for one in (run.metrics[part].figures[name] for part in ("train", "cv"))
        ]
    assert f"3 folds of the training rows: accuracy {run.cv['mean']:.4f} ± {run.cv['std']:.4f}" in text
    confusion = [list(map(int, cells(line)[1:])) for line in [line for line in lines if line.startswith("|")][-3:]]
    assert np.array_equal(confusion, run.metrics["cv"].confusion)
    table = lines[lines.index("## Classes, cv") + 4 :][:3]
    assert [cells(line)[1:] for line in table] == [
        [*(f"{one.value:.4f}" for one in row.figures.values()), str(row.support)] for row in run.metrics["cv"].per_class
    ]
    assert "The test split has not been touched" in text


def test_the_epochs_of_a_net_are_listed(tmp_path):
    run = fit_head(write(tmp_path / "a.h5", *clouds(60)), "mlp", {"max_epochs": 3})
    lines = report_text(run.to_dict()).splitlines()
    start = lines.index("## Epochs") + 2
    names = [name.replace(" ", "_") for name in cells(lines[start])]
    for line, epoch in zip(lines[start + 2 : start + 5], run.history, strict=True):
        assert [float(cell) for cell in cells(line)] == pytest.approx([epoch[name] for name in names], rel=1e-3)


def test_names_are_text_and_every_table_has_straight_columns(run):
    text = report_text(run.to_dict())
    assert "<script>" not in text
    assert "&lt;script\\>" in text
    assert "a\\|b\\\\nc" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) == 3
    for table in tables:
        assert len({len(cells(line)) for line in table.splitlines()}) == 1


def test_what_there_is_not_is_left_out(tmp_path):
    store = write(tmp_path / "a.h5", *clouds(30))
    run = fit_head(store, "ridge", val="none")
    text = report_text(run.to_dict())
    assert "Cross-validation" not in text
    assert "## Classes" not in text
    assert "## Notes" not in text
    assert "Parameters: none but the defaults" in text
    assert "## Epochs" not in text
    assert "test split" not in text
    assert "- train: all rows with a label" in text


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path):
    store = write(tmp_path / "a.h5", *clouds(30), classes=("caf\udce9", "b", "c"))
    folder = fit_head(store).save(tmp_path / "run")
    assert "caf\\udce9" in (folder / "report.md").read_text(encoding="utf-8")
