"""`tm whatif`: the log's workload under another policy or on more agents, beside what really happened.

A process of its own. Standard input holds the log as `/api/v1/events/raw` or `tm export` gives it: a JSON document a
line with `seq`, `subject` and `body`. See docs/whatif.md. Exit code 1: not every recorded decision is reproduced.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from services.scheduler.charts import chart
from services.scheduler.fidelity import Fidelity, Replay
from services.scheduler.measure import Figures, Meter, table
from services.scheduler.memory import State
from services.scheduler.pool import pool_policy
from services.scheduler.state import evolve
from services.scheduler.virtual import Override, Virtual
from services.scheduler.workload import workload_of
from shared import log
from shared.codec import Undecodable
from shared.errors import Rejected
from shared.events import AgentJoined, Slot, SlotKind
from shared.ids import AgentId, PoolId
from shared.log import Message, Recorded

MAX_AGENTS = 10_000
_NOT_STORED = 0  # when an event was stored plays no part


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the log; an export's last line has none."""

    seq: int = 0
    subject: str = ""
    body: bytes = b""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: another policy (as TM_POOL_POLICY names it), more agents, of which pool, since and until when."""

    policy: str | None = None
    agents: int = 0
    slots_per_agent: int | None = None
    pool: str | None = None
    since: int | datetime | None = None
    until: int | datetime | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, what the model makes of the same policy, what would have happened; and how faithful decisions are.

    The second beside the first says how far the model (a trial's work is known, its start-up and stops are medians) can
    be trusted; the third is to be read beside the second.
    """

    question: Question
    fidelity: Fidelity
    since_seq: int
    until_seq: int
    actual: Figures
    replayed: Figures
    whatif: Figures


def read(lines: Iterable[bytes]) -> list[Recorded]:
    """Return the log's events, without what nobody can decode."""
    decoder, found = msgspec.json.Decoder(_Line), list[Recorded]()
    for line in filter(None, (line.strip() for line in lines)):
        message = decoder.decode(line)
        try:
            recorded = log.decode_recorded(
                Message(seq=message.seq, subject=message.subject, body=message.body, stored_ns=_NOT_STORED)
            )
        except (Undecodable, ValueError):
            continue
        if recorded.event is not None:
            found.append(recorded)
    return found


def answer(events: list[Recorded], question: Question) -> tuple[Answer, dict[str, list[float]]]:
    """Return the answer, and the waits of each run for a chart. Raises ValueError when the question makes no sense."""
    override = None
    if question.policy is not None:
        pool_id = None if question.pool is None else PoolId(question.pool)
        override = Override(policy=pool_policy(question.policy), pool_id=pool_id)
    replay = Replay()
    for recorded in events:
        replay.read(recorded)
    fidelity = replay.finish()
    events = [recorded for recorded in events if not _is_after(recorded, question.until)]
    num_before = sum(not _is_from(recorded, question.since) for recorded in events)
    stretch = _Stretch(events, num_before)
    actual = stretch.actual()
    replayed = stretch.imagined(None, [])
    whatif = stretch.imagined(override, stretch.more_agents(question))
    told = Answer(
        question=question,
        fidelity=fidelity,
        since_seq=events[num_before].seq if num_before < len(events) else 0,
        until_seq=events[-1].seq if events else 0,
        actual=actual.figures(),
        replayed=replayed.figures(),
        whatif=whatif.figures(),
    )
    return told, {"actual": actual.waits_s(), "replayed": replayed.waits_s(), "what if": whatif.waits_s()}


def _is_from(recorded: Recorded, since: int | datetime | None) -> bool:
    match since:
        case None:
            return True
        case int():
            return recorded.seq >= since
        case datetime():
            return recorded.envelope.time >= since


def _is_after(recorded: Recorded, until: int | datetime | None) -> bool:
    match until:
        case None:
            return False
        case int():
            return recorded.seq > until
        case datetime():
            return recorded.envelope.time > until


class _Stretch:
    """A part of the log: what came before it is the state that it begins with."""

    def __init__(self, events: list[Recorded], num_before: int) -> None:
        if num_before >= len(events):
            raise ValueError("the log holds nothing in that stretch of time")
        self._events, self._num_before = events, num_before
        self._start = events[num_before].envelope.time
        self._workload, self._before = workload_of(events), workload_of(events[:num_before])

    def _meter(self) -> Meter:
        meter = Meter()
        for recorded in self._events[: self._num_before]:
            self._see(meter, recorded)
        meter.begin()
        return meter

    def _see(self, meter: Meter, recorded: Recorded) -> None:
        assert recorded.event is not None
        meter.see(recorded.event, (recorded.envelope.time - self._start).total_seconds())

    def actual(self) -> Meter:
        """Return what happened."""
        meter = self._meter()
        for recorded in self._events[self._num_before :]:
            self._see(meter, recorded)
        return meter

    def imagined(self, override: Override | None, more: list[AgentJoined]) -> Meter:
        """Return what would have happened."""
        state, meter = State(), self._meter()
        for recorded in self._events[: self._num_before]:
            evolve(state, recorded)
        virtual = Virtual(
            workload=self._workload,
            before=self._before,
            state=state,
            meter=meter,
            start=self._start,
            position=self._events[self._num_before - 1].seq if self._num_before else 0,
            override=override,
        )
        virtual.run(more)
        return meter

    def more_agents(self, question: Question) -> list[AgentJoined]:
        """Return the agents that are added, like most that the pool had. Raises ValueError."""
        joined = [recorded.event for recorded in self._events if isinstance(recorded.event, AgentJoined)]
        here = [event for event in joined if question.pool in (None, event.pool_id) and event.slots]
        kinds = Counter((event.pool_id, len(event.slots), event.slots[0].kind) for event in here)
        if question.agents and not kinds and (question.slots_per_agent is None or question.pool is None):
            raise ValueError("no agent with slots ever joined there: say of which pool, and with --slots-per-agent")
        usual = kinds.most_common(1)[0][0] if kinds else (PoolId(question.pool or "default"), 0, SlotKind.CUDA)
        pool_id, size, kind = usual
        slots = tuple(
            Slot(number=number, kind=kind, name="what if") for number in range(question.slots_per_agent or size)
        )
        return [
            AgentJoined(
                agent_id=AgentId(f"whatif-{number}"), incarnation="whatif", pool_id=pool_id, address="", slots=slots
            )
            for number in range(1, question.agents + 1)
        ]


def main() -> None:
    """Read the log, answer, print; exit 1 when a decision is not reproduced, 2 when the question makes no sense."""
    options = _options()
    question = Question(
        policy=options.policy,
        agents=options.agents,
        slots_per_agent=options.slots_per_agent,
        pool=options.pool,
        since=_moment(options.since),
        until=_moment(options.until),
    )
    try:
        if options.chart is not None:
            chart.writer_of(options.chart)
        told, waits_s = answer(read(sys.stdin.buffer), question)
    except (ValueError, Rejected) as error:
        sys.stderr.write(f"Error: {error}\n")
        raise SystemExit(2) from error
    if options.chart is not None:
        stretches = {"actual": told.actual, "replayed": told.replayed, "what if": told.whatif}
        chart.write(options.chart, stretches, waits_s, _title(question))
    sys.stdout.write((msgspec.json.encode(told).decode() if options.json else text(told)) + "\n")
    raise SystemExit(told.fidelity.num_reproduced < told.fidelity.num_decisions)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tm whatif")
    parser.add_argument("--policy")
    parser.add_argument("--agents", type=int, default=0, choices=range(MAX_AGENTS + 1), metavar="N")
    parser.add_argument("--slots-per-agent", type=int)
    parser.add_argument("--pool")
    parser.add_argument("--since")
    parser.add_argument("--until")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--chart", type=Path)
    return parser.parse_args()


def _moment(text_: str | None) -> int | datetime | None:
    if text_ is None:
        return None
    return int(text_) if text_.isdecimal() else datetime.fromisoformat(text_)


def text(told: Answer) -> str:
    """Return the answer for people."""
    fidelity = told.fidelity
    counted = f"{fidelity.num_reproduced:,} of {fidelity.num_decisions:,} recorded ones are reproduced bit for bit"
    lines = [f"decisions: {counted} ({fidelity.num_events:,} events)"]
    if fidelity.num_unplaced:
        lines.append(f"{fidelity.num_unplaced:,} do not say from what they were decided; an older program wrote them")
    for difference in fidelity.differences:
        lines.append(f"event {difference.seq}, decided from event {difference.position}:")
        lines += [f"  recorded: {difference.recorded}", f"  decided:  {difference.decided}"]
    lines.append(f"events {told.since_seq:,} to {told.until_seq:,}; {_title(told.question)}")
    lines += ["", *table({"actual": told.actual, "replayed": told.replayed, "what if": told.whatif})]
    return "\n".join(lines)


def _title(question: Question) -> str:
    words = [f"under {question.policy}"] if question.policy else []
    if question.agents:
        size = f" of {question.slots_per_agent} slots" if question.slots_per_agent else ""
        words.append(f"with {question.agents} more agents{size}")
    where = f" in pool {question.pool}" if question.pool else ""
    return f"what if: {', '.join(words) or 'nothing were different'}{where}"


if __name__ == "__main__":
    main()
