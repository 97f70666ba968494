"""Two runs on the samples that both were judged by."""

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation import LOWER_IS_BETTER, Comparison, FoldComparison, compare_folds, compare_predictions
from featx.fitting._answers import Answers
from featx.fitting._run import Run

__all__ = ["RunComparison", "common_answers", "compare"]


@dataclass(frozen=True)
class RunComparison:
    """Two runs, a and b, on the same samples.

    Attributes
    ----------
    a, b : str
        Their names.
    part : str
        What was compared: ``val``, ``cv`` or ``test``.
    left_out : int
        Samples of that part that only one of them has.
    comparison : Comparison
        Each figure's difference, b - a.
    folds : FoldComparison or None
        For ``cv``, if both were cross-validated on the same folds: the headline's difference by the corrected resampled
        t-test, which knows that other training rows would have made other heads.
    """

    a: str
    b: str
    part: str
    left_out: int
    comparison: Comparison
    folds: FoldComparison | None

    @property
    def sentence(self) -> str:
        """The headline in words."""
        found = self.comparison
        name, difference = found.headline
        over = f"over {found.n} common sample{'' if found.n == 1 else 's'}"
        more = difference.value >= 0
        low, high = (difference.low, difference.high) if more else (-difference.high, -difference.low)
        if found.p_value is not None:
            if difference.value == 0:
                return f"a and b are right equally often ({100 * low:+.1f} to {100 * high:+.1f} points), {over}"
            return (
                f"b is right on {100 * abs(difference.value):.1f} points {'more' if more else 'fewer'}"
                f" ({100 * low:.1f} to {100 * high:.1f}), p = {found.p_value:.2g}, {over}"
            )
        better = "better" if more != (name in LOWER_IS_BETTER) else "worse"
        figure = name.replace("_", " ")
        return f"b is {better} by {abs(difference.value):.3f} in {figure} ({low:.3f} to {high:.3f}), {over}"

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as dicts and numbers, ready for JSON."""
        return {**asdict(self), "sentence": self.sentence}


def compare(
    run_a: Run | str | os.PathLike[str], run_b: Run | str | os.PathLike[str], part: str = "val", *, seed: int = 0
) -> RunComparison:
    """Compare two runs by the samples that both have answered and neither was fitted on.

    Parameters
    ----------
    run_a, run_b : Run, str or path
        Or the folders or names of them. They may be of other backbones, heads and stores; samples are matched by key.
    part : {"val", "cv", "test"}
        Which answers; ``test`` once both have been evaluated on it.
    seed : int
        Of the resamples.

    Returns
    -------
    RunComparison

    Raises
    ------
    ParameterError
        A run has no such answers, the two have other tasks, classes or truths, or no sample in common.
    """
    a, b = Run.load(run_a), Run.load(run_b)
    mine, theirs = common_answers(a, b, part)
    comparison = compare_predictions(
        mine.task,
        mine.truth,
        mine.scores,
        theirs.scores,
        a_is_probability=mine.is_probability,
        b_is_probability=theirs.is_probability,
        seed=seed,
    )
    left_out = len(a.answers[part]) + len(b.answers[part]) - 2 * len(mine)
    folds = _folds(a, b) if part == "cv" and not left_out else None
    return RunComparison(a.name, b.name, part, left_out, comparison, folds)


def common_answers(a: Run, b: Run, part: str) -> tuple[Answers, Answers]:
    """Return the answers of two runs to the samples that both have answered, in the order of the first.

    Raises
    ------
    ParameterError
        As :func:`compare`.
    """
    mine, theirs = _answers(a, part), _answers(b, part)
    if mine.task != theirs.task:
        raise ParameterError(f"runs to be compared must be of one task; got a {mine.task} and a {theirs.task}")
    if a.classes != b.classes:
        only = sorted(set(a.classes) ^ set(b.classes))
        raise ParameterError(
            "runs to be compared must have the same classes in the same order; these differ"
            f" in {', '.join(only[:5]) or 'the order'}: fit both on stores of the same classes"
        )
    row_of = {key: row for row, key in enumerate(theirs.keys)}
    common = [(row, row_of[key]) for row, key in enumerate(mine.keys) if key in row_of]
    if not common:
        raise ParameterError(
            f"runs to be compared must have {part} samples in common; {a.name} and {b.name} have none: fit both with"
            " the same splits or seed"
        )
    rows, others = np.array(common, dtype=np.int64).T
    mine, theirs = _some(mine, rows), _some(theirs, others)
    if not np.array_equal(mine.truth, theirs.truth):
        raise ParameterError(
            f"runs to be compared must agree about the truth of their samples; {a.name} and {b.name} do not: fit both"
            " on the labels as they are now"
        )
    return mine, theirs


def _some(answers: Answers, rows: npt.NDArray[np.int64]) -> Answers:
    keys = tuple(answers.keys[row] for row in rows.tolist())
    return replace(answers, keys=keys, truth=answers.truth[rows], scores=answers.scores[rows])


def _answers(run: Run, part: str) -> Answers:
    if part not in run.answers:
        has = ", ".join(run.answers) or "none"
        how = {"cv": "fit it with --cv", "test": "run `featx evaluate` on it first"}.get(part, "fit it with --val")
        raise ParameterError(f"part must be one that run {run.name} has answers to ({has}); got {part!r}: {how}")
    return run.answers[part]


def _folds(a: Run, b: Run) -> FoldComparison | None:
    """Compare the folds' figures, if these are of the same folds: as many of the same rows, drawn by the same seed."""
    if a.cv is None or b.cv is None or any(a.cv[key] != b.cv[key] for key in ("folds", "figure")):
        return None
    if a.settings["seed"] != b.settings["seed"] or a.answers["cv"].keys != b.answers["cv"].keys:
        return None
    return compare_folds(a.cv["values"], b.cv["values"])
