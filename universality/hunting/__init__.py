"""The search for settings in which a claim does not hold."""
