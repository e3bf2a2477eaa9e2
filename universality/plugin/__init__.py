"""Everything that a plugin needs, in one import.

from universality.plugin import Architecture, InputSpec, register
"""

from universality.errors import BadParameter, DataUnavailable, MeasurementError, UniversalityError
from universality.plugin.architecture import Architecture, InputSpec, Kind, Link
from universality.plugin.asks import (
    balanced,
    classes,
    families,
    has_width,
    held_out,
    layers,
    not_families,
    reference_rows,
    simplex,
    train_rows,
)
from universality.plugin.bounds import Most, Within
from universality.plugin.cell import Cell
from universality.plugin.charts import Bars, Curves, Dots, Levels, Lines, Matrices
from universality.plugin.claim import Claim, claim
from universality.plugin.controls import negative, positive
from universality.plugin.modifier import Modifier, unmodified
from universality.plugin.outcome import Check, Matrix, Outcome, Points
from universality.plugin.phenomenon import Phenomenon
from universality.plugin.probe import Probe, Training
from universality.plugin.readings import (
    Key,
    Reading,
    Runs,
    at_end,
    at_start,
    end_over_start,
    highest,
    lowest,
    mean,
    need,
    require,
)
from universality.plugin.registry import register
from universality.plugin.runs import Run, RunSet, Sweep, per_pair, per_partner, per_seed
from universality.plugin.schedules import At, Every, LogSpaced
from universality.plugin.spec import Recipe
from universality.plugin.task import Signature, Split, Splits, Task
from universality.plugin.trajectory import Series, Trajectory
