"""Teach a small GPT to write Python, byte by byte, from the standard library of the Python that runs it: ZeRO stage 3.

Run it alone:       python train.py
On the platform:    tm submit gpt.yaml
"""

import sysconfig
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

import trainmaster as tm

VOCABULARY = 256  # a token is a byte
MAX_TEXT_BYTES = 4 * 1024 * 1024
NUM_VALIDATION_BYTES = 64 * 1024
STEPS_BETWEEN_VALIDATIONS = 50

# Shapes: B batch, T position, C channels.


def load_text():
    """The sources of the standard library, in an order that is the same everywhere: real text on every machine."""
    library = Path(sysconfig.get_path("stdlib"))
    text = b"".join(path.read_bytes() for path in sorted(library.glob("*.py")))[:MAX_TEXT_BYTES]
    tokens = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return tokens[:-NUM_VALIDATION_BYTES], tokens[-NUM_VALIDATION_BYTES:]


class Windows(Dataset):
    """Every window of the text that does not overlap another, with the same window one byte later as its target."""

    def __init__(self, tokens, context):
        self.tokens, self.context = tokens, context

    def __len__(self):
        return (len(self.tokens) - 1) // self.context

    def __getitem__(self, index):
        start = index * self.context
        window = self.tokens[start : start + self.context + 1].long()
        return window[:-1], window[1:]


class Block(nn.Module):
    """Attention to what came before, then a small network for each position."""

    def __init__(self, channels, num_heads, dropout):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.norm_attention, self.norm_mlp = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.projection = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels), nn.Dropout(dropout)
        )

    def forward(self, x_BTC):
        x_BTC = x_BTC + self.attend(self.norm_attention(x_BTC))
        return x_BTC + self.mlp(self.norm_mlp(x_BTC))

    def attend(self, x_BTC):
        batch, length, channels = x_BTC.shape
        heads = self.qkv(x_BTC).view(batch, length, 3, self.num_heads, channels // self.num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return self.projection(mixed.transpose(1, 2).reshape(batch, length, channels))


class GPT(nn.Module):
    """Predicts the next byte at every position."""

    def __init__(self, *, context, channels, num_layers, num_heads, dropout):
        super().__init__()
        self.token, self.position = nn.Embedding(VOCABULARY, channels), nn.Embedding(context, channels)
        self.blocks = nn.ModuleList(Block(channels, num_heads, dropout) for _ in range(num_layers))
        self.norm, self.head = nn.LayerNorm(channels), nn.Linear(channels, VOCABULARY)

    def forward(self, tokens_BT):
        positions = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x_BTC = self.token(tokens_BT) + self.position(positions)
        for block in self.blocks:
            x_BTC = block(x_BTC)
        return self.head(self.norm(x_BTC))


def loss_of(engine, tokens_BT, targets_BT):
    logits_BTV = engine(tokens_BT.to(engine.device))
    return F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.to(engine.device).flatten())


def validate(engine, windows, batch_size):
    """Every rank takes part: under ZeRO-3 a forward pass gathers the parameters that the ranks share out."""
    engine.eval()
    num_batches = max(1, len(windows) // batch_size // 4)
    losses = []
    with torch.no_grad():
        for start in range(0, num_batches * batch_size, batch_size):
            pairs = [windows[index] for index in range(start, start + batch_size)]
            tokens, targets = (torch.stack(column) for column in zip(*pairs))
            losses.append(loss_of(engine, tokens, targets))
    engine.train()
    return torch.stack(losses).mean()


DEFAULTS = {"context": 64, "channels": 64, "num_layers": 2, "num_heads": 4, "dropout": 0.1, "lr": 3e-3}

with tm.trial(hyperparameters=DEFAULTS, max_length=300) as trial:
    hp = trial.hyperparameters
    training, validation = (Windows(tokens, hp.context) for tokens in load_text())
    model = GPT(
        context=hp.context,
        channels=hp.channels,
        num_layers=hp.num_layers,
        num_heads=hp.num_heads,
        dropout=hp.dropout,
    )
    optimizer = {"type": "AdamW", "params": {"lr": hp.lr, "betas": [0.9, 0.99], "weight_decay": 0.1}}
    engine, loader = tm.deepspeed.initialize(model, training, trial, config={"optimizer": optimizer})
    for step, (tokens, targets) in zip(trial.steps(resume=engine), loader):
        loss = loss_of(engine, tokens, targets)
        engine.backward(loss)
        engine.step()
        trial.report(step, loss=loss)

        if step % STEPS_BETWEEN_VALIDATIONS == 0 or step == trial.max_steps:
            loss = validate(engine, validation, engine.train_micro_batch_size_per_gpu())
            trial.report_validation(step, validation_loss=loss)  # a checkpoint follows if it is the best so far
