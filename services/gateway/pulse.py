"""Heartbeats: which processes are alive and what they say of themselves."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.gateway.views.status import ServiceStatus
from shared import runtime, subjects

ALIVE_S = 3.5 * runtime.HEARTBEAT_S
FORGET_S = 3600.0
MAX_PROCESSES = 10_000
DECIDERS = (subjects.SEARCHER, subjects.SCHEDULER, subjects.TRACKER)  # nothing goes on without them


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The newest heartbeat of a process."""

    heard_at: datetime
    monotonic_s: float
    facts: dict[str, msgspec.Raw]


class Pulse:
    """The newest heartbeat of every process."""

    def __init__(self) -> None:
        self._beats: dict[tuple[str, str], Beat] = {}

    async def listen(self, client: Client) -> None:
        """Hear heartbeats from now on."""
        await client.subscribe(subjects.ALL_HEALTH, cb=self._hear)

    def is_alive(self, service: str) -> bool:
        """Say whether an instance of a service was heard just now."""
        now = time.monotonic()
        return any(now - b.monotonic_s < ALIVE_S for (name, _), b in self._beats.items() if name == service)

    def num_set_aside(self) -> int:
        """How many messages were set aside, by the process that set most aside (all read the same log)."""
        names = ("num_set_aside", "num_undecodable")  # of the tracker, of those who decide
        counts = [_integer(beat.facts.get(name)) or 0 for beat in self._beats.values() for name in names]
        return max(counts, default=0)

    def services(self, last_seq: int) -> list[ServiceStatus]:
        """Return what is known of each process, by name; the deciders also when they were never heard."""
        now = time.monotonic()
        unheard = [(name, "main") for name in DECIDERS if not any(name == heard for heard, _ in self._beats)]
        return [self._status(*key, now, last_seq) for key in sorted([*self._beats, *unheard])]

    def _status(self, name: str, instance: str, now: float, last_seq: int) -> ServiceStatus:
        beat = self._beats.get((name, instance))
        position = _integer(beat.facts.get("position")) if beat else None
        return ServiceStatus(
            name=name,
            instance=instance,
            alive=beat is not None and now - beat.monotonic_s < ALIVE_S,
            last_heard=beat.heard_at if beat else None,
            position=position,
            lag=None if position is None else max(0, last_seq - position),
            facts=beat.facts if beat else {},
        )

    async def _hear(self, message: Msg) -> None:
        tokens = message.subject.split(".")
        try:
            facts = msgspec.json.decode(message.data, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # not a heartbeat: its sender stays silent for us, which /status shows
        now = time.monotonic()
        if len(self._beats) >= MAX_PROCESSES:
            self._beats = {key: beat for key, beat in self._beats.items() if now - beat.monotonic_s < FORGET_S}
        if len(tokens) == 3 and len(self._beats) < MAX_PROCESSES:
            copied = {key: value.copy() for key, value in facts.items()}
            self._beats[tokens[1], tokens[2]] = Beat(heard_at=datetime.now(UTC), monotonic_s=now, facts=copied)


def _integer(raw: msgspec.Raw | None) -> int | None:
    try:
        return None if raw is None else msgspec.json.decode(raw, type=int)
    except msgspec.DecodeError:
        return None
