"""Reports: what stores and runs know, as pages in one file that need no network."""

from featx.reports._album import Album
from featx.reports._page import Page, Report, page_policy, render_page, write_page

__all__ = ["Album", "Page", "Report", "page_policy", "render_page", "write_page"]
