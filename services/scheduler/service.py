"""The scheduler's shell: hears heartbeats, keeps time, runs the decision loop."""

import json
import logging
import time
from datetime import datetime
from pathlib import Path

from nats.aio.client import Client
from nats.aio.msg import Msg

from services.scheduler.answers import Answers
from services.scheduler.decide import decide
from services.scheduler.state import State, evolve
from shared import subjects
from shared.decisions import Decision, DecisionLoop, Memory
from shared.events import PoolPolicy
from shared.ids import AgentId
from shared.snapshots import Snapshots

#: Without a look for this long, what the agents said meanwhile may have been missed.
DEAF_S = 2.5

_log = logging.getLogger(__name__)


class Scheduler:
    """One scheduler instance; of several, one leads and the others stand by."""

    def __init__(
        self,
        client: Client,
        *,
        instance: str,
        agent_timeout_s: float,
        policy: PoolPolicy,
        state_directory: Path | None = None,
    ) -> None:
        packages = ("shared", "services.scheduler")
        snapshots = Snapshots(state_directory, f"scheduler-{instance}", Memory[State], packages)
        self._client = client
        self._agent_timeout_s = agent_timeout_s
        self._policy = policy
        self._heard_at: dict[tuple[AgentId, str], float] = {}  # (agent, incarnation) -> monotonic seconds
        self._looked_at = self._deaf_until = time.monotonic()
        self._answers = Answers(client, instance=instance, look=self._look)
        self.loop = DecisionLoop(
            client, subjects.SCHEDULER, State(), evolve, self._decide, instance=instance, snapshots=snapshots
        )

    async def run(self) -> None:
        """Serve for ever."""
        await self._client.subscribe(subjects.agents_health_filter(), cb=self._hear)
        await self._answers.listen()
        await self.loop.run()

    async def _hear(self, message: Msg) -> None:
        try:
            incarnation = json.loads(message.data)["incarnation"]
        except (ValueError, KeyError, TypeError):
            _log.warning("heartbeat not understood", extra={"subject": message.subject})
            return
        agent_id = AgentId(message.subject.rsplit(".", 1)[-1])
        self._heard_at[agent_id, str(incarnation)] = time.monotonic()

    def _look(self) -> tuple[State, int, bool]:
        return self.loop.state, self.loop.fold.position, self.loop.follower.at_head

    def _decide(self, now: datetime) -> list[Decision]:
        return decide(
            self.loop.state,
            self._silences_s(),
            now=now,
            agent_timeout_s=self._agent_timeout_s,
            policy=self._policy,
        )

    def _silences_s(self) -> dict[AgentId, float]:
        """How long each agent has been silent, as far as we could have heard it.

        The loop comes by about once a second; when it did not, it was us (or the broker) who were away.
        """
        now = time.monotonic()
        if now - self._looked_at > DEAF_S:
            self._deaf_until = now
        self._looked_at = now
        present = [(agent.agent_id, agent.incarnation) for agent in self.loop.state.agents.values()]
        self._heard_at = {key: max(self._heard_at.get(key, now), self._deaf_until) for key in present}
        return {agent_id: now - heard_at for (agent_id, _), heard_at in self._heard_at.items()}
