"""What evidence from a task is worth is said by every task that knows."""

from universality.plugin import registry
from universality.plugin.task import TIERS

registry.load_plugins()

BUILTIN = {
    "adult": "real",
    "arrays": "",
    "breast_cancer": "small real",
    "california_housing": "real",
    "char_lm": "real",
    "cifar10": "real",
    "digits": "small real",
    "fashion_mnist": "real",
    "gaussian_mixture": "synthetic",
    "hub_text": "real",
    "kmnist": "real",
    "mnist": "real",
    "mnist1d": "synthetic",
    "modular": "synthetic",
    "multi_index": "synthetic",
    "permutations": "synthetic",
    "power_law": "synthetic",
    "random_hierarchy": "synthetic",
    "sines": "synthetic",
    "sparse_parity": "synthetic",
    "spelling_to_sound": "real",
    "spoken_digits": "real",
    "svhn": "real",
    "teacher_student": "synthetic",
    "ucr": "real",
    "whitened": "synthetic",
    "wine": "small real",
    "word_lm": "real",
    "zipf": "synthetic",
}


def test_every_task_but_that_of_the_users_arrays_says_its_tier() -> None:
    assert registry.names("task") == sorted(BUILTIN)
    assert {name: registry.plugin_class("task", name).tier for name in BUILTIN} == BUILTIN
    assert {tier for tier in BUILTIN.values() if tier} == set(TIERS)


def test_real_data_have_a_source_and_a_licence_and_files_of_ours_a_digest() -> None:
    for name, tier in BUILTIN.items():
        task = registry.plugin_class("task", name)
        assert task.licence or tier in ("", "synthetic"), name
        assert bool(task.source) == bool(tier), name
        assert all(len(digest) == 64 for digest in task.digests.values()), name
