"""Who has been heard when. The one thing that the scheduler goes by and that is not on the log."""

import time
from collections.abc import Iterable, Mapping

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

    def hear(self, agent_id: AgentId, incarnation: str) -> None:
        """Note that an agent lives."""
        self._heard_at[agent_id, incarnation] = time.monotonic()
        self._silent_s.pop((agent_id, incarnation), None)

    def silences_s(self, agents: Mapping[AgentId, Agent], claimants: Iterable[Claimant]) -> dict[AgentId, float]:
        """Return how long agents have been silent, as far as we could have heard them.

        Of those present: who was silent at the last look through them, and whoever's name is claimed by another. The
        loop comes by about once a second; when it did not, it was us (or the broker) who were away.
        """
        now = time.monotonic()
        if now - self._looked_at > DEAF_S:
            self._deaf_until = now
        self._looked_at = now
        claimed = {claimant.agent_id for claimant in claimants}
        if claimed or now - self._scanned_at >= LOOK_S:
            present = ((agent.agent_id, agent.incarnation) for agent in agents.values())
            self._heard_at = {life: max(self._heard_at.get(life, now), self._deaf_until) for life in present}
            silent = ((life, now - heard_at) for life, heard_at in self._heard_at.items())
            self._silent_s = {life: s for life, s in silent if s >= LOOK_S or life[0] in claimed}
            self._scanned_at = now
        return {
            agent_id: silence_s
            for (agent_id, incarnation), silence_s in self._silent_s.items()
            if agent_id in agents and agents[agent_id].incarnation == incarnation
        }
