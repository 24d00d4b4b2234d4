"""Two ranks that add up a tensor at every step, one of them always late."""

import os
import time

import torch
import torch.distributed as dist

import trainmaster as tm

dist.init_process_group("gloo")
with tm.trial() as trial:
    for _ in trial.steps():
        time.sleep(0.2 if os.environ["RANK"] == "1" else 0.01)
        dist.all_reduce(torch.ones(1))
