"""Whether an extraction would find everything in the cache and, if not, why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from featx.caching._network import Network, NetworkSettings
from featx.caching._targets import Wanted, existing_store, listing_digest, path_of
from featx.errors import StoreError
from featx.sources import Source, open_source
from featx.spec import DEFAULT_BACKBONE, ExtractionSpec
from featx.store import FeatureStore, cache_folder, list_stores, open_store

if TYPE_CHECKING:
    import os

    from torch import nn

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What :func:`extract` would find for one layer, as far as it can be told without opening an image.

    Parameters
    ----------
    spec : ExtractionSpec
        What is asked for.
    path : Path
        Where its store is, or would be.
    hit : bool
        Whether that store is there, for just these samples.
    unchanged : int
        Samples that are as that store has seen them.
    new, removed, changed, relabelled : tuple of str
        Keys of the samples that it does not have, that are there no more, whose size, time of change or inode is
        another (whether their content is, reading would tell), and that have another label, split or group.
    nearest : Path or None
        If there is no such store: the one of the same source with the fewest differences in the spec, else one of the
        same spec and another source, whose features are taken where images are the same.
    differences : tuple of str
        A line for each field in which the nearest store's spec differs, what is asked for first.
    shared_views : int
        How many leading views of equal images are taken from the nearest store.
    """

    spec: ExtractionSpec
    path: Path
    hit: bool
    unchanged: int = 0
    new: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    nearest: Path | None = None
    differences: tuple[str, ...] = ()
    shared_views: int = 0


def explain(
    source: Any,
    backbone: "str | nn.Module" = DEFAULT_BACKBONE,
    *,
    layers: Sequence[str] = (),
    limit: int | None = None,
    name: str | None = None,
    cache: "str | os.PathLike[str] | None" = None,
    out: "str | os.PathLike[str] | None" = None,
    **settings: Unpack[NetworkSettings],
) -> list[Explanation]:
    """Say whether an extraction would be a hit and, if not, what differs; nothing is computed, no image is opened.

    Parameters
    ----------
    source, backbone, limit, name, cache, out
        As :func:`extract` takes them.
    layers : sequence of str
        Names of nodes; empty for the default layer.
    **settings
        Those of :func:`extract` that decide the numbers: `weights`, `preprocessing`, `pool`, `image_size`, `resize`,
        `interpolation`, `mean`, `std`, `decode`, `dtype`, `device`, `precision`, `views`, `augment`, `augment_seed`.

    Returns
    -------
    list of Explanation
        One for each layer.
    """
    opened = open_source(source, limit=limit)
    network = Network(cache_folder(cache), backbone, layers=layers, **settings)
    listing = listing_digest(opened)
    explanations = []
    for wanted in network.resolved.wanted:
        path = path_of(wanted.spec, opened, name=name, cache=cache, out=out)
        store = existing_store(path, wanted.spec, opened.identity, named=None if out is None else "out")
        if store is None:
            explanations.append(_of_the_nearest(wanted, path, opened, list_stores(cache)))
        else:
            explanations.append(
                _of_the_samples(wanted, path, opened, store, hit=store.source.get("listing") == listing)
            )
    return explanations


def _of_the_samples(wanted: Wanted, path: Path, source: Source, store: FeatureStore, *, hit: bool) -> Explanation:
    if hit:
        return Explanation(wanted.spec, path, True, len(source))
    stats = zip(store.sizes.tolist(), store.mtimes_ns.tolist(), store.inodes.tolist(), strict=True)
    said = zip(store.samples.named_labels(), store.splits, store.groups, strict=True)
    before = dict(zip(store.keys, zip(stats, said, strict=True), strict=True))
    failed = {key for key, _ in store.failures}
    new, changed, relabelled = [], [], []
    for sample in source.samples:
        if sample.key in failed:
            changed.append(sample.key)
        elif sample.key not in before:
            new.append(sample.key)
        else:
            stat, known = before[sample.key]
            if stat != (sample.size, sample.mtime_ns, sample.inode) or sample.size < 0:
                changed.append(sample.key)
            if known != (sample.label, sample.split or "", sample.group or ""):
                relabelled.append(sample.key)
    keys = {sample.key for sample in source.samples}
    return Explanation(
        wanted.spec,
        path,
        False,
        unchanged=len(source) - len(new) - len(changed),
        new=tuple(new),
        removed=tuple(key for key in (*store.keys, *sorted(failed)) if key not in keys),
        changed=tuple(changed),
        relabelled=tuple(relabelled),
    )


def _of_the_nearest(wanted: Wanted, path: Path, source: Source, candidates: Sequence[Path]) -> Explanation:
    found: list[tuple[int, int, Path, list[str]]] = []
    for candidate in candidates:
        try:
            store = open_store(candidate)
        except StoreError:
            continue
        differences = wanted.spec.differences(store.spec)
        if store.source.get("identity") == source.identity or not differences:
            shared = wanted.spec.shared_views(store.spec)
            found.append((len(differences) or 1_000, -shared, candidate, differences))
    keys = tuple(sample.key for sample in source.samples)
    if not found:
        return Explanation(wanted.spec, path, False, new=keys)
    _, shared, nearest, differences = min(found)
    return Explanation(
        wanted.spec, path, False, new=keys, nearest=nearest, differences=tuple(differences), shared_views=-shared
    )
