"""Where a gang goes: all of its slots or none. Pure functions over free slots.

Rules, after Determined's agent resource manager (hard constraints first, then the tie-breaks written down here):

1. One agent, if any has enough free slots. Best fit: the one left with the fewest free slots; ties go to the lower
   agent id. On the agent, the lowest slot numbers.
2. Otherwise several whole idle agents of equal size and kind, where that size divides the gang: the largest such
   size, agents in order of their ids. Slots of different kinds never mix.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from services.scheduler.state import Agent
from shared.events import GangMember
from shared.ids import AgentId


def fit(slots: int, agents: Iterable[Agent], free: Mapping[AgentId, set[int]]) -> tuple[GangMember, ...]:
    """Return the gang's members, chief first, or () if it does not fit now."""
    candidates = sorted(agents, key=lambda agent: agent.agent_id)
    return _fit_one(slots, candidates, free) or _fit_whole_agents(slots, candidates, free)


def can_ever_fit(slots: int, agents: Iterable[Agent]) -> bool:
    """Say whether the gang would fit if every slot of these agents were free."""
    everything = list(agents)
    return bool(fit(slots, everything, {agent.agent_id: set(agent.slots) for agent in everything}))


def _fit_one(slots: int, agents: list[Agent], free: Mapping[AgentId, set[int]]) -> tuple[GangMember, ...]:
    roomy = [agent for agent in agents if len(free[agent.agent_id]) >= slots]
    if not roomy:
        return ()
    best = min(roomy, key=lambda agent: len(free[agent.agent_id]))
    return (_member(best, sorted(free[best.agent_id])[:slots]),)


def _fit_whole_agents(slots: int, agents: list[Agent], free: Mapping[AgentId, set[int]]) -> tuple[GangMember, ...]:
    idle: dict[tuple[int, str], list[Agent]] = defaultdict(list)
    for agent in agents:
        if agent.slots and free[agent.agent_id] == agent.slots:
            idle[len(agent.slots), agent.kind].append(agent)
    for (size, _), group in sorted(idle.items(), reverse=True):
        if slots % size == 0 and len(group) * size >= slots:
            return tuple(_member(agent, sorted(agent.slots)) for agent in group[: slots // size])
    return ()


def _member(agent: Agent, slots: Iterable[int]) -> GangMember:
    return GangMember(agent_id=agent.agent_id, incarnation=agent.incarnation, slots=tuple(slots))
