"""Evidence-gap maps: every cell is counted once, in its place, and what was never asked is no cell."""

from __future__ import annotations

from collections import Counter

from msgspec.structs import replace

from tests.judge.test_leaderboard import ABSENT, OPEN, TOY, record, result_set
from tests.judge.toy_cells import set_of
from universality.judge.gaps import gap_maps
from universality.plugin.bounds import Within
from universality.store.cells import CellRecord


def refused(architecture: str, task: str) -> CellRecord:
    return CellRecord(
        phenomenon="toy",
        version=1,
        claim_name="one",
        claim=Within(low=0.9, high=1.1, unit="u"),
        architecture=architecture,
        task=task,
        not_applicable="no images",
    )


RECORDS = [
    record("mlp", "digits"),
    record("mlp", "mnist", ABSENT),
    record("cnn", "digits", OPEN),
    record("cnn", "mnist", state="missing"),
    record("gru", "digits", state="diverged"),
    refused("gru", "mnist"),
    record("lstm", "xor"),
]


def test_each_verdict_is_counted_where_it_was_asked() -> None:
    whole, part = gap_maps(result_set("a", RECORDS))
    assert (whole.phenomenon, part.phenomenon) == ("", "toy")
    assert whole.networks == ("mlp", "cnn", "gru", "lstm")
    assert whole.tasks == ("digits", "mnist", "xor")
    assert {place: next(iter(kinds)) for place, kinds in whole.places.items()} == {
        ("mlp", "digits"): "present",
        ("mlp", "mnist"): "absent",
        ("cnn", "digits"): "undecided",
        ("cnn", "mnist"): "untested",
        ("gru", "digits"): "undecided",
        ("gru", "mnist"): "not applicable",
        ("lstm", "xor"): "present",
    }
    assert whole.counts == Counter(
        {"present": 2, "undecided": 2, "absent": 1, "untested": 1, "not applicable": 1}
    )
    assert (whole.tested, whole.impossible) == (5, 1)
    assert part.places == whole.places


def test_networks_that_differ_in_parameters_share_a_line_unless_it_were_the_only_one() -> None:
    wide = [record("mlp[width=2]"), record("mlp[width=4]", effect=ABSENT), record("cnn")]
    whole = gap_maps(result_set("a", wide))[0]
    assert whole.networks == ("mlp", "cnn")
    assert whole.places["mlp", "digits"] == Counter({"present": 1, "absent": 1})
    assert gap_maps(result_set("a", wide[:2]))[0].networks == ("mlp[width=2]", "mlp[width=4]")


def test_the_map_of_all_adds_up_and_calibrations_stay_out() -> None:
    both = [record("mlp"), record("mlp", phenomenon="other", claim_name="two", effect=ABSENT)]
    exact = [*both, record("mlp", phenomenon="exact", claim_name="three")]
    calibration = replace(TOY, calibration=True)
    results = set_of(exact, phenomena={"toy": TOY, "other": TOY, "exact": calibration})
    whole, *parts = gap_maps(results)
    assert [of.phenomenon for of in parts] == ["toy", "other"]
    assert whole.counts == sum((of.counts for of in parts), Counter())
    assert whole.counts.total() == 2


def test_a_set_of_controls_alone_has_no_map() -> None:
    assert gap_maps(result_set("a", [], controlled=True)) == []
