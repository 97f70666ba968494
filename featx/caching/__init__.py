"""Caching: joins extraction and store, so that nothing is computed twice."""

from featx.caching._explain import Explanation, explain
from featx.caching._extract import Extraction, extract, extract_layers
from featx.caching._network import NetworkSettings
from featx.caching._plan import ExtractionPlan, plan
from featx.caching._preview import Seen, preview
from featx.caching._recompute import RecomputeReport, RowDrift, Tolerance, recompute, tolerance_for
from featx.caching._reopen import reopen_source
from featx.caching._work import Changes

__all__ = [
    "Changes",
    "Explanation",
    "Extraction",
    "ExtractionPlan",
    "NetworkSettings",
    "RecomputeReport",
    "RowDrift",
    "Seen",
    "Tolerance",
    "explain",
    "extract",
    "extract_layers",
    "plan",
    "preview",
    "recompute",
    "reopen_source",
    "tolerance_for",
]
