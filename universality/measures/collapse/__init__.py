"""Neural collapse."""
