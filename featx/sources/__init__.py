"""Where images come from: folders, manifests, archives, arrays, and data sets by name."""

from featx.sources._archives import TarSource, ZipSource
from featx.sources._arranged import ArrangedSource
from featx.sources._arrays import ArraySource, NpzSource
from featx.sources._base import ImageArray, LimitedSource, Sample, Source, content_digest
from featx.sources._decode import FORMATS, Enough, decode_image, decode_pixels, is_plain_jpeg
from featx.sources._folder import FileSource, FolderSource
from featx.sources._huggingface import HuggingFaceSource
from featx.sources._idx import IdxSource
from featx.sources._layout import IMAGE_SUFFIXES, Place, arrange
from featx.sources._manifest import ManifestSource
from featx.sources._open import ImageLike, SourceLike, open_images, open_source
from featx.sources._parquet import ParquetSource
from featx.sources._remote import is_url
from featx.sources._torchvision import TorchvisionSource
from featx.sources._webdataset import WebDatasetSource

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "ArrangedSource",
    "ArraySource",
    "Enough",
    "FileSource",
    "FolderSource",
    "HuggingFaceSource",
    "IdxSource",
    "ImageArray",
    "ImageLike",
    "LimitedSource",
    "ManifestSource",
    "NpzSource",
    "ParquetSource",
    "Place",
    "Sample",
    "Source",
    "SourceLike",
    "TarSource",
    "TorchvisionSource",
    "WebDatasetSource",
    "ZipSource",
    "arrange",
    "content_digest",
    "decode_image",
    "decode_pixels",
    "is_plain_jpeg",
    "is_url",
    "open_images",
    "open_source",
]
