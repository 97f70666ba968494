"""Hugging Face data sets, by name or from a folder."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from featx._quiet import quiet
from featx.errors import MissingDependencyError, ParameterError, SampleError, SourceError
from featx.labels import Label, class_set, numbers
from featx.sources._base import ImageArray, Sample, Source, label_names, named_label, one_line
from featx.sources._files import encode_path, read_file, real_path, stat_file
from featx.sources._layout import canonical_split

_SAVED = ("dataset_dict.json", "state.json")
_IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "pixel_values")
_LABEL_COLUMNS = ("label", "labels", "class", "target", "fine_label")

Read = Callable[[object], Label | None]


class HuggingFaceSource(Source):
    """All splits of a data set for the package ``datasets``; its images are read as the files they are.

    Parameters
    ----------
    dataset : str
        A name on the Hugging Face hub, or a folder: one written by ``save_to_disk``, or any that
        ``datasets.load_dataset`` takes.
    config : str, optional
        Which configuration of the data set, if it has several.
    """

    def __init__(self, dataset: str, config: str | None = None) -> None:
        self._local = os.path.isdir(encode_path(dataset))
        self._dataset = real_path(dataset) if self._local else dataset
        self._config = config
        identity = f"hf:{self._dataset}" + (f":{config}" if config else "")
        super().__init__("-".join(filter(None, [os.path.basename(self._dataset), config])), identity)
        self._names: tuple[str, ...] = ()
        self._rows: list[tuple[Any, int]] = []

    def _list(self) -> Iterable[Sample]:
        tables = self._open()
        samples = []
        for name in sorted(tables, key=lambda name: name or ""):
            split = name and (canonical_split(name) or name)
            images, labels, read = self._columns(tables[name])
            mtime_ns = _changed(images)
            for row, label in enumerate(labels):
                key = f"{name}/{row:08d}" if name else f"{row:08d}"
                try:
                    samples.append(Sample(key, read(label), split, -1, mtime_ns))
                except ParameterError as error:
                    raise SourceError(f"{self.identity!r} is wrong in {key}: {error}") from error
                self._rows.append((images, row))
        return samples

    def _read(self, index: int) -> bytes | ImageArray:
        table, row = self._rows[index]
        try:
            (image,) = table[row].values()
        except Exception as error:  # whatever pyarrow and datasets raise on damaged files
            raise SampleError(f"cannot be read: {one_line(error)}") from error
        if image is None or not (image["bytes"] is not None or image["path"]):
            raise SampleError("there is no image in this row")
        data: bytes = image["bytes"] if image["bytes"] is not None else read_file(encode_path(image["path"]))
        return data

    def _declared_classes(self) -> Iterable[str]:
        return self._names

    def _open(self) -> Mapping[str | None, Any]:
        """Return the data set's tables by split."""
        try:
            import datasets
        except ImportError as error:
            raise MissingDependencyError(
                f"{self.identity!r} needs the package datasets, which is not installed: pip install featx[hf]"
            ) from error
        saved = self._local and any(os.path.exists(os.path.join(self._dataset, name)) for name in _SAVED)
        try:
            with quiet("datasets", "huggingface_hub"):
                if saved:
                    loaded = datasets.load_from_disk(self._dataset)
                else:
                    loaded = datasets.load_dataset(self._dataset, self._config)
        except Exception as error:  # whatever datasets, the network or the disk raise
            raise SourceError(
                f"{self.identity!r} cannot be loaded ({one_line(error)}): check the name and the network, or"
                " give the folder of a copy as hf:FOLDER"
            ) from error
        if isinstance(loaded, datasets.DatasetDict):
            return dict(loaded)
        return {None if loaded.split is None else str(loaded.split): loaded}

    def _columns(self, table: Any) -> tuple[Any, Iterable[object], Read]:
        """Return a table of the image column alone, not decoded, the values of the label column, and their meaning."""
        import datasets

        features = table.features
        typed = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
        named = [name for name in _IMAGE_COLUMNS if name in features]
        if not typed and not named:
            raise SourceError(
                f"{self.identity!r} must have a column of images; got {', '.join(map(repr, features)) or 'none'}"
            )
        image = (typed or named)[0]
        try:
            images = table.select_columns([image]).cast_column(image, datasets.Image(decode=False))
        except Exception as error:
            raise SourceError(
                f"{self.identity!r} must have a column of images; {image!r} is not ({one_line(error)})"
            ) from error
        classes = [name for name, feature in features.items() if isinstance(_inside(feature), datasets.ClassLabel)]
        label = next((name for name in _LABEL_COLUMNS if name in classes), None)
        label = label or next(iter(classes), None) or next((n for n in _LABEL_COLUMNS if n in features), None)
        if label is None:
            return images.with_format(None), [None] * len(table), self._class
        inside = _inside(features[label])
        if label in classes:
            self._names = label_names(inside.names or ())
        read: Read = self._class
        if str(getattr(inside, "dtype", "")).startswith("float"):
            read = numbers
        elif inside is not features[label]:
            read = self._class_set
        return images.with_format(None), table.select_columns([label]).with_format(None)[:][label], read

    def _class(self, value: object) -> Label | None:
        return named_label(value, self._names)

    def _class_set(self, value: Any) -> Label | None:
        return None if value is None else class_set([named_label(each, self._names) for each in value])


def _inside(feature: Any) -> Any:
    """Return what a feature is a list of; the feature itself if it is none."""
    return getattr(feature, "feature", feature)


def _changed(table: Any) -> int:
    """Return when the newest of a table's files changed."""
    return max((stat_file(encode_path(file["filename"]))[1] for file in table.cache_files), default=0)
