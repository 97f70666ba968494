"""The same samples, arranged otherwise: labels and splits by name or by lot, and no more of a class than wanted."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import translate
from functools import cached_property
from typing import Any

from featx.errors import ParameterError
from featx.sources._base import ImageArray, Sample, Source
from featx.sources._layout import canonical_split
from featx.sources._lots import divided, thinned


class ArrangedSource(Source):
    """A source with other labels and splits, or with part of the samples.

    In this order: labels are read from keys, splits are read from keys, classes are cut down, and what has no split
    then is divided by fractions. Labels and splits say nothing of the features: :attr:`identity` stays what it is, and
    the store of the source is brought up to date without a computation. Cut down it is a source of its own.

    Parameters
    ----------
    source : Source
        Where the samples come from.
    label_pattern : str, optional
        Regular expression that is searched for in each key; the label is its group ``label``, else its first. A key
        that it does not match is an error, a group that stays empty means "no label".
    split_pattern : mapping of str to str, or sequence of (str, str), optional
        Splits, and shell patterns that are held against the whole of a key (``*`` matches ``/``, too). The first that
        matches counts; a key that none matches keeps the split that it has.
    val_fraction, test_fraction : float, optional
        Shares of the samples without a split that become ``val`` and ``test``; the others become ``train``. Samples of
        one group stay together.
    split_seed : int, optional
        For all that is drawn; by default 0.
    split_hash : bool
        Whether the side a sample is on depends on its key (or group) alone, and so stays when others are added. The
        shares are then met roughly; without it, within one sample for each class.
    max_per_class : int, optional
        How many samples of a class are kept at most in each split. Those of a smaller number are part of those of a
        larger one. Samples without a label are all kept.
    """

    def __init__(
        self,
        source: Source,
        *,
        label_pattern: str | None = None,
        split_pattern: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        val_fraction: float | None = None,
        test_fraction: float | None = None,
        split_seed: int | None = None,
        split_hash: bool = False,
        max_per_class: int | None = None,
    ) -> None:
        self._source = source
        self._label_pattern = None if label_pattern is None else _label_pattern(label_pattern)
        pairs = split_pattern.items() if isinstance(split_pattern, Mapping) else split_pattern or ()
        self._split_patterns = [(split, glob, _split_pattern(split, glob)) for split, glob in pairs]
        self._fractions = _fractions(val_fraction, test_fraction)
        self._hash = split_hash
        self._most = max_per_class
        self._seed = split_seed or 0
        _check(max_per_class, split_seed, split_hash, draws=bool(self._fractions))
        given = {
            "label_pattern": label_pattern,
            "split_pattern": [[split, glob] for split, glob in pairs] or None,
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
            "split_seed": split_seed,
            "split_hash": split_hash or None,
            "max_per_class": max_per_class,
        }
        self._given = {parameter: value for parameter, value in given.items() if value is not None}
        name, identity = source.name, source.identity
        if max_per_class is not None:
            name = f"{name}-max{max_per_class}"
            identity = f"{identity}#per-class={max_per_class}" + (f",{self._seed}" if self._seed else "")
        super().__init__(name, identity)

    @property
    def arranged(self) -> dict[str, Any]:
        """What this was made with, over what the source was arranged by."""
        return {**self._source.arranged, **self._given}

    @cached_property
    def _placed(self) -> list[tuple[int, Sample]]:
        """Positions in the source, and the samples that are there as they are here."""
        samples = list(self._source.samples)
        if self._label_pattern is not None:
            samples = _labelled(samples, self._label_pattern)
        if self._split_patterns:
            samples = _split_by_name(samples, self._split_patterns)
        rows = list(range(len(samples))) if self._most is None else thinned(samples, self._most, self._seed)
        samples = [samples[row] for row in rows]
        if self._fractions:
            samples = divided(samples, self._fractions, self._seed, by_hash=self._hash)
        return list(zip(rows, samples, strict=True))

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The samples, in the order of the source."""
        return tuple(self._list())

    def _list(self) -> Iterator[Sample]:
        return (sample for _, sample in self._placed)

    def _read(self, index: int) -> bytes | ImageArray:
        return self._source.read(self._placed[index][0])

    def _declared_classes(self) -> Iterable[str]:
        return self._source._declared_classes() if self._label_pattern is None else ()


def _label_pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ParameterError(
            f"label_pattern must be a regular expression; got {text!r} ({error}): correct it"
        ) from error
    if not pattern.groups:
        raise ParameterError(
            f"label_pattern must have a group, which is the label; got {text!r}: put that part in parentheses"
        )
    return pattern


def _split_pattern(split: str, glob: str) -> re.Pattern[str]:
    if not split or not glob:
        raise ParameterError(f"split_pattern must be a split and a pattern of keys; got {split!r} and {glob!r}")
    return re.compile(translate(glob))


def _fractions(val: float | None, test: float | None) -> dict[str, float]:
    fractions = {split: share for split, share in (("val", val), ("test", test)) if share is not None}
    for split, fraction in fractions.items():
        if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
            raise ParameterError(f"{split}_fraction must be a number between 0 and 1; got {fraction!r}")
    if sum(fractions.values()) >= 1:
        raise ParameterError(
            f"val_fraction and test_fraction must be below 1 together; got {val} and {test}: leave some for training"
        )
    return fractions


def _check(most: int | None, seed: int | None, by_hash: bool, *, draws: bool) -> None:
    for parameter, value, least in (("max_per_class", most, 1), ("split_seed", seed, 0)):
        if value is not None and (type(value) is not int or value < least):
            raise ParameterError(f"{parameter} must be a whole number of at least {least}; got {value!r}")
    if seed is not None and not draws and most is None:
        raise ParameterError(
            "split_seed needs something to draw: set val_fraction, test_fraction or max_per_class, or leave it out"
        )
    if by_hash and not draws:
        raise ParameterError(
            "split_hash needs a share to divide by: set val_fraction or test_fraction, or leave it out"
        )


def _labelled(samples: Sequence[Sample], pattern: re.Pattern[str]) -> list[Sample]:
    group = "label" if "label" in pattern.groupindex else 1
    found = [pattern.search(sample.key) for sample in samples]
    missed = [sample.key for sample, match in zip(samples, found, strict=True) if match is None]
    if missed:
        raise ParameterError(
            f"label_pattern must match every key; {pattern.pattern!r} does not match {len(missed)} of {len(samples)},"
            f" such as {missed[0]!r}: extend it (a group that may stay empty leaves a sample without a label)"
        )
    labels = [(match[group] or None) if match else None for match in found]
    if not any(labels):
        raise ParameterError(f"label_pattern must give a label to some key; {pattern.pattern!r} gives none: correct it")
    return [replace(sample, label=label) for sample, label in zip(samples, labels, strict=True)]


def _split_by_name(samples: Sequence[Sample], patterns: Sequence[tuple[str, str, re.Pattern[str]]]) -> list[Sample]:
    counts = [0] * len(patterns)
    arranged = []
    for sample in samples:
        number = next((i for i, (_, _, pattern) in enumerate(patterns) if pattern.match(sample.key)), None)
        if number is not None:
            counts[number] += 1
            split = patterns[number][0]
            sample = replace(sample, split=canonical_split(split) or split)
        arranged.append(sample)
    for count, (split, glob, _) in zip(counts, patterns, strict=True):
        if not count:
            raise ParameterError(
                f"split_pattern must match a key that no pattern before it does; {split}={glob} matches none of"
                f" {len(samples)}, such as {samples[0].key!r}: correct it"
            )
    return arranged
