"""Trainings that others have made, measured from what they stored: what `universality.replay` is made of."""
