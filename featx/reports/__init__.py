"""Reports: what stores and runs know, as pages in one file that need no network."""

from featx.reports._album import Album
from featx.reports._compare import compare_report
from featx.reports._gallery import Picture, Pixels, data_address, gallery_page, small_image
from featx.reports._origin import Origin, origins_of
from featx.reports._page import Page, Report, page_policy, render_page, write_page
from featx.reports._projector import ProjectorFiles, export_projector
from featx.reports._run import run_report
from featx.reports._store import store_report

__all__ = [
    "Album",
    "Origin",
    "Page",
    "Picture",
    "Pixels",
    "ProjectorFiles",
    "Report",
    "compare_report",
    "data_address",
    "export_projector",
    "gallery_page",
    "origins_of",
    "page_policy",
    "render_page",
    "run_report",
    "small_image",
    "store_report",
    "write_page",
]
