"""A whole cluster in one process: the real deciders, simulated agents and users, and faults, all from one seed.

Each turn one thing happens: a service folds a little, decides on what it has folded (perhaps stale), crashes, or is
rivalled by a second instance; an append or a report is held up, an acknowledgement lost; an agent hears of its
allocations, reports, ends a trial, dies, comes back under a new incarnation or speaks from the grave; a user pauses,
resumes or cancels; an administrator closes and opens agents, sets policies and limits. The oracle checks every event
as it is stored. In the end the faults stop, and the experiment must end.
"""

import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.scheduler import decide as scheduler_decide
from services.scheduler import memory as scheduler_memory
from services.scheduler.engine import Engine
from services.searcher import decide as searcher_decide
from services.searcher import state as searcher_state
from services.searcher.methods import tournament_of
from shared.config import parse_experiment
from shared.decisions import Decision
from shared.events import (
    AgentJoined,
    Event,
    ExperimentCanceled,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentSubmitted,
    GangMemberExited,
    GPUAllocated,
    GPUReleased,
    MetricReported,
    Outcome,
    PreemptionRequested,
    SearchLimitsSet,
    Slot,
    SlotKind,
    TrialCanceled,
    TrialExited,
    TrialPreempted,
)
from shared.ids import AgentId, ExperimentId, PoolId, TrialId
from shared.log import Recorded
from tests.simulation import administration
from tests.simulation.oracle import Oracle
from tests.simulation.sim_log import Reply, SimulatedLog, SimulatedService

EXPERIMENT = ExperimentId("sim")
POOL = PoolId("default")
MAX_TURNS = 20_000
FILE = """
entrypoint: python train.py
searcher: {{{method}, metric: loss, max_trials: {max_trials}, max_concurrent_trials: {max_concurrent}{extra}}}
hyperparameters: {{x: {{type: double, minval: 0, maxval: 1}}}}
resources: {{slots_per_trial: {slots}}}
max_restarts: {max_restarts}
reproducibility: {{experiment_seed: 1}}
"""


HALVING = "divisor: 2, max_length: 9"
TIME = "divisor: 2, max_time: 9, time_metric: batches"
METHODS = (
    "name: random",
    f"name: async_halving, num_rungs: 3, {TIME}",
    f"name: async_halving, num_rungs: 3, {HALVING}",
    f"name: async_halving, num_rungs: 2, {HALVING}, stop_once: true",
    f"name: adaptive_asha, mode: conservative, {TIME}",
    f"name: adaptive_asha, mode: conservative, {HALVING}",
)


ON_FAILURE = ("", "", ", on_failure: ignore", ", on_failure: retry")
ENDS = ("", "", "", ", goal: 0.01", ", patience: {trials: 4, min_delta: 0.01}")


@dataclass(slots=True)
class SimulatedAgent:
    """An agent process: what it runs, as far as it has read the log."""

    agent_id: AgentId
    num_slots: int
    pool_id: PoolId = POOL
    lives: int = 0
    is_alive: bool = False
    position: int = 0
    running: dict[str, GPUAllocated] = field(default_factory=dict)
    asked_to_stop: set[str] = field(default_factory=set)
    reported: set[str] = field(default_factory=set)  # members' ends that this agent has read as chief

    @property
    def incarnation(self) -> str:
        """The name of its present life."""
        return f"life{self.lives}"


class Cluster:
    """See the module. `run` returns when the experiment has ended; an AssertionError is a broken promise."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.num_faults = 0
        draw = self.random.randint
        sizes = self.random.choice([[2], [1, 1], [2, 2], [4, 2, 1], [2, 2, 2]])
        self.agents = [SimulatedAgent(AgentId(f"agent{number}"), size) for number, size in enumerate(sizes)]
        slots = self.random.choice([1, max(sizes), *([2 * sizes[0]] if sizes.count(sizes[0]) > 1 else [])])
        self.agents.append(SimulatedAgent(AgentId("spare"), slots, pool_id=administration.POOLS[1]))
        self.max_trials, max_concurrent = draw(1, 8), draw(1, 5)
        method = self.random.choice((METHODS[0], *METHODS))
        text = FILE.format(
            method=method,
            max_trials=self.max_trials,
            max_concurrent=max_concurrent,
            slots=slots,
            max_restarts=draw(0, 2),
            extra=self.random.choice(ON_FAILURE) + self.random.choice(ENDS),
        )
        experiment = parse_experiment(text)
        tournament = tournament_of(experiment)
        self.oracle = Oracle(
            max_trials=self.max_trials,
            max_concurrent=max_concurrent,
            num_brackets=len(tournament.brackets) if tournament else 1,
            parks=HALVING in method,
        )
        self.rules = administration.Rules()
        self.log = SimulatedLog(self._watch)
        self.config = experiment.model_dump(mode="json")
        self.silent_s: dict[AgentId, float] = {}
        self.schedulers = [self._scheduler("one"), self._scheduler("two")]
        self.searchers = [self._searcher("one"), self._searcher("two")]
        self.is_canceled = False

    def run(self, turns: int = 400) -> None:
        """Let things go wrong for some turns, then let the cluster come to its end."""
        self.log.say("gateway", self._submitted())
        for agent in self.agents:
            self._join(agent)
        for _ in range(turns):
            self._turn()
        self._recover()
        for _ in range(MAX_TURNS):
            if not self._calm_turn():
                break
        self._check_end()

    def _turn(self) -> None:
        action = self.random.choices(
            [
                self._serve,
                self._work,
                self._arrive,
                self._crash,
                self._kill,
                self._silence,
                self._revive,
                self._haunt,
                self._wish,
                self._administer,
            ],
            weights=[50, 40, 4, 2, 2, 1, 5, 2, 2, 2],
        )[0]
        action()

    def _serve(self) -> None:
        """A service folds some of the log and decides, up to date or not."""
        service = self.random.choice(self._services())
        service.fold(self.random.choice([None, None, 0, 1, 3]))
        service.act(
            batch_size=self.random.choice([None, None, None, 1, 2]),
            leader_silent_s=self.random.choice([0.0, 0.0, 0.0, 9.0]),
            reply=self._fate(),
        )
        if self.random.random() < 0.1:  # now and then
            service.save_snapshot()

    def _fate(self) -> Reply:
        fate = self.random.choices(list(Reply), weights=[90, 5, 5])[0]
        self.num_faults += fate is not Reply.HEARD
        return fate

    def _arrive(self) -> None:
        """What was held up on its way reaches the log, in any order."""
        if self.log.in_flight:
            self.log.in_flight.pop(self.random.randrange(len(self.log.in_flight)))()

    def _say(self, agent: "SimulatedAgent", event: Event) -> None:
        """An agent reports; its network may hold the report up."""
        writer = f"worker-{agent.agent_id}"
        if self.random.random() < 0.05:  # now and then
            self.num_faults += 1
            self.log.in_flight.append(lambda: self.log.say(writer, event))
        else:
            self.log.say(writer, event)

    def _crash(self) -> None:
        self.num_faults += 1
        self.random.choice(self._services()).crash()

    def _work(self) -> None:
        """An agent reads some of the log, or moves one of its trials on."""
        agent = self.random.choice(self.agents)
        if not agent.is_alive:
            return
        self._read(agent, self.random.choice([None, 1, 3]))
        if agent.running:
            self._advance(agent, self.random.choice(sorted(agent.running)), self.random.random())

    def _kill(self) -> None:
        """kill -9: the agent and its ranks are gone without a word."""
        agent = self.random.choice(self.agents)
        if agent.is_alive:
            self.num_faults += 1
            agent.is_alive = False
            agent.running.clear()
            self.silent_s[agent.agent_id] = 60.0

    def _silence(self) -> None:
        """A partition: the agent lives and works on, but is not heard for a while."""
        self.num_faults += 1
        self.silent_s[self.random.choice(self.agents).agent_id] = 60.0

    def _revive(self) -> None:
        agent = self.random.choice(self.agents)
        if not agent.is_alive:
            self._join(agent)
        self.silent_s.pop(agent.agent_id, None)

    def _haunt(self) -> None:
        """A report about an allocation of the past, from an agent that took part in it."""
        past = [recorded.event for recorded in self.log.events if isinstance(recorded.event, GPUAllocated)]
        if past:
            self.num_faults += 1
            allocated = self.random.choice(past)
            if allocated.allocation_id not in self.oracle.held:
                self.log.say(f"worker-{allocated.members[0].agent_id}", _exited(allocated, Outcome.COMPLETED))

    def _wish(self) -> None:
        """What a user may ask for."""
        wishes: list[type[ExperimentPaused | ExperimentResumed | ExperimentCanceled]]
        wishes = [ExperimentPaused, ExperimentResumed, ExperimentResumed]
        if self.random.random() < 0.02:
            wishes = [ExperimentCanceled]
        if self.is_canceled or self.oracle.endings:
            return
        if self.random.random() < 0.3:
            self._wish_of_the_search()
        else:
            wish = self.random.choice(wishes)
            self.is_canceled = wish is ExperimentCanceled
            self.log.say("gateway", wish(experiment_id=EXPERIMENT))

    def _administer(self) -> None:
        """An administrator closes and opens agents, sets policies and limits, moves the experiment."""
        if not self.oracle.endings:
            self.log.say("gateway", administration.wish(self.random, EXPERIMENT, self._sizes()))

    def _sizes(self) -> list[tuple[AgentId, int]]:
        return [(agent.agent_id, agent.num_slots) for agent in self.agents]

    def _watch(self, recorded: Recorded) -> None:
        self.oracle.watch(recorded)
        self.rules.watch(recorded)

    def _wish_of_the_search(self) -> None:
        """A user ends one trial, or changes how many there are."""
        open_trials = sorted(self.oracle.requested.keys() - self.oracle.closed.keys())
        draw = self.random.randint
        if open_trials and self.random.random() < 0.5:
            trial_id = TrialId(self.random.choice(open_trials))
            self.log.say("gateway", TrialCanceled(trial_id=trial_id, experiment_id=EXPERIMENT))
            return
        limits = {"max_trials": draw(1, 10), "max_concurrent_trials": draw(1, 5)}
        given = {name: self.random.choice((limit, limit, None)) for name, limit in limits.items()}
        self.log.say("gateway", SearchLimitsSet(experiment_id=EXPERIMENT, **given))

    def _recover(self) -> None:
        while self.log.in_flight:
            self._arrive()
        self.silent_s.clear()
        for event in administration.amends(EXPERIMENT, self._sizes()):
            self.log.say("gateway", event)
        if not self.is_canceled:
            self.log.say("gateway", ExperimentResumed(experiment_id=EXPERIMENT))
        for agent in self.agents:
            self._join(agent)  # also those whose silence had them declared lost

    def _calm_turn(self) -> bool:
        """Everybody reads everything and acts once; say whether anything is still going on."""
        wanted = len(self.log.in_flight)
        self._arrive()
        for service in self._services()[::2]:  # one instance of each
            service.fold()
            wanted += service.act(leader_silent_s=9.0)
        for agent in self.agents:
            self._read(agent, None)
            for allocation_id in sorted(agent.running):
                self._advance(agent, allocation_id, self.random.random())
                wanted += 1
        return wanted > 0

    def _check_end(self) -> None:
        assert set(self.oracle.requested) == set(self.oracle.closed), "a trial was never closed"
        assert not self.oracle.held, "slots were never given back"
        assert self.oracle.endings[EXPERIMENT] == 1, "the experiment never ended"
        if not self.is_canceled and not self.oracle.ended_early:
            assert len(self.oracle.closed) == self.oracle.least_trials, "the search has too few trials or too many"

    def _read(self, agent: SimulatedAgent, count: int | None) -> None:
        end = len(self.log.events) if count is None else agent.position + count
        for recorded in self.log.events[agent.position : end]:
            agent.position = recorded.seq
            match recorded.event:
                case GPUAllocated() as event if (agent.agent_id, agent.incarnation) in {
                    (member.agent_id, member.incarnation) for member in event.members
                }:
                    agent.running[event.allocation_id] = event
                case PreemptionRequested() as event:
                    agent.asked_to_stop.add(event.allocation_id)
                case GPUReleased() as event:
                    agent.running.pop(event.allocation_id, None)
                case GangMemberExited() as event:
                    agent.reported.add(f"{event.allocation_id}/{event.agent_id}")
                case _:
                    pass

    def _advance(self, agent: SimulatedAgent, allocation_id: str, luck: float) -> None:
        allocated = agent.running[allocation_id]
        is_chief = agent.agent_id == allocated.members[0].agent_id
        is_asked = allocation_id in agent.asked_to_stop
        if not is_chief:
            self._say(agent, _member_exited(allocated, agent.agent_id))
            del agent.running[allocation_id]
        elif not is_asked and luck < 0.4:
            self._say(agent, _measured(allocated, luck, step=round(30 * luck)))
        elif self._others_have_ended(agent, allocated):
            outcome = Outcome.FAILED if luck < 0.5 else Outcome.INTERRUPTED if luck < 0.53 else Outcome.COMPLETED
            self._say(agent, _preempted(allocated) if is_asked else _exited(allocated, outcome))
            del agent.running[allocation_id]

    def _others_have_ended(self, chief: SimulatedAgent, allocated: GPUAllocated) -> bool:
        alive = {(agent.agent_id, agent.incarnation) for agent in self.agents if agent.is_alive}
        return all(
            f"{allocated.allocation_id}/{member.agent_id}" in chief.reported
            or (member.agent_id, member.incarnation) not in alive
            for member in allocated.members[1:]
        )

    def _join(self, agent: SimulatedAgent) -> None:
        agent.lives += 1
        agent.is_alive, agent.position = True, 0
        agent.running, agent.asked_to_stop, agent.reported = {}, set(), set()
        slots = tuple(Slot(number=number, kind=SlotKind.CPU, name="cpu") for number in range(agent.num_slots))
        joined = AgentJoined(
            agent_id=agent.agent_id,
            incarnation=agent.incarnation,
            pool_id=agent.pool_id,
            address="127.0.0.1",
            slots=slots,
            succeeds=f"life{agent.lives - 1}",
        )
        self.log.say(f"worker-{agent.agent_id}", joined)

    def _services(self) -> "list[SimulatedService[Any]]":
        return [*self.schedulers, *self.searchers]

    def _submitted(self) -> Event:
        return ExperimentSubmitted(
            experiment_id=EXPERIMENT, name="sim", config=self.config, code_sha256="0" * 64, code_bytes=1
        )

    def _scheduler(self, instance: str) -> SimulatedService[scheduler_memory.State]:
        engine = Engine()

        def decide(state: scheduler_memory.State, now: datetime) -> list[Decision]:
            heard = {name for name, claimant in state.claimants.items() if claimant.agent_id not in self.silent_s}
            decided = engine.decide(state, self.silent_s, now=now, agent_timeout_s=10, contested=heard)
            whole = scheduler_decide.decide(state, self.silent_s, now=now, agent_timeout_s=10, contested=heard)
            assert decided == whole, "the engine overlooked something"
            return decided

        return SimulatedService(
            self.log,
            "scheduler",
            instance,
            scheduler_memory.State,
            engine.fold,
            decide,
            scheduler_memory.check_invariants,
        )

    def _searcher(self, instance: str) -> SimulatedService[searcher_state.State]:
        def decide(state: searcher_state.State, now: datetime) -> list[Decision]:
            return searcher_decide.decide(state, {})

        return SimulatedService(
            self.log,
            "searcher",
            instance,
            searcher_state.State,
            searcher_state.evolve,
            decide,
            searcher_state.check_invariants,
        )


def _exited(allocated: GPUAllocated, outcome: Outcome) -> TrialExited:
    return TrialExited(**_speaking(allocated), outcome=outcome, exit_code=None, error=None)  # type: ignore[arg-type]


def _preempted(allocated: GPUAllocated) -> TrialPreempted:
    return TrialPreempted(**_speaking(allocated), step=None)  # type: ignore[arg-type]


def _measured(allocated: GPUAllocated, loss: float, *, step: int) -> MetricReported:
    return MetricReported(**_speaking(allocated), step=step, metrics={"loss": loss})  # type: ignore[arg-type]


def _member_exited(allocated: GPUAllocated, agent_id: AgentId) -> GangMemberExited:
    speaking = _speaking(allocated) | {"agent_id": agent_id}
    return GangMemberExited(**speaking, outcome=Outcome.COMPLETED, exit_code=0, error=None)  # type: ignore[arg-type]


def _speaking(allocated: GPUAllocated) -> dict[str, object]:
    return {
        "trial_id": allocated.trial_id,
        "experiment_id": allocated.experiment_id,
        "allocation_id": allocated.allocation_id,
        "epoch": allocated.epoch,
        "agent_id": allocated.members[0].agent_id,
    }
