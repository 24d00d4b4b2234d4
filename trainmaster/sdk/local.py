"""A trial that nobody supervises: reports are printed, checkpoints stay in ./trainmaster-checkpoints."""

import time
from collections.abc import Callable
from pathlib import Path

from trainmaster.sdk.assignment import Assignment
from trainmaster.sdk.metrics import Captured, FiniteFilter
from trainmaster.sdk.terminal import show

PRINT_INTERVAL_S = 0.5


class LocalSession:
    """A session with the terminal. Training metrics are printed at most twice a second."""

    may_ask_to_stop = False

    def __init__(self) -> None:
        self.assignment = Assignment.outside_a_cluster()
        self._finite = FiniteFilter()
        self._print_at = 0.0

    def start(self, on_stop: Callable[[], None]) -> None:
        """Nobody here asks a trial to stop."""

    def progress(self, step: int) -> None:
        """Nobody here watches."""

    def report(self, step: int, metrics: dict[str, Captured], group: str = "training") -> None:
        """Print metrics of a group, unless some were printed just before."""
        if time.monotonic() >= self._print_at:
            self._print_at = time.monotonic() + PRINT_INTERVAL_S
            self._show(group, step, metrics)

    def report_profile(self, step: int, figures: dict[str, float]) -> None:
        """Nobody here keeps it."""

    def report_validation(self, step: int, metrics: dict[str, Captured]) -> None:
        """Print validation metrics."""
        self._show("validation", step, metrics)

    def checkpoint_written(self, step: int, directory: Path, zero_stage: int | None) -> None:
        """Print where the checkpoint is."""
        show(f"checkpoint  step {step:>6}  {directory}")

    def leave(self) -> None:
        """There is nobody to tell."""

    def say_bye(self, outcome: str, step: int) -> None:
        """Print how it ended."""
        if self.assignment.rank == 0:
            show(f"{outcome} after step {step}")

    def _show(self, group: str, step: int, metrics: dict[str, Captured]) -> None:
        values = self._finite.fetch(step, metrics)
        text = "  ".join(f"{name} {value:.5g}" for name, value in values.items())
        show(f"{group:<10}  step {step:>6}  {text}")
