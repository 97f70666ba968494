"""The networks that a head was trained on, or that a store's features are of, loaded again."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from featx.errors import BackboneError, SpecMismatchError
from featx.fitting import Run
from featx.spec import ExtractionSpec, Preprocessing, require_same_spec
from featx.store import IMPORTED, FeatureStore

if TYPE_CHECKING:
    from torch import nn

    from featx.backbones import Backbone
    from featx.extraction import Output

__all__ = ["load_network", "load_networks"]


def load_network(
    store: FeatureStore, *, backbone: "str | nn.Module | None" = None, weights: str | os.PathLike[str] | None = None
) -> "tuple[Backbone, Output]":
    """Return backbone and output that give the features of a store's plain images.

    Parameters
    ----------
    store : FeatureStore
    backbone : str or torch.nn.Module, optional
        Instead of what the store says.
    weights : str or path, optional
        Likewise.

    Raises
    ------
    BackboneError
        If the store does not say how to load the network.
    SpecMismatchError
        If what is loaded would give other features.
    """
    from featx.extraction import reload_backbone

    spec, origin = store.spec.plain, store.backbone
    if backbone is None:
        if spec.backbone.startswith(f"{IMPORTED}:"):
            raise BackboneError(
                f"the features of {store.path} were imported as {spec.backbone.partition(':')[2]!r}, whose network"
                " featx does not have, so other images have none to compare: give keys of the store"
            )
        if not origin.get("reloadable", True) or not {"name", "weights"} <= origin.keys():
            raise BackboneError(
                f"backbone {origin.get('name', spec.backbone)} of {store.path} was given as a network, which a store"
                " does not hold: give it again, backbone=network, or give keys of the store"
            )
    network, output = reload_backbone(spec, origin, backbone=backbone, weights=weights)
    if lines := spec.differences(output.spec):
        raise SpecMismatchError(
            f"backbone {network.name} as it is loaded here differs from what made {store.path} in {'; '.join(lines)}"
            " (stored against here): bring back what made it, or extract again"
        )
    return network, output


def load_networks(
    run: Run, *, backbone: "str | nn.Module | None" = None, weights: str | os.PathLike[str] | None = None
) -> "list[tuple[Backbone, Output]]":
    """Return backbone and output for each of a run's specs; a backbone that several share is loaded once.

    Parameters
    ----------
    run : Run
    backbone : str or torch.nn.Module, optional
        Instead of what the run says.
    weights : str or path, optional
        Likewise.

    Raises
    ------
    BackboneError
        If the run does not hold the network.
    SpecMismatchError
        If what is loaded would give other features than the head was trained on.
    """
    from featx.extraction import output_of, reload_backbone

    loaded: dict[tuple[str, str, Preprocessing], Backbone] = {}
    parts = []
    for spec, origin in zip(run.specs, run.backbones, strict=True):
        if backbone is None:
            _require_reloadable(spec, origin)
        known = loaded.get((spec.backbone, spec.weights, spec.preprocessing))
        if known is None:
            network, output = reload_backbone(spec, origin, backbone=backbone, weights=weights)
            loaded[spec.backbone, spec.weights, spec.preprocessing] = network
        else:
            network, output = known, output_of(known, spec)
        require_same_spec(spec, output.spec, what=f"backbone {network.name} as it is loaded here")
        parts.append((network, output))
    return parts


def _require_reloadable(spec: ExtractionSpec, origin: Mapping[str, Any]) -> None:
    if spec.backbone.startswith(f"{IMPORTED}:"):
        raise BackboneError(
            f"the head was fitted on features imported as {spec.backbone.partition(':')[2]!r}, whose network"
            " featx does not have, so it cannot predict images: use `featx evaluate RUN STORE` on another import"
            " of that name"
        )
    if not origin.get("reloadable", True):
        raise BackboneError(
            f"backbone {origin['name']} was given as a network, which a run does not hold: give it again,"
            " featx.load(run, backbone=network)"
        )
