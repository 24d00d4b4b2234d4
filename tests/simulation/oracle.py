"""What must hold after each event, checked from the log alone and apart from the code under test."""

from collections import Counter
from collections.abc import Iterable

from shared.events import (
    AgentJoined,
    AgentLeft,
    AgentLost,
    Event,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentStopped,
    GPUAllocated,
    GPUReleased,
    TrialClosed,
    TrialEnd,
    TrialExtended,
    TrialRequested,
    TrialStopped,
)
from shared.log import Recorded


class Oracle:
    """Watches every event; an AssertionError names the broken promise."""

    def __init__(self, *, max_trials: int, max_concurrent: int) -> None:
        self.max_trials, self.max_concurrent = max_trials, max_concurrent
        self.requested: dict[str, TrialRequested] = {}
        self.closed: dict[str, TrialClosed] = {}
        self.stopped: set[str] = set()
        self.targets: dict[str, int] = {}
        self.endings: Counter[str] = Counter()
        self.held: dict[str, GPUAllocated] = {}
        self.incarnations: dict[str, str] = {}
        self.epochs: dict[str, int] = {}

    def replay(self, events: Iterable[Event]) -> None:
        """Check a whole history."""
        for event in events:
            self.check(event)

    def watch(self, recorded: Recorded) -> None:
        """Check an event as it is stored."""
        assert recorded.event is not None
        self.check(recorded.event)

    def check(self, event: Event) -> None:
        """Check the next event."""
        match event:
            case TrialRequested():
                assert event.trial_id not in self.requested, f"{event.trial_id} was requested twice"
                self.requested[event.trial_id] = event
                assert len(self.requested) <= self.max_trials, "the budget was exceeded"
                open_trials = len(self.requested) - len(self.closed)
                assert open_trials <= self.max_concurrent, "too many trials are open"
            case TrialExtended() | TrialStopped():
                self._told(event)
            case TrialClosed():
                assert event.trial_id not in self.closed, f"{event.trial_id} was closed twice"
                self.closed[event.trial_id] = event
            case ExperimentCompleted() | ExperimentFailed() | ExperimentStopped():
                self.endings[event.experiment_id] += 1
                assert self.endings[event.experiment_id] == 1, "an experiment ended twice"
                assert len(self.closed) == len(self.requested), "an experiment ended with open trials"
            case AgentJoined():
                self.incarnations[event.agent_id] = event.incarnation
            case AgentLeft() | AgentLost():
                if self.incarnations.get(event.agent_id) == event.incarnation:
                    del self.incarnations[event.agent_id]
            case GPUAllocated():
                self._allocated(event)
            case GPUReleased():
                assert event.allocation_id in self.held, f"{event.allocation_id} was released twice"
                del self.held[event.allocation_id]
            case _:
                pass

    def _told(self, event: TrialExtended | TrialStopped) -> None:
        assert event.trial_id not in self.closed, f"{event.trial_id} is over and was extended or stopped"
        assert event.trial_id not in self.stopped, f"{event.trial_id} was stopped and is told more"
        match event:
            case TrialExtended():
                assert event.target > self.targets.get(event.trial_id, 0), f"{event.trial_id} was extended twice"
                self.targets[event.trial_id] = event.target
            case TrialStopped():
                self.stopped.add(event.trial_id)

    def _allocated(self, event: GPUAllocated) -> None:
        closed = self.closed.get(event.trial_id)  # what was not its own end may cross an allocation, then preempted
        may_cross = event.trial_id in self.stopped or (closed is not None and closed.end is not TrialEnd.COMPLETED)
        assert closed is None or may_cross, f"{event.trial_id} is over and got slots"
        assert event.trial_id not in {held.trial_id for held in self.held.values()}, f"{event.trial_id} runs twice"
        assert event.epoch == self.epochs.get(event.trial_id, 0) + 1, "an epoch was skipped or used twice"
        self.epochs[event.trial_id] = event.epoch
        wanted = self.requested[event.trial_id].slots
        assert sum(len(member.slots) for member in event.members) == wanted, "a gang is not whole"
        taken = {
            (m.agent_id, m.incarnation, slot) for held in self.held.values() for m in held.members for slot in m.slots
        }
        for member in event.members:
            for slot in member.slots:
                assert (member.agent_id, member.incarnation, slot) not in taken, f"{member.agent_id}/{slot} given twice"
        self.held[event.allocation_id] = event
