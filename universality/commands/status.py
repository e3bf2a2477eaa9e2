"""`universality status`: how far a results folder is, without loading torch or a plugin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from universality.plugin.trajectory import RunState


@dataclass(frozen=True, slots=True)
class Status:
    """Planned runs by state, commonest first, and a line for each that failed or is seen to be damaged. Of the missing
    ones, those on which a process works are `running`."""

    suite: str
    counts: Mapping[RunState | Literal["running"], int]
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return set(self.counts) <= {"done", "diverged"}


def status(folder: Path) -> Status:
    """How far a results folder is: its runs by state. Exits with 1 while some are missing.

    Of a run only the facts are read; what is altered in the rest of it, `check` and `report` find.

    Args:
        folder: a results folder

    Raises:
        StoreError: where it is none, or has no plan yet.

    Examples:
        universality status results/quick
    """
    from collections import Counter

    from universality.plan.jobs_json import asked
    from universality.store.store import Store
    from universality.text import plain
    from universality.train.leases import held

    store = Store.open(Path(folder))
    suite, runs = asked(store.layout)
    counts: Counter[RunState | Literal["running"]] = Counter()
    running = held(store.layout.leases)
    problems: list[str] = []
    for run_id, planned in runs.items():
        state, failures = store.state(run_id, planned.observe), store.failures(run_id)
        if state is not None:
            counts[state] += 1
        elif failures:
            last = failures[-1]
            counts[last.kind] += 1
            problems.append(f"{last.kind:<8} {run_id}: {plain(last.message.partition(chr(10))[0][:120])}")
        else:
            counts["running" if run_id in running else "missing"] += 1
    problems += [f"damaged  {plain(damage, 400)}" for damage in store.damaged]
    return Status(suite, dict(counts.most_common()), tuple(problems))


def show(result: Status) -> int:
    from universality.text import plain

    print(f"{plain(result.suite)}: {sum(result.counts.values())} runs planned")
    for state, count in result.counts.items():
        print(f"  {state:<8} {count}")
    for line in result.problems:
        print(f"  {line}")
    return 0 if result.complete else 1
