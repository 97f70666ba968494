"""Checks of decision trees read from a file.

scikit-learn follows a tree's child and feature indices without looking at them, so that a crafted file could make
it read outside its arrays, or for ever. A tree that scikit-learn has grown keeps each child behind its parent.
"""

import sys
from typing import Any

import numpy as np

__all__ = ["trees_are_sound"]


def trees_are_sound(head: Any) -> bool:
    """Return whether every index in every tree within `head` leads to a node of the tree and a feature of a row."""
    try:
        return _sound(head, int(head.n_features_in_), {})
    except Exception:  # a crafted file can put anything anywhere
        return False


def _sound(value: Any, width: int, seen: dict[tuple[int, int], Any]) -> bool:
    """Walk through containers and scikit-learn's objects; `width` is the number of features that arrive here."""
    from sklearn.base import BaseEstimator
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.tree._tree import Tree

    if isinstance(value, np.ndarray):
        value = value.ravel().tolist() if value.dtype == object else []
    if (id(value), width) in seen:
        return True
    seen[id(value), width] = value  # kept, so that no other object gets its id
    if isinstance(value, Tree):
        return _is_sound_tree(value, width)
    if isinstance(value, TreePredictor):
        return _is_sound_predictor(value, width)
    if isinstance(value, (list, tuple, set)):
        parts = [(item, width) for item in value]
    elif isinstance(value, dict):
        parts = [(item, width) for item in value.values()]
    elif type(value).__module__.startswith("sklearn.") and hasattr(value, "__dict__"):
        if isinstance(value, BaseEstimator):
            # A forest hands its rows to its trees without another look: none may see more features than its owner.
            width = min(width, int(getattr(value, "n_features_in_", width)))
            tree = getattr(value, "tree_", None)
            if tree is not None and not (isinstance(tree, Tree) and tree.n_features == width):
                return False
        # These see what the steps before them make of a row, and look at it themselves.
        remade = ("final_estimator_", "steps")
        parts = [(item, sys.maxsize if name in remade else width) for name, item in vars(value).items()]
    else:
        return True
    return all(_sound(item, wide, seen) for item, wide in parts)


def _is_sound_tree(tree: Any, width: int) -> bool:
    # the arrays below show node_count nodes, while a row may walk through all there is room for
    if tree.node_count != tree.capacity or tree.node_count < 1 or tree.n_features > width:
        return False
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    own = np.arange(tree.node_count)
    inner = left != -1
    return _lead_on(own[inner], left[inner], right[inner], feature[inner], tree.node_count, tree.n_features)


def _is_sound_predictor(predictor: Any, width: int) -> bool:
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    nodes = getattr(predictor, "nodes", None)
    if not isinstance(nodes, np.ndarray) or nodes.dtype != PREDICTOR_RECORD_DTYPE or nodes.ndim != 1 or not nodes.size:
        return False
    inner = nodes["is_leaf"] == 0
    split = nodes[inner]
    if split["is_categorical"].any():
        return False
    left, right = split["left"].astype(np.int64), split["right"].astype(np.int64)
    own = np.arange(nodes.size)[inner]
    return _lead_on(own, left, right, split["feature_idx"].astype(np.int64), nodes.size, width)


def _lead_on(own: Any, left: Any, right: Any, feature: Any, count: int, width: int) -> bool:
    """Whether all children come after their parents and within the tree, and all features within the row."""
    children = np.concatenate([left, right])
    return bool(
        np.all(children > np.concatenate([own, own]))
        and np.all(children < count)
        and np.all(feature >= 0)
        and np.all(feature < width)
    )
