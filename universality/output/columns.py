"""The names of the columns of long-form trajectories."""

from __future__ import annotations

PHENOMENON = "phenomenon"
ARCHITECTURE = "architecture"
TASK = "task"
SEED = "seed"
ROLE = "role"
STEP = "step"
METRIC = "metric"
VALUE = "value"

TRAJECTORY = (PHENOMENON, ARCHITECTURE, TASK, SEED, ROLE, STEP, METRIC, VALUE)
"""One row per recorded number."""
