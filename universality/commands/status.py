"""`universality status`: how far a results folder is, without loading torch or a plugin."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from universality.plugin.records import RunState
from universality.report.build import read_plan
from universality.store.store import Store


def show(folder: Path) -> int:
    """Print counts of runs by state; returns 0, or 1 while something is missing."""
    store = Store.open(folder)
    plan = read_plan(store)
    states: Counter[RunState] = Counter()
    problems: list[str] = []
    for run_id, observe in plan["runs"].items():
        run = store.trajectory(run_id, observe)
        failures = store.failures(run_id)
        state: RunState = "missing"
        if run is not None:
            state = run.state
        elif failures:
            state = failures[-1].kind
        states[state] += 1
        if run is None and failures:
            last = failures[-1]
            problems.append(f"  {last.kind:<8} {run_id}: {last.message.partition(chr(10))[0][:120]}")
    print(f"{plan['suite']}: {sum(states.values())} runs planned")
    for state, count in states.most_common():
        print(f"  {state:<8} {count}")
    for line in (*problems, *(f"  damaged  {d}" for d in store.damaged)):
        print(line)
    return 0 if set(states) <= {"done", "diverged"} else 1
