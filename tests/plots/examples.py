"""Every figure, of some classes with names that nobody would give them."""

from functools import cache

import numpy as np

from featx.evaluation import (
    compare_predictions,
    evaluate_predictions,
    precision_recall_curve,
    reliability,
    roc_curve,
)
from featx.plots import (
    Curve,
    calibration_curve,
    class_counts,
    confusion_matrix,
    feature_map,
    gallery,
    learning_curves,
    precision_recall_curves,
    regularisation_path,
    residuals,
    roc_curves,
    score_by_class,
    score_differences,
)
from tests.plots.helpers import ODD
from tests.tiny import picture

ODD_NAMES = [*ODD, '"><img src=x onerror=alert(1)>', "{{7*7}}", "_hidden", "-->", "]]>"]


def names(k):
    """Return k names of classes; every other one is odd."""
    return [ODD_NAMES[i // 2] if i % 2 and i // 2 < len(ODD_NAMES) else f"class {i}" for i in range(k)]


def answers(k, n=None, noise=1.0):
    """Return true classes (n,) and probabilities (n, k), of every class twelve rows or more."""
    random = np.random.default_rng(k)
    truth = np.arange(n or 12 * k) % k
    scores = noise * random.normal(size=(truth.size, k))
    scores[np.arange(truth.size), truth] += 2
    scores = np.exp(scores)
    return truth, scores / scores.sum(axis=1, keepdims=True)


def evaluation(k):
    truth, scores = answers(k)
    return evaluate_predictions(truth, scores, classes=names(k), head_classes=range(k), is_probability=True)


def curves(k, kind):
    """Return the curves of all classes, and the arrays they are of."""
    truth, scores = answers(k)
    found = []
    for c, (name, one) in enumerate(zip(names(k), evaluation(k).per_class, strict=True)):
        positive = truth == c
        if kind == "roc":
            x, y, _ = roc_curve(positive, scores[:, c])
            found.append(Curve(name, x, y, one.figures["roc_auc"].value))
        else:
            y, x, _ = precision_recall_curve(positive, scores[:, c])
            found.append(Curve(name, x, y, one.figures["average_precision"].value, float(positive.mean())))
    return found


def cloud(k, n=None):
    """Return points (n, 2) and labels (n,) of k classes that lie apart."""
    truth = np.arange(n or 12 * k) % k
    angle = 2 * np.pi * truth / k
    return 5 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + np.random.default_rng(k).normal(
        size=(truth.size, 2)
    ), truth


def history(epochs):
    return [
        {"epoch": n + 1, "loss": 1 / (n + 1), "val_loss": 1.1 / (n + 1), "accuracy": 1 - 1 / (n + 2)}
        for n in range(epochs)
    ]


def counts(k, splits=3):
    return np.random.default_rng(k).integers(0, 1000, (k, splits))


@cache
def figures(k):
    """Return all figures by name, of k classes where they are of classes: 2 or more. They are not to be changed."""
    truth, scores = answers(k)
    points, labels = cloud(k)
    values = points[:, 0]
    found = evaluation(k)
    comparison = compare_predictions("classification", truth, scores, answers(k, noise=1.3)[1])
    return {
        "calibration": calibration_curve(reliability(truth, scores)),
        "class counts": class_counts(counts(k), names(k), ["train", "val", "<b>test</b>"]),
        "confusion matrix": confusion_matrix(found.confusion, names(k)),
        "differences": score_differences(comparison.differences),
        "gallery": gallery([picture(0)] * 2, ODD[:2]),
        "learning": learning_curves(history(9)),
        "map": feature_map(points, np.where(labels % 5 == 4, -1, labels), names(k), highlighted=[0, 1]),
        "map of numbers": feature_map(points, values, ["in $years$"]),
        "path": regularisation_path(
            [1, 10, 0.1], [0.9, 0.8, 0.7], chosen=10, parameter="$C$", figure="balanced_accuracy"
        ),
        "precision and recall": precision_recall_curves(curves(k, "precision")),
        "residuals": residuals(values * 1e6, values * 1e6 + points[:, 1], "n" * 300),
        "roc": roc_curves(curves(k, "roc")),
        "scores": score_by_class(names(k), [one.recall for one in found.per_class]),
    }
