"""Backbone and head together: from an image to an answer."""

import os
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.errors import BackboneError, ParameterError, SampleError
from featx.fitting import Run
from featx.heads import head_scores
from featx.sources import Source, open_images
from featx.spec import ExtractionSpec, require_same_spec

if TYPE_CHECKING:
    from torch import nn

    from featx.extraction import Engine, Output

__all__ = ["Prediction", "Predictor", "load"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one image.

    Parameters
    ----------
    key : str
        The file as it was given, or a name for an image in memory.
    label : str or None
        Name of the most likely class; None for an image that could not be used.
    scores : dict of str to float
        For each class, in descending order.
    is_probability : bool
        Whether `scores` are probabilities; if not, larger is likelier, and that is all they say.
    error : str or None
        Why there is no answer.
    """

    key: str
    label: str | None
    scores: dict[str, float]
    is_probability: bool
    error: str | None = None


class Predictor:
    """Backbone and head together; made by :func:`load`.

    Parameters
    ----------
    run : Run
    backbone : str or torch.nn.Module, optional
        Instead of what the run says.
    weights : str or path, optional
        Likewise.
    device : {"auto", "cpu", "cuda", "cuda:N"}
    batch_size, workers : int, optional
    """

    def __init__(
        self,
        run: Run,
        *,
        backbone: "str | nn.Module | None" = None,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> None:
        if len(run.specs) > 1 and (backbone is not None or weights is not None):
            raise ParameterError(
                f"backbone and weights can be given for a head on one backbone; this one is on {len(run.specs)}"
            )
        self.run = run
        self.classes = run.classes
        self._backbone = backbone
        self._weights = weights
        self._device = device
        self._batch_size = batch_size
        self._workers = workers

    @cached_property
    def _engines(self) -> "list[tuple[Engine, Output]]":
        """One engine for each spec, loaded when first needed and checked against it."""
        pairs = zip(self.run.specs, self.run.backbones, strict=True)
        return [self._load(spec, origin) for spec, origin in pairs]

    def _load(self, spec: ExtractionSpec, origin: dict[str, Any]) -> "tuple[Engine, Output]":
        from featx.extraction import load_engine, reload_backbone, resolve_device

        if self._backbone is None and spec.backbone.startswith("imported:"):
            raise BackboneError(
                f"the head was fitted on features imported as {spec.backbone.partition(':')[2]!r}, whose network"
                " featx does not have, so it cannot predict images: use `featx evaluate RUN STORE` on another import"
                " of that name"
            )
        if self._backbone is None and not origin.get("reloadable", True):
            raise BackboneError(
                f"backbone {origin['name']} was given as a network, which a run does not hold: give it again,"
                " featx.load(run, backbone=network)"
            )
        backbone, output = reload_backbone(spec, origin, backbone=self._backbone, weights=self._weights)
        require_same_spec(spec, output.spec, what=f"backbone {backbone.name} as it is loaded here")
        return load_engine("torch", backbone, [output], device=resolve_device(self._device)), output

    def _scores(self, source: Source) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], dict[int, str], bool]:
        """Return scores (m, classes of the head), the samples they are of, and the reasons of the others."""
        from featx.extraction import embed

        found = [
            embed(source, engine, [output], batch_size=self._batch_size, workers=self._workers)
            for engine, output in self._engines
        ]
        # One of several backbones may fail alone, as with features that are not finite.
        rows = reduce(np.intersect1d, (rows for _, rows, _ in found))
        failures = {row: reason for _, _, failed in found for row, reason in failed}
        if not len(rows):
            return np.empty((0, len(self.run.head.classes_))), rows, failures, False
        columns = [features[np.isin(its_rows, rows)] for (features,), its_rows, _ in found]
        scores, is_probability = head_scores(self.run.head, columns[0] if len(columns) == 1 else np.hstack(columns))
        return scores, rows, failures, is_probability

    def predict(self, images: Any) -> list[Prediction]:
        """Return an answer for each image, in the order given.

        Parameters
        ----------
        images : path, ndarray, PIL.Image.Image, Source, or a sequence of them
            Image files, folders and archives; arrays of shape (height, width, 3).

        Returns
        -------
        list of Prediction
            An image that cannot be used has no label but an error.
        """
        source = images if isinstance(images, Source) else open_images(images)
        scores, rows, failures, is_probability = self._scores(source)
        names = [self.classes[label] for label in np.asarray(self.run.head.classes_).tolist()]
        answers: dict[int, Prediction] = {}
        for row, values in zip(rows.tolist(), scores, strict=True):
            order = np.argsort(-values, kind="stable")
            ranked = {names[column]: float(values[column]) for column in order}
            answers[row] = Prediction(source.samples[row].key, names[order[0]], ranked, is_probability)
        for row, reason in failures.items():
            answers[row] = Prediction(source.samples[row].key, None, {}, is_probability, reason)
        return [answers[row] for row in range(len(source))]

    def predict_proba(self, images: Any) -> npt.NDArray[np.float64]:
        """Return the probabilities of each class for each image.

        Parameters
        ----------
        images
            As in :meth:`predict`.

        Returns
        -------
        ndarray of shape (n, len(classes)) and dtype float64
            In the order of `classes`; 0 for a class without training rows.

        Raises
        ------
        SampleError
            If an image cannot be used.
        ParameterError
            If the head gives scores, not probabilities.
        """
        source = images if isinstance(images, Source) else open_images(images)
        scores, _, failures, is_probability = self._scores(source)
        if failures:
            row, reason = min(failures.items())
            raise SampleError(f"{source.samples[row].key!r} cannot be used ({reason}): leave it out, or use predict")
        if not is_probability:
            raise ParameterError(f"head {self.run.settings['head']!r} gives no probabilities: use predict")
        probabilities = np.zeros((len(source), len(self.classes)))
        probabilities[:, np.asarray(self.run.head.classes_)] = scores
        return probabilities


def load(
    run: str | os.PathLike[str] | Run,
    *,
    backbone: "str | nn.Module | None" = None,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
) -> Predictor:
    """Load a fitted head together with its backbone.

    The backbone itself is loaded at the first prediction, and refused if its features would not be those that
    the head was trained on.

    Parameters
    ----------
    run : path, str or Run
        A run's folder, or its name in ``runs``.
    backbone : str or torch.nn.Module, optional
        Instead of what the run says: for a network that was given as an object, and has no name to load it by.
    weights : str or path, optional
        Instead of what the run says: for a file that has moved.
    device : {"auto", "cpu", "cuda", "cuda:N"}
    batch_size, workers : int, optional

    Returns
    -------
    Predictor

    Raises
    ------
    RunError
        If the folder is no run.
    """
    return Predictor(
        Run.load(run), backbone=backbone, weights=weights, device=device, batch_size=batch_size, workers=workers
    )
