"""Learn to read handwritten digits: a small network, DeepSpeed, and what a Trainmaster script looks like.

Run it alone:                python train.py
Search its hyperparameters:  tm submit search.yaml
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import trainmaster as tm

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}
NUM_TRAINING = 1437  # of 1797 images, 8 x 8 pixels; the rest validates
STEPS_BETWEEN_VALIDATIONS = 100


def load_data():
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    training, validation = order[:NUM_TRAINING], order[NUM_TRAINING:]
    return TensorDataset(images[training], labels[training]), (images[validation], labels[validation])


def build_model(hyperparameters):
    hidden = hyperparameters.hidden
    activation = ACTIVATIONS[hyperparameters.activation]
    return nn.Sequential(
        nn.Linear(64, hidden),
        activation(),
        nn.Dropout(hyperparameters.dropout),
        nn.Linear(hidden, hidden),
        activation(),
        nn.Dropout(hyperparameters.dropout),
        nn.Linear(hidden, 10),
    )


def validate(engine, images, labels):
    """Every rank reads the whole validation set: it is small, and the result needs no aggregation."""
    engine.eval()
    with torch.no_grad():
        logits = engine(images.to(engine.device)).cpu()
    engine.train()
    return {
        "accuracy": (logits.argmax(dim=1) == labels).float().mean(),
        "validation_loss": F.cross_entropy(logits, labels),
    }


DEFAULTS = {"lr": 3e-3, "hidden": 64, "dropout": 0.1, "activation": "relu", "micro_batch_size": 32}

with tm.trial(hyperparameters=DEFAULTS, max_length=600) as trial:
    hp = trial.hyperparameters
    training_set, validation_set = load_data()
    engine, loader = tm.deepspeed.initialize(
        build_model(hp),
        training_set,
        trial,
        config={
            "micro_batch_size": hp.micro_batch_size,
            "optimizer": {"type": "AdamW", "params": {"lr": hp.lr, "weight_decay": 0.01}},
        },
    )
    for step, (images, labels) in zip(trial.steps(resume=engine), loader):
        loss = F.cross_entropy(engine(images.to(engine.device)), labels.to(engine.device))
        engine.backward(loss)
        engine.step()
        trial.report(step, loss=loss)

        if step % STEPS_BETWEEN_VALIDATIONS == 0 or step == trial.max_steps:
            trial.report_validation(step, **validate(engine, *validation_set))
            trial.checkpoint(engine, step)
