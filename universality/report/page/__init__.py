"""The report as one HTML page that opens offline."""

from universality.report.page.kept import kept
from universality.report.page.render import page
from universality.report.page.series import recorded

__all__ = ["kept", "page", "recorded"]
