"""WebDataset: tar archives in which the files of a sample follow each other under one name."""

import re
from collections.abc import Mapping
from typing import Any

from featx.errors import ParameterError, SampleError, SourceError
from featx.sources._archives import clean_name
from featx.sources._base import ImageArray, one_line
from featx.sources._files import StrPath, check_size, reason
from featx.sources._layout import IMAGE_SUFFIXES, is_ignored
from featx.sources._location import Location, RangeFile
from featx.sources._shards import Listed, ShardedSource, Shards
from featx.sources._tables import LABEL_NAMES, Facts, facts, json_row
from featx.sources._tar import TarMember, tar_members

_LONGEST = 1 << 20
_META = re.compile(r"__[^/]*__(/|\Z)")


Fields = dict[str, TarMember]
"""The files of a sample, by what follows the first dot of their names."""


class WebDatasetSource(ShardedSource):
    """Images in shards of WebDataset: tar archives in which ``0001.jpg``, ``0001.cls`` and ``0001.json`` are a sample.

    A name is cut at its first dot: what stands before is the sample, what follows the field. The key is the path of the
    shard, without ``.tar``, and the name of the sample. The label is what ``.cls`` holds, else what the
    columns of a manifest (see :class:`ManifestSource`) are called in ``.json``, from where the group and the split
    come, too; without, shards are of a split if all of them, or the folders they are in, are named after one.

    Parameters
    ----------
    path : str or path-like
        A shard, a folder of them, or a path with braces such as ``train-{0000..0099}.tar``; or the URL of these.
    image : str, optional
        Field that is the image, if a sample has several.
    storage_options : dict, optional
        What fsspec is to be given for a URL, beside its own configuration.
    """

    def __init__(
        self, path: StrPath, *, image: str | None = None, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(Shards(path, ".tar", storage_options), "webdataset", image and image.lower())

    def _list_file(self, name: str, location: Location) -> Listed:
        try:
            with location.open() as file:
                listed = []
                for base, fields in _samples(file).items():
                    image = self._image_in(fields, f"{name}/{base}")
                    if image is not None:
                        member = fields[image]
                        listed.append((base, _facts(file, fields), member.size, (member.offset, member.regular)))
                return Listed(file.stamp, listed)
        except OSError as error:
            raise SourceError(f"shard {location.text!r} cannot be read ({reason(error)}): make it readable") from error
        except ParameterError as error:
            raise SourceError(f"shard {location.text!r} is wrong in {base!r}: {error}") from error
        except ValueError as error:
            raise SourceError(
                f"shard {location.text!r} is no uncompressed tar archive, or is damaged ({one_line(error)}): give an"
                " intact one"
            ) from error

    def _image_in(self, fields: Fields, sample: str) -> str | None:
        """Return which field of a sample is the image, None if it has none."""
        if self._image is not None:
            return self._image if self._image in fields else None
        images = [field for field in fields if f".{field.rpartition('.')[2]}" in IMAGE_SUFFIXES]
        chosen = [field for field in images if "." not in field] or images
        if len(chosen) > 1:
            raise SourceError(
                f"{self.identity!r} must have one image in each sample; {sample!r} has {' and '.join(chosen)}: choose"
                f" one with featx.sources.WebDatasetSource(..., image={chosen[0]!r})"
            )
        return chosen[0] if chosen else None

    def _read(self, index: int) -> bytes | ImageArray:
        number, offset, regular = self._places[index].tolist()
        size = self.samples[index].size
        if not regular:
            raise SampleError("a link, device or sparse file inside the archive, which is not followed")
        check_size(size)
        try:
            data: bytes = self._opened(number).pread(size, offset)
        except OSError as error:
            raise SampleError(f"its archive cannot be read: {reason(error)}") from error
        if len(data) != size:
            raise SampleError(f"damaged in the archive: {len(data):,} of {size:,} bytes")
        return data


def _samples(file: RangeFile) -> dict[str, Fields]:
    """Return the files in a shard by sample and field; only headers are read."""
    samples: dict[str, Fields] = {}
    for written, member in tar_members(file):
        name = clean_name(written)
        *folders, last = name.split("/")
        base, dot, field = last.partition(".")
        if not base or not dot or _META.match(name) or any(map(is_ignored, folders)):
            continue
        fields = samples.setdefault("/".join([*folders, base]), {})
        if field.lower() in fields:
            raise ValueError(f"it holds {name!r} twice")
        fields[field.lower()] = member
    return samples


def _facts(file: RangeFile, fields: Fields) -> Facts:
    """Return label, split and group that lie beside an image."""
    row: dict[str, Any] = {}
    if "json" in fields:
        row = json_row(_content(file, fields["json"]))
    if "cls" in fields:
        row = {name: value for name, value in row.items() if name not in LABEL_NAMES}
        row["label"] = _content(file, fields["cls"]).decode("utf-8", "surrogateescape").strip()
    return facts(row)


def _content(file: RangeFile, member: TarMember) -> bytes:
    if not member.regular or member.size > _LONGEST:
        raise ParameterError(f"what describes an image must be a file of at most {_LONGEST:,} bytes")
    return file.pread(member.size, member.offset)
