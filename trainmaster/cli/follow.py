"""Following one experiment to its end: a live table on a terminal, one line an event elsewhere. All on stderr."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.live import Live

from trainmaster.cli.output import clock, console
from trainmaster.cli.picture import picture
from trainmaster.client import Client, Unreachable
from trainmaster.client.shapes import EventItem, ExperimentDetail
from trainmaster.client.sse import PATIENCE_S

ENDS = ("ExperimentCompleted", "ExperimentFailed", "ExperimentCanceled")
TOLD = (
    "TrialRequested",
    "TrialStarted",
    "MetricReported",
    "TrialRetried",
    "TrialExtended",
    "TrialStopped",
    "TrialPreempted",
    "TrialClosed",
    *ENDS,
)


class View(Protocol):
    """Shows how an experiment goes on."""

    def show(self, client: Client, experiment_id: str, event: EventItem) -> None:
        """Show what an event has changed."""


def follow(client: Client, experiment_id: str) -> ExperimentDetail:
    """Show an experiment until it ends, and return it then."""
    with _view() as view:
        for event in client.follow_events({"experiment": experiment_id, "after": 0}, patience_s=PATIENCE_S):
            view.show(client, experiment_id, event)
            if event["name"] in ENDS:
                return client.experiment(experiment_id, min_seq=event["seq"])
    raise AssertionError("the event stream never ends by itself")


@contextlib.contextmanager
def _view() -> Iterator[View]:
    screen = console(stderr=True)
    if screen.is_terminal:
        with Live(console=screen, auto_refresh=False, transient=True) as live:
            yield _LiveTable(live)
    else:
        yield _Lines(screen)


class _LiveTable:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, client: Client, experiment_id: str, event: EventItem) -> None:
        if event["name"] not in TOLD:
            return
        with contextlib.suppress(Unreachable):  # the stream of events waits until the platform is back
            experiment = client.experiment(experiment_id, min_seq=event["seq"])
            drawn = picture(experiment, list(client.trials(experiment_id)), *self._live.console.size)
            self._live.update(drawn, refresh=True)


class _Lines:
    def __init__(self, screen: Console) -> None:
        self._screen = screen

    def show(self, client: Client, experiment_id: str, event: EventItem) -> None:
        if event["name"] in TOLD:
            self._screen.print(f"{clock(event['time'])}  {event['text']}", markup=False)
