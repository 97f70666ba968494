"""Caching: joins extraction and store, so that nothing is computed twice."""

from featx.caching._extract import Extraction, extract, extract_layers

__all__ = ["Extraction", "extract", "extract_layers"]
