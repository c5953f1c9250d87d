"""A study as one HTML page that opens offline: plots as inline SVG, and every one of them as a table too."""

from layertune.report.page import render_report

FILE_NAME = "report.html"

__all__ = ["FILE_NAME", "render_report"]
