"""How a trial's processes are started: one way for each kind of program."""

import shlex
from collections.abc import Sequence
from enum import StrEnum
from itertools import dropwhile

_PYTHON = ("python", "python3")
_OWN_LAUNCHERS = ("torchrun", "deepspeed", "accelerate", "mpirun", "horovodrun")
_OWN_MODULES = ("torch.distributed.run", "torch.distributed.launch", "deepspeed.launcher.runner", "accelerate.commands")


class Launcher(StrEnum):
    """DEEPSPEED and TORCH start one process a slot, which finds its place in the environment (`env://`); DEEPSPEED
    hands on the file's `deepspeed` section. PLAIN starts one process, and tells it nothing of ranks."""

    DEEPSPEED = "deepspeed"
    TORCH = "torch"
    PLAIN = "plain"


def words_of(entrypoint: object) -> tuple[str, ...]:
    """Return the words of an entrypoint; none if it cannot be split."""
    if isinstance(entrypoint, str):
        try:
            return tuple(shlex.split(entrypoint))
        except ValueError:
            return ()
    return tuple(map(str, entrypoint)) if isinstance(entrypoint, list | tuple) else ()


def own_launcher(words: Sequence[str]) -> str | None:
    """Return the program among the words that starts ranks by itself, or None."""
    program = words[0].rsplit("/", 1)[-1] if words else ""
    if program in _OWN_LAUNCHERS:
        return program
    after = list(dropwhile(lambda word: word != "-m", words))
    module = after[1] if program in _PYTHON and len(after) > 1 else ""
    return module if module.startswith(_OWN_MODULES) else None


def default_launcher(entrypoint: object, *, has_deepspeed: bool, num_slots: int) -> Launcher:
    """Return what a file that names no launcher needs."""
    if has_deepspeed:
        return Launcher.DEEPSPEED
    words = words_of(entrypoint)
    is_python = bool(words) and words[0] in _PYTHON and own_launcher(words) is None
    return Launcher.TORCH if is_python or num_slots > 1 else Launcher.PLAIN
