"""Distributed: the work of an extraction on a Ray cluster. Ray is imported when something has to be computed there."""

from featx.distributed._cluster import RayCluster

__all__ = ["RayCluster"]
