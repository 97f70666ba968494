"""Nearest neighbours as a torch module: the training rows are in the graph."""

from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["NearestNeighbours"]

_MORE = 8
"""Candidates beyond those that vote which are compared again by differences: products may misplace close ones."""

_MIDDLE_ROWS = 256


class NearestNeighbours(nn.Module):
    """Mean of what the training rows nearest to a query say: shares of the votes, or values.

    Parameters
    ----------
    head : KNNClassifier or KNNRegressor
        Fitted.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    rows: torch.Tensor
    halves: torch.Tensor
    said: torch.Tensor
    weights: torch.Tensor

    def __init__(self, head: Any) -> None:
        super().__init__()
        params, arrays = head.head_state()
        X, y, weights = arrays["X"], arrays["y"], arrays.get("row_weights")
        self.cosine = params["metric"] == "cosine"
        self.by_distance = params["weights"] == "distance"
        self.k = self.most = params["n_neighbors"]
        if weights is not None:  # rows are counted by them, up to k: of the lightest, the most are needed
            self.most = min(len(X), int(np.searchsorted(np.cumsum(np.sort(weights)), self.k)) + 1)
        self.weighted = weights is not None
        mean, scale = arrays.get("mean"), arrays.get("scale")
        if mean is None:  # far from the middle of the rows, products of float32 would cancel
            middle = X[:: max(1, len(X) // _MIDDLE_ROWS)].mean(axis=0, dtype=np.float64)
            mean, scale = np.zeros(X.shape[1]) if self.cosine else middle, np.ones(X.shape[1])
        said = np.eye(len(head.classes_))[y] if hasattr(head, "classes_") and y.ndim == 1 else y
        for name, values in {"mean": mean, "scale": scale, "said": said}.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(values, dtype=np.float32)))
        rows = self._points(torch.from_numpy(np.asarray(X, dtype=np.float32)))
        self.register_buffer("rows", rows)
        self.register_buffer("halves", 0.5 * rows.square().sum(dim=1))
        given = np.ones(len(X)) if weights is None else weights
        self.register_buffer("weights", torch.from_numpy(np.asarray(given, dtype=np.float32)))

    def _points(self, features: torch.Tensor) -> torch.Tensor:
        """Return the points whose Euclidean distances order the rows."""
        points = (features - self.mean) / self.scale
        if self.cosine:
            lengths = points.norm(dim=1, keepdim=True)
            points = points / torch.where(lengths > 0, lengths, 1)
        return points

    def _distances(self, queries: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        # The sums are in float64 so that, as float32, those of equal rows are equal, in whatever order they are added.
        squares = (rows - queries).double().square().sum(dim=2).float()
        if not self.cosine:
            return squares.sqrt()
        directed = rows.abs().sum(dim=2) * queries.abs().sum(dim=2) > 0  # a row of zeros is at distance 1
        return torch.where(directed, 0.5 * squares, 1)

    def _votes(self, distances: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
        votes = torch.ones_like(distances)
        if self.weighted:
            weights = self.weights[nearest]
            votes = torch.minimum((self.k - (weights.cumsum(dim=1) - weights)).clamp(min=0), weights)
        if self.by_distance:
            equal = distances == 0  # if there are any, only these count
            inverse = torch.where(equal, 0, 1 / torch.where(equal, 1, distances))
            votes = votes * torch.where(equal.any(dim=1, keepdim=True), equal.float(), inverse)
        return votes

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        queries = self._points(features)
        nearness = queries @ self.rows.T - self.halves  # half the squared distance, less what is the same for all rows
        candidates = nearness.topk(min(self.most + _MORE, len(self.rows)), dim=1).indices.sort(dim=1).values
        distances = self._distances(queries[:, None], self.rows[candidates])
        distances, place = _sorted(distances)  # the candidates are in order of rows: of equal distances, the first row
        nearest = candidates.gather(1, place[:, : self.most])
        votes = self._votes(distances[:, : self.most], nearest)
        return (votes[:, :, None] * self.said[nearest]).sum(dim=1) / votes.sum(dim=1, keepdim=True)


def _sorted(distances: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return distances in increasing order, equal ones as they come, and where they were."""
    if torch.compiler.is_exporting():  # ONNX sorts like that unasked, and has no word to ask for it
        return distances.sort(dim=1)
    return distances.sort(dim=1, stable=True)
