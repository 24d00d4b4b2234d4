"""The collector over an object store that refuses some of what it is asked to delete."""

from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from nats.aio.client import Client

from services.gateway import collector
from services.gateway.collector import Collector
from services.gateway.position import Position
from services.tracker.service import serve as serve_tracker
from services.tracker.settings import Settings as TrackerSettings
from shared import broker
from shared.events import CheckpointDeleted, CheckpointDeletionRequested
from shared.ids import CheckpointId
from shared.log import last_of
from shared.objectstore import ObjectStore
from shared.settings import S3Settings
from shared.subjects import event_filter
from tests.gateway.conftest import running
from tests.support.eventually import eventually
from tests.support.servers import NatsServer
from tests.tracker import story

STEPS = (10, 20, 30)


class Guarded:
    """An S3 server as far as deleting goes: each checkpoint has one object, and those held are nobody's to delete."""

    def __init__(self, *held: str) -> None:
        self.held = set(held)
        self.refusals = 0

    async def answer(self, request: web.Request) -> web.Response:
        """List and delete."""
        if request.method != "DELETE":
            key = f"{request.query['prefix']}weights"
            found = f"<Contents><Key>{key}</Key><Size>1</Size></Contents><IsTruncated>false</IsTruncated>"
            return web.Response(
                body=f"<ListBucketResult><Name>b</Name>{found}</ListBucketResult>", content_type="application/xml"
            )
        if request.match_info["key"].split("/")[1] not in self.held:
            return web.Response(status=204)
        self.refusals += 1
        return web.Response(status=403, body="<Error><Code>AccessDenied</Code></Error>", content_type="application/xml")


def checkpoint(step: int) -> CheckpointId:
    return CheckpointId(f"{story.trial()}-a1-s{step}")


async def deleted(client: Client) -> set[int]:
    """The steps whose checkpoints are said to be deleted."""
    said = {step: event_filter("gateway", "checkpoint", checkpoint(step), CheckpointDeleted.__name__) for step in STEPS}
    return {step for step, subject in said.items() if await last_of(client, subject) is not None}


@pytest.mark.parametrize("at_a_time", [1, 2, 100])
async def test_what_cannot_be_deleted_holds_up_nothing_and_is_tried_again(
    nats_server: NatsServer, postgres_url: str, s3: S3Settings, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    monkeypatch.setattr(collector, "MAX_DELETIONS", at_a_time)
    monkeypatch.setattr(collector, "RETRY_S", 0.1)
    server, position = Guarded(checkpoint(10)), Position()
    app = web.Application()
    app.router.add_route("*", "/{bucket}{slash:/?}{key:.*}", server.answer)
    tracker = TrackerSettings(nats_url=nats_server.url_as("tracker"), postgres_url=postgres_url)
    async with (
        TestServer(app) as guarded,
        broker.connect(nats_server.url, "test") as client,
        asyncpg.create_pool(postgres_url) as database,
        running(serve_tracker(tracker), position.run(postgres_url)),
    ):
        of: dict[str, Any] = {"trial_id": story.trial(), "experiment_id": story.EXPERIMENT, "reason": "enough"}
        wanted = [CheckpointDeletionRequested(checkpoint_id=checkpoint(step), **of) for step in STEPS]
        await story.tell(client, [story.submitted(), story.requested(), *map(story.saved, STEPS), *wanted])
        objects = ObjectStore(replace(s3, endpoint=str(guarded.make_url("")).rstrip("/")))
        async with running(Collector(client, database, objects, position).run()):

            async def others_are_deleted() -> bool:
                return await deleted(client) == {20, 30} and server.refusals > 1

            await eventually(others_are_deleted, timeout_s=20)
            server.held.clear()

            async def all_are_deleted() -> bool:
                return await deleted(client) == set(STEPS)

            await eventually(all_are_deleted, timeout_s=20)
