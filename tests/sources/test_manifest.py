import builtins
import csv
import json
import sys

import pytest

from featx.errors import MissingDependencyError, SampleError, SourceError
from featx.sources import ManifestSource, open_source

from .helpers import ODD_NAMES, contents, listing, write_folder

FILES = {"img/b.jpg": b"BB", "img/a.jpg": b"A", "c.JPG": b""}


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "set", FILES)


def write(folder, text, name="labels.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_csv(folder):
    source = open_source(
        write(folder, "path,label,split,other\nimg/b.jpg,dog,Training,1\nimg/a.jpg,cat,valid,2\nc.JPG,,fold1,3\n")
    )
    assert source.name == "labels"
    assert listing(source) == [
        ("c.JPG", None, "fold1", 0),
        ("img/a.jpg", "cat", "val", 1),
        ("img/b.jpg", "dog", "train", 2),
    ]
    assert source.samples[1].mtime_ns == (folder / "img/a.jpg").stat().st_mtime_ns
    assert source.samples[1].inode == (folder / "img/a.jpg").stat().st_ino
    assert contents(source) == [b"", b"A", b"BB"]


@pytest.mark.parametrize(
    "header", ["path,label,split", "File,CLASS,Subset", " filename , target ,split", "image,label,split"]
)
def test_names_of_columns(folder, header):
    assert listing(open_source(write(folder, f"{header}\nimg/a.jpg,cat,test\n"))) == [("img/a.jpg", "cat", "test", 1)]


def test_only_paths_are_needed_and_the_first_name_counts(folder):
    source = open_source(write(folder, "image,path\nnot this,img/a.jpg\n"))
    assert listing(source) == [("img/a.jpg", None, None, 1)]


def test_byte_order_mark_tabs_quotes_and_blank_lines(folder):
    write_folder(folder, {'two\n"lines".jpg': b"12"})
    source = open_source(write(folder, '\ufeffpath\tlabel\r\n\r\n"two\n""lines"".jpg"\t"a\tb"\r\n', "x.tsv"))
    assert listing(source) == [('two\n"lines".jpg', "a\tb", None, 2)]
    assert source.read(0) == b"12"


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_odd_names(tmp_path, suffix):
    files = {f"c/{name}": str(i).encode() for i, name in enumerate(ODD_NAMES)}
    path = write_folder(tmp_path / "odd", files) / f"m.{suffix}"
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        if suffix == "csv":
            csv.writer(file).writerows([["path"], *([key] for key in files)])
        else:
            file.writelines(json.dumps({"path": key}, ensure_ascii=False) + "\n" for key in files)
    source = open_source(path)
    assert dict(zip((sample.key for sample in source.samples), contents(source), strict=True)) == files


def test_jsonl(folder):
    lines = (
        '{"path": "img/b.jpg", "label": 10}\n\n{"Path": "img/a.jpg", "label": 9.0, "split": null}\n{"path": "c.JPG"}\n'
    )
    source = open_source(write(folder, lines, "x.jsonl"))
    assert listing(source) == [("c.JPG", None, None, 0), ("img/a.jpg", "9", None, 1), ("img/b.jpg", "10", None, 2)]
    assert source.classes == ("9", "10")


def test_parquet(folder):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    labels = pyarrow.array(["dog", "cat", None]).dictionary_encode()
    table = pyarrow.table({"File": ["img/b.jpg", "img/a.jpg", "c.JPG"], "label": labels, "big": [b"x"] * 3})
    parquet.write_table(table, folder / "x.parquet", row_group_size=2)
    source = open_source(folder / "x.parquet")
    assert listing(source) == [("c.JPG", None, None, 0), ("img/a.jpg", "cat", None, 1), ("img/b.jpg", "dog", None, 2)]
    parquet.write_table(pyarrow.table({"a": [1]}), folder / "y.parquet")
    with pytest.raises(SourceError, match=r"must have a column named path.*'a'"):
        open_source(folder / "y.parquet")
    with pytest.raises(SourceError, match="intact"):
        open_source(write(folder, b"PAR1 no", "z.parquet"))


def test_parquet_without_pyarrow(folder, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(sys.modules, "pyarrow", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install featx\[parquet\]"):
        open_source(write(folder, b"", "x.parquet"))


def test_paths_may_be_absolute_or_climb_and_may_be_missing(folder, tmp_path):
    write_folder(tmp_path, {"outside.jpg": b"out"})
    source = open_source(write(folder, f"path\n../outside.jpg\n{folder}/img/a.jpg\ngone.jpg\n"))
    assert [sample.key for sample in source.samples] == ["../outside.jpg", f"{folder}/img/a.jpg", "gone.jpg"]
    assert [source.read(0), source.read(1)] == [b"out", b"A"]
    assert source.samples[2].size == -1
    with pytest.raises(SampleError, match="no such file"):
        source.read(2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "", "no images"),
        ("x.csv", "path,label\n", "no images"),
        ("x.csv", "a.jpg,cat\nb.jpg,dog\n", "column named path.*'a.jpg', 'cat'"),
        ("x.csv", "path,label\n,cat\n", "path as text.*line 2"),
        ("x.csv", "path,label\na.jpg,cat,more\n", "line 2 has 3 fields, the header 2"),
        ("x.csv", "path,label\na.jpg\n", "line 2 has 1 fields, the header 2"),
        ("x.csv", "path,Path\na,b\n", "twice"),
        ("x.csv", "path,label\na.jpg,1\nb.jpg,1\na.jpg,2\n", "once; line 4 has 'a.jpg' again"),
        ("x.csv", 'path\n"never closed\n', "intact"),
        ("x.jsonl", '{"path": "a.jpg"}\n{"path": \n', "line 2 is no JSON"),
        ("x.jsonl", "[1]\n", "line 1 must be a JSON object"),
        ("x.jsonl", '{"path": 5}\n', "path as text.*line 1 has 5"),
        ("x.jsonl", '{"path": "a", "label": ["x"]}\n', "line 1: a label must be text"),
    ],
)
def test_wrong_manifests(folder, name, text, message):
    with pytest.raises(SourceError, match=message) as caught:
        open_source(write(folder, text, name))
    assert name in str(caught.value)


def test_other_endings_and_missing_manifests(folder):
    with pytest.raises(SourceError, match=r"must end in one of \.csv"):
        ManifestSource(folder / "x.txt").samples  # noqa: B018
    with pytest.raises(SourceError, match="no such file"):
        ManifestSource(folder / "x.csv").samples  # noqa: B018
