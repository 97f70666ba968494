"""Networks that featx has trained further: one file of weights that says which architecture and images they are for.

Reading what a file says of itself needs no torch.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featx.errors import FeatxError, WeightsError, first_line
from featx.spec import Preprocessing, canonical_json

if TYPE_CHECKING:
    from featx.backbones._backbone import Backbone

__all__ = ["NETWORK_FILE", "TunedNetwork", "find_network", "network_bytes"]

NETWORK_FILE = "network.safetensors"
"""What a run's folder calls the network that was trained in it."""

_KEY = "featx"
_FORMAT = "featx-network"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class TunedNetwork:
    """What a file of a tuned network says of itself.

    Parameters
    ----------
    backbone : str
        Qualified name of the architecture.
    weights : str
        The file's absolute path.
    preprocessing : Preprocessing
        Of the images that it was trained with.
    """

    backbone: str
    weights: str
    preprocessing: Preprocessing


def network_bytes(backbone: "Backbone") -> bytes:
    """Return a network's state dict as a safetensors file that :func:`find_network` knows."""
    from safetensors.torch import save

    facts = {
        "format": _FORMAT,
        "version": _VERSION,
        "backbone": backbone.name,
        "preprocessing": backbone.preprocessing.to_dict(),
    }
    tensors = {name: values.detach().cpu().clone() for name, values in backbone.network.state_dict().items()}
    contiguous = {name: values.contiguous() for name, values in tensors.items()}
    data: bytes = save(contiguous, metadata={_KEY: canonical_json(facts)})
    return data


def find_network(backbone: object) -> TunedNetwork | None:
    """Return the tuned network that a backbone's name stands for; None for any other name.

    Parameters
    ----------
    backbone : object
        Of a tuned network the path of a run's folder, or of the file in it.

    Raises
    ------
    WeightsError
        The folder of a run holds no network, or the file is none, is damaged, or is of a newer featx.
    """
    if not isinstance(backbone, str):
        return None
    path = Path(backbone)
    if (path / "run.json").is_file():
        path = path / NETWORK_FILE
        if not path.is_file():
            raise WeightsError(
                f"backbone {backbone!r} is a run that holds no network: only `featx fine-tune` trains one; name the"
                " backbone that its head was fitted on"
            )
    if not path.is_file() or path.suffix != ".safetensors":
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {}).get(_KEY, "{}"))
        if facts.get("format") != _FORMAT:
            raise WeightsError("its metadata do not say which")
        if facts["version"] > _VERSION:
            raise WeightsError(f"it is of format version {facts['version']}: upgrade featx")
        name, preprocessing = str(facts["backbone"]), Preprocessing.from_dict(facts["preprocessing"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, FeatxError) as error:
        raise WeightsError(
            f"backbone {backbone!r} is no network that featx has trained ({first_line(error)}): name an architecture,"
            " and give the file as weights (--weights FILE)"
        ) from error
    return TunedNetwork(name, os.path.realpath(path), preprocessing)
