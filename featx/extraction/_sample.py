"""From one sample of a source to the images that the network is shown of it."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from featx.errors import SampleError
from featx.extraction._augment import Augmentation
from featx.extraction._timings import Timings
from featx.extraction._transform import Cropped, enough_for, load_pixels, preprocess
from featx.sources import Source, content_digest, decode_image
from featx.spec import ExtractionSpec

__all__ = ["Image", "Known", "Loaded", "load_sample"]

Image = npt.NDArray[np.uint8] | bytes
"""Pixels of shape (height, width, 3), or a JPEG that the engine decodes."""

Loaded = tuple[str, Sequence[Image]] | SampleError
"""Content digest of one sample and those of its views that are not known, or why it cannot be used."""

Known = Callable[[str], int]
"""Says of how many leading views of a content, by its digest, the features are known."""


def load_sample(
    source: Source,
    spec: ExtractionSpec,
    augmentation: Augmentation | None,
    known: Known,
    timings: Timings,
    index: int,
    *,
    resize: bool,
) -> Loaded:
    """Read a sample, decode it unless all of its views are known, and make those that are not.

    Parameters
    ----------
    source : Source
    spec : ExtractionSpec
        Says what the network is shown.
    augmentation : Augmentation or None
        What draws its views; None if there is but the plain image.
    known : callable
    timings : Timings
        Told what each stage takes.
    index : int
        Of the sample.
    resize : bool
        False leaves the resizing of the plain image to the engine.
    """
    preprocessing = spec.preprocessing
    images: list[Image] = []
    try:
        with timings.on("read"):
            data = source.read(index)
        with timings.on("decode"):
            digest = content_digest(data)
            numbers = range(known(digest), spec.views)
            if 0 in numbers and not resize:
                images.append(load_pixels(data, preprocessing, resize=False))
                numbers = numbers[1:]
            if not numbers:
                return digest, images
            if images and type(images[0]) is np.ndarray:  # decoded, and neither cropped nor bytes
                image = PillowImage.fromarray(images[0])
            else:
                image = decode_image(data, enough=enough_for(preprocessing))
        with timings.on("transform"):
            if augmentation is None:
                images.append(preprocess(image, preprocessing))
            else:
                seed = spec.augment_seed
                views = augmentation.views(image, preprocessing, digest=digest, numbers=numbers, seed=seed)
                images += [view.view(Cropped) for view in views]
        return digest, images
    except SampleError as error:
        return error
