"""Agents on other machines: which of those that have a user at the broker is free, and what admits a machine as one.

A token names its agent, carries a secret of 256 random bits, and the fingerprint of the deployment's certificate
authority: so the machine that joins can tell the platform from somebody between them (as kubeadm's discovery does).
"""

import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import msgspec

from shared.errors import Rejected
from shared.events import AgentAdmitted, AgentInvited
from shared.ids import AgentId

PREFIX = "tmj"
LASTS = timedelta(hours=24)
Last = AgentInvited | AgentAdmitted | None  # what was said of an agent last


class Hosts(msgspec.Struct, frozen=True, kw_only=True):
    """What agents on other machines are told; `nats_urls` has one for each that may join, credentials included."""

    certificate_authority: str
    s3_endpoint: str
    s3_bucket: str
    s3_access_key: str
    s3_secret_key: str
    nats_urls: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> "Hosts":
        """Read TM_HOSTS_FILE. Exits with a clear message."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as error:
            raise SystemExit(f"TM_HOSTS_FILE cannot be used: {error}") from error

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the authority's certificate, in hexadecimal digits."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate_authority)).hexdigest()


@dataclass(frozen=True, slots=True)
class Token:
    """A token that lets one machine join."""

    agent_id: AgentId
    secret: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{PREFIX}.{self.agent_id}.{self.secret}.{self.fingerprint}"

    @classmethod
    def parse(cls, text: str) -> "Token | None":
        """Return the token in a text; None when it is none."""
        prefix, *parts = text.split(".")
        return (
            cls(AgentId(parts[0]), parts[1], parts[2]) if prefix == PREFIX and len(parts) == 3 else None
        )  # the fields above


def invite(last: Mapping[AgentId, Last], wanted: str | None, now: datetime) -> AgentInvited:
    """Return the invitation of one machine: as the `wanted` agent, whoever was that before; else as the first that is
    free. `last` has all that may join. Raises Rejected."""
    if wanted is not None and wanted not in last:
        known = ", ".join(list(last)[:10]) or "none"
        raise Rejected(f"no agent {wanted!r} may join from another machine; these may: {known}")
    free = [AgentId(wanted)] if wanted is not None else [name for name, said in last.items() if _is_free(said, now)]
    if not free:
        reason = f"all {len(last)} agents that may join from other machines have joined or are invited"
        raise Rejected(f"{reason}; raise TM_REMOTE_AGENTS, or invite one of them again by its name")
    return AgentInvited(agent_id=free[0], expires_at=now + LASTS)


def admit(agent_id: AgentId, said: Last, machine: str, now: datetime) -> AgentAdmitted:
    """Return that a machine has joined with a token whose secret is right. Raises Rejected (401)."""
    if isinstance(said, AgentAdmitted):
        reason = f"the token has admitted {said.machine} already; ask for another one: tm agents invite"
        raise Rejected(reason, status=HTTPStatus.UNAUTHORIZED)
    if said is None or said.expires_at <= now:
        raise Rejected("the token is too old; ask for another one: tm agents invite", status=HTTPStatus.UNAUTHORIZED)
    return AgentAdmitted(agent_id=agent_id, machine=machine)


def _is_free(said: Last, now: datetime) -> bool:
    return said is None or (isinstance(said, AgentInvited) and said.expires_at <= now)
