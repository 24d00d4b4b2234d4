"""Universal forms of checkpoints, kept from one attempt to the next.

When a trial goes on with another number of ranks, the SDK converts its checkpoint, into a folder beside it, which
takes long for a large one. The form made last is kept, so that the next attempt, or the next trial that starts from
the same checkpoint, finds it; unless the disk is nearly full.
"""

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MAX_KEPT = 1  # one is as large as the checkpoint
LEAST_FREE_SHARE = 0.1  # of the disk

#: As trainmaster.sdk.universal names them: the folder beside the checkpoint, and what is in it when it is whole.
_SUFFIX, _DONE = "-universal", "converted"


class Conversions:
    """The forms that are kept in one directory, by checkpoint."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._directory.mkdir(exist_ok=True)
        self._in_use: Counter[str] = Counter()

    @contextlib.contextmanager
    def beside(self, checkpoint: Path) -> Iterator[None]:
        """The form of the checkpoint in a folder is beside it, if one is kept; one that is made there is kept."""
        kept = self._directory / checkpoint.name
        form = checkpoint.with_name(checkpoint.name + _SUFFIX)
        self._in_use[kept.name] += 1
        if kept.exists():
            os.utime(kept)
            form.symlink_to(kept)
        try:
            yield
        finally:
            if not form.is_symlink() and (form / _DONE).exists() and not kept.exists():
                form.rename(kept)
            self._in_use[kept.name] -= 1
            self._forget()

    def _forget(self) -> None:
        """Keep the newest, and those in use."""
        newest_first = sorted(self._directory.iterdir(), key=lambda kept: kept.stat().st_mtime, reverse=True)
        disk = shutil.disk_usage(self._directory)
        num_kept = MAX_KEPT if disk.free >= LEAST_FREE_SHARE * disk.total else 0
        for kept in newest_first[num_kept:]:
            if not self._in_use[kept.name]:
                shutil.rmtree(kept, ignore_errors=True)
