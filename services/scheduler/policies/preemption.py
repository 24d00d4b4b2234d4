"""Whom to stop so that a gang fits: the least important, of one lane the newest first, and as few as possible."""

from collections import defaultdict

from services.scheduler.fitting import Fleet
from services.scheduler.pool import Request
from shared.ids import AgentId

#: Victims with their place among the candidates: a lower one is stopped rather.
_Ranked = list[tuple[int, Request]]


def fewest_victims(request: Request, candidates: list[Request], fleet: Fleet) -> list[Request]:
    """Return whom to stop, their slots freed in the fleet; [] if the gang would not fit anyway.

    `candidates` are those who may be preempted at all, the least important first, of one lane the newest first.
    """
    eligible = [(rank, victim) for rank, victim in enumerate(candidates) if _may_stop(victim, request)]
    victims = _first_enough(request, eligible, fleet)
    if len(victims) > 1:
        lane = victims[-1][1].priority
        one_agent = _on_one_agent(request, [found for found in eligible if found[1].priority >= lane], fleet, victims)
        victims = one_agent or victims
    return [victim for _, victim in victims]


def _may_stop(victim: Request, request: Request) -> bool:
    if victim.priority == request.priority:
        return victim.position > request.position
    return victim.priority > request.priority


def _first_enough(request: Request, eligible: _Ranked, fleet: Fleet) -> _Ranked:
    """Free one after another until the gang fits, then leave out whoever did not help, the most important first."""
    freed: _Ranked = []
    for found in eligible:
        fleet.give(found[1].placement or {})
        freed.append(found)
        if fleet.fit(request.slots) is not None:
            break
    else:
        for _, victim in freed:
            fleet.take(victim.placement or {})
        return []
    needed = [freed[-1]]
    for found in reversed(freed[:-1]):
        fleet.take(found[1].placement or {})
        if fleet.fit(request.slots) is None:
            fleet.give(found[1].placement or {})
            needed.insert(0, found)
    return needed


def _on_one_agent(request: Request, eligible: _Ranked, fleet: Fleet, instead_of: _Ranked) -> _Ranked:
    """Return fewer victims that empty one agent, freed in the fleet instead of the others; [] if there are none."""
    here: dict[AgentId, _Ranked] = defaultdict(list)
    for found in eligible:
        for agent_id in found[1].placement or {}:
            here[agent_id].append(found)
    for _, victim in instead_of:
        fleet.take(victim.placement or {})
    choices = [enough for agent_id in here if (enough := _largest(request, here[agent_id], agent_id, fleet))]
    best = min(
        choices, key=lambda enough: (len(enough), sorted((rank for rank, _ in enough), reverse=True)), default=[]
    )
    if len(best) >= len(instead_of):
        best = []
    for _, victim in best or instead_of:
        fleet.give(victim.placement or {})
    return best


def _largest(request: Request, here: _Ranked, agent_id: AgentId, fleet: Fleet) -> _Ranked:
    """Return the fewest whose slots on this agent are enough, [] if all are not."""
    missing = request.slots - fleet.free_on(agent_id)
    enough: _Ranked = []
    for rank, victim in sorted(here, key=lambda found: (-(found[1].placement or {})[agent_id], found[0])):
        if missing > 0:
            missing -= (victim.placement or {})[agent_id]
            enough.append((rank, victim))
    return enough if missing <= 0 else []
