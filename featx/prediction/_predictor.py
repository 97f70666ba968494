"""Backbone and head together: from an image, or its features, to an answer."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, SampleError
from featx.fitting import Run
from featx.heads import head_scores, head_values
from featx.prediction._features import Found, found_in_array, found_in_stores
from featx.prediction._networks import load_networks
from featx.sources import Source, open_images
from featx.store import FeatureStore

if TYPE_CHECKING:
    from torch import nn

    from featx.backbones import Backbone
    from featx.extraction import Engine, Output

__all__ = ["Prediction", "Predictor", "load"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one image.

    Parameters
    ----------
    key : str
        The file as it was given, or a name for an image in memory; of a store the sample's key.
    label : str or None
        Name of the most likely class. None where a sample has not one class (see `labels` and `values`), and for an
        image that could not be used.
    scores : dict of str to float
        For each class, in descending order.
    is_probability : bool
        Whether `scores` are probabilities; if not, larger is likelier, and that is all they say.
    error : str or None
        Why there is no answer.
    labels : tuple of str
        Where a sample may have several labels, those it has: of a probability above 0.5, or a score above 0.
    values : dict of str to float
        In a regression, the value of each target.
    accepted : bool
        False for an answer below the threshold that the run was given for a wanted precision, and for none at all.
    """

    key: str
    label: str | None
    scores: dict[str, float]
    is_probability: bool
    error: str | None = None
    labels: tuple[str, ...] = ()
    values: dict[str, float] = field(default_factory=dict)
    accepted: bool = True

    def text(self, top: int = 3) -> str:
        """Return the answer as people read it, such as ``99% cat, 1% dog``; of an image without one, why there is none.

        Parameters
        ----------
        top : int
            How many classes are named, the likeliest ones.
        """
        if self.error is not None:
            return f"cannot be used: {self.error}"
        if self.values:
            return ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        form = "{1:.0%} {0}" if self.is_probability else "{0} ({1:.2f})"
        words = ", ".join(form.format(*one) for one in list(self.scores.items())[:top])
        if self.label is None:
            return f"{', '.join(self.labels) or 'none'} ({words})"
        return words if self.accepted else f"unsure ({words})"


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

    Attributes
    ----------
    run : Run
    classes : tuple of str
        Names of the classes; in a regression, of the targets.
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
    def _networks(self) -> "list[tuple[Backbone, Output]]":
        """One for each spec, loaded when first needed and checked against it."""
        return load_networks(self.run, backbone=self._backbone, weights=self._weights)

    @cached_property
    def _engines(self) -> "list[tuple[Engine, Output]]":
        from featx.extraction import load_engine, resolve_device

        device = resolve_device(self._device)
        return [
            (load_engine("torch", backbone, [output], device=device), output) for backbone, output in self._networks
        ]

    def _find(self, given: Any) -> Found:
        """Return the features of images, or of the samples of a store."""
        stores = [given] if isinstance(given, FeatureStore) else given
        if isinstance(stores, Sequence) and stores and all(isinstance(store, FeatureStore) for store in stores):
            return found_in_stores(self.run, stores)
        return self._embed(given if isinstance(given, Source) else open_images(given))

    def _embed(self, source: Source) -> Found:
        from featx.extraction import embed

        found = [
            embed(source, engine, [output], batch_size=self._batch_size, workers=self._workers)
            for engine, output in self._engines
        ]
        # One of several backbones may fail alone, as with features that are not finite.
        rows = reduce(np.intersect1d, (rows for _, rows, _ in found))
        columns = [features[np.isin(its_rows, rows)] for (features,), its_rows, _ in found]
        return Found(
            tuple(sample.key for sample in source.samples),
            columns[0] if len(columns) == 1 else np.concatenate(columns, axis=-1),
            rows,
            {row: reason for _, _, failed in found for row, reason in failed},
            views=self.run.specs[0].views > 1,
        )

    def predict(self, images: Any) -> list[Prediction]:
        """Return an answer for each image, in the order given.

        Parameters
        ----------
        images : path, ndarray, PIL.Image.Image, Source, or a sequence of them; or FeatureStore
            Image files, folders and archives; arrays of shape (height, width, 3). Of a store, whose spec must be the
            one that the head was trained on, the features are taken as they are, and no network is loaded; a head on
            several stores takes a list of as many.

        Returns
        -------
        list of Prediction
            An image that cannot be used has no label but an error.

        Raises
        ------
        SpecMismatchError
            If the network as it is loaded now, or the store, gives other features than the head was trained on.
        """
        return self._answers(self._find(images))

    def predict_features(self, features: npt.ArrayLike) -> list[Prediction]:
        """Return an answer for each row of features that are at hand, in the order given.

        Parameters
        ----------
        features : array_like of shape (n, ...), float
            As :func:`featx.extract` gives them for the run's specs, side by side if these are several. Nothing in an
            array says what made it, so only its shape can be checked: where there is a store, give that to
            :meth:`predict`.

        Returns
        -------
        list of Prediction
            Their keys are ``features[0]``, ``features[1]``, ...

        Raises
        ------
        HeadError
            If the shape is not the one that the head was trained on, or a number is not finite.
        """
        return self._answers(found_in_array(self.run, np.asanyarray(features)))

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
            If the head gives scores or values, not probabilities.
        """
        found = self._find(images)
        if found.failures:
            row, reason = min(found.failures.items())
            raise SampleError(f"{found.keys[row]!r} cannot be used ({reason}): leave it out, or use predict")
        scores, is_probability = (None, False) if self.run.task == "regression" else self._scores(found)
        if scores is None or not is_probability:
            raise ParameterError(f"head {self.run.settings['head']!r} gives no probabilities: use predict")
        probabilities = np.zeros((len(found.keys), len(self.classes)))
        probabilities[:, np.asarray(self.run.head.classes_)] = scores
        return probabilities

    def export_onnx(self, path: str | os.PathLike[str]) -> Path:
        """Write backbone and head as one ONNX file, which needs neither featx nor torch to answer.

        Its one input ``images`` is uint8 of shape (n, height, width, 3): RGB images that are resized and cropped
        already. Its outputs are ``features``, and of a classifier ``probabilities`` (or ``scores``, of a head without)
        of shape (n, k), ``label`` of shape (n,) and, where the run has a threshold, ``accepted``; of several labels
        a sample ``labels`` of shape (n, k); of a regression ``values`` of shape (n, t). The names of classes and
        targets, the preprocessing, the spec and the run's name are in the file's ``metadata_props``.

        Parameters
        ----------
        path : path
            In a folder that is there; a file of that name is replaced.

        Returns
        -------
        Path

        Raises
        ------
        HeadError
            If the head's answers cannot be written as operations of ONNX.
        ParameterError
            If the head is on several backbones that take different images, or on several views of each image.
        EngineError
            If a backbone cannot be exported, or the file answers otherwise than :meth:`predict`.
        """
        from featx.prediction._export import export_onnx

        views = self.run.specs[0].views
        if views > 1:
            raise ParameterError(
                f"one ONNX file answers for the images it is shown; this head averages over {views} views of each,"
                " which are drawn from its file: predict with featx, or fit a head on one view"
            )
        return export_onnx(self.run, self._networks, Path(path))

    def _scores(self, found: Found) -> tuple[npt.NDArray[np.float64], bool]:
        return head_scores(self.run.head, found.features, views=found.views)

    def _answers(self, found: Found) -> list[Prediction]:
        answers: dict[int, Prediction] = {}
        if len(found.rows):
            keys = [found.keys[row] for row in found.rows.tolist()]
            answer = self._values if self.run.task == "regression" else self._classes
            answers.update(zip(found.rows.tolist(), answer(keys, found), strict=True))
        is_probability = any(answer.is_probability for answer in answers.values())
        for row, reason in found.failures.items():
            answers[row] = Prediction(found.keys[row], None, {}, is_probability, reason, accepted=False)
        return [answers[row] for row in range(len(found.keys))]

    def _values(self, keys: Sequence[str], found: Found) -> list[Prediction]:
        values = head_values(self.run.head, found.features, views=found.views)
        return [
            Prediction(key, None, {}, False, values=dict(zip(self.classes, row, strict=True)))
            for key, row in zip(keys, values.tolist(), strict=True)
        ]

    def _classes(self, keys: Sequence[str], found: Found) -> list[Prediction]:
        scores, is_probability = self._scores(found)
        names = [self.classes[label] for label in np.asarray(self.run.head.classes_).tolist()]
        several = self.run.task == "multilabel"
        present = 0.5 if is_probability else 0.0
        threshold = self.run.settings.get("reject", {}).get("threshold", -np.inf)
        answers = []
        for key, order, row in zip(keys, np.argsort(-scores, axis=1, kind="stable"), scores, strict=True):
            ranked = {names[column]: float(row[column]) for column in order}
            first = names[order[0]]
            if several:
                labels = tuple(name for name, score in ranked.items() if score > present)
                answers.append(Prediction(key, None, ranked, is_probability, labels=labels))
            else:
                accepted = ranked[first] >= threshold
                answers.append(Prediction(key, first, ranked, is_probability, accepted=accepted))
        return answers


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
