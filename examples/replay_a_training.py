"""Do features collapse in trainings that are over? Three networks, their checkpoints, and one call.

    python examples/replay_a_training.py

Whatever trained them: `train` stands for a loop that leaves a file at some steps.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

import universality

RECIPE = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-3, "batch_size": 128, "milestones": [1 / 3, 2 / 3]}


def network() -> nn.Module:
    hidden = [nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(128, 4))


def train(folder: Path, x: Tensor, y: Tensor, seed: int, steps: int) -> None:
    torch.manual_seed(seed)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-3)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(steps / 3), round(steps * 2 / 3)])
    for step in range(steps + 1):
        if step % (steps // 10) == 0:
            place = folder / f"step{step}"
            place.mkdir(parents=True, exist_ok=True)
            save_file(net.state_dict(), place / "model.safetensors")
        rows = torch.randint(len(y), (128,))
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, "seed": seed, "recipe": RECIPE}))


def main(folder: Path = Path("checkpoints"), steps: int = 1500) -> str:
    x, y = (torch.as_tensor(each) for each in load_digits(n_class=4, return_X_y=True))
    x = ((x - x.mean()) / x.std()).float()
    for seed in range(3):
        train(folder / f"seed{seed}", x[:600], y[:600], seed, steps)
    data, validation = (x[:600], y[:600]), (x[600:], y[600:])
    found = universality.replay(
        folder,
        network=network(),
        data=data,
        validation=validation,
        phenomena=["neural_collapse"],
        probes=["taps"],
    )
    similarity = found.similarity("seed0", "seed1").values
    return f"{found}\n\nCKA of two seeds: {similarity[0][0]:.2f} untrained, {similarity[-1][-1]:.2f} trained"


if __name__ == "__main__":
    print(main())
