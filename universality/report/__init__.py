"""Tables and figures from stored verdicts and trajectories. Nothing here needs torch."""

from universality.report.build import print_summary, rebuild, show
from universality.report.write import write_figures, write_tables

__all__ = ["print_summary", "rebuild", "show", "write_figures", "write_tables"]
