"""Runs of heads that are made here, not fitted by featx."""

import numpy as np

from featx.fitting import Run


def make_run(head, stores, *, task="classification", classes=("blue", "green", "red"), **settings):
    """Return a run of `head` on the features of `stores`."""
    widths = [int(np.prod(store.features.shape[1:])) for store in stores]
    return Run(
        head=head,
        classes=tuple(classes),
        specs=tuple(store.spec for store in stores),
        backbones=tuple(dict(store.backbone) for store in stores),
        settings={
            "task": task,
            "head": type(head).__name__,
            "params": {},
            "seed": 0,
            "stores": [
                {"name": store.name, "path": str(store.path), "rows": len(store), "checksum": store.checksum}
                for store in stores
            ],
            "rows": {},
            "n_features": sum(widths),
            **settings,
        },
        metrics={},
    )
