"""Batches are a function of the seed and the step alone, and every epoch draws without replacement."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from universality.train.engine.batches import Batches

CPU = torch.device("cpu")
SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 50), st.integers(0, 5))


def epoch(batches: Batches, number: int) -> list[int]:
    first = number * batches.per_epoch
    return batches.table(first, first + batches.per_epoch).flatten().tolist()


@settings(deadline=None, max_examples=60)
@given(SHAPES)
def test_an_epoch_draws_without_replacement_and_drops_only_the_last_short_batch(
    shape: tuple[int, int, int],
) -> None:
    rows, size, seed = shape
    batches = Batches(rows, size, seed, CPU)
    for number in range(3):
        drawn = epoch(batches, number)
        assert len(set(drawn)) == len(drawn) == rows - rows % min(size, rows)
        assert set(drawn) <= set(range(rows))


@pytest.mark.parametrize(("rows", "size"), [(12, 4), (12, 1), (5, 9)])
def test_an_epoch_is_a_permutation_where_the_batch_size_divides_the_rows(rows: int, size: int) -> None:
    batches = Batches(rows, size, 0, CPU)
    assert all(sorted(epoch(batches, number)) == list(range(rows)) for number in range(4))


@settings(deadline=None, max_examples=30)
@given(SHAPES, st.lists(st.integers(0, 200), min_size=1, max_size=20))
def test_the_rows_of_a_step_do_not_depend_on_which_steps_were_asked_before(
    shape: tuple[int, int, int], steps: list[int]
) -> None:
    rows, size, seed = shape
    used = Batches(rows, size, seed, CPU)
    for step in steps:
        fresh = Batches(rows, size, seed, CPU)
        assert torch.equal(used.table(step, step + 1), fresh.table(step, step + 1))


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.integers(0, 60), st.integers(1, 5))
def test_a_fork_sees_the_batches_of_its_run_up_to_its_step_and_others_from_there_on(
    shape: tuple[int, int, int], step: int, branch: int
) -> None:
    rows, size, seed = shape
    own, fork = Batches(rows, size, seed, CPU), Batches(rows, size, seed, CPU, (step, branch))
    assert torch.equal(fork.table(0, step + 30)[:step], own.table(0, step + 30)[:step])
    # From the step on it is as if it had always been on its branch, wherever an epoch is cut.
    branched = Batches(rows, size, seed, CPU, (0, branch))
    assert torch.equal(fork.table(0, step + 30)[step:], branched.table(step, step + 30))
    assert torch.equal(fork.table(max(0, step - 3), step + 3), fork.table(0, step + 3)[max(0, step - 3) :])


def test_branches_of_a_fork_differ_from_the_run_and_from_each_other() -> None:
    tables = [Batches(100, 10, 0, CPU, fork).table(7, 17) for fork in (None, (7, 1), (7, 2))]
    assert len({tuple(table.flatten().tolist()) for table in tables}) == 3
    for table in tables[1:]:
        epoch = Batches(100, 10, 0, CPU, (0, 1)).table(0, 10)
        assert sorted(epoch.flatten().tolist()) == list(range(100))
        assert table.shape == (10, 10)


def test_epochs_and_seeds_differ_and_the_global_generator_stands_still() -> None:
    before = torch.get_rng_state()
    first, other = Batches(100, 10, 0, CPU), Batches(100, 10, 1, CPU)
    orders = {tuple(epoch(first, 0)), tuple(epoch(first, 1)), tuple(epoch(other, 0))}
    assert len(orders) == 3
    assert torch.equal(before, torch.get_rng_state())
