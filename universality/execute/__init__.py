"""Where runs are trained: supervised processes of this machine, or the calling process itself."""

from universality.execute.jobs import Event, Job
from universality.execute.local import default_slots, run_all

__all__ = ["Event", "Job", "default_slots", "run_all"]
