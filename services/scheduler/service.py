"""The scheduler's shell: hears heartbeats, keeps time, runs the decision loop."""

import asyncio
import json
import logging
from datetime import datetime
from pathlib import Path

from nats.aio.client import Client
from nats.aio.msg import Msg

from services.scheduler import instruments
from services.scheduler.answers import Answers
from services.scheduler.engine import Engine
from services.scheduler.heartbeats import Heartbeats
from services.scheduler.memory import State
from shared import subjects
from shared.decisions import Decision, DecisionLoop, Memory
from shared.events import PoolPolicy
from shared.exposition import Exposition
from shared.ids import AgentId
from shared.snapshots import Snapshots

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
        self._heartbeats = Heartbeats()
        self._engine = Engine()
        self._answers = Answers(client, instance=instance, engine=self._engine, look=self._look)
        self.loop = DecisionLoop(
            client, subjects.SCHEDULER, State(), self._engine.fold, self._decide, instance=instance, snapshots=snapshots
        )

    async def run(self) -> None:
        """Serve for ever."""
        await self._client.subscribe(subjects.agents_health_filter(), cb=self._hear)
        await self._answers.listen()
        positions = {subjects.EVENTS: lambda: self.loop.fold.position}
        async with asyncio.TaskGroup() as tasks:
            shown = Exposition(self._client, subjects.SCHEDULER, positions, self._observe)
            tasks.create_task(shown.run(), name="show metrics")
            tasks.create_task(self.loop.run(), name="decide")

    async def _hear(self, message: Msg) -> None:
        try:
            incarnation = json.loads(message.data)["incarnation"]
        except (ValueError, KeyError, TypeError):
            _log.warning("heartbeat not understood", extra={"subject": message.subject})
            return
        self._heartbeats.hear(AgentId(message.subject.rsplit(".", 1)[-1]), str(incarnation))

    def _observe(self) -> None:
        self.loop.observe()
        instruments.observe(self.loop.state)

    def _look(self) -> tuple[State, int, bool]:
        return self.loop.state, self.loop.fold.position, self.loop.follower.at_head

    def _decide(self, now: datetime) -> list[Decision]:
        state = self.loop.state
        return self._engine.decide(
            state,
            self._heartbeats.silences_s(state.agents),
            now=now,
            agent_timeout_s=self._agent_timeout_s,
            policy=self._policy,
            contested=self._heartbeats.contested(state.agents, state.claimants),
        )
