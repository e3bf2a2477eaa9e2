"""`Task.load`: what every task shares, on a task whose inputs are row numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from universality.errors import BadParameter, DataUnavailable
from universality.plugin.architecture import InputSpec
from universality.plugin.task import Split, Splits, Task

NOWHERE = Path("/nowhere")


@dataclass(frozen=True, kw_only=True)
class RowNumbers(Task):
    """Inputs are the row numbers; class c owns a share of the rows proportional to c + 1."""

    rows: int = 600
    classes: int = 3

    def labels(self) -> torch.Tensor:
        return torch.repeat_interleave(torch.arange(self.classes), torch.arange(1, self.classes + 1)).repeat(
            self.rows
        )[: self.rows]

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        order = torch.from_numpy(rng.permutation(self.rows))
        everything = Split(torch.arange(self.rows, dtype=torch.float32)[:, None], self.labels())
        first = everything.take(torch.arange(min(5, self.rows)))
        return Splits(everything.take(order), everything, first, InputSpec("vector", (1,)), self.classes)


RowNumbers.name = "rows"


def load(task: Task, seed: int = 0) -> Splits:
    return task.load(np.random.default_rng(seed), NOWHERE)


def same(a: Split, b: Split) -> bool:
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


def true_labels(task: RowNumbers, split: Split) -> torch.Tensor:
    return task.labels()[split.inputs[:, 0].long()]


def test_the_same_generator_gives_the_same_data_and_another_one_does_not() -> None:
    task = RowNumbers(subset=100, label_noise=0.2)
    assert same(load(task).train, load(task).train)
    assert not same(load(task).train, load(task, 1).train)


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1), classes=st.integers(2, 6), rows=st.integers(20, 300), seed=st.integers(0, 99))
def test_label_noise_changes_exactly_its_share_and_never_keeps_the_class(
    share: float, classes: int, rows: int, seed: int
) -> None:
    task = RowNumbers(label_noise=share, classes=classes, rows=rows)
    splits = load(task, seed)
    changed = splits.train.targets != true_labels(task, splits.train)
    assert int(changed.sum()) == round(share * rows)
    assert set(splits.train.targets.tolist()) <= set(range(classes))


def test_label_noise_leaves_validation_and_reference_alone() -> None:
    noisy, clean = load(RowNumbers(label_noise=0.5)), load(RowNumbers())
    assert same(noisy.validation, clean.validation)
    assert same(noisy.reference, clean.reference)


def test_label_noise_draws_the_other_classes_uniformly() -> None:
    task = RowNumbers(label_noise=1.0, classes=4, rows=12_000)
    splits = load(task)
    true = true_labels(task, splits.train).numpy()
    for c in range(4):
        drawn = np.bincount(splits.train.targets.numpy()[true == c], minlength=4)
        assert drawn[c] == 0
        assert stats.chisquare(np.delete(drawn, c)).pvalue > 1e-4


def test_label_noise_depends_on_the_seed_but_not_on_which_inputs_are_read_first() -> None:
    task = RowNumbers(label_noise=0.3)
    a, b = load(task, 0), load(task, 1)
    changed = [set(s.train.inputs[s.train.targets != true_labels(task, s.train), 0].tolist()) for s in (a, b)]
    assert changed[0] != changed[1]


def test_random_labels_are_uniform_and_independent_of_the_inputs() -> None:
    task = RowNumbers(random_labels=True, classes=4, rows=12_000)
    splits = load(task)
    for split in (splits.train, splits.validation):
        drawn, true = split.targets.numpy(), true_labels(task, split).numpy()
        table = np.zeros((4, 4))
        np.add.at(table, (true, drawn), 1)
        assert stats.chisquare(table.sum(axis=0)).pvalue > 1e-4
        assert stats.chi2_contingency(table).pvalue > 1e-4
    assert same(splits.reference, load(RowNumbers(classes=4, rows=12_000)).reference)


@settings(max_examples=40, deadline=None)
@given(classes=st.integers(2, 5), size=st.integers(1, 60), seed=st.integers(0, 99))
def test_a_subset_takes_classes_in_turn_until_they_are_used_up(classes: int, size: int, seed: int) -> None:
    task = RowNumbers(rows=60, classes=classes, subset=size)
    train = load(task, seed).train
    assert len(train) == size == len(torch.unique(train.inputs))
    assert torch.equal(train.targets, true_labels(task, train))
    # Slow twin: deal one row to each class in turn, smallest class first to run out.
    left = torch.bincount(task.labels(), minlength=classes).tolist()
    counts = [0] * classes
    for _ in range(size):
        c = min((c for c in range(classes) if left[c]), key=lambda c: (counts[c], c))
        counts[c], left[c] = counts[c] + 1, left[c] - 1
    assert torch.bincount(train.targets, minlength=classes).tolist() == counts


def test_the_subset_is_drawn_by_the_seed() -> None:
    task = RowNumbers(subset=50)
    rows = [set(load(task, seed).train.inputs[:, 0].tolist()) for seed in (0, 1)]
    assert rows[0] != rows[1]


def test_a_subset_larger_than_the_training_set_is_refused() -> None:
    with pytest.raises(BadParameter) as caught:
        load(RowNumbers(rows=10, subset=11))
    assert str(caught.value) == (
        "subset is larger than the training set\n  where:    rows\n  got:      11\n  expected: <= 10"
    )


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"label_noise": -0.1}, "label_noise is a share"),
        ({"label_noise": 1.1}, "label_noise is a share"),
        ({"label_noise": float("nan")}, "label_noise is a share"),
        ({"subset": -1}, "subset is negative"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, float], text: str) -> None:
    with pytest.raises(BadParameter, match=text):
        RowNumbers(**parameters)  # type: ignore[arg-type]


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataUnavailable, match="a split is empty"):
        load(RowNumbers(rows=0))


# ------------------------------------------------------------------------------------------- regression


@dataclass(frozen=True, kw_only=True)
class Doubles(Task):
    """y = (2 x, -x) of the row numbers x, and whatever a test breaks."""

    rows: int = 60
    outputs: int = 2
    validation_classes: bool = False
    flat: bool = False
    wide: bool = False

    def numbers(self, rows: int) -> Split:
        x = torch.arange(rows, dtype=torch.float32)[:, None]
        targets = x * torch.tensor([2.0, -1.0])
        targets = targets[:, 0] if self.flat else targets
        return Split(x, targets.double() if self.wide else targets)

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        train, validation = self.numbers(self.rows), self.numbers(20)
        if self.validation_classes:
            validation = Split(validation.inputs, torch.zeros(20, dtype=torch.int64))
        return Splits(train, validation, self.numbers(5), InputSpec("vector", (1,)), self.outputs)


Doubles.name = "doubles"


def pairs(split: Split) -> set[tuple[float, ...]]:
    return {tuple(row) for row in torch.cat([split.inputs, split.targets], 1).tolist()}


def test_numbers_are_regressed_on_as_they_are() -> None:
    splits = load(Doubles())
    assert splits.train.regression
    assert not load(RowNumbers()).train.regression
    assert splits.train.targets.dtype == torch.float32
    assert pairs(splits.train) == {(x, 2 * x, -x) for x in range(60)}
    assert Doubles().signature(NOWHERE).regression
    assert not RowNumbers().signature(NOWHERE).regression


def test_a_subset_of_a_regression_is_of_random_rows_with_their_own_targets() -> None:
    drawn = [load(Doubles(subset=10), seed).train for seed in range(200)]
    for train in drawn:
        assert len(pairs(train)) == len(train) == 10
        assert torch.equal(train.targets, train.inputs * torch.tensor([2.0, -1.0]))
    assert same(drawn[0], load(Doubles(subset=10)).train)
    often = np.bincount([int(x) for train in drawn for x in train.inputs[:, 0]], minlength=60)
    assert stats.chisquare(often).pvalue > 1e-4


def test_random_labels_of_a_regression_are_a_permutation_of_its_targets() -> None:
    task = Doubles(random_labels=True, rows=2000)
    splits, clean = load(task), load(Doubles(rows=2000))
    for split, own in ((splits.train, clean.train), (splits.validation, clean.validation)):
        assert torch.equal(split.inputs, own.inputs)
        assert not torch.equal(split.targets, own.targets)
        assert sorted(split.targets.tolist()) == sorted(own.targets.tolist())
    x, y = splits.train.inputs[:, 0].numpy(), splits.train.targets[:, 0].numpy()
    assert stats.spearmanr(x, y).pvalue > 1e-4
    assert same(splits.reference, clean.reference)
    assert not same(splits.train, load(task, 1).train)


def test_noise_of_classes_is_refused_where_there_are_none() -> None:
    with pytest.raises(BadParameter) as caught:
        load(Doubles(label_noise=0.25))
    assert str(caught.value) == (
        "label_noise replaces classes, and this task has none\n"
        "  where:    doubles\n"
        "  got:      label_noise=0.25\n"
        "  expected: label_noise=0\n"
        "  do:       let the task add noise to its numbers by a parameter of its own"
    )


@pytest.mark.parametrize(
    ("broken", "got"),
    [
        ({"flat": True}, "float32 [60], float32 [20], float32 [5]"),
        ({"wide": True}, "float64 [60, 2], float64 [20, 2], float64 [5, 2]"),
        ({"outputs": 3}, "float32 [60, 2], float32 [20, 2], float32 [5, 2]"),
        ({"validation_classes": True}, "float32 [60, 2], int64 [20], float32 [5, 2]"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_targets_that_a_loss_would_broadcast_or_misread_are_refused(
    broken: dict[str, bool], got: str
) -> None:
    task = Doubles(**broken)  # type: ignore[arg-type]
    with pytest.raises(BadParameter) as caught:
        load(task)
    assert str(caught.value) == (
        "targets of a regression are malformed\n"
        "  where:    doubles\n"
        f"  got:      {got}\n"
        f"  expected: float32 [rows, {task.outputs}] for training, validation and reference"
    )


def test_the_signature_has_the_sizes_after_the_subset() -> None:
    signature = RowNumbers(subset=30).signature(NOWHERE)
    assert (signature.train_rows, signature.validation_rows, signature.reference_rows) == (30, 600, 5)
    assert (signature.inputs, signature.outputs) == (InputSpec("vector", (1,)), 3)
