"""Loading again what made features: from a spec, and where its network came from."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from featx import backbones
from featx.extraction._outputs import Output, plan_outputs
from featx.spec import ExtractionSpec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["output_of", "reload_backbone"]


def reload_backbone(
    spec: ExtractionSpec,
    origin: Mapping[str, Any],
    *,
    backbone: "str | nn.Module | None" = None,
    weights: str | os.PathLike[str] | None = None,
) -> tuple[backbones.Backbone, Output]:
    """Load the network that made features, set up as it was, and plan the same output.

    Parameters
    ----------
    spec : ExtractionSpec
        Of the features.
    origin : mapping
        What their store, or a run, says of the network: its ``name``, and ``weights`` as they were given.
    backbone : str or torch.nn.Module, optional
        Instead of the name.
    weights : str or path, optional
        Instead of the weights that were given.

    Returns
    -------
    backbone : Backbone
    output : Output
        Its spec is what comes out now. Where it differs from `spec`, most likely in the weights, the features
        would be others: the caller is to refuse that, in words of its own.
    """
    if weights is None and isinstance(backbone, str | None):  # those of a network that is given are in it
        weights = origin["weights"]
    network = backbones.load_backbone(
        origin["name"] if backbone is None else backbone,
        weights=weights,
        preprocessing=spec.preprocessing,
        image_size=spec.preprocessing.side,
    )
    return network, output_of(network, spec)


def output_of(network: backbones.Backbone, spec: ExtractionSpec) -> Output:
    """Plan the output of a network that a spec describes."""
    (output,) = plan_outputs(
        network,
        layers=[spec.layer],
        pool=spec.pool,
        precision=spec.precision,
        dtype=spec.dtype,
        views=spec.views,
        augment=spec.augment,
        augment_seed=spec.augment_seed,
    )
    return output
