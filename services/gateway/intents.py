"""Appends what people ask for."""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from nats.aio.client import Client

from services.gateway import decide, filing
from services.gateway.access.access import Access, principal
from services.gateway.access.people import People
from services.gateway.decide import STATE_INTENTS, Intent
from services.gateway.filing import FILINGS, FilingEvent
from services.gateway.problems import Stale, not_found
from services.gateway.views.checkpoints import Checkpoint
from services.gateway.views.experiments import ExperimentState
from shared import archive, ids, log, subjects
from shared.errors import Conflict
from shared.events import (
    AgentAdmitted,
    AgentInvited,
    CheckpointDeletionRequested,
    Event,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentSubmitted,
    JobEvent,
    JobMoved,
    ProjectCreated,
    ProjectEvent,
    SearchLimitsSet,
    TrialCanceled,
    WorkspaceCreated,
    WorkspaceEvent,
)
from shared.events.user import UserEvent
from shared.ids import AgentId, CheckpointId, ExperimentId, TrialId, UserId
from shared.log import Recorded
from shared.objectstore import ObjectStore, code_key

MAX_SEED = 2**31
EXPERIMENT = "experiment"
TRIES = 3

UserEventT = TypeVar("UserEventT", bound=UserEvent)

#: The id of the experiment that a request makes, drawn with its idempotency key: made again, it is the same one.
reserved_id: ContextVar[str | None] = ContextVar("reserved_id", default=None)

_log = logging.getLogger(__name__)


async def submit(
    client: Client, store: ObjectStore, config: dict[str, Any], code: bytes
) -> tuple[int, ExperimentSubmitted]:
    """Store the code, append the experiment, return its sequence and event."""
    sha256 = await asyncio.to_thread(lambda: hashlib.sha256(code).hexdigest())
    event = _submitted(config, sha256, len(code))
    log.check_size(event)
    if not await store.exists(code_key(sha256)):
        await store.put(code_key(sha256), code)
    return await _append_submission(client, event)


async def fork(client: Client, config: dict[str, Any], origin: ExperimentSubmitted) -> tuple[int, ExperimentSubmitted]:
    """Append an experiment with the code of another; return its sequence and event."""
    event = _submitted(config, origin.code_sha256, origin.code_bytes, origin.experiment_id)
    return await _append_submission(client, event)


async def _append_submission(client: Client, event: ExperimentSubmitted) -> tuple[int, ExperimentSubmitted]:
    """Append a submission; one that was made before under the same key is found again."""
    try:
        return await _append(client, event, expected=0), event
    except Conflict:
        if reserved_id.get() is None:
            raise
    filter_ = subjects.event_filter(subjects.GATEWAY, EXPERIMENT, event.experiment_id, ExperimentSubmitted.__name__)
    before = await _last(client, filter_)
    assert before is not None and isinstance(before.event, ExperimentSubmitted), "the broker refused a second one"
    return before.seq, before.event


async def submission(client: Client, experiment_id: ExperimentId) -> ExperimentSubmitted:
    """Return how an experiment was submitted. Raises Rejected (404)."""
    subject = subjects.event_filter(subjects.GATEWAY, EXPERIMENT, experiment_id, ExperimentSubmitted.__name__)
    submitted = await _last(client, subject)
    if submitted is None or not isinstance(submitted.event, ExperimentSubmitted):
        raise not_found(EXPERIMENT, experiment_id)
    return submitted.event


def _submitted(
    config: dict[str, Any], code_sha256: str, code_bytes: int, forked_from: ExperimentId | None = None
) -> ExperimentSubmitted:
    return ExperimentSubmitted(
        experiment_id=ExperimentId(reserved_id.get() or ids.new_experiment_id()),
        name=config["name"],
        config=config,
        code_sha256=code_sha256,
        code_bytes=code_bytes,
        forked_from=forked_from,
    )


async def ask(client: Client, experiment_id: ExperimentId, intent: Intent, *, known_seq: int | None = None) -> int:
    """Append a user's wish about an experiment and return its sequence.

    Raises Rejected when its state does not allow it, or (412) when somebody asked something of it after `known_seq`;
    Conflict when others keep changing it.
    """
    try:
        return await _ask(client, experiment_id, intent, known_seq)
    except Conflict:  # somebody was faster: look once more
        return await _ask(client, experiment_id, intent, known_seq)


async def delete_checkpoint(client: Client, checkpoint: Checkpoint) -> int:
    """Append a user's wish that a checkpoint be deleted and return its sequence. Raises Conflict when it was asked for
    already."""
    event = CheckpointDeletionRequested(
        checkpoint_id=CheckpointId(checkpoint.id),
        trial_id=TrialId(checkpoint.trial_id),
        experiment_id=ExperimentId(checkpoint.experiment_id),
        reason="a user asked for it",
    )
    return await _append(client, event, expected=0)


async def change_job(client: Client, change: JobEvent, *, known_seq: int | None = None) -> int:
    """Append a change of an experiment's place in the queue and return its sequence.

    Raises Rejected when it makes no sense, or (412) when the place was changed after `known_seq`; Conflict when others
    keep changing it.
    """
    _, state = await _state(client, change.experiment_id)
    beside = (await _state(client, change.beside_id))[1] if isinstance(change, JobMoved) else None
    config = await _config(client, change.experiment_id)
    decide.check_job(change, state, config["resources"]["slots_per_trial"], beside)
    try:
        return await _append_change(client, change, known_seq=known_seq)
    except Conflict:  # somebody was faster: the later of two changes counts
        return await _append_change(client, change, known_seq=known_seq)


async def change_search(client: Client, change: SearchLimitsSet, *, known_seq: int | None = None) -> int:
    """Append a change of a search's limits and return its sequence.

    Raises Rejected when its state or its method does not allow it, or (412) when somebody asked something of it after
    `known_seq`; Conflict when others keep changing it.
    """
    try:
        return await _change_search(client, change, known_seq)
    except Conflict:  # somebody was faster: look once more
        return await _change_search(client, change, known_seq)


async def _change_search(client: Client, change: SearchLimitsSet, known_seq: int | None) -> int:
    asked, state = await _state(client, change.experiment_id)
    _check_known(asked, known_seq)
    config = await _config(client, change.experiment_id)
    decide.check_limits(change, state, config["searcher"]["name"])
    return await _append(client, change, expected=asked.seq)


async def file(client: Client, change: FilingEvent, workspace: str, *, known_seq: int | None = None) -> int:
    """Append how an experiment of a workspace is filed or described and return the event's sequence.

    Raises Rejected when its state does not allow it, or (412) when somebody asked something of it after `known_seq`;
    Conflict when others keep changing it.
    """
    try:
        return await _file(client, change, workspace, known_seq)
    except Conflict:  # somebody was faster: look once more
        return await _file(client, change, workspace, known_seq)


async def _file(client: Client, change: FilingEvent, workspace: str, known_seq: int | None) -> int:
    asked, state = await _state(client, change.experiment_id)
    _check_known(asked, known_seq)
    filed = await _newest(client, subjects.GATEWAY, change.experiment_id, FILINGS)
    filing.check(change, state, filed.event if filed else None, workspace)
    return await _append(client, change, expected=asked.seq)


async def change_place(client: Client, event: WorkspaceEvent | ProjectEvent, *, known_seq: int | None = None) -> int:
    """Append that a workspace or a project was described or filed and return the event's sequence.

    Raises Rejected (412) when it changed after `known_seq`, Conflict when somebody else was faster.
    """
    return await _append_change(client, event, known_seq=known_seq)


async def make_place(client: Client, event: WorkspaceCreated | ProjectCreated) -> int:
    """Append that a workspace or a project was made and return the event's sequence. Raises Conflict when somebody did
    before, and the read model does not know it yet."""
    return await _append(client, event, expected=0)


async def cancel_trial(client: Client, trial_id: TrialId, experiment_id: ExperimentId) -> int:
    """Append that a user ended a trial and return the event's sequence; once is enough, so a second wish is none."""
    before = await _last(client, subjects.aggregate_subject(subjects.GATEWAY, TrialCanceled.aggregate, trial_id))
    if before is not None:
        return before.seq
    return await _append(client, TrialCanceled(trial_id=trial_id, experiment_id=experiment_id), expected=0)


async def _config(client: Client, experiment_id: ExperimentId) -> dict[str, Any]:
    """Return the configuration of an experiment that has a state."""
    return (await submission(client, experiment_id)).config


async def administer(client: Client, change: Event) -> int:
    """Append what an administrator sets and return its sequence. Raises Conflict when others keep changing it."""
    try:
        return await _append_change(client, change)
    except Conflict:  # see change_job
        return await _append_change(client, change)


async def change_user(
    client: Client,
    access: Access,
    decide: Callable[[People], UserEventT],
    *,
    actor: UserId | None = None,
    known_seq: int | None = None,
) -> tuple[int, UserEventT]:
    """Append what is decided about a user, once the gateway itself goes by it, and return its sequence and the event.

    The event is appended only to the state that it was decided on; where somebody was faster, it is decided anew.
    Raises what `decide` does, Rejected (412) when the user changed after `known_seq`, and Conflict when others keep
    changing the user. `actor` is who did it, if that is not yet known from the request.
    """
    for tries_left in reversed(range(TRIES)):
        event = decide(access.people)
        newest_seq = access.people.seqs.get(event.user_id, 0)
        if known_seq is not None and newest_seq > known_seq:
            raise Stale(newest_seq)
        try:
            seq = await _append(client, event, expected=newest_seq, actor=actor)
        except Conflict:
            if not tries_left:
                raise
            newest = await _last(client, subjects.aggregate_subject(subjects.GATEWAY, event.aggregate, event.user_id))
            await access.wait(newest.seq if newest else 0)
        else:
            await access.wait(seq)
            return seq, event
    raise AssertionError("the last try returns or raises")


async def last_of_host(client: Client, agent_id: AgentId) -> tuple[int, AgentInvited | AgentAdmitted | None]:
    """Return what was said last about joining as an agent, and its sequence."""
    found = await _last(client, subjects.aggregate_subject(subjects.GATEWAY, AgentInvited.aggregate, agent_id))
    if found is None or not isinstance(found.event, AgentInvited | AgentAdmitted):
        return 0, None
    return found.seq, found.event


async def append_about_host(
    client: Client, event: AgentInvited | AgentAdmitted, *, expected: int, actor: UserId | None = None
) -> int:
    """Append an invitation or an admission and return its sequence. Raises Conflict when somebody was faster."""
    return await _append(client, event, expected=expected, actor=actor)


async def _append_change(
    client: Client, change: Event, *, actor: UserId | None = None, known_seq: int | None = None
) -> int:
    before = await _last(client, subjects.aggregate_subject(subjects.GATEWAY, change.aggregate, change.aggregate_id))
    if before is not None:
        _check_known(before, known_seq)
    return await _append(client, change, expected=before.seq if before else 0, actor=actor)


def _check_known(newest: Recorded, known_seq: int | None) -> None:
    """Raise Rejected (412) when somebody asked something after an event."""
    if known_seq is not None and newest.seq > known_seq:
        raise Stale(newest.seq)


async def _ask(client: Client, experiment_id: ExperimentId, intent: Intent, known_seq: int | None) -> int:
    asked, state = await _state(client, experiment_id)
    _check_known(asked, known_seq)
    event = decide.admit(state, intent, experiment_id)
    return await _append(client, event, expected=asked.seq)


async def _state(client: Client, experiment_id: ExperimentId) -> tuple[Recorded, ExperimentState]:
    """Return the newest intent about an experiment, and its state. Raises Rejected (404)."""
    asked = await _last(client, subjects.aggregate_subject(subjects.GATEWAY, EXPERIMENT, experiment_id))
    if asked is None:
        raise not_found(EXPERIMENT, experiment_id)
    ended = await _newest(client, subjects.SEARCHER, experiment_id, (ExperimentCompleted, ExperimentFailed))
    moved = asked
    if not isinstance(asked.event, STATE_INTENTS):
        moved = await _newest(client, subjects.GATEWAY, experiment_id, STATE_INTENTS) or asked
    return asked, decide.state_after(moved, ended)


async def _newest(
    client: Client, writer: str, experiment_id: ExperimentId, kinds: tuple[type[Event], ...]
) -> Recorded | None:
    """Return the newest event of some kinds about an experiment."""
    filters = [subjects.event_filter(writer, EXPERIMENT, experiment_id, kind.__name__) for kind in kinds]
    found = [recorded for one in filters if (recorded := await _last(client, one))]
    return max(found, key=lambda recorded: recorded.seq, default=None)


async def _append(client: Client, event: Event, *, expected: int, actor: UserId | None = None) -> int:
    about, who = getattr(event, "experiment_id", event.aggregate_id), actor or principal.get().user_id
    envelope = log.envelope_of(event, writer=subjects.GATEWAY, actor=who, correlation=about)
    seq = await log.append_once(client, envelope, expected=expected)
    _log.info("intent appended", extra={"event": envelope.name, event.aggregate: event.aggregate_id, "seq": seq})
    return seq


async def _last(client: Client, subject: str) -> Recorded | None:
    message = await log.last_of(client, subject)
    return None if message is None else log.decode_recorded(message)


async def read_submission(config: str, code: bytes) -> dict[str, Any]:
    """Return a submission's config with every default filled in. Raises Rejected with every mistake."""
    return await asyncio.to_thread(_read_submission, config, code, secrets.randbelow(MAX_SEED))


async def read_config(config: str) -> dict[str, Any]:
    """Return an experiment file with every default filled in. Raises Rejected with every mistake."""
    return await asyncio.to_thread(_read_config, config, secrets.randbelow(MAX_SEED))


def _read_submission(config: str, code: bytes, seed: int) -> dict[str, Any]:
    read = _read_config(config, seed)
    archive.check(code)
    return read


def _read_config(config: str, seed: int) -> dict[str, Any]:
    from shared.config import parse_experiment  # pydantic and yaml are 20 MB that an idle gateway does not need

    read: dict[str, Any] = parse_experiment(config).with_seed(seed).model_dump(mode="json")
    return read
