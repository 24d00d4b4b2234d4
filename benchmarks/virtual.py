"""A cluster in virtual time: the searcher's real state machine, and slots whose trials follow given learning curves.

An epoch takes one unit of time; deciding, starting and stopping take none. What the log would hold is folded as the
searcher folds it, and with `keep` it is kept, so that it can be replayed.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from services.searcher.decide import About, Answers, decide, question
from services.searcher.method import Answer, Question
from services.searcher.state import State, evolve
from shared.config import Experiment
from shared.decisions import Decision
from shared.events import (
    Event,
    ExperimentSubmitted,
    GangMember,
    GPUAllocated,
    GPUReleased,
    MetricReported,
    Outcome,
    ReleaseReason,
    TrialClosed,
    TrialExited,
    TrialExtended,
    TrialRequested,
    TrialStopped,
)
from shared.ids import AgentId, ExperimentId, PoolId, TrialId, allocation_id
from shared.log import Recorded, envelope_of

EXPERIMENT = ExperimentId("virtual")
POOL = PoolId("default")
AGENT = AgentId("agent")
BEGIN = datetime(2030, 1, 1, tzinfo=UTC)

#: The hyperparameters of a trial -> its metric after an epoch, counted from 1.
Curves = Callable[[dict[str, Any]], Callable[[int], float]]


class Training(msgspec.Struct, gc=False):
    """An open trial: its curve, how far it has trained, and how far it is to."""

    trial_id: TrialId
    curve: Callable[[int], float]
    target: int
    allocations: int = 0
    epochs: int = 0
    is_running: bool = False


@dataclass(slots=True)
class VirtualCluster:
    """Runs an experiment on `num_slots` slots, one for a trial, each of at most `num_epochs` epochs.

    `history` tells the best metric so far (as a cost: less is better) after each epoch trained in all.
    """

    experiment: Experiment
    num_slots: int
    num_epochs: int
    curves: Curves
    compute: Callable[[Question], Answer | str] | None = None
    keep: bool = False
    state: State = field(default_factory=State)
    log: list[Recorded] = field(default_factory=list)
    num_events: int = 0
    now: float = 0.0
    history: list[float] = field(default_factory=list)
    request_s: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))  # decisions that requested trials
    request_cpu_s: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))  # the same, of the processor
    _trials: dict[TrialId, Training] = field(default_factory=dict)
    _queue: deque[Training] = field(default_factory=deque)
    _steps: list[tuple[float, int, Training]] = field(default_factory=list)
    _num_running: int = 0

    def run(self, until: Callable[["VirtualCluster"], bool] = lambda _: False) -> None:
        """Run until the experiment has ended, or as long as asked; it can be run on."""
        if not self.num_events:
            config = self.experiment.model_dump(mode="json")
            self.ask(
                ExperimentSubmitted(
                    experiment_id=EXPERIMENT, name="virtual", config=config, code_sha256="0" * 64, code_bytes=1
                )
            )
        while self._steps and not until(self):
            self.now, _, training = heapq.heappop(self._steps)
            if training.is_running:
                self._train(training)
                self._settle()

    def ask(self, event: Event) -> None:
        """Have a user's wish come true."""
        self._say(event, "gateway")
        self._settle()

    def _train(self, training: Training) -> None:
        """Train one epoch and report; exit at the target."""
        training.epochs += 1
        metric = training.curve(training.epochs)
        cost = metric if self.experiment.searcher.smaller_is_better else -metric
        self.history.append(min(cost, self.history[-1]) if self.history else cost)
        metrics = {self.experiment.searcher.metric: metric, "epochs": float(training.epochs)}
        self._say(MetricReported(**_speaking(training), step=training.epochs, metrics=metrics), "worker-agent")
        if training.epochs < training.target:
            heapq.heappush(self._steps, (self.now + 1, self.num_events, training))
            return
        exited = TrialExited(**_speaking(training), outcome=Outcome.COMPLETED, exit_code=0, error=None)
        self._say(exited, "worker-agent")
        self._release(training, ReleaseReason.EXITED)

    def _settle(self) -> None:
        """Decide until nothing is needed, giving free slots to those that wait."""
        outcomes: dict[About, Answer | str] = {}
        answers = {EXPERIMENT: outcomes}
        while True:
            while decisions := self._decided(answers):
                self._append(decisions)
            self.state.due.clear()
            search = self.state.searches.get(EXPERIMENT)
            asked = question(search, answers) if search else None
            if not asked:
                break
            assert self.compute is not None, "the method asks, and nobody answers"
            outcomes[asked[0]] = self.compute(asked[1])
            self.state.due[EXPERIMENT] = None
        while self._queue and self._num_running < self.num_slots:
            self._allocate(self._queue.popleft())

    def _decided(self, answers: Answers) -> list[Decision]:
        started_at, worked_s = time.perf_counter(), time.thread_time()
        decisions = decide(self.state, answers)
        took_s, worked_s = time.perf_counter() - started_at, time.thread_time() - worked_s
        if any(isinstance(decision.event, TrialRequested) for decision in decisions):
            self.request_s.append(took_s)
            self.request_cpu_s.append(worked_s)
        return decisions

    def _append(self, decisions: list[Decision]) -> None:
        position = self.num_events
        for decision in decisions:
            self._say(decision.event, "searcher", position, decision.causes)
            self._heed(decision.event)

    def _heed(self, event: Event) -> None:
        match event:
            case TrialRequested():
                training = Training(event.trial_id, self.curves(event.hyperparameters), event.target or self.num_epochs)
                self._trials[event.trial_id] = training
                self._queue.append(training)
            case TrialExtended():
                self._trials[event.trial_id].target = event.target
                self._queue.append(self._trials[event.trial_id])
            case TrialStopped() if self._trials[event.trial_id].is_running:
                self._release(self._trials[event.trial_id], ReleaseReason.PREEMPTED)
            case TrialClosed():
                del self._trials[event.trial_id]
            case _:
                pass

    def _allocate(self, training: Training) -> None:
        if training.trial_id not in self._trials:
            return
        training.allocations += 1
        training.is_running = True
        self._num_running += 1
        allocated = GPUAllocated(
            pool_id=POOL,
            allocation_id=allocation_id(training.trial_id, training.allocations),
            trial_id=training.trial_id,
            experiment_id=EXPERIMENT,
            epoch=training.allocations,
            members=(GangMember(agent_id=AGENT, incarnation="one", slots=(0,)),),
        )
        self._say(allocated, "scheduler")
        heapq.heappush(self._steps, (self.now + 1, self.num_events, training))

    def _release(self, training: Training, reason: ReleaseReason) -> None:
        training.is_running = False
        self._num_running -= 1
        released = GPUReleased(
            pool_id=POOL,
            allocation_id=allocation_id(training.trial_id, training.allocations),
            trial_id=training.trial_id,
            epoch=training.allocations,
            reason=reason,
        )
        self._say(released, "scheduler")

    def _say(self, event: Event, writer: str, position: int | None = None, causes: tuple[int, ...] = ()) -> None:
        self.num_events += 1
        now = BEGIN + timedelta(seconds=self.now)
        envelope = envelope_of(
            event, writer=writer, actor=writer, correlation=EXPERIMENT, causes=causes, position=position, time=now
        )
        recorded = Recorded(seq=self.num_events, envelope=envelope)
        evolve(self.state, recorded)
        if self.keep:
            self.log.append(recorded)


def _speaking(training: Training) -> dict[str, Any]:
    return {
        "trial_id": training.trial_id,
        "experiment_id": EXPERIMENT,
        "allocation_id": allocation_id(training.trial_id, training.allocations),
        "epoch": training.allocations,
        "agent_id": AGENT,
    }
