"""Caching: joins extraction and store, so that nothing is computed twice."""

from featx.caching._extract import Extraction, extract, extract_layers
from featx.caching._folder import cache_folder, find_store, list_stores

__all__ = ["Extraction", "cache_folder", "extract", "extract_layers", "find_store", "list_stores"]
