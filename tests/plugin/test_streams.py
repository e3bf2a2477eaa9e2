"""Seed streams and forks: one way to write each, left out of id and file where there is none."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from universality.errors import BadParameter
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.streams import AXES, Streams
from universality.store.files import decode_json, encode_json, encode_record
from universality.store.untrusted import UntrustedFile, read_record

RUN = RunSpec(
    Component("mlp", (("depth", 3), ("width", 256))),
    Component("digits", (("subset", 200),)),
    Recipe(steps=100, lr=0.1, batch_size=10),
    4,
)
FORKED = replace(RUN, streams=Streams((("init", 0),), (30, 2)))

STORED = """{
 "architecture": {
  "label": "cnn[width=8,activation=tanh]",
  "name": "cnn",
  "params": [
   [
    "activation",
    "tanh"
   ],
   [
    "depth",
    3
   ],
   [
    "width",
    8
   ]
  ]
 },
 "content": "",
 "recipe": {
  "batch_size": 0,
  "beta1": 0.9,
  "beta2": 0.999,
  "eps": 1e-08,
  "gamma": 0.1,
  "loss": "mse",
  "lr": 0.0,
  "lr_over_stability": 1.25,
  "milestones": [],
  "momentum": 0.0,
  "nesterov": false,
  "optimizer": "sgd",
  "steps": 1000,
  "warmup": 0.0,
  "weight_decay": 0.0
 },
 "seed": 0,
 "task": {
  "label": "digits[subset=100]",
  "name": "digits",
  "params": [
   [
    "classes",
    10
   ],
   [
    "label_noise",
    0.0
   ],
   [
    "random_labels",
    false
   ],
   [
    "subset",
    100
   ]
  ]
 }
}
"""
"""spec.json of a run that was published before there were streams."""


def test_the_spec_of_a_run_without_streams_is_read_and_written_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(STORED)
    run = read_record(path, RunSpec)
    assert run.id == "cnn-digits-s0-19b3f3f627d7"
    assert run.streams is UNSET
    assert encode_record(run) == STORED.encode()
    assert [run.seed_of(axis) for axis in AXES] == [0, 0, 0]
    assert run.fork is None


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        (Streams((("init", 0),)), "mlp-digits-s4-22eb42593528"),
        (Streams((), (30, 2)), "mlp-digits-s4-9575547cb337"),
        (FORKED.streams, "mlp-digits-s4-6f073a9e4ac3"),
    ],
    ids=["stream", "fork", "both"],
)
def test_ids_of_runs_with_streams_never_change(streams: Streams, expected: str) -> None:
    # A change here orphans stored runs: raise IDENTITY_VERSION and say so, or undo it.
    assert replace(RUN, streams=streams).id == expected


def test_ids_depend_on_every_axis_seed_step_and_branch() -> None:
    streams = [UNSET, *(Streams(((axis, seed),)) for axis in AXES for seed in (0, 1))]
    streams += [Streams((), fork) for fork in ((0, 1), (0, 2), (1, 1), (30, 1))]
    streams += [Streams((("init", 0), ("data", 0))), Streams((("init", 0),), (0, 1))]
    assert len({replace(RUN, streams=s).id for s in streams}) == len(streams)


def test_an_axis_that_follows_the_seed_of_the_run_is_no_stream() -> None:
    assert replace(RUN, streams=Streams((("init", 4), ("data", 4)))) == RUN
    assert replace(RUN, streams=Streams()).id == RUN.id
    assert replace(RUN, streams=Streams((("init", 4),), (30, 2))) == replace(
        RUN, streams=Streams((), (30, 2))
    )


def test_the_order_of_axes_does_not_matter() -> None:
    one, other = Streams((("init", 0), ("batches", 1))), Streams((("batches", 1), ("init", 0)))
    assert one == other
    assert replace(RUN, streams=one).id == replace(RUN, streams=other).id


def test_a_run_with_streams_survives_its_file_and_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_bytes(encode_record(FORKED))
    assert decode_json(path.read_bytes())["streams"] == {"seeds": [["init", 0]], "fork": [30, 2]}
    for back in (read_record(path, RunSpec), pickle.loads(pickle.dumps(FORKED))):
        assert back == FORKED
        assert back.id == FORKED.id
        assert [back.seed_of(axis) for axis in AXES] == [0, 4, 4]
        assert back.fork == (30, 2)
    assert pickle.loads(pickle.dumps(RUN)).streams is UNSET


@pytest.mark.parametrize(
    "streams",
    [
        {"seeds": []},
        None,
        {"seeds": [["init", 4]]},
        {"seeds": [["init", 1], ["data", 1]]},
        {"seeds": [["init", 1]], "fork": None},
        {"seeds": [["weights", 1]]},
        {"seeds": [["init", -1]]},
        {"seeds": [["init", True]]},
        {"seeds": [], "fork": [30, 0]},
        {"seeds": [], "fork": [100, 1]},
        {"seeds": [], "fork": [30, 1], "more": 1},
    ],
    ids=repr,
)
def test_a_stored_spec_in_any_other_form_is_refused(tmp_path: Path, streams: Any) -> None:
    path = tmp_path / "spec.json"
    path.write_bytes(encode_json({**decode_json(encode_record(RUN)), "streams": streams}))
    with pytest.raises(UntrustedFile):
        read_record(path, RunSpec)


def test_a_request_that_names_none_has_no_streams() -> None:
    assert Streams.of({}, None) is UNSET
    assert Streams.of({"init": 0}, None) == Streams((("init", 0),))
    assert Streams.of({"init": 0}, (30, 2)) == FORKED.streams


@pytest.mark.parametrize(
    ("seeds", "fork", "text"),
    [
        (
            {"weights": 1},
            None,
            "seed streams follow axes of randomness\n"
            "  got:      weights\n"
            "  expected: each at most once of init, batches, data",
        ),
        ({"data": -1}, None, "a seed is no whole number\n  where:    stream data\n  got:      -1\n  expected: >= 0"),
        ({"data": 1.0}, None, "a seed is no whole number\n  where:    stream data\n  got:      1.0\n  expected: >= 0"),
        *(
            (
                {},
                fork,
                "a fork needs a step, and the number of a branch\n"
                f"  got:      step={fork[0]}, branch={fork[1]}\n"
                "  expected: whole numbers, step >= 0 and branch >= 1: branch 0 is the run itself",
            )
            for fork in ((-1, 1), (3, 0), (1.5, 1), (3, True))
        ),
    ],
    ids=repr,
)  # fmt: skip
def test_streams_without_meaning_are_refused(seeds: Any, fork: Any, text: str) -> None:
    with pytest.raises(BadParameter) as caught:
        Streams.of(seeds, fork)
    assert str(caught.value) == text


def test_an_axis_given_twice_is_refused() -> None:
    with pytest.raises(BadParameter, match="seed streams follow axes of randomness"):
        Streams((("init", 0), ("init", 1)))


def test_a_fork_at_the_end_of_its_run_is_refused() -> None:
    with pytest.raises(BadParameter) as caught:
        replace(RUN, streams=Streams((), (100, 1)))
    assert str(caught.value) == (
        "a fork that never parts from its run\n"
        "  where:    mlp on digits, seed 4\n"
        "  got:      step 100 of a run of 100 updates\n"
        "  expected: a step below 100"
    )
    assert replace(RUN, streams=Streams((), (99, 1))).fork == (99, 1)
