"""Logistic regression: any number of problems on the same features, solved by the same sweeps over them."""

from featx.heads.logistic._estimator import LogisticClassifier

__all__ = ["LogisticClassifier"]
