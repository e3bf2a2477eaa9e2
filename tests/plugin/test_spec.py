"""Ids and seeds: the same for ever, blind to order, sensitive to every field, unaware of observers."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from universality.errors import BadParameter, UniversalityError
from universality.plugin import spec
from universality.plugin.spec import (
    Component,
    Recipe,
    RunSpec,
    bare_name,
    canonical,
    derive_seed,
    parse_address,
    split_address,
)
from universality.store import layout

PLAIN = RunSpec(
    Component("mlp", (("depth", 3), ("width", 256))),
    Component("digits", (("subset", 200),)),
    Recipe(steps=100, lr=0.1),
    0,
)
EVERYTHING = RunSpec(
    Component("transformer", (("activation", "gelu"), ("centred", False), ("dim", 16), ("scale", 1.0))),
    Component("modular", (("operation", "add"), ("p", 97))),
    Recipe(
        steps=4000,
        lr=0.001,
        optimizer="adamw",
        beta1=0.9,
        beta2=0.98,
        weight_decay=1.0,
        milestones=(0.5, 0.75),
        gamma=0.1,
        batch_size=128,
        loss="mse",
    ),
    7,
)

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,12}", fullmatch=True)
texts = st.text(
    st.characters(exclude_characters=",=[]", exclude_categories=["C", "Z"]), min_size=1, max_size=8
)


def a_run(**changes: Any) -> RunSpec:
    return replace(PLAIN, **changes)


def read_back(run: RunSpec) -> RunSpec:
    """The run after it was written to a file."""
    return msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(run))), RunSpec)


# ------------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (PLAIN, "mlp-digits-s0-67b6cdac3667"),
        (EVERYTHING, "transformer-modular-s7-8f22cf8dcb85"),
    ],
    ids=["plain", "everything"],
)
def test_ids_never_change(run: RunSpec, expected: str) -> None:
    # A change here orphans every stored run: raise IDENTITY_VERSION and say so, or undo it.
    assert run.id == expected
    assert spec.IDENTITY_VERSION == 1


def test_an_id_is_blind_to_the_order_of_parameters() -> None:
    turned = Component("mlp", tuple(reversed(PLAIN.architecture.params)))
    assert a_run(architecture=turned).id == PLAIN.id


def test_an_id_is_blind_to_labels() -> None:
    shown = replace(PLAIN.architecture, label="mlp[as=shown]")
    assert a_run(architecture=shown).id == PLAIN.id
    assert a_run(architecture=shown) == PLAIN


CHANGED_RECIPES: dict[str, Recipe] = {
    "steps": Recipe(steps=101, lr=0.1),
    "lr": Recipe(steps=100, lr=0.2),
    "lr_over_stability": Recipe(steps=100, lr_over_stability=0.1),
    "optimizer": Recipe(steps=100, lr=0.1, optimizer="adam"),
    "momentum": Recipe(steps=100, lr=0.1, momentum=0.9),
    "nesterov": Recipe(steps=100, lr=0.1, nesterov=True),
    "beta1": Recipe(steps=100, lr=0.1, beta1=0.8),
    "beta2": Recipe(steps=100, lr=0.1, beta2=0.99),
    "eps": Recipe(steps=100, lr=0.1, eps=1e-7),
    "weight_decay": Recipe(steps=100, lr=0.1, weight_decay=0.1),
    "milestones": Recipe(steps=100, lr=0.1, milestones=(0.5,)),
    "gamma": Recipe(steps=100, lr=0.1, gamma=0.2),
    "warmup": Recipe(steps=100, lr=0.1, warmup=0.1),
    "batch_size": Recipe(steps=100, lr=0.1, batch_size=10),
    "loss": Recipe(steps=100, lr=0.1, loss="mse"),
    "fitted": Recipe(steps=100, lr=0.1, fitted=0.9),
    "lr_below_best": Recipe(steps=100, lr_below_best=0.1),
    "memory": Recipe(steps=100, lr=0.1, memory=0.1),
}


def test_an_id_depends_on_every_field_of_the_recipe() -> None:
    assert set(CHANGED_RECIPES) == {f.name for f in fields(Recipe)}, "a field of Recipe has no test"
    ids = {name: a_run(recipe=recipe).id for name, recipe in CHANGED_RECIPES.items()}
    assert PLAIN.id not in ids.values()
    assert len(set(ids.values())) == len(ids)


def hash_of(run: RunSpec) -> str:
    return run.id.rsplit("-", 1)[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": Component("cnn", PLAIN.architecture.params)},
        {"architecture": Component("mlp", (("depth", 3), ("width", 255)))},
        {"architecture": Component("mlp", (("depth", 3), ("widths", 256)))},
        {"architecture": Component("mlp", (("depth", 3),))},
        {"architecture": Component("mlp", (("depth", "3"), ("width", 256)))},
        {"task": Component("digit", PLAIN.task.params)},
        {"task": Component("digits", (("subset", 201),))},
        {"seed": 1},
    ],
    ids=repr,
)
def test_the_hash_itself_depends_on_every_field_of_the_run(changes: dict[str, Any]) -> None:
    # The readable part of an id differs anyway; the hash must not rely on it.
    assert hash_of(a_run(**changes)) != hash_of(PLAIN)


def test_architecture_and_task_are_not_interchangeable() -> None:
    swapped = replace(PLAIN, architecture=PLAIN.task, task=PLAIN.architecture)
    assert hash_of(swapped) != hash_of(PLAIN)


def test_the_version_of_ids_is_part_of_the_hash_and_that_of_files_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = PLAIN.id
    monkeypatch.setattr(layout, "SCHEMA_VERSION", layout.SCHEMA_VERSION + 1)
    assert PLAIN.id == before
    monkeypatch.setattr(spec, "IDENTITY_VERSION", spec.IDENTITY_VERSION + 1)
    assert PLAIN.id != before


def test_a_run_has_no_field_for_what_is_observed() -> None:
    known = {"architecture", "task", "recipe", "seed", "content", "streams", "sources"}
    assert {f.name for f in fields(RunSpec)} == known


def test_a_run_on_other_data_is_another_run() -> None:
    """Data that parameters pin down leave ids as they were; a file of the user's own is part of them."""
    changed = replace(PLAIN, content="ab")
    assert len({PLAIN.id, changed.id, replace(PLAIN, content="cd").id}) == 3
    assert read_back(changed) == changed


def test_a_recipe_that_trains_nothing_needs_no_rate_and_may_have_one() -> None:
    assert Recipe(steps=0).lr == 0.0
    assert a_run(recipe=Recipe(steps=0)).id != a_run(recipe=Recipe(steps=0, lr=0.1)).id
    assert read_back(a_run(recipe=Recipe(steps=0))).recipe == Recipe(steps=0)


@pytest.mark.parametrize(
    ("batch_size", "rows", "batches"), [(0, 10, False), (9, 10, True), (10, 10, False), (11, 10, False)]
)
def test_a_recipe_sees_batches_where_one_is_smaller_than_the_training_set(
    batch_size: int, rows: int, batches: bool
) -> None:
    assert Recipe(steps=1, lr=0.1, batch_size=batch_size).sees_batches(rows) is batches


def test_equal_recipes_have_equal_ids_whether_written_with_integers_or_not() -> None:
    written = Recipe(steps=10, lr=1, weight_decay=2, momentum=0, milestones=(1,), gamma=1)
    stored = Recipe(steps=10, lr=1.0, weight_decay=2.0, momentum=0.0, milestones=(1.0,), gamma=1.0)
    assert written == stored
    assert a_run(recipe=written).id == a_run(recipe=stored).id


@pytest.mark.parametrize("run", [PLAIN, EVERYTHING], ids=["plain", "everything"])
def test_a_run_survives_json_with_its_id_and_its_labels(run: RunSpec) -> None:
    labelled = replace(run, architecture=replace(run.architecture, label="shown[a=1]"))
    back = read_back(labelled)
    assert back == labelled
    assert back.id == run.id
    assert str(back.architecture) == "shown[a=1]"
    assert [type(v) for _, v in back.architecture.params] == [type(v) for _, v in run.architecture.params]


# ----------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("data", "digits", 0), 1830647850765479086),
        (("init", 3), 1120864851067992142),
        (("init", "3"), 4836177391664224432),
    ],
    ids=repr,
)
def test_derived_seeds_never_change(keys: tuple[Any, ...], expected: int) -> None:
    assert derive_seed(*keys) == expected


def test_axes_and_keys_give_seeds_of_their_own() -> None:
    keys = [(axis, *rest) for axis in ("data", "init", "batches", "probe") for rest in [(), *_numbered()]]
    seeds = [derive_seed(*k) for k in keys]
    assert len(set(seeds)) == len(keys)


def _numbered() -> list[tuple[int | str, ...]]:
    return [(i,) for i in range(200)] + [("a", i) for i in range(200)] + [("ab", ""), ("a", "b"), ("a,b",)]


def test_seeds_use_all_63_bits_and_no_more() -> None:
    seeds = [derive_seed("init", i) for i in range(2000)]
    assert all(0 <= s < 2**63 for s in seeds)
    # Each bit is a fair coin: 5 standard deviations of a binomial share at n = 2000.
    for bit in range(63):
        share = sum(s >> bit & 1 for s in seeds) / len(seeds)
        assert abs(share - 0.5) < 5 * 0.5 / math.sqrt(len(seeds)), bit


def test_seeds_of_two_axes_are_uncorrelated() -> None:
    n = 2000
    a, b = ([derive_seed(axis, i) / 2**63 - 0.5 for i in range(n)] for axis in ("data", "init"))
    correlation = 12 * sum(x * y for x, y in zip(a, b, strict=True)) / n
    assert abs(correlation) < 5 / math.sqrt(n)


# ------------------------------------------------------------------------------------------- addresses


@given(names, st.dictionaries(names, texts, max_size=5))
def test_an_address_that_was_written_is_read_back(name: str, params: dict[str, str]) -> None:
    text = name + (f"[{','.join(f'{k}={v}' for k, v in params.items())}]" if params else "")
    assert parse_address(text) == (name, params)


@given(names, st.dictionaries(names, texts, min_size=1, max_size=3))
def test_blanks_around_the_parts_of_an_address_do_not_matter(name: str, params: dict[str, str]) -> None:
    text = f"  {name}[ {' , '.join(f'{k} = {v}' for k, v in params.items())} ] \n"
    assert parse_address(text) == (name, params)


def test_a_value_may_hold_an_equals_sign_a_path_or_a_bracket() -> None:
    assert parse_address("arrays[path=/a b/c=d[1].npz]") == ("arrays", {"path": "/a b/c=d[1].npz"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "[width=1]",
        "1mlp",
        "mlp[width=1",
        "mlp width=1]",
        "mlp(width=1)",
        "mlp[a=1]x",
        "m lp",
        "-mlp",
        "a.b",
    ],
    ids=repr,
)
def test_a_malformed_address_is_shown_with_what_was_expected(text: str) -> None:
    with pytest.raises(BadParameter) as caught:
        parse_address(text)
    assert str(caught.value) == (
        f"malformed address\n  got:      {text!r}\n  expected: name or name[parameter=value,...]; package.module:factory for a network of your own"
    )


@pytest.mark.parametrize("item", ["width", "width=", "=3", "=", "width 3"], ids=repr)
def test_a_malformed_parameter_is_shown_with_its_address(item: str) -> None:
    with pytest.raises(BadParameter) as caught:
        parse_address(f"mlp[depth=2,{item}]")
    assert str(caught.value) == (
        "malformed parameter\n"
        f"  where:    mlp[depth=2,{item}]\n"
        f"  got:      {item!r}\n"
        "  expected: parameter=value"
    )


def test_a_parameter_given_twice_is_refused_and_not_overwritten() -> None:
    with pytest.raises(BadParameter) as caught:
        parse_address("mlp[width=1, width =2]")
    assert str(caught.value) == (
        "parameter given twice\n  where: mlp[width=1, width =2]\n  got:   'width'\n  do:    give it once"
    )


@given(st.lists(st.tuples(names, st.dictionaries(names, texts, max_size=2)), min_size=1, max_size=4))
def test_the_parts_of_an_address_are_found_again(parts: list[tuple[str, dict[str, str]]]) -> None:
    written = [n + (f"[{','.join(f'{k}={v}' for k, v in p.items())}]" if p else "") for n, p in parts]
    assert split_address("+".join(written)) == written
    assert split_address(" + ".join(written)) == written
    assert bare_name("+".join(written)) == "+".join(name for name, _ in parts)


@pytest.mark.parametrize("text", ["a[b=[c+d]", "a[b=c]+", "+", "", "a[b=c+d]", "]+["])
def test_splitting_loses_no_character(text: str) -> None:
    assert "+".join(split_address(text)) == text


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_bad_parameter(text: str) -> None:
    try:
        name, params = parse_address(text)
    except BadParameter:
        return
    assert name == name.strip()
    assert name != ""
    assert all(k and v and k == k.strip() and v == v.strip() for k, v in params.items())


# --------------------------------------------------------------------------------------------- recipes


ONE = "\n  expected: one of the three above 0, the others left out"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"steps": -1, "lr": 0.1},
            "a recipe has a negative number of steps\n"
            "  got:      -1\n"
            "  expected: >= 0, where 0 trains nothing",
        ),
        (
            {"steps": 0, "lr": -0.1},
            "a recipe needs exactly one of lr, lr_over_stability and lr_below_best\n  got:      lr=-0.1, lr_over_stability=0.0"
            + ONE,
        ),
        (
            {"steps": 0, "lr": math.nan},
            "a recipe needs exactly one of lr, lr_over_stability and lr_below_best\n  got:      lr=nan, lr_over_stability=0.0"
            + ONE,
        ),
        (
            {"steps": 1},
            "a recipe needs exactly one of lr, lr_over_stability and lr_below_best\n  got:      lr=0.0, lr_over_stability=0.0"
            + ONE,
        ),
        (
            {"steps": 1, "lr": 0.1, "lr_over_stability": 2.0},
            "a recipe needs exactly one of lr, lr_over_stability and lr_below_best\n  got:      lr=0.1, lr_over_stability=2.0"
            + ONE,
        ),
        (
            {"steps": 1, "lr": -0.1, "lr_over_stability": 2.0},
            "a recipe needs exactly one of lr, lr_over_stability and lr_below_best\n  got:      lr=-0.1, lr_over_stability=2.0"
            + ONE,
        ),
        (
            {"steps": 1, "lr": math.inf},
            "a recipe needs exactly one of lr, lr_over_stability and lr_below_best\n  got:      lr=inf, lr_over_stability=0.0"
            + ONE,
        ),
        (
            {"steps": 1, "lr": math.nan},
            "a recipe needs exactly one of lr, lr_over_stability and lr_below_best\n  got:      lr=nan, lr_over_stability=0.0"
            + ONE,
        ),
        (
            {"steps": 1, "lr_over_stability": 2.0, "optimizer": "adam"},
            "lr_over_stability is defined for gradient descent\n"
            "  got:      optimizer=adam\n"
            "  expected: optimizer=sgd",
        ),
        (
            {"steps": 1, "lr": 0.1, "lr_below_best": 3.0},
            "a recipe needs exactly one of lr, lr_over_stability and lr_below_best\n"
            "  got:      lr=0.1, lr_over_stability=0.0, lr_below_best=3.0" + ONE,
        ),
        (
            {"steps": 1, "lr": 0.1, "memory": 1.5},
            "memory is a share of the start\n  got:      1.5\n  expected: 0 to 1",
        ),
        *(
            (
                {"steps": 1, "lr": 0.1, "memory": 0.5, **more},
                "memory stands in place of weight_decay, for gradient descent\n"
                f"  got:      optimizer={more.get('optimizer', 'sgd')}, weight_decay={more.get('weight_decay', 0.0):g}, memory=0.5\n"
                "  expected: optimizer=sgd, weight_decay=0",
            )
            for more in ({"optimizer": "adam"}, {"weight_decay": 0.1})
        ),
        (
            {"steps": 1, "lr": 0.1, "batch_size": -1},
            "batch_size is negative\n  got:      -1\n  expected: >= 0, where 0 takes all rows",
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, dict) else "",
)
def test_a_recipe_without_meaning_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(BadParameter) as caught:
        Recipe(**arguments)
    assert str(caught.value) == text


# ------------------------------------------------------------------------------------------- canonical

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_canonical_text_is_injective_and_blind_to_order(a: Any, b: Any) -> None:
    assert json.loads(canonical(a)) == a
    if isinstance(a, dict):
        assert canonical(dict(reversed(a.items()))) == canonical(a)
    assume(a != b)
    assert canonical(a) != canonical(b)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_never_reach_an_id(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical([value])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"steps": "3"}, "steps of a recipe is no whole number"),
        ({"steps": 3.0}, "steps of a recipe is no whole number"),
        ({"batch_size": True}, "batch_size of a recipe is no whole number"),
        ({"optimizer": "sgdd"}, "unknown optimizer 'sgdd'"),
        ({"loss": None}, "unknown loss 'None'"),
    ],
)
def test_a_recipe_of_another_type_is_refused_before_it_has_an_id(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(UniversalityError, match=what):
        Recipe(**{"steps": 3, "lr": 0.1, **changes})
