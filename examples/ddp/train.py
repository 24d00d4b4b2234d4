"""Read handwritten digits with a small convolutional network in raw PyTorch: DistributedDataParallel, nothing else.

Run it alone:       python train.py     or on two processes: torchrun --nproc-per-node 2 train.py
On the platform:    tm submit digits.yaml
"""

import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import trainmaster as tm

NUM_TRAINING = 1437  # of 1797 images, 8 x 8 pixels; the rest validates
STEPS_BETWEEN_VALIDATIONS = 50
DEFAULTS = {"lr": 0.05, "momentum": 0.9, "batch_size": 64, "channels": 16}


def join_process_group(device):
    """Every launcher says in the environment where the ranks meet (env://); a script run alone is a group of one."""
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "0")
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=rank, world_size=world_size)


def load_data():
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    training, validation = order[:NUM_TRAINING], order[NUM_TRAINING:]
    return (images[training], labels[training]), (images[validation], labels[validation])


def batch_of(step, trial, batch_size):
    """The records of this rank in a step: they follow from the seed and the step, so a resumed run sees the same."""
    generator = torch.Generator().manual_seed(trial.seed * 1_000_003 + step)
    records = torch.randint(NUM_TRAINING, (trial.world_size, batch_size // trial.world_size), generator=generator)
    return records[trial.rank]


def build_model(channels):
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * channels * 16, 10),
    )


with tm.trial(hyperparameters=DEFAULTS, max_length=300) as trial:
    hp = trial.hyperparameters
    device = torch.device("cuda", trial.local_rank) if torch.cuda.is_available() else torch.device("cpu")
    join_process_group(device)
    (images, labels), (validation_images, validation_labels) = load_data()
    model = build_model(hp.channels).to(device)
    ddp = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=hp.lr, momentum=hp.momentum)
    trained = {"model": model, "optimizer": optimizer}
    for step in trial.steps(resume=trained):
        records = batch_of(step, trial, hp.batch_size)
        loss = F.cross_entropy(ddp(images[records].to(device)), labels[records].to(device))
        optimizer.zero_grad()
        loss.backward()  # averages the gradients over all ranks
        optimizer.step()
        trial.report(step, loss=loss)

        if step % STEPS_BETWEEN_VALIDATIONS == 0 or step == trial.max_steps:
            with torch.no_grad():  # on every rank: the set is small, and the result needs no aggregation
                logits = model(validation_images.to(device)).cpu()
            accuracy = (logits.argmax(dim=1) == validation_labels).float().mean()
            trial.report_validation(step, accuracy=accuracy)  # a checkpoint follows if it is the best so far
    dist.destroy_process_group()
