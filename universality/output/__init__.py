"""For reading: tables, figures and pages of a result set. Nothing here needs torch."""
