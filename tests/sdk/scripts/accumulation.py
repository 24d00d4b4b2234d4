"""Trains with two batches a step, as the documentation says, or, told to by MISTAKE, with one."""

import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.utils.data import TensorDataset

import trainmaster as tm

with tm.trial(max_length={"epochs": 2}) as trial:
    dataset = TensorDataset(torch.arange(12.0).reshape(12, 1))
    engine, loader = tm.deepspeed.initialize(
        torch.nn.Linear(1, 1),
        dataset,
        trial,
        config={
            "micro_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "optimizer": {"type": "SGD", "params": {"lr": 0.01}},
        },
    )
    assert (len(loader), trial.max_steps, trial.global_batch_size) == (3, 6, 4)
    assert dist.group.WORLD is not None
    assert dist.group.WORLD._get_backend(torch.device("cpu")).options._timeout >= timedelta(hours=6)
    batches = iter(loader)
    seen = []
    for _ in trial.steps(resume=engine):
        for _ in range(1 if "MISTAKE" in os.environ else engine.gradient_accumulation_steps()):
            (inputs,) = next(batches)
            seen += inputs.flatten().tolist()
            engine.backward(engine(inputs).square().mean())
            engine.step()
    assert engine.global_steps == trial.steps_completed == 6
    assert sorted(seen[:12]) == sorted(seen[12:]) == sorted(float(record) for record in range(12))
