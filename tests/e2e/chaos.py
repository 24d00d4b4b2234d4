"""kill -9, for real processes of a running platform, and what the log says afterwards."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from shared import broker, subjects
from shared.decisions import Fold
from shared.events import (
    AgentJoined,
    Event,
    GPUReleased,
    MetricReported,
    PreemptionRequested,
    TrialExited,
    TrialPreempted,
    TrialStarted,
)
from shared.ids import AllocationId, TrialId
from shared.log import Follower
from tests.support.platform import RunningPlatform
from trainmaster.embedded.nats import user_url

READ_TIMEOUT_S = 60.0


def rank_pids(platform: RunningPlatform, allocation_id: AllocationId) -> list[int]:
    """The pids of an allocation's training ranks: they run in its code directory."""
    agents = platform.data / "agents"
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _is_rank(entry, agents, allocation_id)]


def _is_rank(entry: Path, agents: Path, allocation_id: AllocationId) -> bool:
    try:
        directory = (entry / "cwd").readlink()
    except OSError:  # it has just ended
        return False
    return directory.parts[-2:] == (allocation_id, "code") and directory.is_relative_to(agents)


def in_training(events: list[Event], before_step: int) -> list[AllocationId]:
    """The allocations whose ranks train, by the last word on them, and whose trials have not come to a step."""
    running: dict[AllocationId, TrialId] = {}
    steps: dict[TrialId, int] = {}
    for event in events:
        match event:
            case TrialStarted():
                running[event.allocation_id] = event.trial_id
            case MetricReported():
                steps[event.trial_id] = event.step
            case AgentJoined():  # the only one, anew: what ran before is over
                running.clear()
            case TrialExited() | TrialPreempted() | PreemptionRequested() | GPUReleased():
                running.pop(event.allocation_id, None)
    return [allocation for allocation, trial in running.items() if steps.get(trial, 0) < before_step]


class LogReader:
    """Reads the platform's log straight from the broker, past every service."""

    def __init__(self, platform: RunningPlatform) -> None:
        ports = json.loads((platform.data / "ports.json").read_text())
        passwords = json.loads((platform.data / "credentials.json").read_text())["nats"]
        self._url = user_url(ports["nats"], "tracker", passwords["tracker"])

    async def until(
        self, condition: Callable[[list[Event]], bool], *, timeout_s: float = READ_TIMEOUT_S
    ) -> list[Event]:
        """All events from the first to the newest, as soon as the condition holds for them."""
        events: list[Event] = []
        folded = Fold(lambda recorded: events.append(recorded.event) if recorded.event else None)
        async with broker.connect(self._url, "test") as client, asyncio.timeout(timeout_s):
            follower = Follower(client, subjects.EVENTS)
            while not (follower.at_head and condition(events)):
                folded(await follower.next())
        return events


def count(events: list[Event], kind: type[Event]) -> int:
    """How many events of a type there are."""
    return sum(isinstance(event, kind) for event in events)
