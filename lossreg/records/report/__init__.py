"""Records as one HTML page."""

from lossreg.records.report.report import write_report

__all__ = ["write_report"]
