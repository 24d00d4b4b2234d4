"""What an agent is told by its environment."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared import ids, settings
from shared.events import ZERO_SLOT_LIMIT
from shared.ids import AgentId, PoolId
from shared.settings import S3Settings

MAX_LABELS = 16
MAX_ZERO_SLOT_LIMIT = 10_000
STOP_GRACE_S = 15.0
MAX_STOP_GRACE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Who this agent is, what it offers, and where the servers are."""

    nats_url: str
    s3: S3Settings
    agent_id: AgentId
    pool_id: PoolId
    address: str
    slots: str
    work_directory: Path  # resolved: what an earlier agent left there is found by it
    labels: Mapping[str, str] = field(default_factory=dict)
    zero_slot_limit: int = ZERO_SLOT_LIMIT
    upload_bytes_per_s: float | None = None  # of checkpoints
    forks_on_gpus: bool = False
    stop_grace_s: float = STOP_GRACE_S  # for trials to checkpoint and stop when this agent is told to end

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
            work_directory=Path(settings.required("TM_WORK_DIR")).resolve(),
            labels=_labels(os.environ.get("TM_AGENT_LABELS", "")),
            zero_slot_limit=_zero_slot_limit(os.environ.get("TM_ZERO_SLOT_LIMIT", str(ZERO_SLOT_LIMIT))),
            upload_bytes_per_s=_upload_limit(os.environ.get("TM_UPLOAD_MB_S")),
            forks_on_gpus=_warm_gpus(os.environ.get("TM_WARM_GPUS", "no")),
            stop_grace_s=_stop_grace(os.environ.get("TM_STOP_GRACE_S")),
        )


def _token(name: str, value: str) -> str:
    if not ids.is_token(value):
        raise SystemExit(f"{name} is {value!r}; it must be lower-case letters, digits and dashes, at most 63")
    return value


def _labels(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.replace(",", " ").split()]
    for name, _, value in pairs:
        if not (ids.is_token(name) and ids.is_token(value)) or len(pairs) > MAX_LABELS:
            raise SystemExit(f"TM_AGENT_LABELS is {text!r}; write at most {MAX_LABELS} NAME=VALUE, such as switch=s1")
    return {name: value for name, _, value in pairs}


def _zero_slot_limit(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_ZERO_SLOT_LIMIT:
        raise SystemExit(f"TM_ZERO_SLOT_LIMIT is {text!r}; use a number up to {MAX_ZERO_SLOT_LIMIT}")
    return int(text)


def _upload_limit(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0.001 <= limit <= 1e6:
        raise SystemExit(f"TM_UPLOAD_MB_S is {text!r}; use a number of megabytes a second, 0.001 to 1000000")
    return limit * 1e6


def _stop_grace(text: str | None) -> float:
    if text is None:
        return STOP_GRACE_S
    try:
        grace_s = float(text)
    except ValueError:
        grace_s = -1.0
    if not 0 <= grace_s <= MAX_STOP_GRACE_S:
        raise SystemExit(f"TM_STOP_GRACE_S is {text!r}; use a number of seconds, 0 to {MAX_STOP_GRACE_S:g}")
    return grace_s


def _warm_gpus(text: str) -> bool:
    if text not in ("yes", "no"):
        raise SystemExit(f"TM_WARM_GPUS is {text!r}; use yes or no")
    return text == "yes"


def _own_address(address: str) -> str:
    try:
        socket.create_server((address, 0)).close()
    except OSError as error:
        raise SystemExit(f"TM_AGENT_ADDRESS is {address!r}, which is no address of this machine: {error}") from error
    return address
