"""Whatever happens, in whatever order: no slot has two owners, gangs are whole, and the queue drains."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.events import (
    Event,
    ExperimentPaused,
    ExperimentResumed,
    GangMemberExited,
    GPUAllocated,
    Outcome,
    TrialRetried,
)
from shared.ids import AgentId
from tests.scheduler.world import EXPERIMENT, World, closed, exited, joined, left, preempted, requested, submitted

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["request", "join", "leave", "silence", "exit", "fail", "preempt", "pause", "resume", "zombie"]
        ),
        st.integers(0, 3),
        st.integers(1, 4),
    ),
    max_size=40,
)


class Cluster(World):
    """Drives a scheduler's world with the things that agents, users and the searcher do."""

    def __init__(self) -> None:
        super().__init__(submitted())
        self.num_requested = 0
        self.num_joined = 0
        self.past: list[GPUAllocated] = []

    def act(self, action: str, which: int, size: int) -> None:
        match action:
            case "request":
                self.num_requested += 1
                self.fold([requested(self.num_requested, slots=size)])
            case "join":
                self.num_joined += 1
                self.fold([joined(f"agent{which}", size, incarnation=f"i{self.num_joined}")])
            case "leave" | "silence":
                self.lose(AgentId(f"agent{which}"), silently=action == "silence")
            case "pause":
                self.fold([ExperimentPaused(experiment_id=EXPERIMENT)])
            case "resume":
                self.fold([ExperimentResumed(experiment_id=EXPERIMENT)])
            case "zombie" if self.past:
                self.fold(self.end(self.past[which % len(self.past)], "exit"))
            case "exit" | "fail" | "preempt":
                running = [a for a in self.past if a.allocation_id in self.state.allocations]
                if running:
                    self.fold(self.end(running[which % len(running)], action))
        self.settle()

    def settle(self, silent_s: Mapping[AgentId, float] | None = None) -> list[Event]:
        decided = super().settle(silent_s)
        self.past += [event for event in decided if isinstance(event, GPUAllocated)]
        return decided

    def lose(self, agent_id: AgentId, *, silently: bool) -> None:
        agent = self.state.agents.get(agent_id)
        if agent and silently:
            self.settle({agent_id: 60.0})
        elif agent:
            self.fold([left(agent_id, agent.incarnation)])

    def end(self, allocated: GPUAllocated, how: str) -> list[Event]:
        members: list[Event] = [
            GangMemberExited(
                trial_id=allocated.trial_id,
                experiment_id=EXPERIMENT,
                allocation_id=allocated.allocation_id,
                epoch=allocated.epoch,
                agent_id=member.agent_id,
                outcome=Outcome.COMPLETED,
                exit_code=0,
                error=None,
            )
            for member in allocated.members[1:]
        ]
        if how == "preempt":
            return [*members, preempted(allocated)]
        if how == "fail":
            retried = TrialRetried(experiment_id=EXPERIMENT, trial_id=allocated.trial_id, restarts=1, reason="x")
            return [*members, exited(allocated, Outcome.FAILED), retried]
        return [*members, exited(allocated)]


@settings(max_examples=200, deadline=None)
@given(ACTIONS)
def test_the_books_balance_whatever_happens(actions: list[tuple[str, int, int]]) -> None:
    cluster = Cluster()
    for action in actions:
        cluster.act(*action)  # the harness checks the invariants after every event
    for allocated in cluster.past:
        trial = next(
            e
            for e in cluster.events
            if e.aggregate_id == EXPERIMENT and getattr(e, "trial_id", 0) == allocated.trial_id
        )
        assert sum(len(member.slots) for member in allocated.members) == getattr(trial, "slots")  # noqa: B009


@settings(max_examples=100, deadline=None)
@given(ACTIONS)
def test_the_same_history_gives_the_same_state_and_decisions(actions: list[tuple[str, int, int]]) -> None:
    cluster = Cluster()
    for action in actions:
        cluster.act(*action)
    again = World(*cluster.events)
    assert again.state == cluster.state
    assert again.decide({AgentId("agent0"): 60.0}) == cluster.decide({AgentId("agent0"): 60.0})


@settings(max_examples=100, deadline=None)
@given(ACTIONS)
def test_every_trial_that_fits_runs_in_the_end(actions: list[tuple[str, int, int]]) -> None:
    cluster = Cluster()
    for action in actions:
        cluster.act(*action)
    cluster.act("resume", 0, 1)
    cluster.act("join", 9, 4)
    while cluster.state.allocations:
        allocated = next(a for a in cluster.past if a.allocation_id in cluster.state.allocations)
        cluster.fold(cluster.end(allocated, "exit"))
        cluster.settle()
        cluster.fold([closed(allocated.trial_id)])
        cluster.settle()
    assert not [trial for trial in cluster.state.trials.values() if trial.waiting]
