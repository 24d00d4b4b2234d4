"""Record the learning curves: a multilayer perceptron in PyTorch on scikit-learn's digits, 8×8 pixels, ten classes.

    python -m benchmarks.multi_fidelity.record

trains each configuration of the space for 50 epochs on 60 % of the 1,797 images and measures the others after each
epoch. About ten minutes on one core; each configuration has a seed of its own: any can be checked alone.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks.multi_fidelity.space import NUM_EPOCHS, points, values_at

FILE = Path(__file__).parent / "digits.npz"
TRAINED_PART = 0.6
WORST_LOSS = 10.0  # what a diverged network is recorded with
NOTICE_S = 30.0

#: Images (one a row) and labels to train on, then those to validate on.
Data = tuple[Tensor, Tensor, Tensor, Tensor]


def main() -> None:
    """Record them all."""
    torch.set_num_threads(1)
    data, configurations = digits(), points()
    losses = np.empty((len(configurations), NUM_EPOCHS), dtype=np.float32)
    errors = np.empty_like(losses)
    noticed = time.monotonic()
    for number, point in enumerate(configurations):
        losses[number], errors[number] = curve(values_at(point), number, data)
        if time.monotonic() > noticed + NOTICE_S:
            noticed = time.monotonic()
            sys.stderr.write(f"{number + 1} of {len(configurations)} configurations\n")
    np.savez_compressed(FILE, loss=losses.round(4), error=errors.round(5))
    sys.stderr.write(f"{FILE}: {FILE.stat().st_size:,} bytes\n")


def digits() -> Data:
    """Return images and labels to train on, and images and labels to validate on."""
    found = load_digits()
    order = np.random.RandomState(0).permutation(len(found.target))
    images = torch.tensor(found.data[order] / 16.0, dtype=torch.float32)
    labels = torch.tensor(found.target[order], dtype=torch.int64)
    cut = int(TRAINED_PART * len(labels))
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def curve(values: dict[str, object], seed: int, data: Data) -> tuple[list[float], list[float]]:
    """Return the validation loss (cross-entropy) and error (part that is wrong) after each epoch."""
    torch.manual_seed(seed)
    images, labels, _, _ = data
    network, batch_size = network_of(values), int(str(values["batch_size"]))
    optimizer = optimizer_of(network, values)
    losses, errors = [], []
    for _ in range(NUM_EPOCHS):
        network.train()
        for batch in torch.split(torch.randperm(len(labels)), batch_size):
            optimizer.zero_grad()
            loss_of_batch = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            torch.autograd.backward(loss_of_batch)
            optimizer.step()
        loss, error = validated(network, data)
        losses.append(loss)
        errors.append(error)
    return losses, errors


def network_of(values: dict[str, object]) -> nn.Module:
    """Return a perceptron of `depth` hidden layers."""
    width, depth = int(str(values["width"])), int(str(values["depth"]))
    layers: list[nn.Module] = []
    for inputs in (64, *([width] * (depth - 1))):
        layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(float(str(values["dropout"])))]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def optimizer_of(network: nn.Module, values: dict[str, object]) -> torch.optim.Optimizer:
    """Return SGD or AdamW."""
    rate, momentum, decay = (float(str(values[name])) for name in ("learning_rate", "momentum", "weight_decay"))
    if values["optimizer"] == "adam":
        return torch.optim.AdamW(network.parameters(), lr=rate, betas=(momentum, 0.999), weight_decay=decay)
    return torch.optim.SGD(network.parameters(), lr=rate, momentum=momentum, weight_decay=decay)


def validated(network: nn.Module, data: Data) -> tuple[float, float]:
    """Return loss and error on the validation images."""
    network.eval()
    with torch.no_grad():
        logits = network(data[2])
        loss = float(nn.functional.cross_entropy(logits, data[3]))
        error = float((logits.argmax(dim=1) != data[3]).float().mean())
    return (min(loss, WORST_LOSS) if np.isfinite(loss) else WORST_LOSS), error


if __name__ == "__main__":
    main()
