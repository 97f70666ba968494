"""What the five recipes share: featx's commands, run and shown; steps timed; generated pictures for ``--smoke``."""

import argparse
import io
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.insert(1, str(ROOT / "scripts"))

from bench.figures import table  # noqa: E402

__all__ = ["DATA", "Fitted", "Recipe", "find_data", "start", "write_pictures"]

DATA = ROOT.parent / "shared" / "data"
"""Where real images may lie; a recipe takes other ones with ``--data``."""

Pixels = npt.NDArray[np.uint8]


class _Tee(io.TextIOBase):
    """Shows what is written, and keeps it."""

    def __init__(self, shown: TextIO) -> None:
        self._shown, self.kept = shown, io.StringIO()

    def write(self, text: str) -> int:
        self._shown.write(text)
        return self.kept.write(text)

    def flush(self) -> None:
        self._shown.flush()


@dataclass
class Recipe:
    """A recipe on its way.

    Parameters
    ----------
    folder : Path
        Where stores, runs, pictures and figures go.
    options : argparse.Namespace
        What was asked for; ``smoke`` among it.
    steps : list of (str, float)
        What was done, and the seconds that it took.
    figures : dict
        What came out, by name.
    """

    folder: Path
    options: argparse.Namespace
    steps: list[tuple[str, float]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def smoke(self) -> bool:
        """Whether this is only to see that it runs."""
        return bool(self.options.smoke)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Time what is done in a ``with`` block."""
        began = time.perf_counter()
        yield
        self.steps.append((title, time.perf_counter() - began))

    def featx(self, *words: object) -> str:
        """Run a command as a person would, show it, and return what it printed; end where it fails."""
        from featx.cli import main

        said = [str(word) for word in words]
        print(f"\n$ featx {shlex.join(said)}", flush=True)
        tee = _Tee(sys.stdout)
        code: Any = 0
        with self.step(f"`featx {shlex.join(said[:2])}`"), redirect_stdout(tee):  # type: ignore[type-var]
            try:
                main(said)
            except SystemExit as ended:
                code = ended.code
        if code:
            raise SystemExit(code)
        return tee.kept.getvalue()

    def stores(self, *words: object) -> list[str]:
        """Run ``featx extract`` and return the files of the stores."""
        return [line for line in self.featx("extract", *words).splitlines() if line.endswith(".h5")]

    def run(self, *words: object) -> "Fitted":
        """Run a command that fits something, and return the run that it printed last."""
        return Fitted(Path(self.featx(*words).splitlines()[-1]))

    def tell(self, name: str, value: Any) -> None:
        """Note a figure that came out, and print it."""
        self.figures[name] = value
        print(f"{name}: {value}", flush=True)

    def close(self) -> None:
        """Print the steps and the figures, and write them to ``figures.json``."""
        print("\n" + table([{"step": title, "s": f"{seconds:.1f}"} for title, seconds in self.steps]))
        print("\n" + table([{"": name, "came out": str(value)} for name, value in self.figures.items()]))
        values = {"figures": self.figures, "steps": self.steps}
        (self.folder / "figures.json").write_text(json.dumps(values, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Fitted:
    """A run's folder."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def values(self) -> dict[str, Any]:
        """What ``run.json`` holds."""
        values: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        return values

    def figure(self, name: str, part: str = "val") -> float:
        """Return a figure of one part of the samples."""
        return round(float(self.values["metrics"][part]["figures"][name]["value"]), 4)

    @property
    def parameters(self) -> int:
        """Return how many parameters of its net were trained."""
        from featx import load

        return sum(parameter.numel() for parameter in load(self.path).run.head.module_.parameters())

    def tested(self, name: str) -> float:
        """Return a figure of the last evaluation."""
        return round(float(self.values["evaluations"][-1]["evaluation"]["figures"][name]["value"]), 4)


def start(title: str, add: Callable[[argparse.ArgumentParser], None], arguments: Sequence[str] | None) -> Recipe:
    """Read a recipe's options and make its folder."""
    name = Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(prog=name, description=title)
    parser.add_argument("--smoke", action="store_true", help="a few generated images, to see that it runs")
    parser.add_argument("--folder", type=Path, help="for stores, runs and pictures; by default build/recipes/NAME")
    add(parser)
    options = parser.parse_args(arguments)
    folder: Path = options.folder or ROOT / "build" / "recipes" / name
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["FEATX_CACHE"], os.environ["FEATX_RUNS"] = str(folder / "cache"), str(folder / "runs")
    return Recipe(folder, options)


def find_data(recipe: Recipe, name: str, otherwise: str) -> str:
    """Return the source of ``--data``, else a file in the shared data, else what can be downloaded."""
    if recipe.options.data is not None:
        return str(recipe.options.data)
    return str(DATA / name) if (DATA / name).is_file() else otherwise


def write_pictures(folder: Path, classes: Sequence[str], counts: dict[str, int], *, side: int = 32) -> Path:
    """Write generated pictures, ``SPLIT/CLASS/NUMBER.png``: each class has a colour, with noise over it.

    Parameters
    ----------
    folder : Path
    classes : sequence of str
    counts : dict of str to int
        Pictures of each class, by split.
    side : int
        Pixels.
    """
    from PIL import Image

    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, (len(classes), 3))
    for split, count in counts.items():
        for name, colour in zip(classes, colours, strict=True):
            for number in range(count):
                path = folder / split / name / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noisy = colour + rng.normal(0, 30, (side, side, 3))
                Image.fromarray(np.uint8(noisy.clip(0, 255))).save(path)
    return folder
