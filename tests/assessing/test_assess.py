"""A function of a notebook becomes a cell: stored, resumed, trained anew when its source changes."""

from __future__ import annotations

import functools
import itertools
import linecache
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import universality
from universality.assessing.assess import assess
from universality.assessing.data import archive, arrays_of, kind_of
from universality.assessing.network import network_of
from universality.commands.report import report
from universality.errors import BadParameter, BadSuite, DataUnavailable, UniversalityError, UnknownName

CHECKOUT = Path(universality.__file__).resolve().parents[1]
RNG = np.random.default_rng(0)
CHEAP = "function_agreement[steps=20]"

IMPORTS = "import torch\nfrom torch import nn, relu\nfrom typing import Literal\n"
CLASS = """
class Net(nn.Module):
    def __init__(self, d, outputs):
        super().__init__()
        self.a, self.b = nn.Linear(d, WIDTH), nn.Linear(WIDTH, outputs)
    def forward(self, x):
        return self.b(relu(self.a(x)))
"""
MAKE = "def make_net(inputs, outputs):\n    return Net(inputs.size, outputs)\n"

_cells = itertools.count()


def notebook(*cells: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Execute cells as IPython does: each is a file that only `linecache` knows."""
    names = {"__name__": "__main__"} if names is None else names
    for text in cells:
        file = f"<ipython-input-{next(_cells)}>"
        linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
        exec(compile(text, file, "exec", dont_inherit=True), names)
    return names


def a_net(*more: str, make: str = MAKE, width: int = 8) -> Callable[..., nn.Module]:
    return notebook(IMPORTS, f"WIDTH = {width}", CLASS, *more, make)["make_net"]  # type: ignore[no-any-return]


def points(rows: int = 200, classes: int = 2, d: int = 5) -> tuple[Any, ...]:
    y = np.arange(rows) % classes
    x = (RNG.standard_normal((rows, d)) + 3 * np.eye(classes, d)[y]).astype(np.float32)
    return x[:120], y[:120], x[120:], y[120:]


DATA = points(rows=800)


def asked(make: Any, results: Path, data: Any = DATA, **more: Any) -> Any:
    given: dict[str, Any] = {
        "phenomena": [CHEAP],
        "seeds": 3,
        "controls": False,
        "workers": 0,
        "device": "cpu",
    } | more
    return assess(make, data, results=results, **given)


def refusal(kind: type[UniversalityError], make: Any, results: Path, data: Any = DATA, **more: Any) -> str:
    with pytest.raises(kind) as caught:
        asked(make, results, data, **more)
    assert not (results / "mine").exists(), "refused before anything is trained"
    assert str(results) not in str(caught.value), "a message calls things as the user does"
    return str(caught.value)


def stored(results: Path) -> set[str]:
    return {path.name for path in (results / "mine" / "runs").iterdir()}


# Runs


def test_the_same_call_trains_nothing_and_an_edited_function_trains_anew(tmp_path: Path) -> None:
    finished = asked(a_net(), tmp_path)
    assert finished.failed == finished.unmeasured == ()
    rows = {row.claim_name: row for row in finished.results.rows}
    assert sum(rows["errors_seeds"].counts.values()) == 1
    assert "<table" in finished._repr_html_()
    first = stored(tmp_path)
    times = {run: (tmp_path / "mine" / "runs" / run).stat().st_mtime_ns for run in first}
    assert len(first) == 3
    asked(a_net(), tmp_path)  # its cells are run again
    assert {run: (tmp_path / "mine" / "runs" / run).stat().st_mtime_ns for run in stored(tmp_path)} == times
    asked(a_net(width=9), tmp_path)
    assert len(stored(tmp_path)) == 6
    assert report(tmp_path / "mine").results.rows


def test_claims_between_architectures_compare_with_those_beside(tmp_path: Path) -> None:
    alone = {row.claim_name: row.counts for row in asked(a_net(), tmp_path, name="alone").results.rows}
    assert alone["errors_architectures"]["not applicable"] == 1
    finished = asked(a_net(), tmp_path, beside=["mlp[width=4]", "cnn"])
    cells = {(v.record.claim_name, v.record.architecture): v for v in finished.results.verdicts}
    assert len({architecture for _, architecture in cells}) == 3
    own = next(a for _, a in cells if a not in ("mlp[width=4]", "cnn"))
    assert cells["errors_architectures", own].groups == 3  # seeds of one partner
    assert cells["errors_seeds", "cnn"].verdict == "not applicable"
    with pytest.raises(UnknownName, match="mpl"):
        asked(a_net(), tmp_path, beside="mpl")


SCRIPT = """
import numpy as np, sys, universality
{code}
rng = np.random.default_rng(0)
y = np.arange(800) % 2
x = rng.standard_normal((800, 5)) + 3 * np.eye(2, 5)[y]
finished = universality.assess(make_net, (x[:120], y[:120], x[120:], y[120:]), phenomena={cheap!r}, seeds=3,
                               controls=False, workers=2, device="cpu", results="results", name="script")
print(len(finished.failed), len(finished.results.rows), __file__ == sys.argv[0], __spec__)
"""


def test_a_script_without_a_guard_is_not_imported_by_its_workers(tmp_path: Path) -> None:
    code = IMPORTS + "WIDTH = 8\n" + CLASS + MAKE
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(code=code, cheap=CHEAP))
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    out = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr
    assert out.stdout.split("\n")[0] == "0 4 True None"


# Functions


def test_what_a_function_names_is_written_or_imported() -> None:
    helper = "def scaled(x: Literal['a'] = 'a'):\n    return torch.tanh(relu(x))\n"
    make = "def make_net(inputs, outputs, width: int = WIDTH):\n    scaled\n    return Net(inputs.size, outputs)\n"
    network = network_of(a_net(helper, make=make))
    for line in (
        "import torch as torch",
        "from torch import relu as relu",
        "from typing import Literal as Literal",
    ):
        assert f"{line}\n" in network.text
    assert "WIDTH = 8\n" in network.text
    assert CLASS.strip() in network.text
    names: dict[str, Any] = {}
    exec(network.text, names)
    assert names["make_net"](universality.plugin.InputSpec("vector", (5,)), 3)(torch.zeros(2, 5)).shape == (
        2,
        3,
    )


def test_submodules_dicts_and_classes_are_written() -> None:
    cell = "import xml.dom.minidom\nSIZES = {'hidden': [8, 4]}\n"
    net = (
        "class Net(nn.Module):\n    def __init__(self, inputs, outputs):\n        super().__init__()\n"
        "        self.a = nn.Linear(inputs.size, SIZES['hidden'][0])\n        xml.dom.minidom.Document\n"
    )
    network = network_of(notebook(IMPORTS, cell, net)["Net"])
    assert "import xml.dom.minidom as _xml_dom_minidom\n" in network.text
    assert "SIZES = {'hidden': [8, 4]}\n" in network.text
    code = "import sys; exec(sys.stdin.read()); Net(type('', (), {'size': 5}), 3)"
    subprocess.run([sys.executable, "-c", code], input=network.text, text=True, check=True)


def test_ids_follow_the_source_of_all_that_is_named() -> None:
    plain = network_of(a_net()).address
    assert plain == network_of(a_net()).address
    assert plain != network_of(a_net(width=9)).address
    assert plain != network_of(a_net(make=MAKE.replace("(inputs.size", "( inputs.size"))).address


def test_a_module_of_ones_own_that_is_named_is_part_of_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "own_blocks_of_this_test.py"
    file.write_text("def block(): return 1\n")
    make = "import own_blocks_of_this_test as blocks\ndef make_net(outputs):\n    return blocks.block()\n"
    before = network_of(notebook(make)["make_net"])
    assert "import own_blocks_of_this_test as blocks" in before.text
    assert f"# {file.stem}: sha256 " in before.text
    import own_blocks_of_this_test as own  # type: ignore[import-not-found]

    assert network_of(own.block).address == "own_blocks_of_this_test:block"
    file.write_text("def block(): return 2\n")
    for function in (own.block, notebook(make)["make_net"]):
        with pytest.raises(BadParameter, match="edited since it was loaded"):
            network_of(function)


def closure() -> Any:
    return notebook(
        "from torch import nn\ndef outer(depth):\n    def make_net(inputs, outputs):\n"
        "        return nn.Linear(inputs.size + depth, outputs)\n    return make_net\n"
    )["outer"](2)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (closure, ["variables of a function around it", "depth"]),
        (
            lambda: a_net("table = torch.zeros(3)", make=MAKE.replace("(inputs.size", "(len(table)")),
            ["cannot be written", "table: a Tensor"],
        ),
        (lambda: a_net(make=MAKE.replace("Net", "Nett")), ["Nett: is not defined"]),
        (lambda: lambda inputs, outputs: nn.Linear(inputs.size, outputs), ["a lambda"]),
        (lambda: functools.partial(a_net(), outputs=3), ["a partial"]),
        (lambda: nn.Linear(5, 3), ["the network itself, a Linear", "write a def"]),
        (lambda: notebook("from torch import nn", MAKE)["make_net"], ["Net: is not defined"]),
    ],
    ids=["closure", "tensor", "undefined", "lambda", "partial", "network", "no class"],
)
def test_functions_that_no_other_process_can_build_are_refused(
    make: Callable[[], Any], told: list[str], tmp_path: Path
) -> None:
    text = refusal(BadParameter, make(), tmp_path)
    assert all(part in text for part in told), text


def test_a_function_without_source_is_refused(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("def make_net(inputs, outputs): ...", names)
    assert "source is not found" in refusal(BadParameter, names["make_net"], tmp_path)


def test_source_that_was_edited_since_it_was_executed_is_refused(tmp_path: Path) -> None:
    make = a_net()
    file = make.__code__.co_filename
    linecache.cache[file] = 1, None, [MAKE.replace("size", "shape[0]")], file
    assert "run its cell again" in refusal(BadParameter, make, tmp_path)


def test_a_default_that_its_source_no_longer_gives_is_refused(tmp_path: Path) -> None:
    names = notebook("N = 3", "def make_net(inputs, outputs, n: int = N): ...", "N = 4")
    text = refusal(BadParameter, names["make_net"], tmp_path)
    assert "got:      n=3" in text
    assert "n=4" in text


@pytest.mark.parametrize(
    ("make", "told"),
    [
        ("def make_net(inputs, outputs):\n    return [1]\n", ["no network", "make_net", "got:      list"]),
        ("def make_net(inputs, outputs):\n    return Net(inputs.size, outputs + 1)\n", ["no logits", "[2, 3]"]),
        ("def make_net(inputs, outputs):\n    return Net(7, outputs)\n", ["cannot run", "[rows, 5]"]),
        ("def make_net(inputs, outputs, gain):\n    ...\n", ["needs the parameter 'gain'"]),
        ("def make_net(d):\n    ...\n", ["how many outputs"]),
        ("def make_net(inputs, outputs):\n    raise ValueError('odd')\n", ["raises", "odd"]),
        ("def make_net(inputs, outputs):\n    return Net(inputs.size, outputs).requires_grad_(False)\n",
         ["4 parameters, all frozen", "requires_grad_(True)"]),
    ],
    ids=["no module", "logits", "inputs", "argument", "no outputs", "raises", "frozen"],
)  # fmt: skip
def test_networks_that_do_not_fit_are_refused(make: str, told: list[str], tmp_path: Path) -> None:
    text = refusal(BadParameter, a_net(make=make), tmp_path)
    assert all(part in text for part in told), text
    assert "net_" not in re.sub(r"mine\.assess/net_\w+/net_\w+\.py", "", text)


COMPILED = """
def make_net(inputs, outputs):
    return torch.compile(Net(inputs.size, outputs), backend="eager")
"""
EVALUATED = """
def make_net(inputs, outputs):
    net = Net(inputs.size, outputs).eval()
    net.a.train()
    return net
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own imports
def test_a_compiled_network_is_trained_inside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished = asked(a_net(make=COMPILED), tmp_path)
    assert finished.failed == finished.unmeasured == ()
    assert "note: the network inside OptimizedModule (torch.compile) is trained" in capsys.readouterr().err
    assert len(stored(tmp_path)) == 3
    asked(a_net(), tmp_path, dry_run=True)
    assert "is trained" not in capsys.readouterr().err


def test_a_network_in_evaluation_mode_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(a_net(make=EVALUATED), tmp_path, dry_run=True)
    told = "2 of 3 modules of the network are in evaluation mode, such as the network itself"
    assert f"note: {told}: all are trained in training mode" in capsys.readouterr().err


# Data


def loaders(seed: int = 0) -> tuple[DataLoader[Any], DataLoader[Any]]:
    x, y, x_test, y_test = map(torch.from_numpy, DATA)
    generator = torch.Generator().manual_seed(seed)
    return (
        DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True, generator=generator),
        DataLoader(TensorDataset(x_test, y_test), batch_size=64, shuffle=True),
    )


def test_loaders_give_the_same_rows_however_they_shuffle_and_draw_nothing() -> None:
    train, test = loaders()
    before = torch.get_rng_state(), train.generator.get_state()
    one = archive(arrays_of((train, test)))
    assert torch.equal(before[0], torch.get_rng_state())
    assert torch.equal(before[1], train.generator.get_state())
    assert archive(arrays_of(loaders(seed=1))) == one
    assert archive(arrays_of((train.dataset, test.dataset))) == one
    arrays = arrays_of((train, test))
    assert sorted(arrays["train_x"].tolist()) == sorted(DATA[0].tolist())
    assert arrays["test_y"].shape == (len(DATA[3]),)


def test_tensors_pairs_and_arrays_are_one_data() -> None:
    tensors = tuple(map(torch.from_numpy, DATA))
    assert archive(arrays_of(tensors)) == archive(arrays_of(DATA))
    assert archive(arrays_of((tensors[:2], tensors[2:]))) == archive(arrays_of(DATA))


class Drawn(IterableDataset[Any]):
    """Fresh rows, by a generator of its own or the global one."""

    def __init__(self, rows: int, own: torch.Generator | None = None) -> None:
        self.rows, self.own = rows, own

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return ((torch.randn(5, generator=self.own), torch.tensor(k % 2)) for k in range(self.rows))


def test_loaders_that_draw_fresh_rows_draw_others_to_test_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = DataLoader(Drawn(120), 32), DataLoader(Drawn(680), 64)
    before = torch.get_rng_state()
    forecast = asked(a_net(), tmp_path, pair, dry_run=True)
    assert len(forecast.plan.jobs) == 3
    assert torch.equal(before, torch.get_rng_state())
    told = capsys.readouterr().err
    for name in ("train", "test"):
        assert f"note: {name} rows: the loader draws other rows at each pass" in told
    torch.rand(7)  # so that the same call stands elsewhere
    assert archive(arrays_of(pair)) == archive(arrays_of(pair))
    asked(a_net(), tmp_path, loaders(), dry_run=True)
    assert "at each pass" not in capsys.readouterr().err


def test_rows_in_both_splits_that_one_seed_has_drawn_are_told(tmp_path: Path) -> None:
    pair = [DataLoader(Drawn(400, torch.Generator().manual_seed(3)), 50) for _ in range(2)]
    text = refusal(DataUnavailable, a_net(), tmp_path, tuple(pair))
    assert "rows stand in both splits" in text
    assert "train rows: the loader draws other rows at each pass" in text


def replaced(**parts: Any) -> tuple[Any, ...]:
    return tuple({**dict(zip(("x", "y", "x_test", "y_test"), DATA, strict=True)), **parts}.values())


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        (BadParameter, lambda: DATA[:2], ["rows to test on", "hold rows out"]),
        (BadParameter, lambda: DATA[0], ["another form", "ndarray"]),
        (BadParameter, lambda: (iter(loaders()[0]), loaders()[1]), ["an iterator"]),
        (BadParameter, lambda: replaced(x=[["a"]]), ["no numbers"]),
        (BadParameter, lambda: (TensorDataset(torch.rand(9, 5), torch.rand(9)),) * 2,
         ["assess, data, train", "floats [rows, outputs]", "targets[:, None]"]),
        (BadParameter, lambda: ([{"x": 1}], loaders()[1]), ["assess, data, train", "two loaders or data sets"]),
        (DataUnavailable, lambda: replaced(x=np.full((120, 5), np.nan, np.float32)), ["not finite", "data"]),
        (DataUnavailable, lambda: replaced(y=DATA[1] * 2), ["class 1 has no training rows"]),
        (DataUnavailable, lambda: replaced(y=DATA[1][:-1]), ["training inputs of shape [120, 5]"]),
        (DataUnavailable, lambda: replaced(x=DATA[0][:0], y=DATA[1][:0]), ["no training rows"]),
        (BadParameter, lambda: replaced(y=DATA[1] * 1.0), ["classes or numbers", 'assess(targets="numbers")']),
        (DataUnavailable, lambda: replaced(x_test=DATA[0], y_test=DATA[1]), ["assess(shared_rows=True)"]),
        (BadParameter, lambda: replaced(x=np.zeros((120, 5, 5), np.float32)), ['kind="sequence"', "x[:, None]"]),
        (BadParameter, lambda: replaced(x=np.zeros((120, 8, 8, 3), np.float32)), ["channels come first or last"]),
    ],
    ids=["two arrays", "one array", "iterator", "texts", "numbers of one axis", "dicts", "nan", "gap", "lengths", "empty", "float labels", "shared",
         "three axes", "channels last"],
)  # fmt: skip
def test_data_that_cannot_be_trained_on_is_refused(
    kind: type[UniversalityError], data: Callable[[], Any], told: list[str], tmp_path: Path
) -> None:
    text = refusal(kind, a_net(), tmp_path, data())
    assert all(part in text for part in told), text
    assert list(tmp_path.rglob("*.npz")) == []


def test_images_of_floats_are_channels_first(tmp_path: Path) -> None:
    x = RNG.standard_normal((800, 3, 6, 7)).astype(np.float32)
    data = x[:120], DATA[1], x[120:], DATA[3]
    assert kind_of(arrays_of(data)) == "float_image"
    make = a_net(
        make="def make_net(inputs, outputs):\n    assert inputs.shape == (3, 6, 7)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(80, outputs))\n"
    )
    forecast = asked(make, tmp_path, data, dry_run=True)
    assert len(forecast.plan.jobs) == 3
    assert len(asked(a_net(), tmp_path, loaders(), dry_run=True).plan.jobs) == 3


# What is asked


def test_unknown_phenomena_and_numbers_are_refused_before_data_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="neural_colapse"):
        asked(a_net(), tmp_path, phenomena="neural_colapse")
    with pytest.raises(BadParameter, match="no phenomenon"):
        asked(a_net(), tmp_path, phenomena=[])
    with pytest.raises(BadParameter, match="replicates"):
        asked(a_net(), tmp_path, seeds=0)
    with pytest.raises(BadSuite, match="letters"):
        asked(a_net(), tmp_path, name="a/b")
    assert list(tmp_path.iterdir()) == []
