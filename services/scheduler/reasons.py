"""Why a trial waits: made where that is decided, and said in one sentence when somebody asks.

A pass over a long queue makes many of these, so they hold plain facts; `sentence` puts one into words.
"""

from collections.abc import Callable, Sequence

from services.scheduler.fitting import Fleet
from services.scheduler.pool import Request, slots
from shared.ids import AgentId, TrialId
from shared.queue import Reason, ReasonKind, Room


def never_fits(request: Request, fleet: Fleet) -> Reason:
    """The pool's open agents could not hold it even if they were idle."""
    kind = ReasonKind.NO_AGENTS if fleet.is_empty else ReasonKind.NEVER_FITS
    if fleet.could_hold(request.slots):
        kind = ReasonKind.AGENTS_CLOSED
    return Reason(kind=kind, slots=request.slots, room=_room(fleet))


def no_room(request: Request, fleet: Fleet) -> Reason:
    """It would fit if others ended; or only if closed agents were opened."""
    if not fleet.can_ever_fit(request.slots):
        return never_fits(request, fleet)
    return Reason(kind=ReasonKind.NO_ROOM, slots=request.slots, room=_room(fleet))


def reserved(request: Request, fleet: Fleet, agents: tuple[AgentId, ...]) -> Reason:
    """It waited so long that agents are kept for it."""
    return Reason(kind=ReasonKind.RESERVED, slots=request.slots, room=_room(fleet), kept=agents)


def behind(request: Request, first: Request) -> Reason:
    """Another goes before it."""
    return _after(ReasonKind.BEHIND, request, first)


def no_backfill(request: Request, first: Request) -> Reason:
    """It would fit, but must not be in the way of a more important one."""
    return _after(ReasonKind.NO_BACKFILL, request, first)


def making_room(request: Request, victims: Sequence[TrialId]) -> Reason:
    """Others were asked to stop for it."""
    return Reason(kind=ReasonKind.MAKING_ROOM, slots=request.slots, victims=tuple(victims))


def awaiting(request: Request) -> Reason:
    """It fits once those who were asked to stop have stopped."""
    return Reason(kind=ReasonKind.AWAITING, slots=request.slots)


def over_share(request: Request, offered: int, held: int) -> Reason:
    """Its job has its fair share."""
    return Reason(kind=ReasonKind.OVER_SHARE, slots=request.slots, job_id=request.job_id, held=held, limit=offered)


def over_max_slots(request: Request, held: int) -> Reason:
    """Its job holds as much as it may."""
    kind, limit = ReasonKind.QUOTA, request.max_slots
    return Reason(kind=kind, slots=request.slots, job_id=request.job_id, held=held, limit=limit)


def over_limit(request: Request, held: int, limit: int) -> Reason:
    """Its workspace holds as much as an administrator lets it."""
    whose = f"workspace “{request.workspace}”" if request.workspace else "work without a workspace"
    return Reason(kind=ReasonKind.LIMIT, slots=request.slots, held=held, limit=limit, whose=whose)


def sentence(reason: Reason) -> str:
    """Return a reason in words."""
    said = _SENTENCES[reason.kind](reason)
    return said if reason.kind in _WHATEVER_IT_NEEDS else f"needs {_needs(reason)}; {said}"


def _needs(reason: Reason) -> str:
    return slots(reason.slots) if reason.slots else "no slot"


def _never_fits(reason: Reason) -> str:
    total = reason.room.num_slots if reason.room else 0
    return f"no set of the pool's agents can hold it ({total} slots in all): add agents or change the number of slots"


def _stopping(reason: Reason) -> str:
    return f"starts when {', '.join(reason.victims)} {'has' if len(reason.victims) == 1 else 'have'} stopped"


def _crowded(reason: Reason) -> str:
    room = reason.room or Room(num_slots=0, num_free=0, most_free=0)
    if reason.slots == 0:
        return "every agent runs as many such tasks as its limit allows"
    if room.num_free < reason.slots:
        return f"{room.num_free} of {room.num_slots} are free"
    return f"{room.num_free} are free, but at most {room.most_free} on one agent and too few idle agents of equal size"


def _first(reason: Reason) -> str:
    return f"trial {reason.first} (priority {reason.first_priority})"


def _after(kind: ReasonKind, request: Request, first: Request) -> Reason:
    return Reason(kind=kind, slots=request.slots, first=first.trial_id, first_priority=first.priority)


def _room(fleet: Fleet) -> Room:
    return Room(num_slots=fleet.num_slots, num_free=fleet.num_free, most_free=fleet.most_free)


_WHATEVER_IT_NEEDS = (ReasonKind.STARTING, ReasonKind.PAUSED)

_SENTENCES: dict[ReasonKind, Callable[[Reason], str]] = {
    ReasonKind.STARTING: lambda _: "is about to start",
    ReasonKind.PAUSED: lambda _: "its experiment is paused",
    ReasonKind.NO_AGENTS: lambda _: "its pool has no agent that takes new work",
    ReasonKind.NEVER_FITS: _never_fits,
    ReasonKind.NO_ROOM: _crowded,
    ReasonKind.RESERVED: lambda reason: (
        f"{_crowded(reason)}; agents {', '.join(reason.kept)} are kept for it as it has waited too long"
    ),
    ReasonKind.BEHIND: lambda reason: f"{_first(reason)} goes before it",
    ReasonKind.NO_BACKFILL: lambda reason: f"there is room, but {_first(reason)} waits, which must not be delayed",
    ReasonKind.MAKING_ROOM: _stopping,
    ReasonKind.AWAITING: lambda _: "starts when trials that were asked to stop have stopped",
    ReasonKind.OVER_SHARE: lambda reason: (
        f"the fair share of job {reason.job_id} is {slots(reason.limit or 0)} now, of which it holds {reason.held}"
    ),
    ReasonKind.QUOTA: lambda reason: f"job {reason.job_id} holds {reason.held} of at most {reason.limit} (max_slots)",
    ReasonKind.LIMIT: lambda reason: f"by its limit {reason.whose} holds {reason.held} of at most {reason.limit}",
    ReasonKind.AGENTS_CLOSED: lambda _: (
        "only agents that take no new work (disabled, drained, ending or unhealthy) could hold it"
    ),
}
