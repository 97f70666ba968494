import builtins
import csv
import json
import pickle
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


def labels_of(source):
    return {sample.key: sample.label for sample in source.samples}


SEVERAL = {"img/a.jpg": ("cat", "dog|wolf"), "img/b.jpg": (), "c.JPG": None}
VALUES = {"img/a.jpg": (0.5, 12.0), "img/b.jpg": (-1.0, 0.0), "c.JPG": None}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", 'path,labels\nimg/a.jpg,"[""dog|wolf"", ""cat""]"\nimg/b.jpg,[]\nc.JPG,\n'),
        (
            "x.jsonl",
            '{"path": "img/a.jpg", "Labels": ["dog|wolf", "cat"]}\n{"path": "img/b.jpg", "labels": []}\n'
            '{"path": "c.JPG", "labels": null}\n',
        ),
    ],
)
def test_several_classes(folder, name, text):
    source = open_source(write(folder, text, name))
    assert labels_of(source) == SEVERAL
    assert source.classes == ("cat", "dog|wolf")


def test_several_classes_with_bars_between(folder):
    source = open_source(write(folder, "path,labels\nimg/a.jpg,10|9\nimg/b.jpg,9\n"))
    assert labels_of(source) == {"img/a.jpg": ("10", "9"), "img/b.jpg": ("9",)}
    assert source.classes == ("9", "10")


@pytest.mark.parametrize("column", ["value", "VALUES", "score"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", "path,{}\nimg/a.jpg,0.5|12\nimg/b.jpg,-1|0\nc.JPG,\n"),
        ("x.csv", 'path,{}\nimg/a.jpg,"[0.5, 12]"\nimg/b.jpg,"[-1,0]"\nc.JPG,\n'),
        (
            "x.jsonl",
            '{{"path": "img/a.jpg", "{0}": [0.5, 12]}}\n{{"path": "img/b.jpg", "{0}": [-1, 0]}}\n{{"path": "c.JPG"}}\n',
        ),
    ],
)
def test_values(folder, name, text, column):
    source = open_source(write(folder, text.format(column), name))
    assert labels_of(source) == VALUES
    assert source.classes == ()


def test_lists_and_groups_in_parquet(folder):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for column, expected in (("labels", SEVERAL), ("values", VALUES)):
        lists = [None if label is None else list(label) for label in expected.values()]
        table = pyarrow.table({"path": list(expected), column: lists, "group": ["p", None, "q"]})
        parquet.write_table(table, folder / "x.parquet")
        source = open_source(folder / "x.parquet")
        assert labels_of(source) == expected
        assert [(sample.key, sample.group) for sample in source.samples] == [
            ("c.JPG", "q"),
            ("img/a.jpg", "p"),
            ("img/b.jpg", None),
        ]


def test_groups(folder):
    source = open_source(write(folder, "path,label,Group_ID\nimg/a.jpg,x,7\nimg/b.jpg,y,\n"))
    assert [(sample.key, sample.label, sample.group) for sample in source.samples] == [
        ("img/a.jpg", "x", "7"),
        ("img/b.jpg", "y", None),
    ]


def test_columns_that_are_empty_are_in_nobodys_way(folder):
    source = open_source(write(folder, "path,label,labels,score\nimg/a.jpg,x,,\nimg/b.jpg,y,,\n"))
    assert labels_of(source) == {"img/a.jpg": "x", "img/b.jpg": "y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,label,labels\na.jpg,x,x|y\n",
            "line 2: a row must have one of label, labels, value; got label and labels",
        ),
        ("path,labels,score\na.jpg,x|y,3\n", "got labels and value"),
        ("path,label,labels\na.jpg,x,\nb.jpg,,x|y\n", "of one kind for all samples; got a class and a list of classes"),
        ("path,value\na.jpg,1\nb.jpg,1|2\n", "as many numbers for each sample; got 1 and 2"),
        ("path,value\na.jpg,nan\n", "line 2: a value must be a finite number; got 'nan': leave it empty"),
        ("path,value\na.jpg,1\nb.jpg,inf\n", "line 3: a value must be a finite number; got 'inf'"),
        ("path,value\na.jpg,tall\n", "a value must be a finite number; got 'tall'"),
        ("path,labels\na.jpg,x||y\n", "line 2: labels must name a class in every place; got 'x||y'"),
    ],
)
def test_wrong_labels_and_values(folder, text, message):
    with pytest.raises(SourceError, match=message) as caught:
        open_source(write(folder, text))
    assert "labels.csv" in str(caught.value)


def test_urls_among_paths(folder, memory):
    memory.pipe_file("/far/x.jpg", b"far")
    source = open_source(write(folder, "path,label,Size\nimg/a.jpg,cat,99\nmemory://far/x.jpg,dog,3\nmemory://no,x,\n"))
    assert listing(source) == [
        ("img/a.jpg", "cat", None, 1),  # what is on the disk is asked itself
        ("memory://far/x.jpg", "dog", None, 3),
        ("memory://no", "x", None, -1),
    ]
    assert [source.read(0), source.read(1)] == [b"A", b"far"]
    with pytest.raises(SampleError, match="no such file"):
        source.read(2)


@pytest.mark.parametrize(("text", "size"), [("12", 12), ("12.0", -1), ("", -1), ("640x480", -1), ("-3", -1)])
def test_a_size_that_is_none_says_nothing(folder, memory, text, size):
    assert open_source(write(folder, f"path,size\nmemory://x.jpg,{text}\n")).samples[0].size == size


@pytest.mark.parametrize("column", ["URL", "url", "image_url", "path"])
def test_a_manifest_of_urls_as_large_crawls_have_them(folder, memory, column):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    memory.pipe_file("/a.jpg", b"A")
    urls = ["memory://a.jpg", "http://nowhere.invalid/b.jpg"]
    table = pyarrow.table({column: urls, "TEXT": ["a cat", "a dog"], "WIDTH": [1, 2], "file_size": [1.0, float("nan")]})
    parquet.write_table(table, folder / "part-0.parquet")
    source = open_source(folder / "part-0.parquet")
    assert type(source) is ManifestSource
    assert sorted(listing(source)) == [(urls[1], None, None, -1), (urls[0], None, None, 1)]
    assert source.read([sample.key for sample in source.samples].index(urls[0])) == b"A"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_manifests_behind_urls(folder, memory, suffix):
    rows = [("img/a.jpg", "cat"), ("../set/./c.JPG", "dog"), ("memory://elsewhere/x.jpg", "dog")]
    if suffix == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(
            pyarrow.table(dict(zip(("path", "label"), zip(*rows, strict=True), strict=True))), folder / "x"
        )
    elif suffix == "jsonl":
        write(folder, "".join(json.dumps({"path": path, "label": label}) + "\n" for path, label in rows), "x")
    else:
        tab = "\t" if suffix == "tsv" else ","
        write(folder, "".join(f"{path}{tab}{label}\n" for path, label in [("path", "label"), *rows]), "x")
    for name, data in FILES.items():
        memory.pipe_file(f"/data/set/{name}", data)
    memory.pipe_file("/elsewhere/x.jpg", b"X")
    memory.pipe_file(f"/data/set/list.{suffix}", (folder / "x").read_bytes())
    source = open_source(f"memory://data/set/list.{suffix}")
    assert (source.name, source.identity) == ("list", f"manifest:memory://data/set/list.{suffix}")
    assert listing(source) == sorted((path, label, None, -1) for path, label in rows)
    assert contents(source) == [b"", b"A", b"X"]
    assert contents(pickle.loads(pickle.dumps(source))) == [b"", b"A", b"X"]


def test_names_on_the_web_are_quoted(tmp_path):
    from .server import serve

    names = ["100%.jpg", "a b.jpg", "c#d?e=f.jpg", "é.jpg", "bytes \udcff.jpg"]
    files = {f"set/img/{name}": str(i).encode() for i, name in enumerate(names)}
    lines = "".join(json.dumps({"path": f"img/{name}"}) + "\n" for name in names)
    with serve({**files, "set/list.jsonl": lines.encode("utf-8", "surrogateescape")}) as web:
        source = open_source(f"{web.url}/set/list.jsonl?token=x")
        found = dict(zip((sample.key for sample in source.samples), contents(source), strict=True))
        assert found == {path.removeprefix("set/"): data for path, data in files.items()}


def test_paths_of_this_machine_in_a_manifest_from_elsewhere(memory):
    memory.pipe_file("/x.csv", b"path\na.jpg\n/etc/passwd\n")
    with pytest.raises(SourceError, match=r"wrong in line 3: a path must be relative, or a URL.*got '/etc/passwd'"):
        open_source("memory://x.csv")


def test_what_urls_take_is_asked_for_before_a_night_of_work(folder):
    with pytest.raises(MissingDependencyError, match="Install s3fs"):
        open_source(write(folder, "path\ns3://bucket/x.jpg\n"))
    with pytest.raises(SourceError, match=r"'s4://bucket/x\.jpg' begins with a protocol"):
        open_source(write(folder, "path\ns4://bucket/x.jpg\n"))
