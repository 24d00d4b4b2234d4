"""What uploads that were cut off leave in the object store goes, once nobody can complete it; nothing else does."""

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.gateway.position import Position
from services.gateway.sweeper import Sweeper
from shared.events import CheckpointDeleted, GPUReleased, ReleaseReason
from shared.ids import PoolId, allocation_id
from shared.log import decode_recorded, last_of
from shared.objectstore import CHECKPOINTS, ObjectStore, checkpoint_key, manifest_key
from shared.settings import S3Settings
from shared.subjects import event_filter
from tests.gateway.conftest import Api, running
from tests.gateway.test_retention import Story
from tests.support.fixtures import on_each_store


@pytest.fixture
async def parts(api: Api) -> AsyncIterator[tuple[asyncpg.Pool, Position]]:
    """The read model, and how far it is."""
    position = Position()
    async with asyncpg.create_pool(api.settings.postgres_url) as pool, running(position.run(api.settings.postgres_url)):
        yield pool, position


async def left_behind(story: Story, objects: ObjectStore, step: int) -> str:
    """Objects of a checkpoint that nobody speaks of."""
    checkpoint_id = f"{story.trial_id}-a1-s{step}"
    await objects.put(checkpoint_key(checkpoint_id, "state/rank-0"), b"12345")
    await objects.put(checkpoint_key(checkpoint_id, "state/rank-1"), b"678")
    return checkpoint_id


async def release(story: Story) -> None:
    allocation = allocation_id(story.trial_id, 1)
    reason = ReleaseReason.AGENT_LOST
    await story.say(
        GPUReleased(
            pool_id=PoolId("default"), allocation_id=allocation, trial_id=story.trial_id, epoch=1, reason=reason
        )
    )


async def names(objects: ObjectStore) -> set[str]:
    return {name async for page in objects.folders(CHECKPOINTS) for name in page}


@on_each_store
async def test_what_was_never_completed_goes_when_nobody_can_complete_it(
    api: Api, parts: tuple[asyncpg.Pool, Position], store: S3Settings
) -> None:
    story, objects = Story(api, (await api.submit())["id"]), ObjectStore(store)
    sweeper, patient = (Sweeper(api.log, parts[0], objects, parts[1], grace_s=grace_s) for grace_s in (0, 3600))
    await story.begin()
    orphan = await left_behind(story, objects, 50)
    saved = await story.save(40)
    await objects.put(manifest_key(saved), b"{}")
    for stranger in ("another-1-a1-s5", "notes"):
        await objects.put(checkpoint_key(stranger, "x"), b"1")
    everything = {orphan, saved, "another-1-a1-s5", "notes"}
    await sweeper.sweep()
    assert await names(objects) == everything, "its slots are not free: it may still be uploading"
    await release(story)
    await sweeper.sweep()
    assert await names(objects) == everything, "the trial goes on"
    await story.end()
    await patient.sweep()
    assert await names(objects) == everything, "it has ended just now"
    for _ in range(2):
        await sweeper.sweep()
        assert await names(objects) == everything - {orphan}
    found = await last_of(api.log, event_filter("gateway", "checkpoint", orphan, CheckpointDeleted.__name__))
    assert found is not None
    deleted = decode_recorded(found).event
    assert isinstance(deleted, CheckpointDeleted) and deleted.size_bytes == 8


@on_each_store
async def test_a_deletion_that_was_cut_off_is_carried_out(
    api: Api, parts: tuple[asyncpg.Pool, Position], store: S3Settings
) -> None:
    """The gateway died between the request and the first file, or somewhere among the files."""
    story, objects = Story(api, (await api.submit())["id"]), ObjectStore(store)
    sweeper = Sweeper(api.log, parts[0], objects, parts[1], grace_s=0)
    await story.begin()
    await release(story)
    await story.end()
    for _ in range(2):
        orphan = await left_behind(story, objects, 50)
        await sweeper.sweep()
        assert await names(objects) == set()
    assert await last_of(api.log, event_filter("gateway", "checkpoint", orphan, CheckpointDeleted.__name__))


class Uploads:
    """An S3 server as AWS has it, as far as uploads in parts go: it lists all of a prefix, one a page."""

    def __init__(self, *keys: str) -> None:
        self.begun = sorted(keys)

    def _page(self, marker: str) -> str:
        left = [key for key in self.begun if key > marker]
        shown = "".join(f"<Upload><Key>{key}</Key><UploadId>id-of-{key}</UploadId></Upload>" for key in left[:1])
        more = str(len(left) > 1).lower()
        return f"<ListMultipartUploadsResult>{shown}<IsTruncated>{more}</IsTruncated></ListMultipartUploadsResult>"

    async def answer(self, request: web.Request) -> web.Response:
        """Answer what the sweeper asks."""
        if request.method == "DELETE":
            key = request.match_info["key"]
            assert request.query["uploadId"] == f"id-of-{key}"
            if key not in self.begun:
                return web.Response(
                    status=404, body="<Error><Code>NoSuchUpload</Code></Error>", content_type="text/xml"
                )
            self.begun.remove(key)
            return web.Response(status=204)
        if "uploads" in request.query:
            return web.Response(body=self._page(request.query.get("key-marker", "")), content_type="application/xml")
        return web.Response(body="<ListBucketResult><Name>b</Name></ListBucketResult>", content_type="application/xml")


async def test_parts_of_uploads_that_were_cut_off_are_aborted(api: Api, parts: tuple[asyncpg.Pool, Position]) -> None:
    story = Story(api, (await api.submit())["id"])
    await story.begin()
    ours = [checkpoint_key(f"{story.trial_id}-a1-s70", name) for name in ("a", "b")]
    others = [checkpoint_key("another-1-a1-s5", "big")]
    server = Uploads(*ours, *others)
    app = web.Application()
    app.router.add_route("*", "/{bucket}{slash:/?}{key:.*}", server.answer)
    async with TestServer(app) as running_server:
        url = str(running_server.make_url("")).rstrip("/")
        objects = ObjectStore(replace(api.settings.s3, endpoint=url))
        sweeper = Sweeper(api.log, parts[0], objects, parts[1], grace_s=0)
        await sweeper.sweep()
        assert server.begun == sorted(ours + others), "they may still go on"
        await release(story)
        await story.end()
        (found,) = [page async for page in objects.uploads(CHECKPOINTS)]
        await sweeper.sweep()
        assert server.begun == others
        await objects.abort(found[-1])  # may be repeated
