"""Everything that a plugin needs, in one import.

from universality.plugin import Architecture, InputSpec, register
"""

from universality.errors import BadParameter, DataUnavailable, MeasurementError, UniversalityError
from universality.plugin.architecture import Architecture, InputSpec, Kind
from universality.plugin.claims import Most, Within
from universality.plugin.phenomenon import (
    NOT_SHOWN,
    Cell,
    Control,
    Cross,
    Group,
    Observe,
    Phenomenon,
    Request,
)
from universality.plugin.probe import Probe, Training
from universality.plugin.records import Check, Matrix, Outcome, Series, Trajectory
from universality.plugin.registry import register
from universality.plugin.schedules import At, Every, LogSpaced
from universality.plugin.spec import Recipe
from universality.plugin.task import Split, Splits, Task

__all__ = [
    "NOT_SHOWN",
    "Architecture",
    "At",
    "BadParameter",
    "Cell",
    "Check",
    "Control",
    "Cross",
    "DataUnavailable",
    "Every",
    "Group",
    "InputSpec",
    "Kind",
    "LogSpaced",
    "Matrix",
    "MeasurementError",
    "Most",
    "Observe",
    "Outcome",
    "Phenomenon",
    "Probe",
    "Recipe",
    "Request",
    "Series",
    "Split",
    "Splits",
    "Task",
    "Training",
    "Trajectory",
    "UniversalityError",
    "Within",
    "register",
]
