"""Exporting backbones and what comes after them as one ONNX file, from pixels to answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from featx.backbones import Backbone
from featx.errors import EngineError, ParameterError, first_line
from featx.extraction._capture import PixelsToRows, noise
from featx.extraction._export import BATCH, onnx_model, require_small, write_checked
from featx.extraction._outputs import Output
from featx.extraction._rows import require_same_rows
from featx.spec import Preprocessing

__all__ = ["FEATURES", "IMAGES", "export_model"]

IMAGES = "images"
"""Name of the input: uint8 (n, height, width, 3), RGB, of the crop's size."""

FEATURES = "features"
"""Name of the first output: float32 (n, ...), what is stored of the images, side by side."""

Arrays = dict[str, npt.NDArray[np.generic]]


class _PixelsToAnswers(nn.Module):
    """Backbones, their features side by side, and what answers from these."""

    def __init__(self, parts: Sequence[tuple[Backbone, Output]], head: nn.Module) -> None:
        super().__init__()
        networks = {id(backbone): backbone for backbone, _ in parts}
        groups = {key: [i for i, (backbone, _) in enumerate(parts) if id(backbone) == key] for key in networks}
        self.stems = nn.ModuleList(
            PixelsToRows(networks[key], [parts[i][1] for i in group]) for key, group in groups.items()
        )
        self.head = head
        self._order = np.argsort([i for group in groups.values() for i in group]).tolist()
        self._dtypes = [output.spec.dtype for _, output in parts]
        self.eval()

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        rows = [rows for stem in self.stems for rows in stem(pixels)]
        stored = [
            rows[i].half().float() if dtype == "float16" else rows[i]
            for i, dtype in zip(self._order, self._dtypes, strict=True)
        ]
        return stored[0] if len(stored) == 1 else torch.cat(stored, dim=-1)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.features(pixels)
        return features, *self.head(features)


def _require_same_pixels(parts: Sequence[tuple[Backbone, Output]]) -> None:
    """Raise ParameterError unless all networks are shown the same pixels; mean and std come after them."""
    (first, output), *others = parts
    for backbone, other in others:
        if _pixels_of(other.spec.preprocessing) != _pixels_of(output.spec.preprocessing):
            raise ParameterError(
                f"one ONNX file takes one size of images; {first.name} and {backbone.name} are shown images of"
                " different sizes, or resized differently: export a head on one of them"
            )


def _pixels_of(preprocessing: Preprocessing) -> Preprocessing:
    """Return what decides the pixels: the mean does as the colour around images that do not fill the crop."""
    fills = preprocessing.resize == "pad" or any(
        aim < crop for aim, crop in zip(preprocessing.resize_size, preprocessing.crop_size, strict=True)
    )
    return replace(preprocessing, std=(1, 1, 1), mean=preprocessing.mean if fills else (0, 0, 0))


def export_model(
    parts: Sequence[tuple[Backbone, Output]],
    head: nn.Module,
    path: Path,
    *,
    outputs: Sequence[str],
    metadata: Mapping[str, str],
    description: str,
    check: Callable[[Arrays], None],
) -> None:
    """Write backbones and what comes after them as one ONNX file, for any number of images if the networks let it.

    The arithmetic is float32, also where the features were made in less. The features are compared with torch's
    before the file gets its name.

    Parameters
    ----------
    parts : sequence of (Backbone, Output)
        In the order in which `head` takes their features; a backbone that is there twice is in the file once.
    head : torch.nn.Module
        From float32 features (n, ...) to a tuple of tensors (n, ...).
    path : Path
        In a folder that is there.
    outputs : sequence of str
        Names for what `head` returns.
    metadata : mapping of str to str
        For the file's ``metadata_props``.
    description : str
        For its ``doc_string``.
    check : callable
        Is given all outputs by name for images of noise; raises EngineError if they are not as they should be.

    Raises
    ------
    ParameterError
        If the backbones take different images.
    EngineError
        If it cannot be exported, or computes something else then.
    """
    _require_same_pixels(parts)
    what = " and ".join(dict.fromkeys(backbone.name for backbone, _ in parts))
    module = _PixelsToAnswers(parts, head)
    require_small(module, what=what)
    pixels = noise(parts[0][0], BATCH)
    names = [FEATURES, *outputs]

    def make(dynamic: bool) -> bytes:
        model = onnx_model(module, pixels, what=what, dynamic=dynamic, inputs=[IMAGES], outputs=names)
        model.producer_name, model.doc_string = "featx", description
        del model.metadata_props[:]
        for key, value in metadata.items():
            model.metadata_props.add(key=key, value=value)
        data: bytes = model.SerializeToString()
        return data

    def verify(graph: Path) -> None:
        for answers, batch in _run(graph, pixels):
            with torch.inference_mode():
                expected = module.features(torch.from_numpy(batch)).numpy()
            require_same_rows([answers[FEATURES]], [expected], what=f"the graph of {what}")
            check(answers)

    write_checked(path, make, verify)


def _run(graph: Path, pixels: npt.NDArray[np.uint8]) -> Iterator[tuple[Arrays, npt.NDArray[np.uint8]]]:
    """Yield what the file gives for batches of several sizes, or of the one that it takes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(graph.read_bytes(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        fixed = isinstance(session.get_inputs()[0].shape[0], int)
        for n in (BATCH,) if fixed else (BATCH - 1, 1):
            yield dict(zip(names, session.run(None, {IMAGES: pixels[:n]}), strict=True)), pixels[:n]
    except Exception as error:  # onnxruntime's exceptions have no common base but this
        raise EngineError(
            f"onnxruntime does not run the exported graph ({first_line(error)}): use engine torch"
        ) from error
