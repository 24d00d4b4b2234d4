"""Trains a small network with one global batch, whatever the number of ranks, and reports every step's loss over it."""

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import TensorDataset

import trainmaster as tm

with tm.trial() as trial:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 6, generator=generator)
    dataset = TensorDataset(inputs, inputs.square().sum(dim=1, keepdim=True))
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 13), nn.Tanh(), nn.Linear(13, 1))
    engine, loader = tm.deepspeed.initialize(
        model, dataset, trial, config={"optimizer": {"type": "AdamW", "params": {"lr": 0.1}}}
    )
    for step, (batch, targets) in zip(trial.steps(resume=engine), loader, strict=False):
        loss = nn.functional.mse_loss(engine(batch), targets)
        engine.backward(loss)
        engine.step()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        trial.report_validation(step, loss=mean / trial.world_size, ranks=trial.world_size)
        if step in (10, 20):
            trial.checkpoint(engine, step)
