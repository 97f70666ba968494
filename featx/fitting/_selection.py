"""Which of several stores of the same samples are worth joining: greedy forward selection by cross-validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from featx.errors import ParameterError
from featx.evaluation import Figure, FoldComparison, compare_folds
from featx.fitting._contest import Result
from featx.store import FeatureStore

__all__ = ["Step", "select_stores"]

_LEVEL = 0.16
"""Chance of taking a useless store into the next step: that of a normal error of more than one standard error."""


@dataclass(frozen=True)
class Step:
    """One set of stores that a selection looked at.

    Attributes
    ----------
    stores : tuple of str
        In the order in which they came in; the last is the one that was tried.
    score : Figure
        Of the head's best setting on them.
    gain : FoldComparison or None
        With the best set so far, over the same folds; None in the first step.
    taken : bool
        Whether the selection went on from here.
    """

    stores: tuple[str, ...]
    score: Figure
    gain: FoldComparison | None
    taken: bool


def select_stores(
    stores: Sequence[FeatureStore], judge: Callable[[tuple[FeatureStore, ...]], Result | None], folds: int
) -> tuple[tuple[FeatureStore, ...], list[Step]]:
    """Choose the best store, and add the one that helps most for as long as it helps beyond chance.

    A further store is added if it helps, over the same folds, by more than the best of as many useless stores as were
    tried in that step would by chance: in the corrected resampled t-test
    (:func:`~featx.evaluation.compare_folds`), one-sided, at a level of 0.16 divided by their number. Where one store
    is tried that is about the rule of one standard error; the more are tried, the more the best of them must gain.
    More seeds give more figures, and so the power to see smaller gains.

    Parameters
    ----------
    stores : sequence of FeatureStore
        Of the same samples in the same order.
    judge : callable
        From joined stores to the best result on them; None if no head can be fitted there.
    folds : int
        Under one seed.

    Returns
    -------
    stores : tuple of FeatureStore
        In the order of choice.
    steps : list of Step
        All that were tried.

    Raises
    ------
    ParameterError
        If the stores are not of the same samples, or no head can be fitted on any.
    """
    for store in stores[1:]:
        if store.keys != stores[0].keys:
            raise ParameterError(
                f"stores to choose from must hold the same samples in the same order; {store.path.name} and"
                f" {stores[0].path.name} do not: extract both from the source as it is now"
            )
    steps: list[Step] = []
    chosen: tuple[FeatureStore, ...] = ()
    best: Result | None = None
    left = list(stores)
    while left:
        tried = [(store, judge((*chosen, store))) for store in left]
        judged = [(store, result) for store, result in tried if result is not None]
        if not judged:
            break
        store, result = max(judged, key=lambda pair: pair[1].score.value)  # of equals the first
        gains = [_gain(each, best, folds) for _, each in judged]
        gain = _gain(result, best, folds)
        is_better = gain is None or (gain.value > 0 and gain.p_value / 2 < _LEVEL / len(judged))
        steps += [
            Step(each.stores, each.score, more, taken=is_better and each is result)
            for (_, each), more in zip(judged, gains, strict=True)
        ]
        if not is_better:
            break
        chosen, best = (*chosen, store), result
        left.remove(store)
    if not chosen:
        raise ParameterError("stores to choose from must have one that a head can be fitted on; these have none")
    return chosen, steps


def _gain(result: Result, best: Result | None, folds: int) -> FoldComparison | None:
    return None if best is None else compare_folds(best.values, result.values, ratio=1 / (folds - 1))
