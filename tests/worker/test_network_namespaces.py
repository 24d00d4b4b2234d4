"""A gang over two agents that share nothing but a network: each in a network namespace, with an address of its own.

Needs root and the ip command; skipped, with the reason, where namespaces are not permitted.
"""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import pytest

from shared.events import Outcome, RendezvousOpened, TrialExited
from shared.ids import AgentId
from tests.worker.cluster import AGENT, Cluster
from tests.worker.test_stalls import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

OTHER = AgentId("a2")
BRIDGE, SPACES = "tm-test-br", ("tm-test-1", "tm-test-2")
NETWORK = "10.213.77"
TRAIN = f"""
import os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
import torch
import torch.distributed as dist
import trainmaster as tm

with tm.trial() as trial:
    dist.init_process_group("gloo")
    for step in trial.steps():
        total = torch.tensor([float(trial.rank + 1)])
        dist.all_reduce(total)
        trial.report_validation(step, loss=total)
    print("reached", os.environ["MASTER_ADDR"], "through", os.environ["GLOO_SOCKET_IFNAME"], total.item())
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A network namespace and its address."""

    name: str
    address: str


@pytest.fixture
def spaces() -> Iterator[list[Space]]:
    """Two namespaces that reach each other and us over a bridge."""
    if shutil.which("ip") is None:
        pytest.skip("there is no ip command")
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces are not permitted here: {error.stderr.strip()}")
    try:
        ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        made = []
        for number, name in enumerate(SPACES, start=2):
            ip("netns", "add", name)
            ip("link", "add", f"{name}-v", "type", "veth", "peer", "name", "data0", "netns", name)
            ip("link", "set", f"{name}-v", "master", BRIDGE, "up")
            ip("-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "data0")
            ip("-n", name, "link", "set", "data0", "up")
            ip("-n", name, "link", "set", "lo", "up")
            made.append(Space(name=name, address=f"{NETWORK}.{number}"))
        yield made
    finally:
        for name in SPACES:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        ip("link", "del", BRIDGE)


@contextlib.asynccontextmanager
async def reachable(port: int) -> AsyncIterator[None]:
    """A server of ours that listens on the loopback only, reached over the bridge."""
    connections: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while body := await reader.read(65536):
                writer.write(body)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(carry(reader, back), carry(there, writer))
        finally:
            writer.close()
            back.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.ensure_future(serve(reader, writer)))

    async with await asyncio.start_server(accept, f"{NETWORK}.1", port):
        yield
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def over_the_bridge(url: str) -> str:
    return urlunsplit(urlsplit(url)._replace(netloc=urlsplit(url).netloc.replace("127.0.0.1", f"{NETWORK}.1")))


@contextlib.asynccontextmanager
async def agent_in(tm: Cluster, space: Space, agent_id: AgentId) -> AsyncIterator[None]:
    environment = tm.environment(agent_id, slots=1) | {"TM_AGENT_ADDRESS": space.address}
    environment |= {name: over_the_bridge(environment[name]) for name in ("TM_NATS_URL", "TM_S3_ENDPOINT")}
    with (tm.directory / f"{agent_id}.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            "ip", "netns", "exec", space.name, *tm.light_agent(), env=environment, stdout=output, stderr=output
        )
        try:
            yield
        finally:
            process.terminate()
            await process.wait()


async def test_a_gang_meets_at_the_chiefs_address_through_the_agents_interfaces(
    tm: Cluster, spaces: list[Space]
) -> None:
    nats_port, s3_port = urlsplit(tm.nats.url).port, urlsplit(tm.s3.endpoint).port
    assert nats_port is not None and s3_port is not None
    await tm.submit({"main.py": TRAIN}, slots=2, max_batches=3, more="checkpoint_policy: none")
    async with (
        reachable(nats_port),
        reachable(s3_port),
        agent_in(tm, spaces[0], AGENT),
        agent_in(tm, spaces[1], OTHER),
    ):
        await tm.allocate((AGENT, (0,)), (OTHER, (0,)))
        exited = await tm.wait_for(TrialExited, timeout_s=120)
    assert exited.outcome is Outcome.COMPLETED, exited.error
    assert tm.events(RendezvousOpened)[0].address == spaces[0].address
    await tm.caught_up()
    lines = {(rank, text) for rank, _, text in tm.lines if text.startswith("reached")}
    assert lines == {(rank, f"reached {spaces[0].address} through data0 3.0") for rank in (0, 1)}
