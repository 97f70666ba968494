"""Figures of answers of which several classes may be right at once."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation._checks import checked_scores, indicator
from featx.evaluation._classification import per_class
from featx.evaluation._figures import Evaluation
from featx.evaluation._intervals import Figure, Floats, Statistics, figures, with_spread
from featx.evaluation._ranking import rank_by_class

__all__ = ["evaluate_multilabel", "multilabel_statistics"]

_EPS = float(np.finfo(np.float64).eps)


def evaluate_multilabel(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    classes: Sequence[str],
    is_probability: bool,
    seed: int = 0,
) -> Evaluation:
    """Compare a head's scores with the true classes of rows that may have several, or none.

    Parameters
    ----------
    y_true : array_like of shape (n, k), bool
        Which classes each row is of.
    scores : array_like of shape (n, k), float
        What :func:`featx.heads.head_scores` returned. A row is answered with the classes of a probability above 0.5,
        or of a score above 0.
    classes : sequence of str of length k
        Names.
    is_probability : bool
        Whether the scores are (independent) probabilities; if so, there is a log loss.
    seed : int
        Of the resamples.

    Returns
    -------
    Evaluation
        ``exact_match``, the share of rows with all classes right; ``hamming_loss``, the share of the ``n × k`` answers
        that are wrong; ``micro_f1``; ``macro_f1``, mean over the classes that occur among the rows or the
        answers; ``log_loss`` in nats, mean over the ``n × k`` answers; ``mean_average_precision`` and ``roc_auc``, mean
        over the classes that some rows are of and others are not.

    Raises
    ------
    ParameterError
        There are no rows, the shapes do not go together, a score is nan or infinite, or a probability is outside 0..1.

    Notes
    -----
    Intervals are as in :func:`evaluate_predictions`; `exact_match` has Wilson's.
    """
    names = tuple(str(name) for name in classes)
    truth = indicator("y_true", y_true)
    if truth.shape[1] != len(names) or not names:
        raise ParameterError(f"y_true must have a column for each of {len(names)} classes; got shape {truth.shape}")
    values = checked_scores(scores, *truth.shape, is_probability=is_probability)
    statistics, ranked = multilabel_statistics(truth, values, is_probability=is_probability)
    found = figures(statistics, seed=seed)
    for name in ("micro_f1", "macro_f1", "hamming_loss"):
        found[name] = with_spread(found[name], statistics.n)
    answers = values > (0.5 if is_probability else 0)
    first = [name for name in ("mean_average_precision",) if name in found]
    return Evaluation(
        task="multilabel",
        n=statistics.n,
        figures={name: found[name] for name in dict.fromkeys([*first, *found])},
        per_class=per_class(names, (truth & answers).sum(axis=0), answers.sum(axis=0), truth.sum(axis=0), ranked),
        confusion=None,
        classes=names,
    )


def multilabel_statistics(
    truth: npt.NDArray[np.bool_], values: npt.NDArray[np.floating], *, is_probability: bool
) -> tuple[Statistics, list[dict[str, Figure]]]:
    """Return the statistics of scores with a column for each class, and the ranks' figures of each class."""
    n, k = truth.shape
    answers = values > (0.5 if is_probability else 0)
    wrong = truth != answers
    losses = [wrong.mean(axis=1)]
    if is_probability:
        right = np.where(truth, values, 1 - values).astype(np.float64)
        losses.append(-np.log(np.clip(right, _EPS, 1 - _EPS, out=right)).mean(axis=1))
    of_row = np.column_stack(losses)
    # counts of rows are exact in float32, and its products take half the time
    counted = np.concatenate([truth & answers, truth], axis=1).astype(np.float32)
    counted[:, k:] += answers

    def resampled(weights: Floats) -> dict[str, Floats]:
        sums = weights @ of_row / n
        counts = (weights.astype(np.float32) @ counted).astype(np.float64)
        hits, total = counts[:, :k], counts[:, k:]
        f1 = np.divide(2 * hits, total, out=np.zeros(hits.shape), where=total > 0)
        found = {
            "micro_f1": 2 * hits.sum(axis=1) / np.maximum(total.sum(axis=1), 1),
            "macro_f1": f1.sum(axis=1) / np.maximum((total > 0).sum(axis=1), 1),
            "hamming_loss": sums[:, 0],
        }
        if is_probability:
            found["log_loss"] = sums[:, 1]
        return found

    means, by_class = rank_by_class(truth, values)
    ranked = {"mean_average_precision" if name == "average_precision" else name: one for name, one in means.items()}
    shares = {"exact_match": ~wrong.any(axis=1)}
    return Statistics(n, shares, resampled, ranked, biased={"macro_f1": 1}, width=2 * k), by_class
