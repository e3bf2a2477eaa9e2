"""Everything that a plugin needs, in one import.

from universality.plugin import Architecture, InputSpec, register
"""

from universality.errors import BadParameter, DataUnavailable, MeasurementError, UniversalityError
from universality.plugin.architecture import Architecture, InputSpec, Kind, Link
from universality.plugin.claims import Most, Within
from universality.plugin.outcome import Check, Matrix, Outcome
from universality.plugin.phenomenon import (
    NOT_SHOWN,
    Cell,
    Control,
    Cross,
    Group,
    Observe,
    Phenomenon,
    Request,
    run_by_seed,
)
from universality.plugin.probe import Probe, Training
from universality.plugin.registry import register
from universality.plugin.schedules import At, Every, LogSpaced
from universality.plugin.spec import Recipe
from universality.plugin.task import Signature, Split, Splits, Task
from universality.plugin.trajectory import Series, Trajectory
