"""Data of your own, networks of the benchmark: one archive of arrays, and a verdict with its controls.

    python examples/from_arrays_to_a_verdict.py

It trains on all cores, in processes of its own. A second call trains nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import universality
from universality.commands.run import show


def main(results: Path = Path("results"), controls: bool = True, steps: int = 600) -> Any:
    digits = load_digits()
    x, y = digits.images.astype("uint8"), digits.target
    results.mkdir(parents=True, exist_ok=True)
    np.savez(results / "mine.npz", train_x=x[:1200], train_y=y[:1200], test_x=x[1200:], test_y=y[1200:])
    suite = results / "mine.toml"
    suite.write_text(
        f"""name = "from-arrays"
controls = {str(controls).lower()}

[[cross]]
phenomena = ["function_agreement[steps={steps}]"]
architectures = ["mlp[width=48]", "cnn"]
tasks = ["arrays[path=mine.npz]"]
seeds = 4
"""
    )
    return universality.run(suite=str(suite), results=results, data_root=results)


if __name__ == "__main__":
    show(main())
