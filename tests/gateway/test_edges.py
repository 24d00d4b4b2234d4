"""What the gateway says to mistakes, strangers and the impatient."""

import asyncio
import contextlib
import dataclasses
import hashlib
import io
import json
import tarfile
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.gateway import app as gateway
from services.gateway import cursor, sse
from services.gateway.access.access import Access
from services.gateway.api import Parts
from services.gateway.app import make_app, serve
from services.gateway.openapi import document
from services.gateway.position import Position
from services.gateway.pulse import Pulse
from services.gateway.routes import ROUTES
from services.gateway.webhooks.sender import Webhooks
from shared import broker, codec, log, postgres, subjects
from shared.events import CheckpointFile
from shared.ids import ExperimentId, workspace_id
from shared.objectstore import ObjectStore, checkpoint_key, manifest_key
from shared.settings import S3Settings
from tests.gateway.conftest import ADMIN_TOKEN, Api, running
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.servers import NatsServer
from tests.tracker import story
from trainmaster.embedded.program import free_port

DESCRIPTION = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
PATHS = sorted(
    {route.path for route in ROUTES if route.method == "GET" and route.answer != "text/event-stream"} - {"/readyz"}
)
PARAMETERS = [
    "limit",
    "cursor",
    "after",
    "min_seq",
    "name",
    "group",
    "rank",
    "since",
    "until",
    "as_of",
    "from",
    "to",
    "max_points",
    "trial",
    "filter",
    "sort",
    "pool",
    "x",
]
FIELDS = ["name", "label", "priority", "submitted_at", "metric", "archived", "hyperparameters.lr", "hyperparameters.\0"]
VALUES = [
    "1",
    "9" * 400,
    "1e400",
    "null",
    "true",
    '"a\\u0000"',
    "\0",
    "0001-01-01T00:00:00+14:00",
    '"9999-12-31T23:59:59-14:00"',
]
FILTERS = st.tuples(st.sampled_from(FIELDS), st.sampled_from(["=", "!=", "<", "~"]), st.sampled_from(VALUES)).map(
    " ".join
)
PLACES = st.sampled_from(["\0", 2**70, -1, 1, None, "name", "0001-01-01T00:00:00+14:00", "2026-01-01"])
CURSORS = (PLACES | st.lists(PLACES | st.lists(PLACES, max_size=2), max_size=3)).map(cursor.write)
TIMES = [
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "9999-12-31T23:59:59.999999Z",
]
TEXTS = st.text(max_size=30) | st.sampled_from(
    ["-1", "9" * 30, "\0", "a\0b", "1e9", "NaN", "' OR 1=1", "2024-01-01", "%00", "../..", *TIMES]
)
QUERIES = st.lists(
    st.tuples(st.sampled_from(PARAMETERS), TEXTS)
    | st.tuples(st.just("filter"), FILTERS)
    | st.tuples(st.just("cursor"), CURSORS),
    max_size=4,
)
IDS = st.sampled_from([story.EXPERIMENT, story.trial(), "none", "*", ">", "a.b", "%00", "x" * 300, "..", "é"])


async def test_hostile_requests_are_the_clients_mistakes(api: Api) -> None:
    await story.tell(api.log, story.whole_search())
    loop = asyncio.get_running_loop()

    async def status_of(path: str, query: list[tuple[str, str]]) -> int:
        async with api.http.get(f"{api.url}{path}", params=query) as response:
            body = await response.read()
            if response.status >= 400:
                assert json.loads(body)["status"] == response.status
            return response.status

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(path=st.sampled_from(PATHS), name=IDS, query=QUERIES)
    def attack(path: str, name: str, query: list[tuple[str, str]]) -> None:
        path = path.replace("{id}", name).replace("{path:.+}", name)
        query = [pair for pair in query if pair[0] != "min_seq" or not pair[1].isdecimal()]  # would only wait
        status = asyncio.run_coroutine_threadsafe(status_of(path, query), loop).result(30)
        assert status < 500, (path, query)

    await asyncio.to_thread(attack)


EXPERIMENTS, TRIALS = "/api/v1/experiments", f"/api/v1/experiments/{story.EXPERIMENT}/trials"
FIRST_TIME = "0001-01-01T00:00:00+14:00"
HOSTILE: list[tuple[str, dict[str, str]]] = [
    (EXPERIMENTS, {"filter": "priority = " + "9" * 400}),
    (EXPERIMENTS, {"filter": f'submitted_at > "{FIRST_TIME}"'}),
    (EXPERIMENTS, {"filter": 'submitted_at > "9999-12-31T23:59:59-14:00"'}),
    (EXPERIMENTS, {"filter": "hyperparameters.\0 = 1"}),
    (EXPERIMENTS, {"sort": "submitted_at", "cursor": cursor.write(["submitted_at", [FIRST_TIME, 1]])}),
    (EXPERIMENTS, {"sort": "submitted_at", "cursor": cursor.write(["submitted_at", ["2026-01-01T00:00:00", 1]])}),
    (EXPERIMENTS, {"as_of": FIRST_TIME}),
    ("/api/v1/diff", {"from": FIRST_TIME}),
    ("/api/v1/usage", {"until": "0001-01-01T00:00:00Z"}),
    ("/api/v1/usage/occupancy", {"until": FIRST_TIME}),
    ("/api/v1/queue", {"as_of": "0", "pool": "\0"}),
    ("/api/v1/queue", {"as_of": "0", "cursor": cursor.write([0, "\0"])}),
    ("/api/v1/workspaces", {"cursor": cursor.write("\0")}),
    (f"/api/v1/workspaces/{workspace_id('vision')}/projects", {"cursor": cursor.write("\0")}),
    (f"{TRIALS}/columns", {"cursor": cursor.write(2**70)}),
    (f"{TRIALS}/columns", {"cursor": cursor.write(2**40)}),
]


@pytest.mark.parametrize(("path", "query"), HOSTILE)
async def test_what_no_column_can_have_is_a_mistake_that_is_named(
    api: Api, path: str, query: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    seq = await story.tell(api.log, story.whole_search())
    problem = await api.get(path, 400, min_seq=seq, **query)
    assert problem["errors"] or problem["detail"]
    assert not any(record.levelname == "ERROR" for record in caplog.records), "it was checked, not caught"


TIMED = [
    ("events", "since"),
    ("events", "until"),
    ("events/raw", "since"),
    ("events/raw", "until"),
    ("usage", "since"),
    ("usage", "until"),
    ("usage/occupancy", "since"),
    ("experiments", "as_of"),
    ("diff", "from"),
    (f"trials/{story.trial()}/logs/page", "until"),
]


async def test_no_time_is_too_long_ago_or_too_far_ahead_to_be_answered(api: Api) -> None:
    await story.tell(api.log, story.whole_search())
    for path, name in TIMED:
        for time_ in TIMES:
            async with api.http.get(f"{api.url}/api/v1/{path}", params={name: time_}) as response:
                assert response.status in (200, 400), (path, name, time_, await response.text())


async def test_unknown_names_are_problems(api: Api) -> None:
    for path in ("experiments/nope", "experiments/nope/trials", "experiments/nope/metrics", "trials/nope",
                 "trials/nope/why", "trials/nope/logs", "trials/nope/metrics", "checkpoints/nope",
                 "checkpoints/nope/archive", "checkpoints/nope/files/a", "no/such/route"):  # fmt: skip
        problem = await api.get(f"/api/v1/{path}", 404)
        assert problem["status"] == 404 and problem["title"] == "Not Found", path
    await api.post("/api/v1/experiments/nope/pause", 404)
    await api.post("/api/v1/agents", 405)


async def test_every_mistake_in_a_query_is_named(api: Api) -> None:
    problem = await api.get("/api/v1/experiments", 400, limit=0, cursor="x!", order="up")
    assert {error["path"] for error in problem["errors"]} == {"limit", "cursor", "order"}


async def test_strangers_are_kept_out(api: Api) -> None:
    await api.get("/api/v1/experiments")
    for host in ("evil.example", "localhost.evil.example:80", "", "[::1"):
        async with api.http.get(f"{api.url}/api/v1/experiments", headers={"Host": host}) as response:
            assert response.status in (400, 403), host
    shown = await api.submit()
    pause = f"/api/v1/experiments/{shown['id']}/pause"
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        await api.post(pause, 403, headers=headers)
    await api.post(pause, headers={"Origin": api.url, "Sec-Fetch-Site": "same-origin"})


async def test_browsers_are_told_to_run_nothing_but_our_scripts(api: Api) -> None:
    for path in ("/", "/api/v1/experiments", "/nope", "/openapi.json"):
        async with api.http.get(f"{api.url}{path}") as response:
            assert "script-src 'self'" in response.headers["Content-Security-Policy"], path
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_reader_waits_for_what_it_knows_but_not_for_ever(api: Api) -> None:
    for number in range(5):
        seq = await story.tell(api.log, [story.submitted(ExperimentId(f"m000000{number}"))])
        page = await api.get("/api/v1/experiments", limit=1, min_seq=seq)
        assert page["items"][0]["id"] == f"m000000{number}"
    begun_s = time.monotonic()
    await api.get("/api/v1/experiments", min_seq=10**9)
    assert 1.5 < time.monotonic() - begun_s < PATIENCE_S


async def test_a_checkpoint_comes_back_as_it_was_saved(api: Api) -> None:
    bodies = {"model.pt": b"w" * 100_000, "deep/er/state.json": b"{}", "empty": b""}
    files = tuple(
        CheckpointFile(path=path, size_bytes=len(body), sha256=hashlib.sha256(body).hexdigest())
        for path, body in bodies.items()
    )
    store, checkpoint_id = ObjectStore(api.settings.s3), f"{story.trial()}-a1-s10"
    for path, body in bodies.items():
        await store.put(checkpoint_key(checkpoint_id, path), body)
    seq = await story.tell(
        api.log, [story.submitted(), story.requested(), story.allocated(), story.saved(10, files=files)]
    )
    path = f"/api/v1/checkpoints/{checkpoint_id}"
    await api.get(f"{path}/archive", 404, min_seq=seq)  # there is no manifest yet
    await store.put(manifest_key(checkpoint_id), b"{}")
    async with api.http.get(f"{api.url}{path}/archive") as response:
        body = await response.read()
        assert response.content_length == len(body)
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        found = {entry.name: tar.extractfile(entry) for entry in tar}
        assert {name: file.read() for name, file in found.items() if file is not None} == bodies
    for name, expected in bodies.items():
        async with api.http.get(f"{api.url}{path}/files/{name}") as response:
            assert await response.read() == expected
    await api.get(f"{path}/files/manifest.json", 404)


async def test_a_checkpoint_that_leads_out_of_its_folder_is_not_packed(api: Api) -> None:
    evil = (CheckpointFile(path="../../evil", size_bytes=1, sha256="ab" * 32),)
    seq = await story.tell(
        api.log, [story.submitted(), story.requested(), story.allocated(), story.saved(10, files=evil)]
    )
    await api.get(f"/api/v1/checkpoints/{story.trial()}-a1-s10/archive", 409, min_seq=seq)


async def test_a_broken_download_shows(api: Api) -> None:
    files = (CheckpointFile(path="model.pt", size_bytes=10_000, sha256="ab" * 32),)
    store, checkpoint_id = ObjectStore(api.settings.s3), f"{story.trial()}-a1-s10"
    await store.put(checkpoint_key(checkpoint_id, "model.pt"), b"too short")
    await store.put(manifest_key(checkpoint_id), b"{}")
    events = [story.submitted(), story.requested(), story.allocated(), story.saved(10, files=files)]
    seq = await story.tell(api.log, events)
    path = f"/api/v1/checkpoints/{checkpoint_id}/archive?min_seq={seq}"
    try:
        async with api.http.get(f"{api.url}{path}") as response:
            await response.read()
    except aiohttp.ClientPayloadError:
        return
    raise AssertionError("a cut download looked whole")


async def test_status_and_readiness_name_what_is_missing(api: Api) -> None:
    seq = await story.tell(api.log, [story.submitted()])
    status = await api.get("/api/v1/status", min_seq=seq)
    alive = {service["name"]: service["alive"] for service in status["services"]}
    assert alive == {"gateway": True, "tracker": True, "searcher": False, "scheduler": False}
    assert status["log"]["last_seq"] == seq
    readiness = await api.get("/readyz", 503)
    assert readiness["reasons"] == ["the searcher is not running", "the scheduler is not running"]
    assert await api.get("/healthz") == {"status": "up"}
    assert "searcher" in (await api.get("/api/v1/schema/experiment"))["properties"]


async def test_messages_that_were_set_aside_are_listed_newest_first(api: Api) -> None:
    for body in (b"no event", b"neither"):
        garbage = await api.log.jetstream().publish("tm.searcher.experiment.x.TrialRequested", body)
    seq = await story.tell(api.log, [story.submitted()])
    found = await api.get("/api/v1/set-aside", min_seq=seq, limit=1)
    assert found["total"] == 2 and [item["seq"] for item in found["items"]] == [garbage.seq]
    assert (found["items"][0]["stream"], found["items"][0]["size_bytes"]) == ("EVENTS", len(b"neither"))

    async def counted() -> bool:
        return bool((await api.get("/api/v1/status"))["set_aside"] == 2)

    await eventually(counted)


async def test_open_streams_do_not_delay_the_end(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "SHUTDOWN_TIMEOUT_S", 2 * PATIENCE_S)
    other = dataclasses.replace(api.settings, port=free_port())

    async def follow() -> aiohttp.ClientResponse | None:
        with contextlib.suppress(aiohttp.ClientConnectorError):
            return await api.http.get(f"http://127.0.0.1:{other.port}/api/v1/events/stream")
        return None

    async with running(serve(other)):
        response = await eventually(follow)
        begun_s = time.monotonic()
    assert time.monotonic() - begun_s < PATIENCE_S
    assert response is not None
    response.close()


async def test_a_client_that_does_not_read_is_dropped(
    nats_server: NatsServer, postgres_url: str, s3: S3Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "SLOW_S", 0.2)
    async with broker.connect(nats_server.url, "test") as log, postgres.pool(postgres_url, max_size=1) as database:
        for index in range(1, 41):
            await story.tell(log, [story.exited(index, error="x" * 500_000)])
        known, store = Access(log, ADMIN_TOKEN), ObjectStore(s3)
        parts = Parts(
            client=log, database=database, past=database, store=store, position=Position(), pulse=Pulse(), access=known,
            webhooks=Webhooks(log, known.secrets, ()), metrics=Position("metrics"),
        )  # fmt: skip
        app = make_app(parts, "127.0.0.1")
        runner, port = web.AppRunner(app, access_log=None), free_port()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/v1/events/stream?after=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        writer.write(f"Authorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode())
        await eventually(lambda: bool(app[sse.STREAMS]))
        await eventually(lambda: not app[sse.STREAMS])
        writer.close()
        await runner.cleanup()


def test_the_description_is_written_down() -> None:
    described = json.loads(json.dumps(document()))
    write = "python -m services.gateway.openapi > docs/reference/openapi.json"
    assert json.loads(DESCRIPTION.read_text()) == described, write


async def test_the_description_is_served(api: Api) -> None:
    served = await api.get("/openapi.json")
    assert served["openapi"].startswith("3.1") and "/api/v1/trials/{id}/why" in served["paths"]


async def test_a_request_hands_its_trace_on_to_the_event(api: Api) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    api.http.headers.update({"traceparent": traceparent})
    await api.submit()
    message = await log.last_of(api.log, subjects.event_filter(name="ExperimentSubmitted"))
    assert message is not None and codec.decode(message.body).traceparent == traceparent


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\0" * 64, b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nHost" + b": x" * 9000,
     b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
)  # fmt: skip
async def test_what_is_no_http_is_refused_and_the_next_is_answered(api: Api, sent: bytes) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer == b"" or answer.split()[1].startswith(b"4"), answer[:200]
    writer.close()
    await api.get("/api/v1/session")
