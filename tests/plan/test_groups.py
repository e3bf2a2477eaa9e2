"""Run sets become groups: keys, roles and units, and errors that name the file and the line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from universality.errors import BadParameter
from universality.plan.groups import Group, groups_of
from universality.plugin import (
    At,
    Cell,
    Every,
    Lines,
    Phenomenon,
    Run,
    Within,
    at_end,
    per_pair,
    per_partner,
    per_seed,
    positive,
    registry,
    require,
)  # fmt: skip
from universality.plugin import claim as declare
from universality.plugin.phenomenon import Cross

registry.load_plugins()

CHART = Lines({"train_loss": "loss"}, "loss")


def cell() -> Cell:
    return Cell(registry.resolve("architecture", "mlp"), registry.resolve("task", "digits"), None)  # type: ignore[arg-type]


def trained(run: Run) -> Run:
    return run.trained(steps=10, lr=0.1).observing(accuracy=Every(2))


@per_seed
def single(self: Any, run: Run) -> Run:
    return trained(run)


@per_seed
def sweep(self: Any, run: Run) -> Any:
    return trained(run).vary(lr=(0.1, 0.2), scale=(1, 2))


@per_pair
def pairs(self: Any, a: Run, b: Run) -> Any:
    return {"a": trained(a), "b": trained(b)}


@per_partner
def partners(self: Any, a: Run, b: Run) -> Any:
    return {"a": trained(a), "b": trained(b)}


def groups(seeds: int = 3, partners: tuple[str, ...] = (), **claims: Any) -> list[Group]:
    body = {"name": "sets", "sense": "sign", "strand": "laws", "reference": ("mlp", "digits")}
    body["controls"] = (positive("p", "why"),)  # type: ignore[assignment]
    cls = dataclass(frozen=True, kw_only=True)(type("Sets", (Phenomenon,), {**body, **claims}))
    cross = Cross(range(seeds), [registry.resolve("architecture", p) for p in partners])
    return groups_of(cls(), cell(), cross)


def claim(runs: Any, effect: Any = at_end("train_loss"), **changes: Any) -> Any:  # noqa: B008
    return declare(Within(high=1.0), effect, **{"runs": runs, "title": "one", "chart": CHART, **changes})


def test_one_run_per_seed_plays_the_role_of_its_set() -> None:
    made = groups(one=claim(single))
    assert [(g.key, g.units, list(g.runs), g.keys) for g in made] == [
        (f"s{seed}", (f"s{seed}",), ["single"], None) for seed in range(3)
    ]


def test_several_sets_have_their_name_in_the_key_and_claims_of_one_set_share_its_groups() -> None:
    made = groups(one=claim(single), two=claim(sweep), three=claim(single))
    assert [g.key for g in made] == [f"{name}/s{seed}" for name in ("single", "sweep") for seed in range(3)]


def test_a_sweep_has_a_role_for_every_value_and_keys_that_lead_back() -> None:
    group = groups(seeds=1, one=claim(sweep))[0]
    assert list(group.runs) == [f"lr={lr}, scale={f}" for lr in (0.1, 0.2) for f in (1, 2)]
    assert group.keys == {f"lr={lr}, scale={f}": (lr, f) for lr in (0.1, 0.2) for f in (1, 2)}
    assert group.runs["lr=0.2, scale=2"].recipe.lr == 0.2


def test_pairs_are_of_two_seeds_and_partners_of_one() -> None:
    made = groups(partners=("cnn", "vit"), one=claim(pairs), two=claim(partners))
    assert [(g.key, g.units) for g in made] == [
        *((f"pairs/s{i}-s{j}", (f"s{i}", f"s{j}")) for i, j in ((0, 1), (0, 2), (1, 2))),
        *((f"partners/{k}/s{s}", (f"s{s}",)) for k in range(2) for s in range(3)),
    ]
    assert [g.runs["b"].architecture.name for g in made[3:]] == ["cnn"] * 3 + ["vit"] * 3
    assert groups(one=claim(partners)) == []


def test_a_pooled_claim_has_all_seeds_in_every_group_and_leaves_one_out() -> None:
    made = groups(one=claim(sweep, pooled=True))
    assert [(g.key, g.units, g.left_out) for g in made] == [(f"s{s}", (f"s{s}",), s) for s in range(3)]
    assert all(g.runs.keys() == made[0].runs.keys() for g in made)
    assert made[0].keys is not None
    assert made[0].keys["s2, lr=0.2, scale=1"] == (2, 0.2, 1)
    assert made[0].runs["s2, lr=0.2, scale=1"].seed == 2
    lone = groups(one=claim(single, pooled=True))[1]
    assert lone.keys == {f"s{s}, single": s for s in range(3)}


def test_a_set_that_is_pooled_and_not_has_groups_of_both_kinds() -> None:
    one, two = claim(single), claim(single, pooled=True)
    made = groups(one=one, two=two)
    assert [g.key for g in made if g.bears_on(one)] == ["single/s0", "single/s1", "single/s2"]
    assert [g.key for g in made if g.bears_on(two)] == [f"single pooled/s{s}" for s in range(3)]


@pytest.mark.parametrize(
    ("changes", "series"),
    [
        ({"gates": [require("g", at_end("sharpness.ratio"), at_most=1.0)]}, "sharpness.ratio"),
        ({"criteria": [require("c", at_end("taps[rows=1.5].x"), at_most=1.0)]}, "taps[rows=1.5].x"),
        ({"chart": Lines({"collapse.nc1": ""}, "NC1")}, "collapse.nc1"),
        ({"effect": at_end("collapse.nc1")}, "collapse.nc1"),
        ({"beside": {"nc1": at_end("collapse.nc1")}}, "collapse.nc1"),
    ],
    ids=["gate", "criterion", "chart", "effect", "beside"],
)
def test_a_series_that_is_read_and_not_observed_is_named_before_training(
    changes: dict[str, Any], series: str
) -> None:
    with pytest.raises(BadParameter, match=r"sets\.one reads a series that is not observed") as caught:
        groups(one=claim(single, **changes))
    assert caught.value.got == series
    assert caught.value.where.startswith(f"{__file__}:")
    assert "accuracy" in caught.value.expected


def test_series_of_observed_probes_and_the_loss_are_readable() -> None:
    fine = (
        require("g", at_end("accuracy.train"), at_most=1.0),
        require("l", at_end("train_loss"), at_most=9.0),
    )
    assert groups(one=claim(single, gates=fine, chart=Lines({"accuracy.train": ""}, "a")))


def test_a_run_set_that_gives_no_runs_is_named_with_its_line() -> None:
    @per_seed
    def nothing(self: Any, run: Run) -> Any:
        return {}

    with pytest.raises(BadParameter, match=r"the run set sets\.nothing gives no runs") as caught:
        groups(one=claim(nothing))
    assert caught.value.where.startswith(f"{__file__}:")


def test_two_runs_of_one_name_are_refused() -> None:
    @per_seed
    def same(self: Any, run: Run) -> Any:
        return {1: trained(run), 1.0000000001: trained(run)}

    with pytest.raises(BadParameter, match="have one name"):
        groups(one=claim(same))


def test_an_observation_outside_of_a_sweep_is_missed_at_its_own_run() -> None:
    @per_seed
    def uneven(self: Any, run: Run) -> Any:
        return {"a": trained(run), "b": run.trained(steps=10, lr=0.1).observing(taps=At(1))}

    gate = require("g", at_end("accuracy.train"), at_most=1.0)
    with pytest.raises(BadParameter, match="not observed"):
        groups(one=claim(uneven, gates=[gate]))
    only = require("g", at_end("accuracy.train"), at_most=1.0, keys=("a",))
    assert groups(one=claim(uneven, gates=[only]))


@pytest.mark.parametrize("key", [None, True, (), (1, None), b"a", frozenset()])
def test_a_key_that_is_neither_text_nor_number_is_named_with_its_line(key: object) -> None:
    @per_seed
    def keyed(self: Any, run: Run) -> Any:
        return {key: trained(run)}

    with pytest.raises(
        BadParameter, match=r"sets\.keyed has a key that is neither text nor number"
    ) as caught:
        groups(one=claim(keyed))
    assert caught.value.where.startswith(f"{__file__}:")
    assert caught.value.got == repr(key)


@pytest.mark.parametrize("key", ["a, b\n/é<b>|", 0, -1.5, ("a", 2), "x" * 1000])
def test_any_text_and_number_is_a_key(key: object) -> None:
    @per_seed
    def keyed(self: Any, run: Run) -> Any:
        return {key: trained(run)}

    (made,) = groups(seeds=1, one=claim(keyed))
    assert made.keys is not None
    assert list(made.keys.values()) == [key]


def test_replicates_that_are_copies_of_each_other_are_refused() -> None:
    @per_seed
    def copies(self: Any, run: Run) -> Run:
        return trained(run).seeded(7)

    @per_seed
    def baseline(self: Any, run: Run) -> Any:
        return {"own": trained(run), "shared": trained(run).seeded(7)}

    with pytest.raises(BadParameter, match=r"two replicates of sets\.copies are the same runs") as caught:
        groups(one=claim(copies))
    assert caught.value.got == "s0 and s1 are both of seed 7"
    assert len(groups(one=claim(baseline))) == 3
    assert len(groups(seeds=1, one=claim(copies))) == 1


@pytest.mark.parametrize("of", ["gates", "criteria"])
def test_a_requirement_of_a_run_that_is_not_there_is_found_before_training(of: str) -> None:
    def wants(*keys: Any) -> Any:
        return {of: [require("fitted", at_end("accuracy.train"), at_least=0.9, keys=keys)]}

    with pytest.raises(BadParameter, match=r"'fitted' of sets\.one reads a run that is not there") as caught:
        groups(one=claim(pairs, **wants("a", "c")))
    assert caught.value.expected == "keys of the run set pairs: 'a', 'b'"
    assert len(groups(one=claim(pairs, **wants("a", "b")))) == 3


def test_a_run_without_a_recipe_names_the_run_set() -> None:
    @per_seed
    def bare(self: Any, run: Run) -> Run:
        return run

    with pytest.raises(BadParameter, match="a run without a recipe") as caught:
        groups(one=claim(bare))
    assert caught.value.where.startswith(f"{__file__}:")
