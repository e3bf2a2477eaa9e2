"""The names of all columns of written tables and of long-form trajectories, in one place."""

from __future__ import annotations

# What was asked.
ID = "id"
PHENOMENON = "phenomenon"
SETTING = "setting"
VERSION = "version"
CLAIM = "claim"
BOUNDS = "bounds"
UNIT = "unit"
ARCHITECTURE = "architecture"
TASK = "task"
TIER = "tier"

# What came out, per cell.
VERDICT = "verdict"
RAW_VERDICT = "raw_verdict"
REASON = "reason"
EFFECT = "effect"
LOW = "low"
HIGH = "high"
GROUPS = "groups"
UNITS = "units"
DECIDED = "decided"
HOLDING = "holding"
SEEDS_NEEDED = "seeds_needed"
COUNTED = "counted"
P = "p"
P_HOLM = "p_holm"
DETAILS = "details"

# Controls.
CONTROL = "control"
EXPECTS = "expects"
PASSED = "passed"

EVIDENCE = (
    ID,
    PHENOMENON,
    SETTING,
    VERSION,
    CLAIM,
    BOUNDS,
    ARCHITECTURE,
    TASK,
    TIER,
    CONTROL,
    EXPECTS,
    PASSED,
    COUNTED,
    VERDICT,
    RAW_VERDICT,
    REASON,
    EFFECT,
    LOW,
    HIGH,
    UNIT,
    P,
    P_HOLM,
    GROUPS,
    UNITS,
    DECIDED,
    HOLDING,
    SEEDS_NEEDED,
    DETAILS,
)
EVIDENCE_NUMBERS = (VERSION, EFFECT, LOW, HIGH, P, P_HOLM, GROUPS, UNITS, DECIDED, HOLDING, SEEDS_NEEDED)

# Per phenomenon and claim. Counts of verdicts stand in columns named by the verdicts themselves.
TITLE = "title"
STRAND = "strand"
SENSE = "sense"
SOURCE = "source"
PREVALENCE = "prevalence"
PREVALENCE_LOW = "prevalence_low"
PREVALENCE_HIGH = "prevalence_high"
EFFECTIVE_CELLS = "effective_cells"
APPLICABLE = "applicable"
CONFIRMED = "{}_after_holm"
"""Counts of `present` and `absent` that survive the correction over all cells."""
COVERAGE = "coverage"
CONTROLS = "controls"
FAILED_CONTROLS = "failed_controls"
POOLED = "pooled"
POOLED_LOW = "pooled_low"
POOLED_HIGH = "pooled_high"
BETWEEN_CELL_SD = "between_cell_sd"
PREDICTION_LOW = "prediction_low"
PREDICTION_HIGH = "prediction_high"
POOLED_CELLS = "pooled_cells"

FACTS = (TITLE, STRAND, SENSE, SOURCE)

# Long-form trajectories: one row per recorded number.
SEED = "seed"
VARIANT = "variant"
STEP = "step"
METRIC = "metric"
VALUE = "value"

TRAJECTORY = (PHENOMENON, ARCHITECTURE, TASK, SEED, VARIANT, STEP, METRIC, VALUE)

# Metrics that figures look for, `<probe>.<metric>` as in stored trajectories.
SHARPNESS_RATIO = "sharpness.ratio"
TRAIN_ACCURACY = "accuracy.train"
VALIDATION_ACCURACY = "accuracy.validation"
NC1 = "collapse.nc1"
NC2_NORMS = "collapse.nc2_norms"
NC2_ANGLES = "collapse.nc2_angles"
NC3 = "collapse.nc3"
