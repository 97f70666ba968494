"""The public names, their documentation, the commands' help, and the scripts."""

import inspect
import os
import re
import shlex
import subprocess
from importlib import import_module
from pathlib import Path

import click
import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc

import featx
from featx.cli._app import featx as group
from featx.cli._app import main

ROOT = Path(__file__).parents[1]
PACKAGES = [
    "backbones",
    "caching",
    "distributed",
    "evaluation",
    "extraction",
    "fitting",
    "heads",
    "plots",
    "prediction",
    "reports",
    "sources",
    "store",
    "studio",
]

PUBLIC = [
    "Backbone",
    "Evaluation",
    "Extraction",
    "ExtractionSpec",
    "FeatureExtractor",
    "FeatureStore",
    "FeatxError",
    "Figure",
    "Prediction",
    "Predictor",
    "Preprocessing",
    "RayCluster",
    "Run",
    "Sample",
    "Source",
    "Sweep",
    "advise",
    "compare",
    "continue_fit",
    "evaluate",
    "extract",
    "extract_layers",
    "few_shot",
    "find_store",
    "fine_tune",
    "fit_head",
    "label_errors",
    "leaderboard",
    "list_backbones",
    "list_heads",
    "load",
    "load_backbone",
    "neighbors",
    "open_source",
    "open_store",
    "sweep",
]


def test_the_public_names_are_these():
    assert featx.__all__ == PUBLIC
    assert sorted(featx.__all__) == sorted(set(featx.__all__))
    assert set(featx.__all__) <= set(dir(featx))
    with pytest.raises(AttributeError, match="module 'featx' has no attribute 'nothing'"):
        featx.nothing  # noqa: B018


def test_every_name_is_importable_and_declared_where_it_lives():
    for name in PUBLIC:
        value = getattr(featx, name)
        assert value.__name__ == name
        assert value.__module__.startswith("featx.")
    for package in PACKAGES:
        module = import_module(f"featx.{package}")
        assert all(hasattr(module, name) for name in module.__all__)


def callables():
    """Every public function, and every public method of every public class."""
    for name in PUBLIC:
        value = getattr(featx, name)
        yield name, value
        if inspect.isclass(value) and not issubclass(value, Exception):
            for method, member in vars(value).items():
                function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
                if not method.startswith("_") and inspect.isfunction(function):
                    yield f"{name}.{method}", function


def documented(doc):
    """Return the names under Parameters; ``a, b : int`` is two."""
    names = []
    for parameter in doc["Parameters"]:
        names += [name.strip().removeprefix("\\").strip() for name in parameter.name.split(",")]
    return [name for name in names if name]


CALLABLES = dict(callables())


@pytest.mark.parametrize("name", CALLABLES)
def test_what_is_documented_is_what_there_is(name):
    """Each name has a summary; its parameters are documented, all and in their order, unless it is a method of few."""
    value = CALLABLES[name]
    doc = ClassDoc(value) if inspect.isclass(value) else FunctionDoc(value)
    assert re.match(r"[A-Z`*:]", doc["Summary"][0]), name
    if inspect.isclass(value) and issubclass(value, Exception):
        return
    given = [parameter for parameter in inspect.signature(value).parameters if parameter not in ("self", "cls")]
    found = documented(doc)
    if doc["Attributes"] and not found:  # what one is given by a function, and never makes
        return
    if found or "." not in name:
        assert found == given


COMMANDS = sorted(group.commands)


def test_the_commands_are_these():
    everyday = ["demo", "evaluate", "explain", "extract", "fit-head", "plan", "predict"]
    stores = ["export", "import", "info", "list", "merge", "prune", "verify"]
    catalogue = ["backbones", "heads", "layers"]
    heads = ["advise", "compare", "continue", "export-onnx", "fine-tune", "label-errors", "runs", "sweep"]
    looking = ["neighbours", "report", "studio"]
    assert sorted([*everyday, *stores, *catalogue, *heads, *looking]) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_and_every_option_says_what_it_does(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"Examples?:\n +featx ", text)
    examples = re.findall(r"^ +featx (\S+)", text, re.M)
    assert set(examples) == {name}
    for parameter in group.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"
            assert parameter.help.endswith("."), f"{name} {parameter.opts}"
            assert parameter.opts[0] in text
    summary = group.commands[name].get_short_help_str(100)
    assert summary.endswith(".")
    assert not summary.endswith("...")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_are_understood(name):
    """Every option of every example exists and takes its value."""
    command = group.commands[name]
    for line in re.findall(r"^\s*featx (\S+.*)$", inspect.getdoc(command.callback), re.M):
        words = shlex.split(line)[1:]
        command.make_context(name, words).close()


def test_the_options_are_the_librarys():
    """What ``featx extract`` takes, the library takes, too: the same name, the same default."""
    takers = (featx.open_source, featx.extract, featx.RayCluster)
    library = {name: taken for one in takers for name, taken in inspect.signature(one).parameters.items()}
    command = {p.name: p for p in group.commands["extract"].params if isinstance(p, click.Option)}
    for name, option in command.items():
        if name not in ("layers", "as_json", "backbone", "batch_size", "preview_file", "distributed"):
            default = option.default if isinstance(option.default, (str, int)) else None
            assert (library[name].default or None) == (default or None), name


@pytest.mark.parametrize("script", ["scripts/demo", "scripts/test", "scripts/test-slow", ".ci/run"])
def test_scripts_can_be_run(script):
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", path], check=True)


def test_the_version_is_one():
    assert re.fullmatch(r"\d+\.\d+\.\d+", featx.__version__)
    assert "version = attr: featx.__version__" in (ROOT / "setup.cfg").read_text()
