"""One ONNX file of backbone and head, which explains itself."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from featx.errors import EngineError
from featx.extraction import export_model
from featx.fitting import Run
from featx.heads import head_scores, head_values, load_head, save_head
from featx.prediction._graph import head_module
from featx.spec import Preprocessing

if TYPE_CHECKING:
    from featx.backbones import Backbone
    from featx.extraction import Output

__all__ = ["export_onnx"]

_CLOSE = 1e-4
"""How far the file's probabilities may be from the head's; of scores and values, in units of the largest."""

_RESIZING = {
    "crop": "resized so that it just covers {0} x {1} pixels (height x width), keeping its aspect ratio",
    "squash": "resized to {0} x {1} pixels (height x width), whatever its aspect ratio",
    "pad": "resized so that it just fits into {0} x {1} pixels (height x width), keeping its aspect ratio",
}


class _Answers(nn.Module):
    """From features to all that the file answers with."""

    def __init__(self, head: nn.Module, task: str, *, present: float, threshold: float | None) -> None:
        super().__init__()
        self.head = head
        self.task = task
        self.present = present
        self.threshold = threshold

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        scores = self.head(features)
        if self.task == "regression":
            return (scores,)
        if self.task == "multilabel":
            return scores, scores > self.present
        answers = scores, scores.argmax(dim=1)
        return answers if self.threshold is None else (*answers, scores.amax(dim=1) >= self.threshold)


def export_onnx(run: Run, networks: "list[tuple[Backbone, Output]]", path: Path) -> Path:
    """Write what :meth:`featx.Predictor.export_onnx` says."""
    head = _as_stored(run.head)
    threshold = run.settings.get("reject", {}).get("threshold") if run.task == "classification" else None
    is_probability = run.task != "regression" and hasattr(head, "predict_proba")
    names = {
        "classification": ["probabilities" if is_probability else "scores", "label"],
        "multilabel": ["probabilities" if is_probability else "scores", "labels"],
        "regression": ["values"],
    }[run.task] + (["accepted"] if threshold is not None else [])
    present = 0.5 if is_probability else 0.0
    answers = _Answers(head_module(head), run.task, present=present, threshold=threshold)

    def check(found: dict[str, npt.NDArray[Any]]) -> None:
        features, got = found["features"], found[names[0]]
        expected = head_values(head, features) if run.task == "regression" else head_scores(head, features)[0]
        size = 1.0 if is_probability else max(1.0, float(np.abs(expected).max()))
        apart = float(np.abs(got - expected).max()) if got.shape == expected.shape else np.inf
        if not apart <= _CLOSE * size:  # not the other way round, for NaN's sake
            raise EngineError(
                f"the exported graph's {names[0]} differ from the head's by {apart:.1e}: predict with featx instead"
            )

    preprocessing = networks[0][1].spec.preprocessing
    export_model(
        networks,
        answers,
        path,
        outputs=names,
        metadata=_metadata(run, head, preprocessing),
        description=_input_in_words(preprocessing),
        check=check,
    )
    return path


def _as_stored(head: Any) -> Any:
    """Return a head as it is after it has been stored: what has many forms in memory has one of few on the disk."""
    with TemporaryDirectory() as folder:
        save_head(head, Path(folder))
        return load_head(Path(folder))


def _input_in_words(preprocessing: Preprocessing) -> str:
    height, width = preprocessing.crop_size
    colour = tuple(round(255 * value) for value in preprocessing.mean)
    resizing = _RESIZING[preprocessing.resize].format(*preprocessing.resize_size)
    return (
        f"images: uint8 of shape (n, {height}, {width}, 3), RGB. Each is turned upright as its EXIF data say,"
        f" {resizing}, with Pillow's {preprocessing.interpolation} filter, and its centre of {height} x {width} is cut"
        f" out; what lies outside the image has the colour {colour}. Scaling to 0..1, mean and std are in the graph."
    )


def _metadata(run: Run, head: Any, preprocessing: Preprocessing) -> dict[str, str]:
    """Return what the file says of itself; JSON where it is not plain text."""
    columns = range(len(run.classes)) if run.task == "regression" else np.asarray(head.classes_).tolist()
    reject = run.settings.get("reject")
    return {
        "featx.run": run.name,
        "featx.task": run.task,
        "featx.head": run.settings["head"],
        "featx.classes": json.dumps([run.classes[column] for column in columns]),
        "featx.input": _input_in_words(preprocessing),
        "featx.preprocessing": json.dumps(preprocessing.to_dict()),
        "featx.specs": json.dumps([spec.to_dict() for spec in run.specs]),
        **({} if reject is None else {"featx.reject": json.dumps(reject)}),
    }
