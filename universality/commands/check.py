"""`universality check`: a result set that somebody else made, or a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from universality.commands.cli import several


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, as lines of text, and whether any of it is wrong."""

    lines: tuple[str, ...]
    wrong: bool


def check(targets: Sequence[str], *, plugins: Sequence[Path] = (), data_root: Path | None = None) -> Checked:
    """Whether result sets that somebody else made hold together, or plugins keep their contracts. Nothing in a
    result set is executed. Exits with 1 where something is wrong.

    Args:
        targets: folders, hf:owner/name, or addresses of plugins: results/quick-cpu, or 'mlp[width=64]'

    Examples:
        universality check results/quick-cpu hf:owner/name
        universality check my_claim --plugins my_plugins
    """
    from universality.audit.result_set import audit
    from universality.errors import StoreError
    from universality.sharing.hub import SCHEME, local

    results = []
    for target in map(str, several(targets)):
        if target.startswith(SCHEME):
            target = str(local(target))
        if Path(target).is_dir():
            findings = audit(Path(target), several(plugins))
            results.append(Checked(tuple(findings.lines()), bool(findings.problems)))
        elif "/" in target.partition("[")[0]:
            raise StoreError("there is no such folder", where=target, do="check the path")
        else:
            results.append(_check_plugin(target, plugins, data_root))
    return Checked(
        tuple(line for each in results for line in each.lines), any(each.wrong for each in results)
    )


def _check_plugin(address: str, plugins: Sequence[Path], data_root: Path | None) -> Checked:
    # Imported here: checking a folder needs neither torch nor any plugin.
    from universality.audit.plugins.check import check_plugin
    from universality.plugin import registry
    from universality.plugin.kit.data import data_root as resolved
    from universality.text import plain

    registry.load_plugins(map(Path, several(plugins)))
    lines: list[str] = []
    findings = check_plugin(address, resolved(data_root))
    for kind, answers in findings.items():
        lines.append(f"{kind} {plain(address)}")
        lines += [f"  {plain(str(answer), 400)}" for answer in answers]
    return Checked(tuple(lines), any(a.wrong for answers in findings.values() for a in answers))


def show(checked: Checked) -> int:
    print("\n".join(checked.lines))
    return 1 if checked.wrong else 0
