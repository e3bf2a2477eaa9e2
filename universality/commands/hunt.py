"""`universality hunt`: settings of the registry in which a claim does not hold."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from universality.commands.cli import several

if TYPE_CHECKING:
    from universality.hunting.hunt import Hunted
    from universality.hunting.settings import Setting
    from universality.judge.resultset import ResultSet
    from universality.plan.suite import Suite


def hunt(
    claim: str,
    *,
    budget: float = 30.0,
    architectures: Sequence[str] = (),
    tasks: Sequence[str] = (),
    results: Path = Path("results"),
    workers: int | None = None,
    dry_run: bool = False,
    plugins: Sequence[Path] = (),
    data_root: Path | None = None,
) -> Hunted:
    """Search networks, tasks and options of the registry for counterexamples, settings in which a claim is absent with its
    gates met, again on seeds that the search did not see. The most ordinary come first. The same command goes on.

    Args:
        claim: phenomenon:claim, as grokking:delay; parameters of the phenomenon in brackets
        budget: minutes: half for the search, which begins nothing that at its speed so far would end later, and what is
            left for the replication, of one absence at least (default: 30)
        architectures: search these and changes of them (default: all, and those of built-in suites)
        tasks: search these and changes of them (default: all whose data is here, and those of built-in suites)
        results: the folder of all results; the search is RESULTS/hunt-..., the replication RESULTS/hunt-...-again
            (default: results)
        workers: processes; 0 works in this one (default: one per core)
        dry_run: say which settings would be searched

    Raises:
        UniversalityError: for a claim that is none, a budget that its controls alone exceed, and as `run`.

    Examples:
        universality hunt grokking:delay --budget 60
        universality hunt 'edge_of_stability[rates=2]:gd' --budget 20 --architectures mlp cnn --tasks 'digits[subset=200]'
    """
    from universality.commands.run import check_numbers
    from universality.errors import BadParameter
    from universality.hunting import hunt as hunting
    from universality.hunting.hunt import Hunted, Quarry
    from universality.hunting.settings import settings
    from universality.hunting.told import write
    from universality.plugin import registry
    from universality.plugin.kit.data import data_root as resolved
    from universality.train.device import configure
    from universality.train.executors.local import default_slots

    started = time.monotonic()
    check_numbers(workers, 1.0)
    if not 0 < budget < float("inf"):
        raise BadParameter("--budget is a number of minutes", got=f"{budget:g}", expected="above 0")
    configure(threads=1)
    folders = several(plugins)
    registry.load_plugins(map(Path, folders))
    quarry, root = Quarry.parse(claim), resolved(data_root)
    slots = max(1, default_slots() if workers is None else workers)
    pool = settings(quarry.phenomenon, several(architectures), several(tasks))
    listed = _Listed(Path(results), tuple(map(Path, folders)), data_root, workers)

    costs = hunting.Costs(quarry, root, listed.stored(quarry.suite))
    kept = listed.read(quarry.suite, quarry.phenomenon)
    chosen = hunting.chosen(
        costs,
        kept,
        pool,
        seconds=hunting.SEARCH_SHARE * 60 * budget * slots,
        patience=hunting.PLANNING_SHARE * 60 * budget,
    )
    if dry_run:
        return Hunted(quarry=quarry, searched=tuple(chosen))
    began = time.monotonic()
    searched, forecast = hunting.trained_within(
        costs,
        kept,
        chosen[len(kept) :],
        lambda settings: listed.train(hunting.suite_of(quarry, settings)),
        wall=hunting.SEARCH_SHARE * 60 * budget,
        slots=slots,
    )
    search = listed.measured(hunting.suite_of(quarry, searched))
    pace = max(1.0, (time.monotonic() - began) * slots / forecast) if forecast else 1.0

    first = hunting.absences(search, quarry)
    absent = tuple(each for each in searched if each.addresses in first)
    name = f"{quarry.suite}-again"
    replicated = hunting.to_replicate(
        hunting.Costs(quarry, root, listed.stored(name)),
        listed.read(name, quarry.phenomenon),
        absent,
        seconds=(60 * budget - (time.monotonic() - started)) * slots / pace,
    )
    done = Hunted(
        quarry=quarry,
        searched=tuple(searched),
        absent=absent,
        search=search,
        unbegun=len(chosen) - len(searched),
    )
    if replicated:
        again = listed.measured(hunting.suite_of(quarry, replicated, again=True))
        found = tuple(hunting.findings(replicated, first, again, quarry))
        done = replace(done, replicated=tuple(replicated), findings=found, again=again)
    done = replace(done, seconds=time.monotonic() - started, budget=60 * budget)
    write(done)
    return done


@dataclass(frozen=True)
class _Listed:
    """Result sets whose suites lie beside them, so that a hunt goes on where it was.

    Args:
        tried: names of those that were trained already: what failed there is not tried again.
    """

    results: Path
    plugins: Sequence[Path]
    data_root: Path | None
    workers: int | None
    tried: set[str] = field(default_factory=set)

    def read(self, name: str, hunted: str) -> list[Setting]:
        """The settings of an earlier sitting."""
        from universality.hunting.settings import setting_at
        from universality.plan.suite import load

        path = self._path(name)
        sweeps = load(str(path)).sweeps if path.exists() else ()
        return [setting_at(s.phenomena[0], s.architectures[0], s.tasks[0], hunted) for s in sweeps]

    def stored(self, name: str) -> frozenset[str]:
        """Ids of runs that are trained already."""
        from universality.store.layout import Layout
        from universality.store.store import Store

        folder = self.results / name
        return frozenset(Store.open(folder).run_ids()) if Layout(folder).manifest.exists() else frozenset()

    def train(self, suite: Suite) -> None:
        """Train what is missing of a suite."""
        self._run(suite, shard="1/1")

    def measured(self, suite: Suite) -> ResultSet:
        """Train what is missing of a suite, and measure it."""
        from universality.commands.run import Finished

        finished = self._run(suite)
        assert isinstance(finished, Finished)
        return finished.results

    def _run(self, suite: Suite, shard: str | None = None) -> object:
        from universality.commands.run import run
        from universality.store.files import replace_file, storing

        path = self._path(suite.name)
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, suite.toml().encode())
        tried = suite.name in self.tried
        self.tried.add(suite.name)
        return run(
            suite=str(path),
            results=self.results,
            workers=self.workers,
            on_existing="skip" if tried else "retry-failed",
            shard=shard,
            plugins=self.plugins,
            data_root=self.data_root,
        )

    def _path(self, name: str) -> Path:
        return self.results / f"{name}.toml"


def show(hunted: Hunted) -> int:
    from universality.hunting.told import lines, sections
    from universality.output.sections import print_sections
    from universality.text import plain

    print_sections(sections(hunted), sys.stdout)
    for line in lines(hunted):
        print(plain(line, 1000))
    return 0
