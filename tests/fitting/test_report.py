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
    lines = report_text(run.to_dict()).splitlines()
    rows = {row[0]: row for row in map(cells, lines) if row}
    for part, figures in run.metrics.items():
        low, high = figures.accuracy_interval
        assert rows[part] == [
            part,
            str(figures.n),
            f"{figures.accuracy:.4f}",
            f"{low:.3f}–{high:.3f}",
            f"{figures.macro_f1:.4f}",
            f"{figures.log_loss:.4f}",
            f"split {part}",
        ]
    assert f"accuracy {run.cv['accuracy_mean']:.4f} ± {run.cv['accuracy_std']:.4f}" in "\n".join(lines)
    confusion = [list(map(int, cells(line)[1:])) for line in [line for line in lines if line.startswith("|")][-3:]]
    assert np.array_equal(confusion, run.metrics["test"].confusion)
    table = lines[lines.index("## Classes, test") + 4 :][:3]
    assert [cells(line)[1:] for line in table] == [
        [f"{row.precision:.4f}", f"{row.recall:.4f}", f"{row.f1:.4f}", str(row.support)]
        for row in run.metrics["test"].per_class
    ]


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
    assert re.search(r"\| train \| 30 \| .* \| – \| all rows with a label \|", text)


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path):
    store = write(tmp_path / "a.h5", *clouds(30), classes=("caf\udce9", "b", "c"))
    folder = fit_head(store).save(tmp_path / "run")
    assert "caf\\udce9" in (folder / "report.md").read_text(encoding="utf-8")
