"""What evidence from a task is worth is said by every task that knows."""

from universality.plugin import registry
from universality.plugin.task import TIERS

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
    "power_law": "synthetic",
    "sines": "synthetic",
    "sparse_parity": "synthetic",
    "whitened": "synthetic",
}


def test_every_task_but_that_of_the_users_arrays_says_its_tier() -> None:
    assert {name: registry.plugin_class("task", name).tier for name in BUILTIN} == BUILTIN
    assert {tier for tier in BUILTIN.values() if tier} == set(TIERS)
