"""Two ranks whose gradients DistributedDataParallel exchanges, one of them always late."""

import os
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import trainmaster as tm

dist.init_process_group("gloo")
with tm.trial() as trial:
    model = DistributedDataParallel(torch.nn.Linear(4, 1))
    for _ in trial.steps():
        time.sleep(0.2 if os.environ["RANK"] == "1" else 0.01)
        model(torch.ones(1, 4)).sum().backward()
