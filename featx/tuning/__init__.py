"""Fine-tuning: the upper part of a network and its head, trained on activations that are cached where they part."""

from featx.tuning._fine_tune import fine_tune
from featx.tuning._result import FineTuned, TuningPlan

__all__ = ["FineTuned", "TuningPlan", "fine_tune"]
