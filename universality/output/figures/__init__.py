"""Figures of a result set."""
