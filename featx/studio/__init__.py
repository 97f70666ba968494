"""A local web page: stores and runs to look through, and images to be dropped on a run."""

from featx.studio._studio import Studio

__all__ = ["Studio"]
