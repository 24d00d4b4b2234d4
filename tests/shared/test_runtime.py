"""What every process says of itself."""

import asyncio
from pathlib import Path

import pytest

from shared import broker, runtime, subjects
from tests.support.eventually import eventually
from tests.support.servers import NatsServer


async def test_a_heartbeat_touches_the_file_that_a_health_check_looks_at(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = tmp_path / "alive"
    monkeypatch.setenv("TM_ALIVE_FILE", str(alive))
    async with broker.connect(nats_server.url, "test") as client, asyncio.TaskGroup() as tasks:
        beat = tasks.create_task(runtime.beat(client, subjects.health_subject("tracker", "main"), dict), name="beat")
        await eventually(alive.exists)
        beat.cancel()
