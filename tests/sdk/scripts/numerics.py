"""Trains under whatever the experiment file's deepspeed section says, and tells what the engine made of it."""

import json
import sys

import torch
from torch import nn
from torch.utils.data import TensorDataset

import trainmaster as tm

with tm.trial() as trial:
    inputs = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    dataset = TensorDataset(inputs, inputs.sum(dim=1, keepdim=True))
    engine, loader = tm.deepspeed.initialize(nn.Linear(6, 1), dataset, trial)
    batches, dtype = iter(loader), next(engine.parameters()).dtype
    for step in trial.steps(resume=engine):
        for _ in range(engine.gradient_accumulation_steps()):
            batch, targets = next(batches)
            loss = nn.functional.mse_loss(engine(batch.to(dtype)).float(), targets)
            engine.backward(loss)
            engine.step()
        trial.report_validation(step, loss=loss, norm=float(engine.get_global_grad_norm() or 0), lr=engine.get_lr()[0])
    told = {
        "dtype": str(dtype).removeprefix("torch."),
        "clipping": engine.gradient_clipping(),
        "accumulation": engine.gradient_accumulation_steps(),
        "stage": engine.zero_optimization_stage(),
        "offloads": bool(engine.zero_offload_optimizer() and engine.zero_offload_optimizer().device == "cpu"),
    }
    if trial.is_chief:
        sys.stdout.write(json.dumps(told) + "\n")
