"""Groups, grammars, teachers: against their definitions, written out slowly."""

from __future__ import annotations

from collections import Counter
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from universality.errors import BadParameter
from universality.plugin import registry
from universality.plugin.task import Splits

registry.load_plugins()


def task(address: str) -> Any:
    return registry.resolve("task", address)


def load(address: str, seed: int = 0) -> Splits:
    splits: Splits = task(address).load(np.random.default_rng(seed), Path("/nowhere"))
    return splits


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("zipf[exponent=1]", "the exponent is none of Zipf's law"),
        ("zipf[symbols=1]", "symbols is too small"),
        ("permutations[n=6]", "the group is trivial or too large to list"),
        ("permutations[train_fraction=1]", "train_fraction leaves a split empty"),
        ("random_hierarchy[synonyms=9]", "too few tuples for every symbol to have its own"),
        ("random_hierarchy[classes=17]", "too few tuples for every symbol to have its own"),
        ("random_hierarchy[levels=1]", "the grammar has too few data"),
        ("random_hierarchy[levels=6]", "more than can be numbered"),
        ("random_hierarchy[size=1]", "size is too small"),
        ("multi_index[directions=33]", "dim is too small"),
        ("multi_index[link=sum]", "not a known choice"),
        ("teacher_student[hidden=33]", "dim is too small"),
        ("teacher_student[noise=-1]", "noise is too small"),
    ],
)
def test_parameters_out_of_range_are_refused(address: str, text: str) -> None:
    with pytest.raises(BadParameter, match=text):
        task(address)


# Permutations


@pytest.mark.parametrize("n", [3, 4])
def test_a_product_applies_the_second_permutation_first(n: int) -> None:
    elements = list(permutations(range(n)))
    splits = load(f"permutations[n={n}]")
    pairs = torch.cat([splits.train.inputs, splits.validation.inputs]).tolist()
    labels = torch.cat([splits.train.targets, splits.validation.targets]).tolist()
    for (a, b), c in zip(pairs, labels, strict=True):
        assert elements[c] == tuple(elements[a][elements[b][i]] for i in range(n))
    assert sorted(map(tuple, pairs)) == list(product(range(len(elements)), repeat=2))
    assert len(splits.train) == round(0.4 * len(elements) ** 2)
    assert splits.outputs == splits.inputs.vocabulary == len(elements)


def test_the_group_of_five_is_not_commutative_and_0_is_the_identity() -> None:
    splits = load("permutations")
    table = torch.full((120, 120), -1)
    for part in (splits.train, splits.validation):
        table[part.inputs[:, 0], part.inputs[:, 1]] = part.targets
    assert torch.equal(table[0], torch.arange(120))
    assert torch.equal(table[:, 0], torch.arange(120))
    assert torch.equal(table.sort(1).values, torch.arange(120).expand(120, 120))  # a Latin square
    assert not torch.equal(table, table.T)


# Random hierarchy


def parsed(row: list[int], rules: list[np.ndarray], size: int) -> int:
    """The class, read off from the bottom up."""
    for tuples in reversed(rules):
        owner = {tuple(t): symbol for symbol, synonyms in enumerate(tuples.tolist()) for t in synonyms}
        row = [owner[tuple(row[i : i + size])] for i in range(0, len(row), size)]
    (label,) = row
    return label


@pytest.mark.parametrize(
    "address",
    [
        "random_hierarchy[train_rows=200]",
        "random_hierarchy[classes=3,features=4,synonyms=5,size=3,levels=2,train_rows=200,validation_rows=100]",
    ],
)
def test_the_class_of_a_datum_can_be_read_off_level_by_level(address: str) -> None:
    grammar, splits = task(address), load(address)
    rules = grammar.rules()
    for tuples in rules:
        flat = tuples.reshape(-1, grammar.size)
        assert len(set(map(tuple, flat.tolist()))) == len(flat)  # no tuple stands for two symbols
    for part in (splits.train, splits.validation):
        assert [parsed(row, rules, grammar.size) for row in part.inputs.tolist()] == part.targets.tolist()
        assert len(set(map(tuple, part.inputs.tolist()))) == len(part)
    assert splits.inputs.shape == (grammar.size**grammar.levels,)


def test_all_data_of_a_grammar_are_different_and_as_many_as_the_paper_counts() -> None:
    grammar = task(
        "random_hierarchy[classes=3,features=3,synonyms=2,levels=3,train_rows=80,validation_rows=80]"
    )
    assert grammar.data == 3 * 2 ** ((2**3 - 1) // (2 - 1))
    everything = grammar.made(np.arange(grammar.data))
    assert len(set(map(tuple, everything.inputs.tolist()))) == grammar.data
    assert everything.targets.bincount().tolist() == [grammar.data // 3] * 3


def test_every_synonym_is_drawn_alike_wherever_a_symbol_is_replaced() -> None:
    grammar = task("random_hierarchy")
    splits = load("random_hierarchy[train_rows=6000]")
    rules = grammar.rules()
    for position in range(4):
        pairs = Counter(map(tuple, splits.train.inputs[:, 2 * position : 2 * position + 2].tolist()))
        for synonyms in rules[-1].tolist():
            counts = [pairs[tuple(t)] for t in synonyms]
            if sum(counts) > 200:
                assert max(abs(c - sum(counts) / 4) for c in counts) < 5 * (sum(counts) * 3 / 16) ** 0.5


def test_another_grammar_is_other_rules() -> None:
    first, other = task("random_hierarchy").rules(), task("random_hierarchy[grammar=1]").rules()
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], first[2])


# Regression


@pytest.mark.parametrize("link", ["product", "staircase"])
def test_an_index_is_the_product_of_its_directions(link: str) -> None:
    address = f"multi_index[dim=6,link={link},rows=20000]"
    splits, axes = load(address), task(address).axes()
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    z = splits.train.inputs.numpy().astype(np.float64) @ axes.T
    y = splits.train.targets[:, 0].numpy()
    terms = [z[:, 0], z[:, 0] * z[:, 1], z[:, 0] * z[:, 1] * z[:, 2]]
    expected = terms[2] if link == "product" else (terms[0] + terms[1] + terms[2]) / 3**0.5
    np.testing.assert_allclose(y, expected, atol=1e-4)
    assert abs(y.mean()) < 0.1
    assert y.var() == pytest.approx(1, abs=0.15)


def test_a_teacher_is_a_sum_of_error_functions_of_variance_one() -> None:
    address = "teacher_student[dim=6,hidden=3,rows=20000]"
    splits, teacher = load(address), torch.from_numpy(task(address).teacher())
    z = splits.train.inputs.double() @ teacher.T
    torch.testing.assert_close(
        splits.train.targets.double(), torch.erf(z / 2**0.5).sum(1, keepdim=True), atol=1e-5, rtol=0
    )
    assert float(splits.train.targets.var()) == pytest.approx(1, abs=0.05)
    noisy = load("teacher_student[dim=6,hidden=3,rows=20000,noise=0.5]")
    assert torch.equal(noisy.train.inputs, splits.train.inputs)
    assert float((noisy.train.targets - splits.train.targets).std()) == pytest.approx(0.5, abs=0.02)
    assert torch.equal(noisy.validation.targets, splits.validation.targets)


@pytest.mark.parametrize(("exponent", "symbols"), [(1.5, 500), (2.0, 50)])
def test_symbols_of_zipf_are_as_frequent_as_a_power_of_their_rank_and_alone_tell_their_class(
    exponent: float, symbols: int
) -> None:
    address = f"zipf[exponent={exponent},symbols={symbols},rows=64,validation_rows=2000]"
    p = np.array([1 / j**exponent for j in range(1, symbols + 1)])
    p /= p.sum()
    fixed = load(address)
    for split, resolved in ((fixed.validation, 1 / 1000), (load(address, 1).validation, 1 / 1000)):
        tokens = split.inputs[:, 0].numpy()
        assert (split.targets.numpy() == tokens % 2).all()
        for label in (0, 1):
            share = np.bincount(tokens[tokens % 2 == label] // 2, minlength=symbols) / 1000
            assert abs(share - p).max() <= resolved
    assert fixed.inputs.vocabulary == 2 * symbols
    assert fixed.outputs == 2
    # Of 32 draws of either class: what a learner has not seen.
    unseen = []
    for seed in range(400):
        train = load(address, seed).train
        assert np.bincount(train.targets.numpy()).tolist() == [32, 32]
        seen = np.unique(train.inputs.numpy())
        unseen.append(1 - (p[seen[seen % 2 == 0] // 2].sum() + p[seen[seen % 2 == 1] // 2].sum()) / 2)
    assert np.mean(unseen) == pytest.approx((p * (1 - p) ** 32).sum(), rel=0.03)


def test_unseen_symbols_of_zipf_fall_as_a_power_of_the_rows() -> None:
    p = task("zipf").probabilities()
    rows = np.array([64, 128, 256, 512])
    unseen = np.array([(p * (1 - p) ** (n / 2)).sum() for n in rows])
    slopes = np.diff(np.log(unseen)) / np.diff(np.log(rows))
    assert slopes == pytest.approx([-1 / 3] * 3, abs=0.05)
