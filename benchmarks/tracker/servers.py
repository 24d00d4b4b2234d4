"""NATS, PostgreSQL, the tracker and the gateway, without the rest of a platform."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.servers import PASSWORD, NatsServer, RunningServer, new_nats_server
from trainmaster.embedded import postgres
from trainmaster.embedded.credentials import Credentials
from trainmaster.embedded.program import HOST, free_port
from trainmaster.embedded.services import service_programs

_WANTED = ("tracker", "gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What runs; the tracker may be killed and started again."""

    nats: NatsServer
    tracker: RunningServer
    gateway: RunningServer
    postgres_port: int
    gateway_port: int

    def database(self, name: str = postgres.DATABASE) -> str:
        """The URL of a database of the server."""
        return postgres.postgres_url(self.postgres_port, PASSWORD, name)

    def api(self) -> httpx.Client:
        """A client of the gateway."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        return httpx.Client(base_url=f"http://{HOST}:{self.gateway_port}/api/v1", timeout=60, headers=headers)

    def gateway_peak_bytes(self) -> int:
        """The most memory that the gateway ever held."""
        status = Path(f"/proc/{self.gateway.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


ADMIN_TOKEN = secrets.token_hex()


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Servers]:
    """Start the servers; stop them at the end."""
    nats = new_nats_server(directory / "nats")
    ports = {"nats": nats.port, "postgres": free_port(), "gateway": free_port(), "s3": free_port()}
    users = ("tracker", "gateway", "searcher", "scheduler")
    credentials = Credentials(
        nats=dict.fromkeys(users, PASSWORD),
        postgres=PASSWORD,
        s3_access_key="none",
        s3_secret_key=secrets.token_hex(),
        grafana="",
        admin_token=ADMIN_TOKEN,
    )
    database = postgres.postgres_program(directory / "postgres", ports["postgres"], PASSWORD)
    services = {
        program.name: RunningServer(program, directory / f"{program.name}.log")
        for program in service_programs(ports, credentials, directory / "state")
        if program.name in _WANTED
    }
    (directory / "state").mkdir()
    with contextlib.ExitStack() as started:
        for server in (nats.server, RunningServer(database, directory / "postgres.log"), *services.values()):
            server.start()
            started.callback(server.stop)
        yield Servers(nats=nats, postgres_port=ports["postgres"], gateway_port=ports["gateway"], **services)
