"""The question about who waits for slots and why, and its answer: between the scheduler, who decides, and the gateway.

Asked by NATS request and reply (`subjects.QUEUE_QUESTION`), in msgpack. An answer is of one moment: `position` says of
which. It is cut to a size that the broker carries; `next_after` is where to go on.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from shared.events import Share
from shared.ids import AgentId, ExperimentId, PoolId, TrialId

MAX_LIMIT = 1000  # trials in one answer
NUM_NAMED = 5  # of those ahead and the like, that many are named; the rest is counted


class ReasonKind(StrEnum):
    """What a trial waits for."""

    STARTING = "starting"  # nothing: it is about to be given its slots
    NO_ROOM = "no_room"
    NEVER_FITS = "never_fits"
    BEHIND = "behind"  # nobody may pass the one ahead
    NO_BACKFILL = "no_backfill"  # there is room, but it would delay a more important one
    QUOTA = "quota"  # its job's max_slots
    LIMIT = "limit"  # what an administrator set
    OVER_SHARE = "over_share"
    RESERVED = "reserved"  # agents are kept for it
    MAKING_ROOM = "making_room"  # others stop for it
    AWAITING = "awaiting"  # it fits once those who stop have stopped
    PAUSED = "paused"
    NO_AGENTS = "no_agents"
    AGENTS_CLOSED = "agents_closed"  # it would fit if agents that are disabled or drained took new work


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """The open slots of a pool when the trial was looked at, after those before it were served."""

    num_slots: int
    num_free: int
    most_free: int  # on one agent


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a trial waits, as the policy found it. What does not apply is left out."""

    kind: ReasonKind
    slots: int  # that it needs
    room: Room | None = None
    first: TrialId | None = None  # the one that must not be passed or delayed
    first_priority: int | None = None
    kept: tuple[AgentId, ...] = ()  # agents reserved for it
    victims: tuple[TrialId, ...] = ()  # asked to stop for it
    job_id: ExperimentId | None = None
    held: int | None = None  # slots that its job holds …
    limit: int | None = None  # … of this many at most, by its max_slots or its fair share
    whose: str | None = None  # whom a limit is set for


class Needs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What would have to be free for a trial: slots of these kinds, on this many agents."""

    slots: int
    num_agents: int
    kinds: tuple[str, ...] = ()
    whole_agents: bool = False  # the agents must be idle


class Ahead(msgspec.Struct, frozen=True, kw_only=True):
    """Who is served before a trial: how many, and the first of them."""

    num_trials: int
    num_experiments: int
    trials: tuple[TrialId, ...]


class WaitingTrial(msgspec.Struct, frozen=True, kw_only=True):
    """One trial of the queue. `position` (from 1) is its place in its pool's order of service."""

    position: int
    trial_id: TrialId
    experiment_id: ExperimentId
    pool_id: PoolId
    slots: int
    priority: int
    waiting_since: datetime
    reason: Reason
    text: str  # the reason in a sentence
    ahead: Ahead
    needs: Needs | None  # None: nothing of the pool could hold it
    victims: tuple[TrialId, ...] = ()  # those that stop for it now
    expected_start: datetime | None = None  # if all goes on as it does
    expected_why: str = ""  # how that is known, or why not


class QueueQuestion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which trials: of a pool, an experiment, or one; those that come after a trial, or, when it waits no more, after a
    place in the order."""

    min_position: int = 0  # what the asker knows to be on the log
    pool_id: str | None = None
    experiment_id: str | None = None
    trial_id: str | None = None
    after: int = 0
    after_trial: str | None = None
    limit: int = 200


class PoolQueue(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as a whole."""

    pool_id: PoolId
    policy: str
    num_waiting: int
    num_slots: int
    num_free: int
    num_agents: int
    shares: tuple[Share, ...] = ()  # where it shares fairly: some of the jobs


class QueueAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the queue, pool by pool, in the order of service; `num_waiting` counts all that match."""

    position: int  # of the log, up to which this was folded
    time: datetime
    instance: str
    num_waiting: int
    items: tuple[WaitingTrial, ...]
    pools: tuple[PoolQueue, ...]
    next_after: int | None = None
