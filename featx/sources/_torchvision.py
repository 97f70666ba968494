"""torchvision's data sets, by name."""

import inspect
import os
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featx._quiet import quiet
from featx.errors import SampleError, SourceError, did_you_mean
from featx.sources._base import ImageArray, Sample, Source, label_names, named_label, one_line
from featx.sources._decode import as_seen
from featx.sources._files import StrPath, encode_path, read_file, real_path
from featx.sources._layout import canonical_split

_LABELS = ("targets", "labels", "_labels", "y", "_samples", "samples")
_NAMES = ("classes", "categories")
_EVERYTHING = ("all", "10fold")


class TorchvisionSource(Source):
    """All splits of one of torchvision's data sets.

    What is not there is downloaded if torchvision can. Labels come from the data set's own list where it
    has one, so that no image is opened for them.

    Parameters
    ----------
    dataset : str
        Name of a class in ``torchvision.datasets``, such as ``"CIFAR10"``.
    root : str or path-like, optional
        Folder the data set is, or will be, in: by default the environment variable ``FEATX_DATA``, or
        ``~/.cache/featx/datasets``.
    **options
        Passed on to the data set, for those that need more than a folder.
    """

    def __init__(self, dataset: str, root: StrPath | None = None, **options: Any) -> None:
        if root is None:
            root = os.environ.get("FEATX_DATA") or Path.home() / ".cache" / "featx" / "datasets"
        self._root = real_path(root)
        self._dataset = dataset
        self._options = options
        extra = "".join(f":{name}={value}" for name, value in sorted(options.items()))
        super().__init__(dataset, f"torchvision:{dataset}:{self._root}{extra}")
        self._lock = threading.Lock()
        self._names: tuple[str, ...] = ()
        self._rows: list[tuple[Any, int]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _list(self) -> Iterable[Sample]:
        datasets = self._open()
        first = next(iter(datasets.values()))
        names = next((names for name in _NAMES if (names := getattr(first, name, None))), ())
        self._names = label_names(names) if isinstance(names, (list, tuple)) else ()
        samples = []
        for split in sorted(datasets, key=lambda split: split or ""):
            dataset = datasets[split]
            for row, label in enumerate(_labels_of(dataset)):
                key = f"{split}/{row:08d}" if split else f"{row:08d}"
                samples.append(Sample(key, named_label(label, self._names), split))
                self._rows.append((dataset, row))
        return samples

    def _read(self, index: int) -> bytes | ImageArray:
        dataset, row = self._rows[index]
        try:
            with self._lock:  # some data sets seed generators or move file positions to find an item
                image = dataset[row][0]
                if isinstance(image, Image.Image):
                    image.load()
            if isinstance(image, Image.Image):
                return np.asarray(as_seen(image))
            if isinstance(image, bytes):
                return image
            raise SampleError(f"not an image but {type(image).__name__}")
        except SampleError:
            raise
        except Exception as error:
            raise SampleError(f"cannot be read: {one_line(error)}") from error

    def _declared_classes(self) -> Iterable[str]:
        return self._names

    def _open(self) -> dict[str | None, Any]:
        """Return the data set's splits by name."""
        factory = _factory(self._dataset)
        parameters = _parameters(factory)
        options: dict[str, Any] = {"root": self._root} if "root" in parameters else {}
        options.update(self._options)
        if "loader" in parameters:  # images that are files come as they lie there
            options.setdefault("loader", _load)
        if "train" in parameters and "train" not in options:
            return {name: self._build(factory, {**options, "train": name == "train"}) for name in ("train", "test")}
        if "split" in parameters and "split" not in options:
            default = self._build(factory, options)  # downloads first: only then do all name their splits
            values = _split_values(factory, options)
            if values:
                return {
                    "train" if value == "trainval" else canonical_split(value) or value: self._build(
                        factory, {**options, "split": value}
                    )
                    for value in values
                }
            return {None: default}
        return {None: self._build(factory, options)}

    def _build(self, factory: Any, options: Mapping[str, Any]) -> Any:
        attempts = [options]
        if "download" in _parameters(factory):
            attempts = [{**options, "download": False}, {**options, "download": True}]
        for attempt in attempts:
            try:
                with quiet():
                    return factory(**attempt)
            except Exception as error:  # whatever torchvision, the network or the disk raise
                failure = error
        if isinstance(failure, TypeError) and "required" in str(failure):
            raise SourceError(
                f"torchvision:{self._dataset} needs more than a folder ({one_line(failure)}): give"
                f" featx.sources.TorchvisionSource({self._dataset!r}, ...) what it asks for"
            ) from failure
        raise SourceError(
            f"torchvision:{self._dataset} is not complete in {self._root!r} and cannot be downloaded"
            f" ({one_line(failure)}): put its files there, or name their folder with"
            f" torchvision:{self._dataset}:FOLDER"
        ) from failure


def _load(path: StrPath) -> bytes:
    return read_file(encode_path(os.fspath(path)))


def _factory(name: str) -> Any:
    from torchvision import datasets  # takes seconds, and is needed for named data sets only

    known = [
        each
        for each in datasets.__all__
        if inspect.isclass(found := getattr(datasets, each)) and issubclass(found, datasets.VisionDataset)
    ]
    if name not in known:
        raise SourceError(f"torchvision has no data set named {name!r}{did_you_mean(name, known)}")
    return getattr(datasets, name)


def _parameters(factory: Any) -> set[str]:
    """Return the names a constructor takes, also those it hands on to its parents in ``**kwargs``."""
    names: set[str] = set()
    for owner in inspect.getmro(factory):
        if "__init__" in vars(owner):
            parameters = inspect.signature(vars(owner)["__init__"]).parameters
            names.update(parameters)
            if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
                break
    return names


def _split_values(factory: Any, options: Mapping[str, Any]) -> list[str]:
    """Return the splits a data set has, without those that are other splits together.

    They are written down nowhere but in the error for a wrong one.
    """
    try:
        factory(**{**options, "split": "?"})
    except Exception as error:
        listed = re.search(r"Valid values are \{(.*)\}", str(error))
        values = re.findall(r"'([^']+)'", listed[1]) if listed else []
    else:
        return []
    return [value for value in values if value not in _EVERYTHING and not _is_union(value, values)]


def _is_union(value: str, values: list[str]) -> bool:
    parts = "|".join(re.escape(other) for other in values if other != value)
    return bool(parts) and re.fullmatch(rf"(?:{parts})(?:\+?(?:{parts}))+", value) is not None


def _labels_of(dataset: Any) -> list[object]:
    """Return a label, or None, for each item; images are loaded only if the data set keeps no list."""
    n = len(dataset)
    for name in _LABELS:
        listed = getattr(dataset, name, None)
        if listed is None or isinstance(listed, str) or not hasattr(listed, "__len__") or len(listed) != n:
            continue
        values = listed.tolist() if hasattr(listed, "tolist") else list(listed)
        if name.endswith("samples"):
            values = [each[1] if isinstance(each, tuple) and len(each) == 2 else each for each in values]
        if all(_is_label(value) for value in values):
            return list(map(_plain, values))
    labels: list[object] = []
    for row in range(n):
        try:
            item = dataset[row]
        except Exception:  # its image cannot be read, and says so when it is asked for
            labels.append(None)
            continue
        label = item[1] if isinstance(item, tuple) and len(item) == 2 else None
        if not _is_label(label):
            return [None] * n
        labels.append(_plain(label))
    return labels


def _is_label(value: object) -> bool:
    return isinstance(_plain(value), (int, str))


def _plain(value: Any) -> object:
    """Return the Python number in a tensor or NumPy scalar."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
