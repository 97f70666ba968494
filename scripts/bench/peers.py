"""The peers, each in an environment of its own: thingsvision, and clip-retrieval's reader, runner and writer."""

import os
import subprocess
import sys
import sysconfig
import types
import venv
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from unittest.mock import MagicMock

import numpy as np

from bench.contestants import Result, Settings
from bench.networks import build_network, build_transform

__all__ = ["PEERS", "ClipRetrieval", "Peer", "Thingsvision", "UnavailableError", "environment"]


class UnavailableError(Exception):
    """A peer cannot be installed or started; the message says why."""


@dataclass(frozen=True)
class Peer:
    """How a peer is installed.

    Parameters
    ----------
    packages : tuple of str
        Requirements that pip installs without their dependencies. torch and the like are those of the environment
        that the benchmark runs in, so that every contestant has the same; what else a peer imports and does not use
        here is put in by an empty stand-in (see the classes).
    """

    packages: tuple[str, ...]


PEERS = {
    "thingsvision": Peer(("thingsvision==2.7.3", "torchtyping==0.1.5", "typeguard==2.13.3", "numpy<2")),
    "clip-retrieval": Peer(("clip-retrieval==2.45.0",)),
}


def environment(name: str, folder: Path) -> Path:
    """Return the Python of a peer's environment, which is made if it is not there.

    Raises
    ------
    UnavailableError
        With pip's last line.
    """
    home = folder / name
    python, marker = home / "bin" / "python", home / "installed"
    packages = PEERS[name].packages
    here = sysconfig.get_paths()["purelib"]
    wanted = "\n".join([*packages, here, sys.version])
    if marker.exists() and marker.read_text(encoding="utf-8") == wanted:
        return python
    try:
        venv.create(home, clear=True, with_pip=False)
        paths = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)})
        Path(paths["purelib"], "featx-bench.pth").write_text(f"{here}\n", encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
        subprocess.run(
            [*pip, "--disable-pip-version-check", "--ignore-installed", *packages],
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"pip exited with {error.returncode}"])[-1]
        raise UnavailableError(f"cannot be installed: {reason}") from error
    except OSError as error:
        raise UnavailableError(f"cannot be installed: {error}") from error
    marker.write_text(wanted, encoding="utf-8")
    return python


def _stand_in(*names: str) -> None:
    """Put an empty module in the place of one that is imported and not used."""
    for name in names:
        module = MagicMock(name=name)
        module.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = module


def _without_init(package: str) -> None:
    """Make the modules of a package importable without what its `__init__` imports."""
    parent, _, last = package.rpartition(".")
    if parent:
        places = [os.path.join(place, last) for place in sys.modules[parent].__path__]
    else:
        spec = find_spec(package)
        if spec is None or spec.submodule_search_locations is None:
            raise UnavailableError(f"{package} is not installed")
        places = list(spec.submodule_search_locations)
    module = types.ModuleType(package)
    module.__path__ = places
    sys.modules[package] = module


class Thingsvision:
    """thingsvision's extractor on its own data set and loader, which has no workers.

    Its TensorFlow half is left out: the package imports it without asking.
    """

    def __init__(self, settings: Settings) -> None:
        _stand_in("tensorflow", "tensorflow.keras", "tensorflow.keras.layers", "tensorflow.keras.applications")
        sys.modules["tensorflow"].config.list_physical_devices.return_value = []
        from thingsvision import get_extractor_from_model

        self._settings = settings
        self._extractor = get_extractor_from_model(model=build_network(settings.recipe), device="cpu", backend="pt")

    def prepare(self, folder: Path) -> None:
        """Nothing is left over from the run before."""

    def run(self, folder: Path) -> Result:
        """Extract, and save what came out."""
        from thingsvision.utils.data import DataLoader, ImageDataset

        settings = self._settings
        settings.scratch.mkdir(parents=True, exist_ok=True)
        dataset = ImageDataset(
            root=str(folder),
            out_path=str(settings.scratch),
            backend="pt",
            transforms=build_transform(settings.recipe),
        )
        batches = DataLoader(dataset=dataset, batch_size=settings.batch_size, backend="pt")
        features = self._extractor.extract_features(
            batches=batches, module_name=settings.recipe.head, flatten_acts=True, output_type="ndarray"
        )
        np.save(settings.scratch / "features.npy", features)
        return Result([Path(path).relative_to(folder).as_posix() for path in dataset.images], features)


class ClipRetrieval:
    """clip-retrieval's reader, runner, mapper and writer, around a network of ours instead of CLIP.

    What loads CLIP's weights, its web servers and its logger (a process that writes statistics) are left out. It
    normalises the rows and rounds them to float16, whatever the network.
    """

    def __init__(self, settings: Settings) -> None:
        import torch

        _without_init("clip_retrieval")
        _without_init("clip_retrieval.clip_inference")
        _stand_in("all_clip", "sentence_transformers")
        from clip_retrieval.clip_inference.mapper import ClipMapper
        from clip_retrieval.clip_inference.reader import FilesReader
        from clip_retrieval.clip_inference.runner import Runner
        from clip_retrieval.clip_inference.writer import NumpyWriter

        network = build_network(settings.recipe)
        transform = build_transform(settings.recipe)

        class Mapper(ClipMapper):
            def __init__(self) -> None:
                self.enable_image, self.enable_text, self.enable_metadata = True, False, False
                self.use_mclip = False
                self.device = torch.device("cpu")
                self.model_img = network

        def work(folder: Path, out: Path) -> None:
            images = {"enable_text": False, "enable_image": True, "enable_metadata": False}
            runner = Runner(
                lambda sampler: FilesReader(
                    sampler, transform, None, str(folder), settings.batch_size, settings.workers, **images
                ),
                Mapper,
                lambda partition: NumpyWriter(partition, str(out), False, True, False, 1),
                lambda partition: MagicMock(name="logger"),
                1,
            )
            runner(0)

        self._work = work
        self._settings = settings

    def prepare(self, folder: Path) -> None:
        """Choose a folder that nothing is in."""
        self._settings.scratch.mkdir(parents=True, exist_ok=True)
        self._out = Path(mkdtemp(dir=self._settings.scratch))

    def run(self, folder: Path) -> Result:
        """Extract into clip-retrieval's own files."""
        import pandas as pd

        self._work(folder, self._out)
        names = pd.read_parquet(self._out / "metadata" / "metadata_0.parquet")["image_path"]
        features = np.load(self._out / "img_emb" / "img_emb_0.npy")
        keys = [Path(name).relative_to(folder).as_posix() for name in names]
        return Result(keys, features, normalised=True)
