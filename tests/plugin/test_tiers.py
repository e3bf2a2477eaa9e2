"""What evidence from a task is worth is said by every task that knows, and read without trust."""

import pytest

from universality.plugin import registry
from universality.plugin.tiers import TIERS, tiers_of

registry.load_plugins()


BUILTIN = {
    "arrays": "",
    "char_lm": "real",
    "cifar10": "real",
    "digits": "small real",
    "fashion_mnist": "real",
    "gaussian_mixture": "synthetic",
    "hub_text": "real",
    "mnist": "real",
    "modular": "synthetic",
    "sparse_parity": "synthetic",
}


def test_every_task_but_that_of_the_users_arrays_says_its_tier() -> None:
    assert {name: registry.plugin_class("task", name).tier for name in BUILTIN} == BUILTIN
    assert {tier for tier in BUILTIN.values() if tier} == set(TIERS)


@pytest.mark.parametrize(
    "tasks",
    [
        None,
        [],
        "x",
        {"digits": None},
        {"digits": {}},
        {"digits": {"tier": ["real"]}},
        {"digits": {"tier": "<b>"}},
    ],
    ids=repr,
)
def test_what_is_no_tier_is_nothing_said(tasks: object) -> None:
    assert tiers_of({"tasks": tasks}) == {}
    assert tiers_of({}) == {}
    assert tiers_of({"tasks": {"digits": {"tier": "real"}}}) == {"digits": "real"}
