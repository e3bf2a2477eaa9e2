"""Do features collapse in a loop of your own? Real digits, a small network, plain PyTorch.

    python examples/watch_your_own_loop.py

All but the lines that say `watch` is a loop as anybody writes it.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn

import universality
from universality.plugin import Every


def main(steps: int = 2500) -> str:
    torch.manual_seed(0)
    x, y = (torch.as_tensor(each) for each in load_digits(n_class=4, return_X_y=True))
    x = ((x - x.mean()) / x.std()).float()
    train, held_out = (x[:600], y[:600]), (x[600:], y[600:])
    hidden = [nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    net = nn.Sequential(*hidden, nn.Linear(256, 4))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-3)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [steps // 3, 2 * steps // 3])

    watch = universality.watch(
        net, optimizer, data=train, validation=held_out, steps=steps, batch_size=128,
        phenomena=["neural_collapse"], probes={"sharpness": Every(4)},
    )  # fmt: skip
    for _ in range(steps):
        rows = torch.randint(600, (128,))
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
