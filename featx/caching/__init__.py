"""Caching: joins extraction and store, so that nothing is computed twice."""

from featx.caching._extract import Extraction, extract, extract_layers
from featx.caching._work import Changes

__all__ = ["Changes", "Extraction", "extract", "extract_layers"]
