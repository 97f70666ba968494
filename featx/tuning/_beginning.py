"""What fine-tuning begins with: a network, the layer whose features the head is given, and the head itself."""

import os
from typing import Any

from featx.backbones import Backbone, load_backbone
from featx.errors import BackboneError, ParameterError
from featx.extraction import Output, plan_outputs, reload_backbone
from featx.fitting import Run
from featx.spec import DEFAULT_BACKBONE, require_same_spec

__all__ = ["begin_anew", "begin_with"]


def begin_with(
    run: Run,
    backbone: str | None,
    *,
    weights: str | os.PathLike[str] | None,
    layer: str | None,
    pool: str | None,
    changes: dict[str, Any],
) -> tuple[Backbone, Output]:
    """Return the network that a run's head was fitted on, and the layer that it is given.

    Parameters
    ----------
    run : Run
    backbone, weights, layer, pool, changes
        What was asked for; None is what the run has.

    Raises
    ------
    ParameterError
        The head is on several stores, or on features whose network there is none of.
    SpecMismatchError
        What was asked for differs from what the head was fitted on.
    """
    if len(run.specs) > 1:
        raise ParameterError(
            f"init_head must be fitted on one store, to be trained with its network; {run.name} was on"
            f" {len(run.specs)}: fit a head on one of them"
        )
    (spec,), (origin,) = run.specs, run.backbones
    asked = {name: value for name, value in changes.items() if value is not None}
    if backbone is None and not origin.get("reloadable", True):
        raise BackboneError(
            f"backbone {origin['name']} was given as a network, which a run does not hold: fit the head on features of"
            " MODULE:FUNCTION"
        )
    if backbone is None or (weights is None and backbone in (origin["name"], origin["name"].partition(":")[2])):
        network, _ = reload_backbone(spec, origin, weights=weights)
    else:
        images = spec.preprocessing
        network = load_backbone(backbone, weights=weights, preprocessing=images, image_size=images.side)
    network = load_backbone(network, **asked)
    (output,) = plan_outputs(
        network, layers=[layer or spec.layer], pool=pool or spec.pool, precision=spec.precision, dtype=spec.dtype
    )
    require_same_spec(spec.plain, output.spec, what="what is to be fine-tuned")
    return network, output


def begin_anew(
    backbone: str | None,
    *,
    weights: str | os.PathLike[str] | None,
    layer: str | None,
    pool: str | None,
    changes: dict[str, Any],
) -> tuple[Backbone, Output]:
    """Return a network for a head that is not trained yet, and the layer that this is given."""
    network = load_backbone(backbone or DEFAULT_BACKBONE, weights=weights, **changes)
    (output,) = plan_outputs(network, layers=() if layer is None else (layer,), pool=pool)
    return network, output
