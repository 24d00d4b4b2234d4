"""Who has been heard when. The one thing that the scheduler goes by and that is not on the log."""

import time
from collections.abc import Mapping

from services.scheduler.records import Agent, Claimant
from shared.ids import AgentId

#: Without a look for this long, what the agents said meanwhile may have been missed.
DEAF_S = 2.5
#: So often those who are present are looked through; in between nobody can have become silent for long.
LOOK_S = 0.5

_Life = tuple[AgentId, str]  # an agent and its incarnation


class Heartbeats:
    """When each incarnation of an agent was last heard, in seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._heard_at: dict[_Life, float] = {}
        self._looked_at = self._deaf_until = self._scanned_at = time.monotonic()
        self._silent_s: dict[_Life, float] = {}  # at the last scan, whoever was heard since apart
        self._owners: dict[str, _Life] = {}  # of the names that are claimed, by claimant
        self._contested: set[str] = set()  # the claimants whose names' owners were heard since

    def hear(self, agent_id: AgentId, incarnation: str) -> None:
        """Note that an agent lives."""
        self._heard_at[agent_id, incarnation] = time.monotonic()
        self._silent_s.pop((agent_id, incarnation), None)
        self._contested.update(name for name, owner in self._owners.items() if owner == (agent_id, incarnation))

    def contested(self, agents: Mapping[AgentId, Agent], claimants: Mapping[str, Claimant]) -> set[str]:
        """Return the claimants of names whose owners were heard after we first knew of the claim.

        Called with what was folded. So only this process's own order of hearing counts, no other machine's clock; a
        process that has just started knows of nobody yet, and waits for the next heartbeat.
        """
        owners = {
            name: (claimant.agent_id, agents[claimant.agent_id].incarnation)
            for name, claimant in claimants.items()
            if claimant.agent_id in agents
        }
        self._contested = {name for name in self._contested if self._owners[name] == owners.get(name)}
        self._owners = owners
        return self._contested

    def silences_s(self, agents: Mapping[AgentId, Agent]) -> dict[AgentId, float]:
        """Return how long agents have been silent, as far as we could have heard them.

        Of those present: who was silent at the last look through them. The loop comes by about once a second; when it
        did not, it was us (or the broker) who were away.
        """
        now = time.monotonic()
        if now - self._looked_at > DEAF_S:
            self._deaf_until = now
        self._looked_at = now
        if now - self._scanned_at >= LOOK_S:
            present = ((agent.agent_id, agent.incarnation) for agent in agents.values())
            self._heard_at = {life: max(self._heard_at.get(life, now), self._deaf_until) for life in present}
            silent = ((life, now - heard_at) for life, heard_at in self._heard_at.items())
            self._silent_s = {life: s for life, s in silent if s >= LOOK_S}
            self._scanned_at = now
        return {
            agent_id: silence_s
            for (agent_id, incarnation), silence_s in self._silent_s.items()
            if agent_id in agents and agents[agent_id].incarnation == incarnation
        }
