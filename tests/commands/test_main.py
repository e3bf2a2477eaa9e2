"""The command line: small, frozen, quick to answer, and honest in its exit codes."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import universality
from tests.stored import content, edit
from universality.commands import main as cli
from universality.judge import measuring
from universality.output.page.text import unpacked
from universality.plan.jobs_json import read_jobs
from universality.plan.plan_json import PlanRecord
from universality.plugin import registry
from universality.store import measurements
from universality.store.files import decode_json
from universality.store.store import Store
from universality.text import plain
from universality.train import launch, messages
from universality.train.executors import slurm
from universality.train.leases import Leases

CHECKOUT = Path(universality.__file__).resolve().parents[1]

Options = dict[str, tuple[Any, ...]]
FROZEN: dict[str, Options] = {
    "": {"--help": (None, 0), "--version": (None, 0)},
    "run": {
        "--help": (None, 0),
        "--plugins": ([], None),
        "--data-root": (None, None),
        "--suite": (None, None),
        "--architectures": ((), "+"),
        "--tasks": ((), "+"),
        "--phenomena": ((), "+"),
        "--seeds": (None, None),
        "--name": (None, None),
        "--results": (Path("results"), None),
        "--device": ("auto", None),
        "--workers": (None, None),
        "--engine": ("auto", None, ["auto", "loop", "fused", "separate"]),
        "--timeout": (3600.0, None),
        "--on-existing": ("retry-failed", None, ["skip", "retry-failed", "force"]),
        "--adopt": ([], None),
        "--shard": (None, None),
        "--executor": ("local", None, ["local", "slurm", "ray"]),
        "--jobs": (1, None),
        "--slurm": ((), "+"),
        "--ray": ((), "+"),
        "--dry-run": (False, 0),
    },
    "worker": {
        "--help": (None, 0),
        "--plugins": ([], None),
        "--data-root": (None, None),
        "folder": (None, None),
        "--device": ("auto", None),
        "--workers": (None, None),
        "--engine": ("auto", None, ["auto", "loop", "fused", "separate"]),
        "--timeout": (3600.0, None),
        "--on-existing": ("skip", None, ["skip", "retry-failed"]),
    },
    "list": {
        "--help": (None, 0),
        "--plugins": ([], None),
        "--write": (None, None),
        "what": (None, "?", ["architectures", "modifiers", "tasks", "phenomena", "probes", "suites"]),
    },
    "status": {"--help": (None, 0), "folder": (None, None)},
    "report": {
        "--help": (None, 0),
        "--plugins": ([], None),
        "--data-root": (None, None),
        "folder": (None, None),
        "--workers": (None, None),
        "--timeout": (3600.0, None),
    },
    "compare": {
        "--help": (None, 0),
        "first": (None, None),
        "second": (None, None),
        "--out": (None, None),
        "--allow-versions": (False, 0),
    },
    "leaderboard": {
        "--help": (None, 0),
        "places": ((Path("results"),), "*"),
        "--out": (None, None),
        "--write": (None, None),
    },
    "reproductions": {
        "--help": (None, 0),
        "places": ((Path("results"),), "*"),
        "--write": (Path("docs/reproductions.md"), None),
    },
    "replay": {
        "--help": (None, 0),
        "--plugins": ([], None),
        "--data-root": (None, None),
        "series": (None, "+"),
        "--network": (None, None),
        "--data": (None, None),
        "--phenomena": ((), "+"),
        "--probes": ((), "+"),
    },
    "check": {
        "--help": (None, 0),
        "--plugins": ([], None),
        "--data-root": (None, None),
        "targets": (None, "+"),
    },
    "export": {
        "--help": (None, 0),
        "folder": (None, None),
        "--to": ("tensorboard", None, ["tensorboard", "trackio"]),
        "--out": (None, None),
    },
    "publish": {
        "--help": (None, 0),
        "--plugins": ([], None),
        "name": (None, None),
        "--out": (Path("published"), None),
        "--to": (None, None),
    },
    "predict": {
        "--help": (None, 0),
        "--plugins": ([], None),
        "--data-root": (None, None),
        "file": (None, None),
        "--results": (Path("results"), None),
        "--known": ([], None),
        "--none-known": (False, 0),
    },
    "hunt": {
        "--help": (None, 0),
        "--plugins": ([], None),
        "--data-root": (None, None),
        "claim": (None, None),
        "--budget": (30.0, None),
        "--architectures": ((), "+"),
        "--tasks": ((), "+"),
        "--results": (Path("results"), None),
        "--workers": (None, None),
        "--dry-run": (False, 0),
    },
    "new": {
        "--help": (None, 0),
        "kind": (None, None, ["phenomenon", "architecture", "task", "probe", "modifier"]),
        "name": (None, None),
        "--into": (Path("my_plugins"), None),
    },
    "data": {"--help": (None, 0)},
    "data fetch": {
        "--help": (None, 0),
        "--plugins": ([], None),
        "--data-root": (None, None),
        "task": (None, "+"),
    },
}
"""Default, number of values and choices of every option of every command. Scripts depend on these."""


def commands(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child, below in action.choices.items():
                yield from commands(below, f"{name} {child}".strip())


def options(parser: argparse.ArgumentParser) -> Options:
    found: Options = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        name = action.option_strings[-1] if action.option_strings else action.dest
        default = None if action.default is argparse.SUPPRESS else action.default
        found[name] = (default, action.nargs, *([action.choices] if action.choices else []))
    return found


def run_command(
    *arguments: str, cwd: Path, code: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    command = ["-c", code] if code else ["-m", "universality"]
    return subprocess.run(
        [sys.executable, "-W", "error", *command, *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": str(CHECKOUT),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "100",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=250,
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What stands on stderr of a command that must exit with 2 and print nothing else."""
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


# ---------------------------------------------------------------------------------------------- frozen


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_help_has_examples_that_can_be_typed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "--help"])
    told = capsys.readouterr().out.partition("examples:\n")[2].splitlines()
    assert told
    for line in told:
        program, *arguments = shlex.split(line)
        assert program == "universality"
        assert arguments[: len(command.split())] == command.split()
        cli.build_parser().parse_args(arguments)


def test_commands_and_options_are_frozen() -> None:
    assert {name: options(parser) for name, parser in commands(cli.build_parser())} == FROZEN


def test_the_engines_that_can_be_asked_for_are_those_of_training() -> None:
    asked = options(dict(commands(cli.build_parser()))["run"])["--engine"][2]
    assert list(get_args(messages.Engine)) == asked


@pytest.mark.parametrize("name", [name for name in FROZEN if name])
def test_every_command_and_option_is_explained(name: str) -> None:
    parser = dict(commands(cli.build_parser()))[name]
    silent = [a.dest for a in parser._actions if not a.help and not isinstance(a, argparse._SubParsersAction)]
    assert silent == []


WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        assert name.partition(".")[0] != "torch", "torch was imported"

sys.meta_path.insert(0, Refuse())
from universality.commands.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("name", FROZEN)
def test_help_answers_without_torch(name: str, tmp_path: Path) -> None:
    result = run_command(*name.split(), "--help", cwd=tmp_path, code=WITHOUT_TORCH)
    assert (result.returncode, result.stderr) == (0, "")
    missing = [option for option in FROZEN[name] if option.startswith("-") and option not in result.stdout]
    assert missing == []


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"universality {universality.__version__}\n"


# --------------------------------------------------------------------------------------------- bad usage


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["rnu"], "invalid choice: 'rnu'"),
        (["run", "--sede", "3"], "unrecognized arguments: --sede 3"),
        (["run", "--seeds", "many"], "argument --seeds: invalid int value: 'many'"),
        (["run", "--workers", "2.5"], "argument --workers: invalid int value: '2.5'"),
        (["run", "--timeout", "1h"], "argument --timeout: invalid float value: '1h'"),
        (["list", "models"], "argument what: invalid choice: 'models'"),
        (["status"], "the following arguments are required: folder"),
        (["compare", "a"], "the following arguments are required: second"),
        (["check"], "the following arguments are required: targets"),
        (["data"], "the following arguments are required: ACTION"),
        (["data", "fetch"], "the following arguments are required: task"),
    ],
    ids=" ".join,
)
def test_bad_usage_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str], text: str) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "what", "expected"),
    [
        ("--workers", "-1", "processes", "0 or more"),
        ("--timeout", "0", "seconds", "above 0"),
        ("--timeout", "nan", "seconds", "above 0"),
    ],
)
def test_a_number_out_of_range_is_refused(
    capsys: pytest.CaptureFixture[str], option: str, value: str, what: str, expected: str
) -> None:
    assert refused(capsys, "run", f"{option}={value}") == (
        f"error: {option} is a number of {what}\n  got:      {value}\n  expected: {expected}\n"
    )


def test_an_unknown_suite_is_answered_with_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    err = refused(capsys, "run", "--suite", "qick")
    assert err.startswith("error: unknown suite 'qick'\n")
    assert err.endswith("do:       did you mean 'quick'?\n")


def test_an_unknown_architecture_is_answered_with_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    err = refused(
        capsys, "run", "--architectures", "resnt", "--tasks", "digits", "--phenomena", "neural_collapse",
        "--device", "cpu",
    )  # fmt: skip
    assert err.startswith("error: unknown architecture 'resnt'\n")
    assert "did you mean 'resnet'" in err


def test_seeds_with_a_suite_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    expected = "error: --seeds belongs to a cross of your own\n  do: set seeds in the suite's file\n"
    assert refused(capsys, "run", "--suite", "quick", "--seeds", "3") == expected
    assert refused(capsys, "run", "--seeds", "3") == expected


@pytest.mark.parametrize("seeds", ["0", "-2"])
def test_a_cross_needs_at_least_one_seed(capsys: pytest.CaptureFixture[str], seeds: str) -> None:
    err = refused(
        capsys,
        "run",
        "--architectures",
        "mlp",
        "--tasks",
        "digits",
        "--phenomena",
        "grokking",
        "--seeds",
        seeds,
    )
    assert err == f"error: --seeds is a number of replicates\n  got:      {seeds}\n  expected: >= 1\n"


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        (["--architectures", "mlp"], "--architectures"),
        (["--tasks", "digits", "--phenomena", "grokking"], "--phenomena --tasks"),
        (
            ["--suite", "quick", "--architectures", "mlp", "--tasks", "digits", "--phenomena", "grokking"],
            "--phenomena --architectures --tasks --suite",
        ),
    ],
    ids=["one axis", "two axes", "with a suite"],
)
def test_a_mixture_of_suite_and_cross_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], got: str
) -> None:
    assert refused(capsys, "run", *arguments) == (
        "error: a cross of your own needs all three axes, and no --suite\n"
        f"  got:      {got}\n"
        "  expected: --phenomena ... --architectures ... --tasks ...\n"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "run", "--device", "cuda:1") == (
        "error: the device cannot be used\n"
        "  where: --device cuda:1\n"
        "  got:   this build of torch sees no CUDA device\n"
        "  do:    --device cpu, or auto\n"
    )


def test_a_device_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    err = refused(capsys, "run", "--device", "gpu")
    assert err.startswith("error: the device cannot be used\n  where: --device gpu\n")


@pytest.mark.parametrize(
    "command", [["run"], ["list"], ["check", "mlp"], ["data", "fetch", "digits"]], ids=" ".join
)
def test_a_plugin_folder_that_does_not_exist_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str]
) -> None:
    err = refused(capsys, *command, "--plugins", str(tmp_path / "none"))
    assert err.startswith("error: no such plugin folder\n")


@pytest.mark.parametrize(
    "command",
    ["status nowhere", "report nowhere", "compare nowhere nowhere", "leaderboard nowhere", "check ./nowhere"],
)
def test_a_folder_without_results_is_refused_without_torch(tmp_path: Path, command: str) -> None:
    result = run_command(*command.split(), cwd=tmp_path, code=WITHOUT_TORCH)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == [], "asking creates nothing"


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_store_in_which_nothing_was_planned_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    Store.create(tmp_path / "r")
    err = refused(capsys, command, str(tmp_path / "r"))
    assert "is missing" in err
    assert "do:    run the same `universality run` again" in err


# ---------------------------------------------------------------------------------------- what is printed


def test_list_names_one_kind_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "suites"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("suites\n  ")
    assert "architectures\n" not in out


def test_list_shows_parameters_as_they_are_addressed(toys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "tasks", "--plugins", str(toys)]) == 0
    out = capsys.readouterr().out
    assert "  toy_points                 Eight points in two classes.\n" in out
    assert "[subset=0, label_noise=0.0, random_labels=false, kind=vector, absent=false]\n" in out


def test_fetching_loads_what_it_brought(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    assert cli.main(["data", "fetch", "toy_points", "--plugins", str(toys), "--data-root", str(root)]) == 0
    assert capsys.readouterr().out == f"toy_points: 8 training rows under {root}\n"
    assert cli.main(["data", "fetch", "toy_points[absent=true]", "--plugins", str(toys)]) == 2


def toy_run(toys: Path, *arguments: str) -> list[str]:
    return [
        "run", "--plugins", str(toys), "--architectures", "toy_net", "toy_other", "--tasks", "toy_points",
        "toy_points[kind=image]", "--phenomena", "toy_early", "--seeds", "2", "--device", "cpu", *arguments,
    ]  # fmt: skip


def test_a_dry_run_says_what_would_be_trained_and_touches_nothing(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert cli.main(toy_run(toys, "--dry-run", "--workers", "2")) == 0
    *cells, total, width = capsys.readouterr().out.splitlines()
    assert width.startswith("toy_early: 2 cells, 2 networks on 1 tasks; prevalence at best [3%, 100%] if all")
    assert cells == [
        "toy_early  toy_net  toy_points  2 runs",
        "toy_early  toy_other  toy_points  2 runs",
        "toy_early  toy_net  toy_points[kind=image]  not applicable: toys are flat",
        "toy_early  toy_other  toy_points[kind=image]  not applicable: toy_other does not take image inputs",
        "toy_early  toy_net[width=6]  toy_points  5 runs  (positive control: wide toy)",
    ]
    assert total.startswith("9 distinct runs, about 0:00 on one core, 0:00 on 2 cpu worker(s); probes take ")
    assert re.search(
        r" [1-9]\d?% of it; a worker needs about \d+ MiB of memory beside that of torch; ", total
    )
    assert total.endswith("; runs that are not stored yet take about 1 MiB of disk")
    assert sorted(tmp_path.iterdir()) == before


def test_a_dry_run_refuses_a_folder_of_another_version(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(CHECKOUT / "tests" / "store" / "schema-1", tmp_path / "results" / "old")
    assert "version" in refused(capsys, *toy_run(toys, "--dry-run", "--name", "old"))


def test_a_modified_architecture_goes_from_the_command_line_to_the_page_and_through_the_check(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "toy_net+output_scale[alpha=3.0]+pinned"
    words = [
        "run",
        "--plugins",
        str(toys),
        "--architectures",
        "toy_net+output_scale[alpha=3]+pinned",
        "toy_net",
    ]
    words += ["--tasks", "toy_points", "--phenomena", "toy_early", "--seeds", "3", "--device", "cpu"]
    folder = tmp_path / "mine"
    assert cli.main([*words, "--workers", "0", "--results", str(tmp_path), "--name", "mine"]) == 0
    assert cli.main(["check", str(folder)]) == 0, capsys.readouterr().out
    assert cli.main(["report", str(folder)]) == 0
    assert address in (folder / "evidence.csv").read_text()
    assert (
        "toy_<wbr>net<wbr>+output_<wbr>scale<wbr>[alpha=<wbr>3.0]<wbr>+pinned"
        in (folder / "report" / "index.html").read_text()
    )
    assert len(list((folder / "runs").glob("toy_net-output_scale-pinned-toy_points-s?-*"))) == 3


def test_the_name_of_a_suite_that_somebody_else_chose_moves_no_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(CHECKOUT / "results" / "quick-cpu", tmp_path / "set")
    edit(tmp_path / "set" / "plan.json.gz", lambda plan: plan.update(suite="\x1b[2Jgone"))
    cli.main(["status", str(tmp_path / "set")])
    assert "\x1b" not in capsys.readouterr().out


def test_a_run_with_a_failing_training_exits_with_3_and_says_so_again_in_status(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = (
        'if training.net[0].out_features == 6: raise ValueError("")'  # the control, with an empty message
    )
    text = (toys / "toys.py").read_text().replace("toy_", "ill_")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ill.py").write_text(
        text.replace('        return {"step"', f'        {broken}\n        return {{"step"')
    )
    results = str(tmp_path / "results")
    arguments = [a.replace("toy_", "ill_") for a in toy_run(tmp_path / "broken", "--workers", "0")]
    assert cli.main([*arguments, "--results", results, "--name", "mine"]) == 3
    err = capsys.readouterr().err
    assert "5 runs failed; see " in err
    assert "the same command tries them again" in err

    assert cli.main(["status", str(tmp_path / "results" / "mine")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(": 9 runs planned")
    assert set(lines[1:3]) == {"  failed   5", "  done     4"}
    assert len([line for line in lines if line.startswith("  failed   ill_net-ill_points-s")]) == 5


def test_a_clean_run_exits_with_0_and_resumes_without_training(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = toy_run(toys, "--workers", "0", "--results", str(tmp_path / "results"), "--name", "mine")
    assert cli.main(arguments) == 0
    folder = tmp_path / "results" / "mine"
    out, err = capsys.readouterr()
    assert "9 runs, 0 stored, 9 to train" in err
    assert re.search(r"^probes took \d+% of the time of all runs$", out, re.MULTILINE)
    assert cli.main(["status", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == ["mine: 9 runs planned", "  done     9"]
    stored = decode_json(content(folder / "plan.json.gz"))
    assert len(stored["runs"]) == 9
    assert 0 <= stored["probe_seconds"] <= stored["run_seconds"]

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(launch, "run_all", never)
    # As an earlier version left it: refused by what reads, made anew of its runs by the same command.
    (folder / "plan.json.gz").rename(folder / "plan.json")
    (folder / "measurements.jsonl.gz").unlink()
    (folder / "measured.tsv").unlink()
    (folder / "measurements").mkdir()
    assert cli.main(["report", str(folder)]) == 2
    told = capsys.readouterr().err
    assert "plan.json is of an earlier version of universality" in told
    assert "run the same `universality run` again" in told
    assert cli.main(arguments) == 0
    assert "9 runs, 9 stored, 0 to train" in capsys.readouterr().err
    for command in (["report"], ["compare", str(folder)], ["leaderboard"], ["check"]):
        reading = run_command(
            *command, str(folder), cwd=tmp_path, code=WITHOUT_TORCH, MPLCONFIGDIR=str(tmp_path)
        )
        assert (reading.returncode, reading.stderr) == (0, ""), command


def measurement_ids(folder: Path) -> set[str]:
    return {record.id for record in measurements.read(folder / "measurements.jsonl.gz")}


@pytest.mark.parametrize("killed_while", ["training", "measuring"])
def test_a_finished_set_can_be_read_while_more_is_asked_of_it_and_after_that_was_killed(
    toys: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    killed_while: str,
) -> None:
    options = ["--workers", "0", "--results", str(tmp_path / "results"), "--name", "mine"]
    folder = tmp_path / "results" / "mine"
    assert cli.main([*toy_run(toys), *options]) == 0
    evidence, names = (folder / "evidence.csv").read_bytes(), {"evidence.csv", "suite.toml", "plan.json.gz"}
    before = {name: (folder / name).read_bytes() for name in names}
    measured = measurement_ids(folder)

    def killed(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(launch if killed_while == "training" else measuring, PARTS[killed_while], killed)
        # Other seeds: none of the cells is the same afterwards.
        assert cli.main([*toy_run(toys), *options, "--seeds", "4"]) == 130
    assert {name: (folder / name).read_bytes() for name in names} == before
    assert measured <= measurement_ids(folder)
    capsys.readouterr()
    for command in (["report"], ["leaderboard"], ["check"]):
        assert cli.main([*command, str(folder)]) == 0, capsys.readouterr()
    assert (folder / "evidence.csv").read_bytes() == evidence
    assert cli.main(["status", str(folder)]) == int(killed_while == "training")

    assert cli.main([*toy_run(toys), *options, "--seeds", "4"]) == 0
    assert (folder / "evidence.csv").read_bytes() != evidence
    asked = PlanRecord.read(folder / "plan.json.gz").cells
    assert measurement_ids(folder) == set(asked), "outdated ones are gone"
    assert cli.main(["check", str(folder)]) == 0


def test_shards_in_folders_of_their_own_together_make_the_set(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--workers", "0", "--name", "mine"]
    for number in (1, 2):
        part = ["--shard", f"{number}/2", "--results", str(tmp_path / str(number))]
        assert cli.main([*toy_run(toys), *options, *part]) == 0
        out, err = capsys.readouterr()
        assert f"{5 if number == 1 else 4} runs in shard {number}/2, 0 stored" in err
        assert out.startswith("nothing is left to train here")
    whole = Store.create(tmp_path / "whole" / "mine").layout
    for number in (1, 2):
        shutil.copytree(tmp_path / str(number) / "mine" / "runs", whole.runs, dirs_exist_ok=True)
    assert cli.main([*toy_run(toys), *options, "--results", str(tmp_path / "whole")]) == 0
    assert "9 runs, 9 stored, 0 to train" in capsys.readouterr().err
    assert cli.main(["check", str(whole.root)]) == 0
    capsys.readouterr()
    assert refused(capsys, *toy_run(toys), "--shard", "3/2").startswith(
        "error: --shard names a part of the runs"
    )


def test_an_unfinished_set_is_reported_on_with_what_is_there_and_what_an_hour_would_bring(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--workers", "0", "--name", "mine", "--results", str(tmp_path)]
    folder = tmp_path / "mine"
    assert cli.main([*toy_run(toys), *options, "--shard", "1/2"]) == 0
    capsys.readouterr()
    report = ["report", str(folder), "--plugins", str(toys), "--workers", "0"]
    assert cli.main(report) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Not finished: 4 of 9 runs are still to be trained")
    assert "unfinished: mine has 5 of 9 runs, all runs of " in err
    assert "completes" in err
    assert "Not finished: 4 of 9 runs" in (folder / "report" / "index.html").read_text()
    assert (folder / "report" / "universality.md").read_text().startswith("**Not finished: 4 of 9 runs")
    assert PlanRecord.read(folder / "plan.json.gz").untrained == 4
    missing = next(
        id for id in read_jobs(Store.open(folder).layout).runs if not (folder / "runs" / id).exists()
    )
    with Leases(folder / "leases") as leases:
        leases.acquire(missing)
        assert cli.main(["status", str(folder)]) == 1
    assert set(capsys.readouterr().out.splitlines()[1:]) == {"  done     5", "  missing  3", "  running  1"}
    assert cli.main(["check", str(folder), "--plugins", str(toys)]) == 0
    capsys.readouterr()

    assert cli.main([*toy_run(toys), *options]) == 0
    assert "Not finished" not in capsys.readouterr().out
    assert not PlanRecord.read(folder / "plan.json.gz").untrained
    assert (
        cli.main([*toy_run(toys), "--workers", "0", "--name", "mine", "--results", str(tmp_path / "whole")])
        == 0
    )
    assert (folder / "evidence.csv").read_bytes() == (
        tmp_path / "whole" / "mine" / "evidence.csv"
    ).read_bytes()
    before = (folder / "plan.json.gz").read_bytes()
    assert cli.main(report) == 0
    assert (folder / "plan.json.gz").read_bytes() == before, "a finished set is measured no more"


@pytest.mark.slow
def test_a_run_whose_workers_are_jobs_ends_in_the_same_table(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setattr(slurm, "CLUSTER", "local")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")]))
    here = [*toy_run(toys), "--workers", "0", "--name", "mine", "--results"]
    assert cli.main([*here, str(tmp_path / "here")]) == 0
    capsys.readouterr()
    jobs = ["--executor", "slurm", "--jobs", "2", "--slurm", "timeout_min=10"]
    assert cli.main([*here, str(tmp_path / "there"), *jobs]) == 0, capsys.readouterr().err
    for name in ("evidence.csv", "universality.csv"):
        files = [tmp_path / place / "mine" / name for place in ("here", "there")]
        assert files[0].read_bytes() == files[1].read_bytes()
    printed = "".join(path.read_text() for path in (tmp_path / "there" / "mine.slurm").glob("*.out"))
    assert printed.count("nothing is left to") == 2
    assert cli.main([*here, str(tmp_path / "there"), *jobs, "--shard", "1/2"]) == 2
    assert cli.main([*here, str(tmp_path / "there"), "--executor", "slurm", "--jobs", "0"]) == 2


def worker_of(toys: Path, folder: Path, *more: str) -> list[str]:
    return ["worker", str(folder), "--plugins", str(toys), "--workers", "0", "--device", "cpu", *more]


def plan_only(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a run was ended when it began to train."""

    def killed(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(launch, "run_all", killed)
        assert cli.main([*toy_run(toys), "--results", str(tmp_path), "--name", "mine"]) == 130
    return tmp_path / "mine"


def test_a_worker_trains_what_a_run_has_planned_and_the_run_measures_it(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plan_only(toys, tmp_path, monkeypatch)
    capsys.readouterr()
    assert cli.main(worker_of(toys, folder)) == 0
    out, err = capsys.readouterr()
    assert "mine: 9 runs, 0 stored, 9 to train" in err
    assert out.startswith("nothing is left to train here")
    assert cli.main(["status", str(folder)]) == 0
    assert not (folder / "plan.json.gz").exists()
    assert cli.main([*toy_run(toys), "--workers", "0", "--results", str(tmp_path), "--name", "mine"]) == 0
    assert "9 stored, 0 to train" in capsys.readouterr().err
    assert cli.main(["check", str(folder)]) == 0
    assert cli.main(worker_of(toys, folder)) == 0, "nothing is left to do"


def test_a_worker_says_which_runs_others_hold_and_which_failed(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plan_only(toys, tmp_path, monkeypatch)
    first, second, *_ = read_jobs(Store.open(folder).layout).runs
    store = Store.open(folder)
    store.fail(second, "failed", "elsewhere")
    capsys.readouterr()
    with Leases(folder / "leases") as other:
        other.acquire(first)
        assert cli.main(worker_of(toys, folder)) == 3
    out, err = capsys.readouterr()
    assert out == "1 runs are held by other processes: nothing is left to do here\n"
    assert "1 runs failed; see `universality status`, and --on-existing retry-failed" in err
    assert cli.main(worker_of(toys, folder, "--on-existing", "retry-failed")) == 0
    assert cli.main(["status", str(folder)]) == 0
    assert store.attempts(second) == 1


def test_a_worker_without_the_plugins_of_the_runs_touches_none(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plan_only(toys, tmp_path, monkeypatch)
    registry._plugins["probe"].pop("toy_probe")
    capsys.readouterr()
    assert cli.main(["worker", str(folder), "--workers", "0"]) == 2
    assert "a plugin of these runs is not loaded" in capsys.readouterr().err
    assert not list((folder / "failed").iterdir())
    assert cli.main(["worker", str(tmp_path)]) == 2, "no results folder"


@pytest.mark.parametrize(("on_existing", "trained"), [("skip", 0), ("retry-failed", 1), ("force", 9)])
def test_what_is_trained_of_a_set_with_a_failure_is_what_was_asked_for(
    toys: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    on_existing: str,
    trained: int,
) -> None:
    arguments = [*toy_run(toys), "--workers", "0", "--results", str(tmp_path), "--name", "mine"]
    assert cli.main(arguments) == 0
    store = Store.open(tmp_path / "mine")
    lost = store.run_ids()[0]
    store.discard([lost])
    store.fail(lost, "timeout", "too slow")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mine" / "runs").glob("*/manifest.json")}
    assert cli.main([*arguments, "--on-existing", on_existing]) == 3 * (on_existing == "skip")
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "mine" / "runs").glob("*/manifest.json")}
    assert len(after.items() - before.items()) == trained
    assert len(after) == 9 - (on_existing == "skip")
    assert list((tmp_path / "mine" / "tmp").iterdir()) == []


PARTS = {"training": "run_all", "measuring": "measure_all"}


@pytest.mark.parametrize(
    ("given", "cwd", "shown"),
    [("toys", ".", "toys"), ("{root}/toys", ".", "toys"), ("../toys", "sub", "PATH/TO/toys"),
     ("{root}/toys", "sub", "PATH/TO/toys")],
)  # fmt: skip
def test_the_command_on_the_page_has_the_folders_of_the_run_and_no_path_of_the_machine(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, cwd: str, shown: str
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / cwd)
    arguments = toy_run(Path(given.format(root=tmp_path)), "--workers", "0", "--data-root", str(tmp_path))
    assert cli.main(arguments) == 0
    folder = Path("results", "custom")
    asked = decode_json(content(folder / "plan.json.gz"))
    assert (asked["plugins"], asked["data_root"]) == ([shown], True)
    page = (folder / "report" / "index.html").read_text()
    (cells,) = re.findall(r'id="cell-data">(.*?)</script>', page)
    commands = [" ".join(cell["command"]) for cell in json.loads(unpacked(cells))["cells"]]
    assert any(commands)
    assert all(c.endswith(f" --plugins {shown} --data-root PATH/TO/DATA") for c in commands if c)
    published = [p for p in folder.rglob("*") if p.is_file() and p.parts[2] not in ("runs", "failed")]
    assert not [p for p in published if str(tmp_path).encode() in p.read_bytes()]


@pytest.mark.parametrize(("engine", "mode"), [("auto", "loop"), ("fused", "fused"), ("separate", "separate")])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_the_engine_asked_for_trains_and_is_recorded(
    toys: Path, tmp_path: Path, engine: str, mode: str, workers: str
) -> None:
    arguments = toy_run(toys, "--workers", workers, "--engine", engine, "--results", str(tmp_path))
    assert cli.main([*arguments, "--name", "mine"]) == 0
    runs = list((tmp_path / "mine" / "runs").iterdir())
    assert len(runs) == 9
    for run in runs:
        how = decode_json((run / "facts.json").read_bytes())["facts"]["engine"]
        assert (how["asked"], how["mode"], how["fallback"]) == (engine, mode, "")
        assert (run / "log.txt").read_text().startswith(f"engine: {mode} (asked: {engine}), ")


def test_check_tells_folders_from_plugins(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy_other").mkdir()
    assert cli.main(["check", "toy_other", "--plugins", str(toys)]) == 1
    assert "holds no manifest.json" in capsys.readouterr().out, "a folder of that name is what is meant"
    assert cli.main(["check", "toy_net[width=5]", "--plugins", str(toys)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("architecture toy_net[width=5]\n  ok ")
    err = refused(capsys, "check", "toy_nte", "--plugins", str(toys))
    assert err.startswith("error: unknown folder or plugin 'toy_nte'\n")
    assert "did you mean 'toy_net'" in err
    assert refused(capsys, "check", "toy_net[width=0]").startswith("error: a toy needs width\n")


ANSWERS = """
import sys
from universality.commands import main as cli
def answer(lines):
    print("x" * {size})
    return {code}
cli._print_lines = answer
sys.exit(cli.main(["list"]))
"""
LOST = (
    "error: the answer could not be written\n  where: standard output\n  got:   {}\n"
    "  do:    look at where it goes; what the command stored stays\n"
)


def answering(cwd: Path, where: str, code: int, size: int = 10) -> tuple[int, str]:
    """Exit code and standard error of a command whose answer goes `where` a shell sends it."""
    script = f'{sys.executable} -W error -c "$1" {where}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", ANSWERS.format(size=size, code=code)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        timeout=250,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_exit_code_survives_a_reader_that_leaves(tmp_path: Path, code: int) -> None:
    where = "| true; exit ${PIPESTATUS[0]}"
    assert answering(tmp_path, where, code, size=200_000) == (code, "")


@pytest.mark.parametrize(("code", "status"), [(0, 2), (1, 1), (3, 3)])
@pytest.mark.parametrize(
    ("where", "why"), [(">&-", "Bad file descriptor"), ("> /dev/full", "No space left on device")]
)
def test_a_command_whose_answer_is_lost_never_exits_with_0(
    tmp_path: Path, where: str, why: str, code: int, status: int
) -> None:
    assert answering(tmp_path, where, code) == (status, LOST.format(why))


def test_help_that_is_lost_does_not_exit_with_0(tmp_path: Path) -> None:
    script = f"{sys.executable} -m universality --help > /dev/full"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (2, LOST.format("No space left on device"))


@pytest.mark.parametrize("typed", ["che\x1b[31mck", "run\u202e"])
def test_what_was_typed_moves_no_cursor(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([typed])
    assert plain(err := capsys.readouterr().err, None, lines=True) == err


def test_an_interruption_exits_with_130_and_says_how_to_resume(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(lines: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_print_lines", interrupt)
    assert cli.main(["list"]) == 130
    assert capsys.readouterr().err == "interrupted: what is finished is kept, the same command resumes\n"
