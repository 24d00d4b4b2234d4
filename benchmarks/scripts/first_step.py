"""One trial that says when its first optimizer step was done; the same file runs under torchrun."""

import sys
import time

import torch
import torch.nn.functional as F
from torch.utils.data import TensorDataset

import trainmaster as tm

with tm.trial(max_length=3) as trial:
    data = TensorDataset(torch.randn(256, 64), torch.randint(0, 10, (256,)))
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    config = {"zero_stage": 1, "micro_batch_size": 16, "optimizer": {"type": "AdamW", "params": {"lr": 1e-3}}}
    engine, loader = tm.deepspeed.initialize(model, data, trial, config=config)
    for step, (x, y) in zip(trial.steps(resume=engine), loader, strict=False):
        engine.backward(F.cross_entropy(engine(x), y))
        engine.step()
        if step == 1 and trial.is_chief:
            print(f"first step at {time.time():.6f}", flush=True)
        if step == trial.max_steps:
            trial.report_validation(step, loss=1.0)
    sys.stdout.flush()
