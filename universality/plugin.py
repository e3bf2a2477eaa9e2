"""Everything that a plugin needs, in one import.

from universality.plugin import Architecture, InputSpec, register
"""

from universality.architecture import Architecture, InputSpec, Kind
from universality.claims import Most, Within
from universality.errors import BadParameter, DataUnavailable, UniversalityError
from universality.phenomenon import (
    NOT_SHOWN,
    Cell,
    Control,
    Cross,
    Group,
    Observe,
    Phenomenon,
    Request,
)
from universality.probe import Probe, Training
from universality.records import Check, Matrix, Outcome, Series, Trajectory
from universality.registry import register
from universality.schedules import At, Every, LogSpaced
from universality.spec import Recipe
from universality.task import Split, Splits, Task

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
