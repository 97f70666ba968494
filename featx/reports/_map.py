"""A map of a store's features: where samples lie in the plane, and which a page can name there."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from featx.errors import MissingDependencyError, ParameterError, did_you_mean, printable
from featx.reports._sketch import Sketch
from featx.reports._vectors import Rows

if TYPE_CHECKING:
    from featx.plots import AxesBox

__all__ = ["MAP_LIMITS", "MAP_METHODS", "MapMethod", "check_method", "map_points", "map_spots"]

MapMethod = Literal["pca", "tsne", "umap"]
MAP_METHODS: tuple[MapMethod, ...] = get_args(MapMethod)

MAP_LIMITS: Mapping[MapMethod, int] = {"tsne": 10_000}
"""Samples of a map that would take too long with more: a minute or so."""

_COMPONENTS = 50
"""Principal components that t-SNE and UMAP start from, as L. van der Maaten (tsne FAQ) and scikit-learn advise."""

_FEWEST = 10
"""Samples that t-SNE and UMAP need."""

Floats = npt.NDArray[np.float64]


def check_method(method: str, n: int) -> None:
    """Raise ParameterError unless a map of `n` samples can be made so, and MissingDependencyError without UMAP."""
    if method not in MAP_METHODS:
        raise ParameterError(
            f"method must be one of {', '.join(MAP_METHODS)}; got {method!r}{did_you_mean(str(method), MAP_METHODS)}"
        )
    if method != "pca" and n < _FEWEST:
        raise ParameterError(f"method {method} needs at least {_FEWEST} samples; got {n}: take pca")
    if method == "umap":
        _umap()


def map_points(sketch: Sketch, method: MapMethod, *, rows: Rows | None = None, seed: int = 0) -> Floats:
    """Return where samples lie in the plane.

    Parameters
    ----------
    sketch : Sketch
    method : {"pca", "tsne", "umap"}
        The first two principal components; or t-SNE or UMAP of the first 50.
    rows : ndarray of int64, optional
        Of the sketch; all by default.
    seed : int
        Of UMAP; t-SNE starts from the first two components.

    Returns
    -------
    ndarray of shape (n, 2), float64
    """
    scores = sketch.scores if rows is None else sketch.scores[rows]
    if method == "pca":
        points = np.zeros((len(scores), 2))
        points[:, : scores.shape[1]] = scores[:, :2]
        return points
    start = np.ascontiguousarray(scores[:, :_COMPONENTS])
    if method == "tsne":
        from sklearn.manifold import TSNE

        made = TSNE(init="pca", perplexity=min(30.0, (len(start) - 1) / 3), random_state=seed)
    else:
        made = _umap().UMAP(n_neighbors=min(15, len(start) - 1), random_state=seed, n_jobs=1)
    placed: Floats = made.fit_transform(start).astype(np.float64)
    return placed


def map_spots(
    box: "AxesBox", points: Floats, captions: Sequence[Sequence[str]], sources: Sequence[str | None]
) -> list[list[Any]]:
    """Return the points that a page can name, for the page's script.

    Parameters
    ----------
    box : AxesBox
        Of the figure that shows them.
    points : ndarray of shape (m, 2)
    captions : sequence of sequence of str, length m
        Lines of text.
    sources : sequence of str or None, length m
        Addresses of images.

    Returns
    -------
    list of [x, y, lines, source]
        Places in fractions of the figure, from its upper left corner.
    """
    x = box.left + box.width * (points[:, 0] - box.x_low) / (box.x_high - box.x_low)
    y = 1 - box.bottom - box.height * (points[:, 1] - box.y_low) / (box.y_high - box.y_low)
    return [
        [across, down, [printable(line) for line in lines], source]
        for across, down, lines, source in zip(x.round(4).tolist(), y.round(4).tolist(), captions, sources, strict=True)
    ]


def _umap() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # that TensorFlow is not there, which nothing here needs
            import umap
    except ImportError as error:
        raise MissingDependencyError(
            "method umap needs umap-learn, which is not installed: pip install featx[umap]"
        ) from error
    return umap
