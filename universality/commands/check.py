"""`universality check`: a result set that somebody else made, or a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from universality.audit.result_set import audit
from universality.errors import StoreError
from universality.text import plain


def show(targets: Sequence[str], plugins: Sequence[str], data_root: str | None) -> int:
    """`universality check`: each target is a folder, or else the address of a plugin.

    Returns 1 where something is wrong. Folders never cause a plugin, or torch, to be loaded.
    """
    code = 0
    for target in targets:
        if Path(target).is_dir():
            found = audit(Path(target))
            print("\n".join(found.lines()))
            code = max(code, 1 if found.problems else 0)
        elif "/" in target.partition("[")[0]:
            raise StoreError("there is no such folder", where=target, do="check the path")
        else:
            code = max(code, _show_plugin(target, plugins, data_root))
    return code


def _show_plugin(address: str, plugins: Sequence[str], data_root: str | None) -> int:
    # Imported here: checking a folder needs neither torch nor any plugin.
    from universality.audit import plugins as conformance
    from universality.plugin import registry
    from universality.plugin.kit.data import data_root as resolved

    registry.load_plugins(Path(p) for p in plugins)
    findings = conformance.check(address, resolved(data_root))
    for kind, answers in findings.items():
        print(f"{kind} {plain(address)}")
        for finding in answers:
            print(f"  {plain(str(finding), 400)}")
    return 1 if any(f.wrong for answers in findings.values() for f in answers) else 0
