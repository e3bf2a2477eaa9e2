"""Do features collapse, and does a tiny subspace learn, in a loop of your own? Real digits, a small network, plain PyTorch.

    python examples/watch_your_own_loop.py

Everything but the three lines that say `watch` is a loop as anybody writes it.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn

import universality
from universality.plugin import Every


def main(steps: int = 2000) -> str:
    torch.manual_seed(0)
    x, y = (torch.as_tensor(each) for each in load_digits(n_class=5, return_X_y=True))
    x = ((x - x.mean()) / x.std()).float()
    train, held_out = (x[:700], y[:700]), (x[700:], y[700:])
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 5))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9, weight_decay=3e-3)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [steps // 3, 2 * steps // 3])

    watch = universality.watch(
        net, optimizer, data=train, validation=held_out, steps=steps, batch_size=128,
        phenomena=["neural_collapse", "gradient_subspace"], probes={"sharpness": Every(4)},
    )  # fmt: skip
    for _ in range(steps):
        rows = torch.randint(700, (128,))
        loss = nn.functional.cross_entropy(net(train[0][rows]), train[1][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss)
        schedule.step()

    sharpness = watch.series("sharpness.value")
    course = ", ".join(f"{v:.1f} at {s}" for s, v in zip(sharpness.steps, sharpness.values, strict=True))
    return f"{watch.report()}\n\nSharpness: {course}"


if __name__ == "__main__":
    print(main())
