"""The report of a run: what went in, what was lost where and why, what came out, and how fast; as data, as a page, as terminal text."""

from pipeline.report.facts import build_report
from pipeline.report.funnel import render_funnel, render_status, status
from pipeline.report.page import render_page, write_report

__all__ = ["build_report", "render_funnel", "render_page", "render_status", "status", "write_report"]
