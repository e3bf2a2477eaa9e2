"""What of a run is drawn for each phenomenon, in figures and on the page; no other module lists its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from universality.store.cells import CellRecord


@dataclass(frozen=True, slots=True)
class Chart:
    """Metrics over steps, with a name for each where there are several.

    Args:
        label: of the values.
        banded: draw the claim's bounds as a band.
        log_steps, log_values: the axis is logarithmic.
        claims: the metric that each claim is about, where they are about different ones.
        reference: a value that lines are compared with, and its name.
        limits: where the axis of values starts and ends; a figure says so where lines go beyond.
    """

    metrics: Mapping[str, str]
    label: str
    banded: bool = False
    log_steps: bool = False
    log_values: bool = False
    reference: tuple[float, str] | None = None
    limits: tuple[float, float] | None = None
    claims: Mapping[str, str] = field(default_factory=dict)


_ACCURACIES = Chart(
    {"accuracy.train": "training", "accuracy.validation": "validation"}, "accuracy", limits=(-0.03, 1.03)
)
_COLLAPSE = {
    "collapse.nc1": "NC1 variability",
    "collapse.nc2_norms": "NC2 spread of norms",
    "collapse.nc2_angles": "NC2 angles",
    "collapse.nc3": "NC3 self-duality",
}
CHARTS: Mapping[str, Chart] = {
    "edge_of_stability": Chart(
        {"sharpness.ratio": ""},
        "sharpness / stability threshold",
        banded=True,
        reference=(1.0, "stability threshold"),
        limits=(0.0, 2.5),
    ),
    "grokking": replace(_ACCURACIES, log_steps=True),
    "neural_collapse": Chart(
        _COLLAPSE,
        "distance from collapse (0 = complete)",
        banded=True,
        log_values=True,
        claims={m.removeprefix("collapse."): m for m in _COLLAPSE},
    ),
}


def chart_of(record: CellRecord) -> Chart:
    """The chart of a claim; of phenomena that are not known here, the accuracies."""
    chart = CHARTS.get(record.phenomenon, _ACCURACIES)
    if not chart.claims:
        return chart
    metrics = {m: name for m, name in chart.metrics.items() if m == chart.claims.get(record.claim_name)}
    return replace(chart, metrics=metrics, label=record.claim.unit)
