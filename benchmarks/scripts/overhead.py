"""What benchmarks/overhead.py runs as a trial: equal steps, by turns bare and reported; prints what each took."""

import json
import sys
import time

import torch
from torch import nn

import trainmaster as tm

STEPS_A_BLOCK = 50
DELIVERY_S = 0.7  # what a block has reported has left the process by then


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
        loss.backward()  # type: ignore[no-untyped-call] # torch has no types for it
        self._optimizer.step()
        return loss.detach()


class Timer:
    """Time and processor time, of all threads of this process, since it was made; in ms a step."""

    def __init__(self) -> None:
        self._began = (time.perf_counter(), time.process_time())

    def read(self) -> tuple[float, float]:
        """Return both, the second with what is done a little later for what the block has reported."""
        passed_s = time.perf_counter() - self._began[0]
        time.sleep(DELIVERY_S)
        busy_s = time.process_time() - self._began[1]
        return 1000 * passed_s / STEPS_A_BLOCK, 1000 * busy_s / STEPS_A_BLOCK


def train_bare(training: Training) -> tuple[float, float]:
    """Train a block and return what a step took."""
    timer = Timer()
    for _ in range(STEPS_A_BLOCK):
        training.step()
    return timer.read()


with tm.trial(max_length=1_000_000_000) as trial:
    training = Training()
    bare, timer = train_bare(training), Timer()  # warm
    for step in trial.steps():
        pair, place = divmod(step - 1, STEPS_A_BLOCK)
        if place == 0:
            if pair % 2 == 0:  # each comes first as often
                bare = train_bare(training)
            timer = Timer()
        trial.report(step, loss=training.step())
        if place == STEPS_A_BLOCK - 1:
            reported = timer.read()
            if pair % 2 == 1:
                bare = train_bare(training)
            sys.stdout.write(json.dumps({"bare_ms": bare, "reported_ms": reported}) + "\n")
            if pair == trial.hyperparameters.blocks - 1:
                break
