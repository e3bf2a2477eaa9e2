"""Workers on a Ray cluster, which these tests make on this machine, of two nodes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.test_end_to_end import MLP, MODULAR, Bench, cross
from tests.train.executors.test_local import wait_until_dead
from universality.commands import main as cli
from universality.errors import BadParameter, UniversalityError
from universality.train import launch
from universality.train.executors import remote
from universality.train.executors.ray import RayCluster, RayOptions, _signals_as_they_are
from universality.train.interruption import Interrupted, signals_raise

assert launch  # binds standard error when it is imported, which is not to be that of a test

TABLES = ("evidence.csv", "universality.csv")


def test_options_are_typed() -> None:
    asked = RayOptions.parsed(["address=head:6379", "num_gpus=0.25", "num_cpus=2", "working_dir=a=b"])
    assert asked == RayOptions(address="head:6379", num_gpus=0.25, num_cpus=2.0, working_dir="a=b")
    assert RayOptions.parsed([]) == RayOptions()


def test_a_folder_in_what_is_copied_is_named_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert RayOptions(working_dir=".").path("mine/plugins") == "mine/plugins"
    assert RayOptions(working_dir="other").path("mine") == str(tmp_path / "mine")
    assert RayOptions().path("mine") == str(tmp_path / "mine")


@pytest.mark.parametrize(
    "text",
    [
        "gpus=1",
        "num_gpus",
        "num_gpus=many",
        "num_gpus=1.5",
        "num_cpus=0",
        "num_cpus=nan",
        "address=ray://a:1",
    ],
)
def test_what_is_no_option_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="--ray") as caught:
        RayOptions.parsed([text])
    assert "num_gpus=..." in caught.value.expected


def test_without_ray_the_error_says_so_before_anything_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--executor", "ray"]) == 2
    assert "pip install 'universality[ray]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_ray_waits_is_the_one_that_came() -> None:
    def wait_as_ray_does() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None

    with signals_raise(), pytest.raises(Interrupted) as caught, _signals_as_they_are():
        wait_as_ray_does()
    assert caught.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(KeyboardInterrupt) as ctrl_c, _signals_as_they_are():
        raise KeyboardInterrupt
    assert type(ctrl_c.value) is KeyboardInterrupt


@pytest.fixture
def ray_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray, imported with settings that keep it on this machine."""
    settings = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # nodes listen to this machine alone
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("ray", reason="needs the extra [ray]")


@pytest.mark.filterwarnings("default")
def test_a_cluster_that_does_not_answer_is_refused_at_once(ray_here: None) -> None:
    for address in ("127.0.0.1:1", "nothing"):
        with pytest.raises(UniversalityError, match="cannot be used") as caught:
            RayCluster(RayOptions(address=address), "cpu", 1)
        assert caught.value.where == address


@dataclass
class Nodes:
    """A cluster of two nodes with a core each."""

    cluster: Any
    second: Any

    def kill_second(self) -> None:
        self.cluster.remove_node(self.second, allow_graceful=False)


@pytest.fixture
def nodes(ray_here: None) -> Iterator[Nodes]:
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100_000_000, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        yield Nodes(cluster, cluster.add_node(**node))
    finally:
        cluster.shutdown()


def processes() -> set[int]:
    """Of this machine, those that train and what they are forked from, but for what this process has started."""
    found = set()
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                command = (path / "cmdline").read_text()
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if "multiprocessing.forkserver" in command and parent != os.getpid():
                found.add(int(path.name))
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("shared", [True, False])
def test_the_table_is_that_of_this_machine_though_a_node_is_killed(
    nodes: Nodes,
    shared: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = processes()
    bench = Bench(tmp_path / "here")
    bench.folder.mkdir()
    suite = bench.suite(cross(["grokking[steps=2000]"], [MLP], [MODULAR], seeds=5))
    bench.run(suite)
    there = Bench(tmp_path / "there")
    there.folder.mkdir()
    if not shared:
        monkeypatch.setattr(remote, "_proof", lambda folder: (str(folder / "proof"), "not what is there"))

    lost: list[str] = []
    give_up = remote.Dispatcher._give_up

    def noted(dispatcher: remote.Dispatcher, worker: Any, why: str) -> None:
        lost.append(why)
        give_up(dispatcher, worker, why)

    monkeypatch.setattr(remote.Dispatcher, "_give_up", noted)

    def kill() -> None:
        while not any(there.results.glob("runs/*")):
            time.sleep(0.1)
        nodes.kill_second()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    command = there.command(suite)[3:]
    address = nodes.cluster.address
    assert cli.main([*command, "--executor", "ray", "--ray", f"address={address}"]) == 0
    killer.join()
    err = capsys.readouterr().err
    assert ("does not see the results folder" in err) is not shared
    assert len(lost) == 1
    for name in TABLES:
        assert (there.results / name).read_bytes() == (bench.results / name).read_bytes()
    assert [*(there.results / "tmp").iterdir(), *(there.results / "leases").iterdir()] == []
    for process in processes() - before:
        wait_until_dead(process)
