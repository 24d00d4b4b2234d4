"""What an agent is told by its environment."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from shared import ids, settings
from shared.ids import AgentId, PoolId
from shared.settings import S3Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Who this agent is, what it offers, and where the servers are."""

    nats_url: str
    s3: S3Settings
    agent_id: AgentId
    pool_id: PoolId
    address: str
    slots: str
    work_directory: Path

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the TM_… variables. Exits with a clear message when one is wrong."""
        return cls(
            nats_url=settings.nats_url(),
            s3=S3Settings.from_environment(),
            agent_id=AgentId(_token("TM_AGENT_ID", settings.required("TM_AGENT_ID"))),
            pool_id=PoolId(_token("TM_POOL", os.environ.get("TM_POOL", "default"))),
            address=_own_address(os.environ.get("TM_AGENT_ADDRESS", "127.0.0.1")),
            slots=os.environ.get("TM_SLOTS", "auto"),
            work_directory=Path(settings.required("TM_WORK_DIR")).absolute(),
        )


def _token(name: str, value: str) -> str:
    if not ids.is_token(value):
        raise SystemExit(f"{name} is {value!r}; it must be lower-case letters, digits and dashes, at most 63")
    return value


def _own_address(address: str) -> str:
    try:
        socket.create_server((address, 0)).close()
    except OSError as error:
        raise SystemExit(f"TM_AGENT_ADDRESS is {address!r}, which is no address of this machine: {error}") from error
    return address
