"""The backbone as a transformer of scikit-learn's."""

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from featx.backbones import DEFAULT_BACKBONE, load_backbone
from featx.errors import SampleError
from featx.extraction import embed, load_engine, plan_outputs, resolve_device, resolve_precision
from featx.sources import Source, open_images

__all__ = ["FeatureExtractor"]


class FeatureExtractor(TransformerMixin, BaseEstimator):
    """A frozen network as a step of a scikit-learn pipeline: images in, features out, nothing kept on disk.

    Parameters
    ----------
    backbone : str or torch.nn.Module
        See :func:`featx.load_backbone`.
    weights, layer, pool, image_size, resize, device, precision, views, augment, augment_seed, batch_size, workers
        See :func:`featx.extract`. The features of several views are averaged.

    Attributes
    ----------
    n_features_out_ : int
        Length of a row.
    spec_ : ExtractionSpec
        What decides the features.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(FeatureExtractor(), LogisticRegression())
    """

    def __init__(
        self,
        backbone: Any = DEFAULT_BACKBONE,
        *,
        weights: str | os.PathLike[str] | None = None,
        layer: str | None = None,
        pool: str | None = None,
        image_size: int | None = None,
        resize: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        views: int = 1,
        augment: str | None = None,
        augment_seed: int = 0,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.layer = layer
        self.pool = pool
        self.image_size = image_size
        self.resize = resize
        self.device = device
        self.precision = precision
        self.views = views
        self.augment = augment
        self.augment_seed = augment_seed
        self.batch_size = batch_size
        self.workers = workers

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Load the network; `X` and `y` are not looked at."""
        device = resolve_device(self.device)
        backbone = load_backbone(self.backbone, weights=self.weights, image_size=self.image_size, resize=self.resize)
        outputs = plan_outputs(
            backbone,
            layers=() if self.layer is None else (self.layer,),
            pool=self.pool,
            precision=resolve_precision(self.precision, device),
            views=self.views,
            augment=self.augment,
            augment_seed=self.augment_seed,
        )
        self._outputs = outputs
        self._engine = load_engine("torch", backbone, outputs, device=device)
        self.spec_ = outputs[0].spec
        self.n_features_out_ = outputs[0].shape[-1]
        return self

    def transform(self, X: "Source | Sequence[Any] | npt.NDArray[Any]") -> npt.NDArray[Any]:
        """Return the features of images.

        Parameters
        ----------
        X : sequence of path, ndarray or PIL.Image.Image; or Source
            One image each.

        Returns
        -------
        ndarray of shape (n, ...) and dtype float32

        Raises
        ------
        SampleError
            If an image cannot be used: rows are never left out here, or they would not match `y`.
        """
        if "_engine" not in vars(self):
            self.fit()
        source = X if isinstance(X, Source) else open_images(list(X))
        (features,), _, failures = embed(
            source, self._engine, self._outputs, batch_size=self.batch_size, workers=self.workers
        )
        if failures:
            row, reason = failures[0]
            raise SampleError(f"{source.samples[row].key!r} cannot be used ({reason}): leave it out of X and y")
        return np.asarray(features if self.views == 1 else features.mean(axis=1))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network out, which is loaded again from the parameters when it is next needed."""
        return {key: value for key, value in super().__getstate__().items() if key not in ("_engine", "_outputs")}

    def __sklearn_is_fitted__(self) -> bool:
        return True  # there is nothing to learn; the network is loaded when it is first needed

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
