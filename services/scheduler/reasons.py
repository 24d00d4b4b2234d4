"""Why a trial waits, in one sentence each: written where the decision is made."""

from services.scheduler.fitting import Fleet
from services.scheduler.pool import Request, slots


def never_fits(request: Request, fleet: Fleet) -> str:
    """The pool's agents could not hold it even if they were idle."""
    return (
        f"{_needs(request)}; no set of the pool's agents can hold it ({fleet.num_slots} slots in all): "
        "add agents or change the number of slots"
    )


def no_room(request: Request, fleet: Fleet) -> str:
    """It would fit if others ended."""
    if request.slots == 0:
        return "needs no slot; every agent runs as many such tasks as its limit allows"
    free, most = fleet.num_free, fleet.most_free
    if free < request.slots:
        return f"{_needs(request)}; {free} of {fleet.num_slots} are free"
    return f"{_needs(request)}; {free} are free, but at most {most} on one agent and too few idle agents of equal size"


def reserved(request: Request, fleet: Fleet, agents: tuple[str, ...]) -> str:
    """It waited so long that agents are kept for it."""
    return f"{no_room(request, fleet)}; agents {', '.join(agents)} are kept for it as it has waited too long"


def behind(request: Request, first: Request) -> str:
    """Another goes before it."""
    return f"{_needs(request)}; trial {first.trial_id} (priority {first.priority}) goes before it"


def making_room(request: Request, victims: list[str]) -> str:
    """Others were asked to stop for it."""
    return f"{_needs(request)}; starts when {', '.join(victims)} {'has' if len(victims) == 1 else 'have'} stopped"


def awaiting(request: Request) -> str:
    """It fits once those who were asked to stop have stopped."""
    return f"{_needs(request)}; starts when trials that were asked to stop have stopped"


def no_backfill(request: Request, first: Request) -> str:
    """It would fit, but must not be in the way of a more important one."""
    return (
        f"{_needs(request)}; there is room, but trial {first.trial_id} (priority {first.priority}) waits, "
        "which must not be delayed"
    )


def over_share(request: Request, offered: int, held: int) -> str:
    """Its job has its fair share."""
    return (
        f"{_needs(request)}; the fair share of job {request.job_id} is {slots(offered)} now, of which it holds {held}"
    )


def _needs(request: Request) -> str:
    return f"needs {slots(request.slots)}"
