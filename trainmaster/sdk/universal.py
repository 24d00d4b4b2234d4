"""A DeepSpeed checkpoint for another number of ranks than wrote it.

ZeRO cuts the optimizer, and in stage 3 the parameters, into one part a rank, so its files fit that number of ranks
only. DeepSpeed's universal checkpoint (Lian et al., 2024, arXiv 2406.18820) has one folder a parameter instead, which
any number of ranks can cut anew. One rank of each machine converts, into a folder beside the checkpoint, once.
"""

import contextlib
import io
from argparse import Namespace
from pathlib import Path
from typing import Any

from trainmaster.sdk import checkpoint
from trainmaster.sdk.checkpoint import TAG, Progress

_DONE = "converted"


def convert(directory: Path) -> Path:
    """Write the universal form of a DeepSpeed checkpoint beside it, unless it is there; return where it is."""
    target = universal_directory(directory)
    if (target / _DONE).exists():
        return target
    from deepspeed.checkpoint import ds_to_universal

    checkpoint.make_empty(target)
    arguments = Namespace(
        input_folder=str(directory / TAG),
        output_folder=str(target / TAG),
        num_extract_workers=1,  # in this process: a fork of one that runs threads may hang
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # progress bars
        ds_to_universal.main(arguments)
    (target / _DONE).touch()
    return target


def universal_directory(directory: Path) -> Path:
    """Return where the universal form of a checkpoint lies."""
    return directory.with_name(f"{directory.name}-universal")


def read(engine: Any, directory: Path, *, rank: int) -> Progress:
    """Load a converted checkpoint into `engine`, whatever its number of ranks, and return where training stood."""
    engine._config.load_universal_checkpoint = True  # noqa: SLF001 # DeepSpeed has it in the config only, fixed before
    try:
        return checkpoint.read(engine, directory, rank=rank)
    finally:
        engine._config.load_universal_checkpoint = False  # noqa: SLF001
