"""Caching: joins extraction and store, so that nothing is computed twice."""

from featx.caching._cluster import Cluster
from featx.caching._compute import Job, Ranges, compute_part, missing
from featx.caching._explain import Explanation, explain
from featx.caching._extract import Extraction, extract, extract_layers
from featx.caching._join import Changes
from featx.caching._lock import holder_of
from featx.caching._memory import version_of
from featx.caching._network import Network, NetworkSettings
from featx.caching._plan import ExtractionPlan, plan
from featx.caching._preview import Seen, preview
from featx.caching._recompute import RecomputeReport, RowDrift, Tolerance, recompute, tolerance_for
from featx.caching._reopen import reopen_source

__all__ = [
    "Changes",
    "Cluster",
    "Explanation",
    "Extraction",
    "ExtractionPlan",
    "Job",
    "Network",
    "NetworkSettings",
    "Ranges",
    "RecomputeReport",
    "RowDrift",
    "Seen",
    "Tolerance",
    "compute_part",
    "explain",
    "extract",
    "extract_layers",
    "holder_of",
    "missing",
    "plan",
    "preview",
    "recompute",
    "reopen_source",
    "tolerance_for",
    "version_of",
]
