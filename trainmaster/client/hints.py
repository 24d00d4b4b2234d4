"""How to write a tm command: as the user called tm, with --data where the command would otherwise mean another one."""

import os
import shlex

from trainmaster.embedded.directory import DataDirectory


def program() -> str:
    """Return how tm was called; the bootstrap says so."""
    return os.environ.get("TM_PROG") or "tm"


def command(words: str, data: str | None = None) -> str:
    """Return a command to type; `data` is the value of --data that this command was given."""
    directory = DataDirectory.named(data)
    suffix = "" if directory == DataDirectory.named(None) else f" --data {shlex.quote(str(directory.path))}"
    return f"{program()} {words}{suffix}"
