"""The house stands as design.md draws it: who may import whom, and what is loaded when."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "featx"

ALLOWED = {
    "errors": set(),
    "_quiet": set(),
    "_ray": {"errors"},
    "_words": set(),
    "labels": {"errors"},
    "spec": {"errors"},
    "sources": {"errors", "labels", "_quiet"},
    "backbones": {"errors", "spec", "_quiet"},
    "extraction": {"errors", "spec", "sources", "backbones", "_quiet"},
    "store": {"errors", "labels", "spec"},
    "caching": {"errors", "labels", "spec", "sources", "backbones", "extraction", "store"},
    "heads": {"errors"},
    "evaluation": {"errors"},
    "plots": {"errors", "evaluation"},
    "fitting": {"errors", "labels", "spec", "store", "heads", "evaluation", "_ray"},
    "prediction": {"errors", "labels", "spec", "sources", "backbones", "extraction", "store", "heads", "fitting"},
}
ALLOWED["tuning"] = {
    *("errors", "labels", "spec", "sources", "backbones", "extraction", "store", "caching", "heads", "evaluation"),
    "fitting",
}
ALLOWED["reports"] = {*ALLOWED["prediction"], "_words", "labels", "caching", "evaluation", "plots", "prediction"}
ALLOWED["distributed"] = {"_ray", "errors", "spec", "sources", "extraction", "store", "caching"}
ALLOWED["studio"] = set(ALLOWED)
ALLOWED["cli"] = set(ALLOWED)
ONLY = {
    **dict.fromkeys(("click", "rich"), "cli"),
    **dict.fromkeys(("flask", "waitress", "werkzeug"), "studio"),
    "h5py": "store",
    "matplotlib": "plots",
    "jinja2": "reports",
}
EVERYWHERE = {"__init__.py", "__main__.py"}
"""Files of no room: the front door."""

FILES = sorted(PACKAGE.rglob("*.py"))


def imports_of(path):
    """Return the dotted names of all modules a file imports, wherever in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found += [
                f"{node.module}.{alias.name}" if node.module == "featx" else str(node.module) for alias in node.names
            ]
    return found


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_there_are_no_other_rooms():
    rooms = {room_of(path) for path in FILES if path.relative_to(PACKAGE).as_posix() not in EVERYWHERE}
    assert rooms == set(ALLOWED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_data_flows_one_way(path):
    inside = path.relative_to(PACKAGE).as_posix()
    if inside in EVERYWHERE:
        return
    room = room_of(path)
    for module in imports_of(path):
        top, *rest = module.split(".")
        if top == "featx" and rest and rest[0] in ALLOWED:
            assert rest[0] in {room, *ALLOWED[room]}, f"{inside} must not import {module}"
            if rest[0] != room:
                assert len(rest) == 1 or not rest[1].startswith("_"), f"{inside} reaches into {module}"
        elif top == "featx":
            assert room == "cli", f"{inside} must not import {module}: the front door is for users"
        assert ONLY.get(top, room) == room, f"{inside} must not import {module}"


def test_the_library_never_prints():
    for path in FILES:
        if room_of(path) == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            assert name not in ("print", "input", "exit", "quit"), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_files_are_short_and_say_what_they_are(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    assert ast.get_docstring(ast.parse(text)) or path.name == "__main__.py"


def loaded_by(
    code, *arguments, cwd=ROOT, names=("torch", "matplotlib", "sklearn", "scipy", "h5py", "rich", "fsspec", "pyarrow")
):
    """Return which of some packages are loaded after `code` has run in a process of its own."""
    script = f"{code}\nimport sys\nprint('loaded', *(name for name in {names!r} if name in sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=cwd,
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.splitlines()[-1].split()[1:])


COMMAND = """
import sys
from featx.cli._app import main
assert main(sys.argv[1:]) == 0
"""


def test_importing_featx_loads_nothing_heavy():
    assert loaded_by("import featx; dir(featx)") == set()
    assert loaded_by(COMMAND, "--help") == set()
    assert not loaded_by("import featx.studio") & {"torch", "matplotlib", "sklearn"}
    assert "torch" not in loaded_by("import featx; featx.Run; featx.FeatureStore; featx.load; featx.fit_head")


@pytest.fixture
def stores(tmp_path):
    from tests.fitting.helpers import clouds, write

    write(tmp_path / "cache" / "photos.toy.000000000000.h5", *clouds(60))
    return tmp_path


def test_torch_is_for_networks_alone(stores):
    for words in (
        *(["list"], ["info", "photos"], ["neighbours", "photos", "0000.jpg"]),
        *(["fit-head", "photos"], ["evaluate", "runs/mine", "photos"]),
    ):
        if words[0] == "fit-head":
            words += ["--out", "runs/mine"]
        loaded = loaded_by(COMMAND, *words, cwd=stores)
        assert "torch" not in loaded, words
        assert "matplotlib" not in loaded, words
        assert ("sklearn" in loaded) == (words[0] in ("fit-head", "neighbours")), words


def test_what_is_in_the_cache_and_a_network_that_was_exported_need_no_torch(tmp_path):
    from tests.tiny import picture, write_folder

    photos = write_folder(tmp_path / "photos", per_class=2)
    words = ["extract", photos, "--image-size", "32", "--cache", tmp_path / "c", "--engine", "onnxruntime"]
    assert "torch" in loaded_by(COMMAND, *words)
    assert "torch" not in loaded_by(COMMAND, *words)
    (photos / "red" / "000.png").rename(photos / "red" / "new name.png")
    assert "torch" not in loaded_by(COMMAND, *words)
    picture(7).save(photos / "red" / "new.png")
    assert "torch" not in loaded_by(COMMAND, *words)


def test_linear_heads_answer_without_scikit_learn(tmp_path):
    import featx
    from tests.tiny import BACKBONE, write_folder

    photos = write_folder(tmp_path / "photos", per_class=3)
    featx.fit_head(featx.extract(photos, BACKBONE, cache=tmp_path)).save(tmp_path / "run")
    loaded = loaded_by(COMMAND, "predict", tmp_path / "run", photos)
    assert "torch" in loaded
    assert not loaded & {"sklearn", "matplotlib"}
    words = ["predict", tmp_path / "run", photos, "--gallery", tmp_path / "a.png"]
    assert "matplotlib" in loaded_by(COMMAND, *words)
