"""Drawing samples: a lot is a digest of seed and name, so that it depends on nothing else that is there."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from featx.errors import ParameterError
from featx.labels import Label, task_of
from featx.sources._base import Sample

_BYTES = 6
"""Of a digest: what a float holds exactly."""

Unit = tuple[bool, str]
"""What is not torn apart: a group (True), or a sample that is in none, by its key."""


def thinned(samples: Sequence[Sample], most: int, seed: int) -> list[int]:
    """Return the positions of at most `most` samples of each class in each split, and of all without a label.

    Raises
    ------
    ParameterError
        If the samples have no classes, or several each.
    """
    labels = [sample.label for sample in samples]
    if not any(isinstance(label, str) for label in labels):
        raise ParameterError("max_per_class needs samples that are of one class each, and these are not: leave it out")
    rows_of: dict[tuple[str | None, Label | None], list[int]] = defaultdict(list)
    for row, sample in enumerate(samples):
        rows_of[sample.split, sample.label].append(row)
    kept = []
    for (_, label), rows in rows_of.items():
        rows.sort(key=lambda row: _lot(seed, "choose", samples[row].key))
        kept += rows if label is None else rows[:most]
    return sorted(kept)


def divided(samples: Sequence[Sample], fractions: Mapping[str, float], seed: int, *, by_hash: bool) -> list[Sample]:
    """Return the samples with those that have no split divided into ``train`` and the splits in `fractions`.

    Parameters
    ----------
    samples : sequence of Sample
    fractions : dict of str to float
        Of ``val`` and ``test``, or one of them. ``val`` is drawn from one end of the lots and ``test`` from the other:
        neither depends on the other's share.
    seed : int
    by_hash : bool
        Whether the lot alone decides, not its place among those of the class.

    Raises
    ------
    ParameterError
        If all samples have a split, or so few have none that a share of them is no sample.
    """
    members: dict[Unit, list[int]] = defaultdict(list)
    for row, sample in enumerate(samples):
        if sample.split is None:
            members[sample.group is not None, sample.group or sample.key].append(row)
    if not members:
        raise ParameterError(
            f"{' and '.join(f'{split}_fraction' for split in fractions)} divide samples without a split, and all"
            f" {len(samples)} have one: leave them out (`featx fit-head --val` can draw from a split for training)"
        )
    lots = {unit: _lot(seed, "split", unit[1]) for unit in members}
    if by_hash:
        sides = {unit: _side(value, fractions) for unit, value in lots.items()}
    else:
        sides = _stratified(samples, dict(sorted(members.items(), key=lambda item: lots[item[0]])), fractions, seed)
    drawn = list(samples)
    for unit, rows in members.items():
        for row in rows:
            drawn[row] = replace(samples[row], split=sides[unit])
    for split in ("train", *fractions):
        if split not in sides.values():
            raise ParameterError(
                f"{split} would get none of the {sum(map(len, members.values()))} samples without a split: set other"
                " fractions, or give more samples"
            )
    return drawn


def _lot(seed: int, purpose: str, name: str) -> float:
    """Return a number from 0 to 1 (never 1); of different purposes they have nothing to do with each other."""
    text = f"{seed}\0{purpose}\0{name}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:_BYTES]) / float(256**_BYTES)


def _side(lot: float, fractions: Mapping[str, float]) -> str:
    if lot < fractions.get("val", 0):
        return "val"
    return "test" if lot >= 1 - fractions.get("test", 0) else "train"


def _stratified(
    samples: Sequence[Sample], members: Mapping[Unit, Sequence[int]], fractions: Mapping[str, float], seed: int
) -> dict[Unit, str]:
    """Return the split of each unit, drawn class by class; each class keeps some for training.

    The units in `members` are in the order of their lots.
    """
    by_class = task_of(sample.label for sample in samples) == "classification"
    strata: dict[Label | None, list[Unit]] = defaultdict(list)
    for unit, rows in members.items():
        labels = Counter(samples[row].label for row in rows)
        strata[labels.most_common(1)[0][0] if by_class else None].append(unit)
    sides = dict.fromkeys(members, "train")
    for split, fraction in fractions.items():
        sizes = {label: sum(len(members[unit]) for unit in units) for label, units in strata.items()}
        quotas = _quotas(sizes, fraction, seed)
        for label, units in strata.items():
            free = [unit for unit in (units if split == "val" else reversed(units)) if sides[unit] == "train"]
            for unit in _filling({unit: len(members[unit]) for unit in free}, quotas[label]):
                sides[unit] = split
    return sides


def _quotas(sizes: Mapping[Label | None, int], fraction: float, seed: int) -> dict[Label | None, int]:
    """Return how many samples of each class to draw: its share rounded up or down, so that the sum is right, too."""
    exact = {label: size * fraction for label, size in sizes.items()}
    quotas = {label: int(share) for label, share in exact.items()}
    rest = round(sum(exact.values())) - sum(quotas.values())
    by_remainder = sorted(exact, key=lambda label: (quotas[label] - exact[label], _lot(seed, "quota", str(label))))
    for label in by_remainder[:rest]:
        quotas[label] += 1
    return quotas


def _filling(sizes: Mapping[Unit, int], wanted: int) -> list[Unit]:
    """Return units, the first ones first and never all, that come as near to `wanted` samples as they can."""
    chosen: list[Unit] = []
    total = 0
    for unit, size in sizes.items():
        if len(chosen) < len(sizes) - 1 and abs(total + size - wanted) < abs(total - wanted):
            chosen.append(unit)
            total += size
    return chosen
