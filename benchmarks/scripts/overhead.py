"""What benchmarks/overhead.py runs as a trial: equal steps, by turns bare and reported; prints what each took."""

import json
import sys
import time

import torch
from torch import nn

import trainmaster as tm

STEPS_A_BLOCK = 10
DELIVERY_S = 0.7  # what was reported has left the process by then


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
    """Time, and processor time of the thread that trains, since it was made; in ms a step."""

    def __init__(self) -> None:
        self._began = (time.perf_counter(), time.thread_time())

    def read(self) -> tuple[float, float]:
        """Return both."""
        passed_s, busy_s = time.perf_counter() - self._began[0], time.thread_time() - self._began[1]
        return 1000 * passed_s / STEPS_A_BLOCK, 1000 * busy_s / STEPS_A_BLOCK


def train_bare(training: Training) -> tuple[float, float]:
    """Train a block and return what a step took."""
    timer = Timer()
    for _ in range(STEPS_A_BLOCK):
        training.step()
    return timer.read()


def other_threads_s() -> float:
    """Return the processor time of all threads but this one so far."""
    return time.process_time() - time.thread_time()


with tm.trial(max_length=1_000_000_000) as trial:
    training = Training()
    for _ in range(10):  # warm
        bare, timer = train_bare(training), Timer()
    pairs, others_s = [], other_threads_s()
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
            pairs.append({"bare_ms": bare, "reported_ms": reported})
            if len(pairs) == trial.hyperparameters.blocks:
                break
    time.sleep(DELIVERY_S)
    beside_ms = 1000 * (other_threads_s() - others_s) / step
    for pair_ in pairs:
        sys.stdout.write(json.dumps(pair_ | {"beside_ms": beside_ms}) + "\n")
