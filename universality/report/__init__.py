"""Tables and figures from stored verdicts and trajectories. Nothing here needs torch."""

from universality.report.write import write_report

__all__ = ["write_report"]
