"""Trains a tiny network and reports every step's loss, so that two runs can be compared float by float.

Within step HELD_AT it waits until somebody has opened the pipe GATE for writing.
"""

import os
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

import trainmaster as tm

with tm.trial() as trial:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(101, 6, generator=generator)
    dataset = TensorDataset(inputs, inputs.sum(dim=1, keepdim=True))
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
    engine, loader = tm.deepspeed.initialize(
        model, dataset, trial, config={"optimizer": {"type": "AdamW", "params": {"lr": trial.hyperparameters.lr}}}
    )
    for step, (batch, targets) in zip(trial.steps(resume=engine), loader, strict=False):
        if step == int(os.environ.get("HELD_AT", "0")):
            Path(os.environ["GATE"]).open().close()
        loss = nn.functional.mse_loss(engine(batch), targets)
        engine.backward(loss)
        engine.step()
        trial.report_validation(step, loss=loss)
        if step == 10:
            trial.checkpoint(engine, step, note="ten")
    if trial.restored_state:
        sys.stdout.write(f"restored {trial.restored_state}\n")
