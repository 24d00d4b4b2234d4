"""The shell around every decider: fold to the head, decide what is missing, append, fold what came of it.

Level-triggered: a decision is taken from state, never from one message, so restarts, redeliveries and second
instances cannot double an effect. What was decided says from which position of the log and at which time, so that it
can be decided again. After an append the loop folds past its own events before it decides again. Of
several instances one leads; the others fold along and take over (shared.leadership).
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared import instruments, log, runtime, subjects, tracing
from shared.codec import Envelope, Undecodable
from shared.errors import Conflict, Unavailable
from shared.events import Event, ExperimentCompleted, ExperimentFailed, ExperimentStopped, LeaderElected
from shared.ids import new_incarnation
from shared.leadership import Leadership
from shared.log import Follower, Message, Recorded
from shared.snapshots import Snapshots
from shared.tracing import Kind

StateT = TypeVar("StateT")

RETRY_S = 0.2
MAX_TRACES = 10_000  # of experiments that are not over
ENDS = (ExperimentCompleted, ExperimentFailed, ExperimentStopped)
SNAPSHOT_EVENTS = 10_000  # folded since the last snapshot; folding as many again takes a fraction of a second

_FOLDED = instruments.FOLDED.labels(subjects.EVENTS)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An event that is needed now, with the sequences of the events that made it needed."""

    event: Event
    causes: tuple[int, ...]
    correlation: str


class Fold:
    """Folds messages of EVENTS into a state, setting aside what cannot be decoded."""

    def __init__(self, evolve: Callable[[Recorded], None]) -> None:
        self._evolve = evolve
        self.position = 0
        self.num_unknown = 0
        self.num_undecodable = 0

    def __call__(self, messages: list[Message]) -> None:
        """Fold the messages in order."""
        for message in messages:
            try:
                recorded = log.decode_recorded(message)
            except (Undecodable, ValueError) as error:
                self.num_undecodable += 1
                _log.error(
                    "event set aside", extra={"seq": message.seq, "subject": message.subject, "error": str(error)}
                )
            else:
                if recorded.event is None:
                    self.num_unknown += 1
                else:
                    self._evolve(recorded)
            self.position = message.seq
        _FOLDED.inc(len(messages))


class Memory(msgspec.Struct, Generic[StateT], kw_only=True):
    """What a loop has folded: all that a snapshot must hold."""

    state: StateT
    leader: LeaderElected | None = None
    last: int = 0  # the sequence of our service's last event
    traces: dict[str, str] = {}  # by correlation: the trace in which it was asked for


class DecisionLoop(Generic[StateT]):
    """Runs one decider as `writer`, while its instance leads.

    `decide` is told the time, and called only with everything folded.
    """

    def __init__(
        self,
        client: Client,
        writer: str,
        state: StateT,
        evolve: Callable[[StateT, Recorded], None],
        decide: Callable[[datetime], list[Decision]],
        *,
        instance: str,
        snapshots: Snapshots[Memory[StateT]],
        more_facts: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._client = client
        self._writer = writer
        self._instance = instance
        self._memory = Memory(state=state)
        self._evolve = evolve
        self._decide = decide
        self._snapshots = snapshots
        self._more_facts = more_facts
        self._snapshot_position = 0
        self._leadership = Leadership(service=writer, instance=instance, incarnation=new_incarnation())
        self._leader_heard_at = time.monotonic()
        self._settled = 0  # our newest append: no decision before it is folded
        self.fold = Fold(self._fold_one)
        self.follower = Follower(client, subjects.EVENTS)

    @property
    def state(self) -> StateT:
        """What the log has come to, as far as it was folded."""
        return self._memory.state

    def facts(self) -> dict[str, int | bool | str]:
        """Return what a heartbeat tells about this loop."""
        return {
            "position": self.fold.position,
            "num_undecodable": self.fold.num_undecodable,
            "num_unknown": self.fold.num_unknown,
            "leads": self._leadership.leads,
            "incarnation": self._leadership.incarnation,
            **self._more_facts(),
        }

    def observe(self) -> None:
        """Set the gauges of this loop."""
        instruments.LEADS.set(self._leadership.leads)
        instruments.SET_ASIDE.set(self.fold.num_undecodable)

    async def run(self) -> None:
        """Follow, and decide while this instance leads, for ever."""
        await self._client.subscribe(subjects.health_subject(self._writer, "*"), cb=self._hear)
        health = subjects.health_subject(self._writer, self._instance)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(runtime.beat(self._client, health, self.facts), name="heartbeat")
            tasks.create_task(self._follow(), name="decide")

    async def _follow(self) -> None:
        stream = await log.stream_identity(self._client, subjects.EVENTS)
        self._restore(stream)
        try:
            await self._fold_and_decide(stream)
        except asyncio.CancelledError:  # not after a failure: it may have left half of an event folded
            self._save(stream, behind=False)
            raise

    async def _fold_and_decide(self, stream: str) -> None:
        while True:
            messages = await self.follower.next()
            self._note_our_last(messages)
            self.fold(messages)
            if self.fold.position >= self._snapshot_position + SNAPSHOT_EVENTS:
                self._save(stream, behind=True)
            if not self.follower.at_head or self.fold.position < self._settled:
                continue
            now = datetime.now(UTC)
            if self._leadership.leads:
                with instruments.timed(instruments.DECISION_SECONDS):
                    decisions = self._decide(now)
                await self._append(decisions, now)
            elif election := self._leadership.candidacy(time.monotonic() - self._leader_heard_at):
                await self._append([Decision(event=election, causes=(), correlation=self._writer)], now)

    def _note_our_last(self, messages: list[Message]) -> None:
        """Go by the subject, as the broker does: what lies there counts even if it can be read by nobody."""
        prefix = subjects.writer_subject(self._writer).removesuffix(">")
        for message in messages:
            if message.subject.startswith(prefix):
                self._memory.last = message.seq

    def _restore(self, stream: str) -> None:
        if found := self._snapshots.load(stream):
            self.fold.position, self._memory = found
            self._snapshot_position = self.fold.position
            self._leadership.leader = self._memory.leader
            self.follower = Follower(self._client, subjects.EVENTS, after=self.fold.position)

    def _save(self, stream: str, *, behind: bool) -> None:
        if self.fold.position <= self._snapshot_position:
            return
        self._memory.leader = self._leadership.leader
        if not behind:
            self._snapshots.save(stream, self.fold.position, self._memory)
        elif not self._snapshots.save_behind(stream, self.fold.position, self._memory):
            return  # the disk is slow: later
        self._snapshot_position = self.fold.position

    async def _hear(self, message: Msg) -> None:
        leader = self._leadership.leader
        try:
            incarnation = json.loads(message.data)["incarnation"]
        except (ValueError, KeyError, TypeError):
            _log.warning("heartbeat not understood", extra={"subject": message.subject})
            return
        if leader is not None and incarnation == leader.incarnation:
            self._leader_heard_at = time.monotonic()

    def _fold_one(self, recorded: Recorded) -> None:
        if isinstance(recorded.event, LeaderElected):
            self._leadership.evolve(recorded)
            self._leader_heard_at = time.monotonic()
        envelope, traces = recorded.envelope, self._memory.traces
        if envelope.traceparent is not None:
            traces.setdefault(envelope.correlation, envelope.traceparent)
        if isinstance(recorded.event, ENDS):
            traces.pop(envelope.correlation, None)
        elif len(traces) > MAX_TRACES:
            del traces[next(iter(traces))]
        self._evolve(self._memory.state, recorded)

    async def _append(self, decisions: list[Decision], now: datetime) -> None:
        """Append in atomic batches; stop at the first that is refused: a later look decides again."""
        scope, position = subjects.writer_subject(self._writer), self.fold.position
        for start in range(0, len(decisions), log.MAX_BATCH):
            batch = decisions[start : start + log.MAX_BATCH]
            envelopes = [self._envelope(decision, position, now) for decision in batch]
            try:
                seq = await log.append(self._client, envelopes, expected=self._memory.last, scope=scope)
            except Conflict:
                _log.info("append refused, deciding again")
                return  # what we have not seen yet is on its way
            except Unavailable as error:
                _log.warning("append failed, trying again", extra={"error": str(error)})
                await asyncio.sleep(RETRY_S)
                self.follower.poke()
                return
            self._memory.last = self._settled = seq

    def _envelope(self, decision: Decision, position: int, now: datetime) -> Envelope:
        parent = self._memory.traces.get(decision.correlation)
        with tracing.span(type(decision.event).__name__, parent, Kind.PRODUCER) if parent else nullcontext():
            return log.envelope_of(
                decision.event,
                writer=self._writer,
                actor=self._writer,
                correlation=decision.correlation,
                causes=decision.causes,
                position=position,
                time=now,
            )
