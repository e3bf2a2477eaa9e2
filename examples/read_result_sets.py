"""What do two result sets say together? Tables as pandas data frames, and where the sets differ.

    python examples/read_result_sets.py

Nothing is trained; neither torch nor a plugin is needed.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import universality

RESULTS = Path(__file__).resolve().parents[1] / "results"


def main(first: Path = RESULTS / "standard-cpu", second: Path = RESULTS / "cross-cpu") -> str:
    if lacking := [folder for folder in (first, second) if not (folder / "evidence.csv").is_file()]:
        raise SystemExit(
            f"no result set in {lacking[0]}: run this in a checkout, or name two sets of your own in main()"
        )
    evidence = pd.concat(
        pd.read_csv(folder / "evidence.csv").assign(set=folder.name) for folder in (first, second)
    )
    cells = evidence[(evidence["counted"] == "yes") & evidence["verdict"].isin(["present", "absent"])]
    shares = cells.pivot_table(
        index=["phenomenon", "claim"],
        columns="set",
        values="verdict",
        aggfunc=lambda v: (v == "present").mean(),
    )
    lines = ["Share of decided cells in which a claim holds:", "", shares.round(2).to_string(na_rep="-")]

    # The same through types: gates, details and verdicts, decided anew from what was measured.
    results = universality.ResultSet.load(first)
    for row in results.rows:
        present, absent = row.counts["present"], row.counts["absent"]
        lines.append(f"{row.phenomenon}.{row.claim_name}: {present} present, {absent} absent, {row.standing}")

    # Sets of other versions of a claim ask another question; compared all the same, they say so.
    comparison = universality.compare(first, second, allow_versions=True)
    lines.append(
        f"\n{len(comparison.joined)} cells are in both sets, {len(comparison.contradictions)} contradict"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())
