"""What benchmarks/overhead.py runs as a trial: equal steps, by turns bare and reported; prints what each took."""

import json
import sys
import time

import torch
from torch import nn

import trainmaster as tm

STEPS_A_BLOCK = 50


class Training:
    """A small network on random data: some milliseconds a step."""

    def __init__(self) -> None:
        self._model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256))
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=1e-3)
        self._inputs = torch.randn(256, 256)

    def step(self) -> torch.Tensor:
        """Train one step and return its loss."""
        loss: torch.Tensor = (self._model(self._inputs) - self._inputs).square().mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.detach()


def bare_ms(training: Training) -> float:
    """Return how long a step takes."""
    began_at = time.perf_counter()
    for _ in range(STEPS_A_BLOCK):
        training.step()
    return 1000 * (time.perf_counter() - began_at) / STEPS_A_BLOCK


with tm.trial(max_length=1_000_000_000) as trial:
    training = Training()
    bare_ms(training)  # warm
    bare = began_at = 0.0
    for step in trial.steps():
        if step % STEPS_A_BLOCK == 1:
            bare, began_at = bare_ms(training), time.perf_counter()
        trial.report(step, loss=training.step())
        if step % STEPS_A_BLOCK == 0:
            reported = 1000 * (time.perf_counter() - began_at) / STEPS_A_BLOCK
            sys.stdout.write(json.dumps({"bare_ms": bare, "reported_ms": reported}) + "\n")
        if step == trial.hyperparameters.blocks * STEPS_A_BLOCK:
            break
