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
    SearchLimitsSet,
    TrialCanceled,
    TrialClosed,
    TrialEnd,
    TrialExtended,
    TrialRequested,
    TrialRetried,
    TrialStopped,
)
from shared.log import Recorded

MANY = 1_000_000


class Oracle:
    """Watches every event; an AssertionError names the broken promise."""

    def __init__(self, *, max_trials: int, max_concurrent: int, num_brackets: int = 1, parks: bool = False) -> None:
        self.num_brackets = num_brackets  # each has at least one trial at a time
        self.parks = parks  # a trial that waits at a rung is open, but does not count as running
        max_open = MANY if parks else max(max_concurrent, num_brackets)
        self.limits = [(0, max_trials, max_open)]  # since which sequence
        self.least_trials = max_trials  # that a search has which nothing ends early
        self.ended_early = False
        self.canceled: dict[str, int] = {}  # trials that a user ended, and when
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
        for seq, event in enumerate(events, start=1):
            self.check(event, seq, position=seq)

    def watch(self, recorded: Recorded) -> None:
        """Check an event as it is stored."""
        assert recorded.event is not None
        position = recorded.envelope.position
        self.check(recorded.event, recorded.seq, recorded.seq if position is None else position)

    def check(self, event: Event, seq: int, position: int) -> None:
        """Check the next event, which was decided when the log was known up to `position`."""
        match event:
            case TrialRequested():
                self._requested(event, position)
            case SearchLimitsSet() | TrialCanceled():
                self._asked(event, seq)
            case TrialExtended() | TrialStopped() | TrialRetried():
                self._told(event, position)
            case TrialClosed():
                assert event.trial_id not in self.closed, f"{event.trial_id} was closed twice"
                self.closed[event.trial_id] = event
            case ExperimentCompleted() | ExperimentFailed() | ExperimentStopped():
                self._ended(event, position)
            case AgentJoined() | AgentLeft() | AgentLost():
                self._agent(event)
            case GPUAllocated():
                self._allocated(event)
            case GPUReleased():
                assert event.allocation_id in self.held, f"{event.allocation_id} was released twice"
                del self.held[event.allocation_id]
            case _:
                pass

    def _agent(self, event: AgentJoined | AgentLeft | AgentLost) -> None:
        if isinstance(event, AgentJoined):
            self.incarnations[event.agent_id] = event.incarnation
        elif self.incarnations.get(event.agent_id) == event.incarnation:
            del self.incarnations[event.agent_id]

    def _asked(self, event: SearchLimitsSet | TrialCanceled, seq: int) -> None:
        if isinstance(event, TrialCanceled):
            self.canceled.setdefault(event.trial_id, seq)
            return
        _, max_trials, max_open = self.limits[-1]
        max_trials = event.max_trials or max_trials
        if event.max_concurrent_trials and not self.parks:
            max_open = max(event.max_concurrent_trials, self.num_brackets)
        self.limits.append((seq, max_trials, max_open))
        self.least_trials = max(max_trials, len(self.requested))

    def _ended(self, event: ExperimentCompleted | ExperimentFailed | ExperimentStopped, position: int) -> None:
        self.endings[event.experiment_id] += 1
        assert self.endings[event.experiment_id] == 1, "an experiment ended twice"
        assert len(self.closed) == len(self.requested), "an experiment ended with open trials"
        self.ended_early = len(self.closed) < self.least_trials
        has_crossed_limits = self.limits[-1][0] > position
        says_why = has_crossed_limits or isinstance(event, ExperimentStopped) or event.reason
        assert says_why or not self.ended_early, "an experiment ended early without a reason"

    def _requested(self, event: TrialRequested, position: int) -> None:
        assert event.trial_id not in self.requested, f"{event.trial_id} was requested twice"
        self.requested[event.trial_id] = event
        _, max_trials, max_open = next(known for known in reversed(self.limits) if known[0] <= position)
        assert len(self.requested) <= max_trials, "the budget was exceeded"
        self.least_trials = max(self.least_trials, len(self.requested))  # it may have crossed a lower limit
        assert len(self.requested) - len(self.closed) <= max_open, "too many trials are open"

    def _told(self, event: TrialExtended | TrialStopped | TrialRetried, position: int) -> None:
        assert event.trial_id not in self.closed, f"{event.trial_id} is over and was told how to go on"
        if not isinstance(event, TrialStopped):
            assert self.canceled.get(event.trial_id, position + 1) > position, f"{event.trial_id} was ended by a user"
        assert event.trial_id not in self.stopped, f"{event.trial_id} was stopped and is told more"
        match event:
            case TrialExtended():
                assert event.target > self.targets.get(event.trial_id, 0), f"{event.trial_id} was extended twice"
                self.targets[event.trial_id] = event.target
            case TrialStopped():
                self.stopped.add(event.trial_id)
            case TrialRetried():
                pass

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
