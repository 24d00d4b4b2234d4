"""The event tap: which events of the log somebody wants to see, and how they are shown."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client

from services.gateway import past
from services.gateway.views.events import EventItem
from shared import codec, log, narrate, subjects
from shared.codec import Undecodable
from shared.log import Follower, Message, Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which events: every condition that is given must hold."""

    experiment: str | None = None
    trial: str | None = None
    names: tuple[str, ...] = ()
    writer: str | None = None

    def filters(self) -> list[str]:
        """Return subjects that cover the selection, so that the broker leaves out most of the rest."""
        experiment = self.trial.rpartition("-")[0] if self.trial else self.experiment
        if experiment is None:
            return [subjects.event_filter(writer=self.writer, name=name) for name in self.names or (None,)]
        about = (("experiment", experiment), ("trial", self.trial), ("pool", None))
        return [subjects.event_filter(self.writer, *one, name) for one in about for name in self.names or (None,)]

    def covers(self, recorded: Recorded) -> bool:
        """Say whether an event that one of the filters let through belongs to the selection."""
        if self.trial is not None:
            return getattr(recorded.event, "trial_id", None) == self.trial
        return self.experiment in (None, recorded.envelope.correlation, getattr(recorded.event, "experiment_id", None))


def item(recorded: Recorded, subject: str) -> EventItem:
    """Return an event as the API shows it; one of an unknown type without its fields."""
    envelope, token = recorded.envelope, subjects.parse_event_subject(subject)
    event = envelope.event
    return EventItem(
        seq=recorded.seq,
        time=envelope.time,
        name=envelope.name,
        version=envelope.version,
        writer=envelope.writer,
        actor=envelope.actor,
        correlation=envelope.correlation,
        causes=list(envelope.causes),
        position=envelope.position,
        id=envelope.id,
        aggregate=token.aggregate,
        aggregate_id=token.aggregate_id,
        text=f"an event of the unknown type {envelope.name}" if event is None else narrate.sentence(event),
        event=msgspec.Raw(msgspec.json.encode({} if event is None else codec.fields(event))),
    )


def decode(message: Message) -> Recorded | None:
    """Return the event in a message, or None for what the deciders set aside as well."""
    try:
        return log.decode_recorded(message)
    except (Undecodable, ValueError):
        return None


def follower(client: Client, selection: Selection, after: int, since: datetime | None) -> Follower:
    """Return a reader of the log from just after a sequence, or from an instant if that is 0."""
    begin = None if since is None else past.in_range(since, datetime.now(UTC))
    return Follower(client, subjects.EVENTS, after=after, filters=selection.filters(), start_time=begin)


@contextlib.asynccontextmanager
async def reading(following: Follower) -> AsyncIterator[Follower]:
    """Close a follower when its reader is done."""
    try:
        yield following
    finally:
        await following.close()
