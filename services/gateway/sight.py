"""Which events somebody may see: with a role everywhere all, otherwise those about the experiments of their workspaces.

What is about no experiment (users, tokens, limits, agents) belongs to no workspace: it is for roles held everywhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nats.aio.client import Client

from services.gateway import tap
from services.gateway.access.access import principal
from services.gateway.api import Parts
from services.gateway.problems import not_found
from shared import log, subjects
from shared.events import Event, ExperimentMoved, ExperimentSubmitted, Role
from shared.log import Message, Recorded

_WORKSPACES = "SELECT id, workspace FROM experiments WHERE id = ANY($1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """The eyes of who asks: `workspaces` are those where they may look, None for all."""

    parts: Parts
    workspaces: frozenset[str] | None

    async def require(self, experiment_id: str) -> None:
        """Raise Rejected (404) unless this experiment may be seen."""
        if experiment_id not in await self.experiments({experiment_id}):
            raise not_found("experiment", repr(experiment_id[:100]))

    async def experiments(self, asked: set[str]) -> set[str]:
        """Return those of some experiments that may be seen."""
        if self.workspaces is None or not asked:
            return asked
        known = await workspaces_of(self.parts, asked)
        return {one for one in asked if known.get(one) in self.workspaces}

    async def among(self, events: Iterable[tuple[Recorded, str]]) -> set[int]:
        """Return the sequences of those events, each with its subject, that may be seen."""
        told = [(recorded, subjects.parse_event_subject(subject)) for recorded, subject in events]
        about = {one.seq: experiment_of(one, subject.aggregate, subject.aggregate_id) for one, subject in told}
        if self.workspaces is None:
            return set(about)
        seen = await self.experiments({one for one in about.values() if one is not None})
        return {seq for seq, experiment_id in about.items() if experiment_id in seen}

    async def messages(self, found: Sequence[Message]) -> set[int]:
        """Return the sequences of those messages that hold an event that may be seen."""
        if self.workspaces is None:
            return {message.seq for message in found}
        told = ((tap.decode(message), message.subject) for message in found)
        return await self.among((recorded, subject) for recorded, subject in told if recorded is not None)


def of(parts: Parts) -> Sight:
    """Return the eyes of who asks."""
    return Sight(parts=parts, workspaces=principal.get().workspaces(Role.VIEWER))


def experiment_of(recorded: Recorded, aggregate: str, aggregate_id: str) -> str | None:
    """Return the experiment that an event is about, None if it is about none."""
    if experiment_id := getattr(recorded.event, "experiment_id", None):
        return str(experiment_id)
    if trial_id := getattr(recorded.event, "trial_id", None):
        return str(trial_id).rpartition("-")[0]
    match aggregate:
        case "experiment":
            return aggregate_id
        case "trial":
            return aggregate_id.rpartition("-")[0]
    return None


async def workspaces_of(parts: Parts, experiment_ids: set[str]) -> dict[str, str]:
    """Return the workspace of each of some experiments: from the read model, those too new for it from the log."""
    rows = await parts.database.fetch(_WORKSPACES, list(experiment_ids))
    known: dict[str, str] = {row["id"]: row["workspace"] for row in rows}
    for experiment_id in experiment_ids - known.keys():
        if workspace := await _on_log(parts.client, experiment_id):
            known[experiment_id] = workspace
    return known


async def _on_log(client: Client, experiment_id: str) -> str | None:
    moved = await _last(client, experiment_id, ExperimentMoved)
    if isinstance(moved, ExperimentMoved):
        return moved.workspace
    submitted = await _last(client, experiment_id, ExperimentSubmitted)
    return submitted.config.get("workspace") if isinstance(submitted, ExperimentSubmitted) else None


async def _last(client: Client, experiment_id: str, kind: type[Event]) -> Event | None:
    subject = subjects.event_filter(subjects.GATEWAY, "experiment", experiment_id, kind.__name__)
    message = await log.last_of(client, subject)
    recorded = None if message is None else tap.decode(message)
    return None if recorded is None else recorded.event
