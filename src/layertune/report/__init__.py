"""A study as one HTML page that opens offline: charts as inline SVG, each with a table of its values."""

from layertune.report.page import render_report

FILE_NAME = "report.html"

__all__ = ["FILE_NAME", "render_report"]
