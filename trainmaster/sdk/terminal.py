"""What the SDK itself says to the terminal or, in a cluster, to the trial's log."""

import sys


def show(line: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    """Write a line to stderr that names its origin."""
    sys.stderr.write(f"trainmaster: {text}\n")
    sys.stderr.flush()
