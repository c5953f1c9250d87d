"""A study as one HTML page that opens offline: plots as inline SVG, and every one of them as a table too."""

from layertune.report.page import render_report

__all__ = ["render_report"]
