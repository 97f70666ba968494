"""Images as what a net is trained on: decoded, and drawn anew in every epoch, in threads ahead of the training."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from featx.errors import SampleError
from featx.extraction import Augmentation, enough_for, preprocess
from featx.heads.nets import Samples
from featx.sources import Source, decode_image
from featx.spec import Preprocessing

__all__ = ["Images"]


class Images(Samples):
    """Images of a source, as uint8 pixels of shape (b, height, width, 3).

    Parameters
    ----------
    source : Source
    samples : sequence of int
        Which sample of the source each row is.
    digests : sequence of str
        Content digest of each row.
    index : ndarray of shape (m,), int64
        Which rows these are.
    targets : Tensor of shape (n,) or (n, k)
        What the loss takes.
    preprocessing : Preprocessing
    augmentation : Augmentation or None
        What draws another view of each image in every sweep; None for the plain image.
    seed : int
        Of the views.
    pool : ThreadPoolExecutor
        What decodes.
    """

    def __init__(
        self,
        source: Source,
        samples: Sequence[int],
        digests: Sequence[str],
        index: npt.NDArray[np.int64],
        targets: torch.Tensor,
        *,
        preprocessing: Preprocessing,
        augmentation: Augmentation | None,
        seed: int,
        pool: ThreadPoolExecutor,
    ) -> None:
        super().__init__(index, targets)
        self._source, self._samples, self._digests = source, samples, digests
        self._preprocessing, self._augmentation, self._seed = preprocessing, augmentation, seed
        self._pool = pool
        self._sweep = 0

    def begin(self) -> None:
        """Draw other views from now on."""
        self._sweep += 1

    def load(self, rows: torch.Tensor, buffer: torch.Tensor | None, generator: torch.Generator | None) -> torch.Tensor:
        """Return the pixels of some rows."""
        return torch.from_numpy(np.stack(list(self._pool.map(self._pixels, rows.tolist()))))

    def _pixels(self, row: int) -> npt.NDArray[np.uint8]:
        sample = self._samples[row]
        try:
            image = decode_image(self._source.read(sample), enough=enough_for(self._preprocessing))
        except SampleError as error:
            key = self._source.samples[sample].key
            raise SampleError(
                f"{key!r} cannot be used any more ({error}): leave the source alone, and begin again"
            ) from error
        if self._augmentation is None:
            return preprocess(image, self._preprocessing)
        return self._augmentation.view(
            image, self._preprocessing, digest=self._digests[row], number=self._sweep, seed=self._seed
        )
