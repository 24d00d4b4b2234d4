"""Who a trial talks to: the agent that started it, or nobody but the terminal."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from trainmaster.sdk.assignment import Assignment
from trainmaster.sdk.metrics import Captured


class Session(Protocol):
    """The trial's side of a conversation about one rank."""

    @property
    def assignment(self) -> Assignment:
        """What this rank was told at the start."""
        ...

    @property
    def may_ask_to_stop(self) -> bool:
        """Whether a stop can ever come, so that ranks must be ready to agree on one."""
        ...

    def start(self, on_stop: Callable[[], None]) -> None:
        """Begin to listen. `on_stop` is called, in a thread of its own, when the trial is to stop."""
        ...

    def progress(self, step: int) -> None:
        """Say that this rank is at `step`, and alive. Never blocks."""
        ...

    def report(self, step: int, metrics: dict[str, Captured], group: str = "training") -> None:
        """Hand over metrics of a group. Never blocks."""
        ...

    def report_profile(self, step: int, figures: dict[str, float]) -> None:
        """Hand over where the time goes. Never blocks."""
        ...

    def report_validation(self, step: int, metrics: dict[str, Captured]) -> None:
        """Hand over validation metrics. They are never lost."""
        ...

    def checkpoint_written(self, step: int, directory: Path, zero_stage: int | None) -> None:
        """Hand over a complete checkpoint; waits while the one before is still being stored."""
        ...

    def leave(self) -> None:
        """Flush and end without a farewell: the trial failed here."""
        ...

    def say_bye(self, outcome: str, step: int) -> None:
        """Flush and end: this rank is done, `outcome` is completed or preempted."""
        ...
