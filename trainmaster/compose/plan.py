"""What a deployment consists of, as .env says: how many agents and brokers, and under which names it is reached."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

DATABASE = "trainmaster"
S3_BUCKET = "trainmaster"
NATS_PORT = 4222
NODES = (1, 3, 5)  # an even number of brokers survives no more losses than one less
MAX_AGENTS = 10_000
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`host` is the name or address under which other machines reach this one; `names` are all that certificates hold.

    `num_agents` run in containers here, `num_remote_agents` may join from other machines.
    """

    ROUTE: ClassVar = "route"  # the brokers' user among themselves
    ROUTES_PORT: ClassVar = 6222

    num_agents: int = 2
    num_remote_agents: int = 0
    num_nats: int = 1
    host: str = "localhost"
    more_names: tuple[str, ...] = ()
    nats_port: int = NATS_PORT
    s3_port: int = 9443

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Plan":
        """Read TM_AGENTS, TM_REMOTE_AGENTS, TM_NATS_NODES, TM_HOST, TM_GATEWAY_NAMES, TM_NATS_PORT and TM_S3_PORT.
        Exits with a clear message."""
        names = environment.get("TM_GATEWAY_NAMES", "").lower().replace(",", " ").split()
        plan = cls(
            num_agents=_number(environment, "TM_AGENTS", 2, 1, MAX_AGENTS),
            num_remote_agents=_number(environment, "TM_REMOTE_AGENTS", 0, 0, MAX_AGENTS),
            num_nats=_number(environment, "TM_NATS_NODES", 1, 1, NODES[-1]),
            host=environment.get("TM_HOST", "").lower() or "localhost",
            more_names=tuple(names),
            nats_port=_number(environment, "TM_NATS_PORT", NATS_PORT, 1, 65535),
            s3_port=_number(environment, "TM_S3_PORT", 9443, 1, 65535),
        )
        if plan.num_nats not in NODES:
            raise SystemExit(f"TM_NATS_NODES is {plan.num_nats}; use 1, or 3 or 5: a majority must be able to be lost")
        for setting, given in [("TM_HOST", plan.host), *(("TM_GATEWAY_NAMES", name) for name in names)]:
            if not (_NAME.fullmatch(given) or _is_address(given)):
                raise SystemExit(f"{setting} has {given!r}, which is neither a host name nor an address")
        return plan

    @property
    def nats_nodes(self) -> list[str]:
        """The brokers: nats, nats-2 and so on."""
        return ["nats", *(f"nats-{number}" for number in range(2, self.num_nats + 1))]

    @property
    def local_agent_ids(self) -> list[str]:
        """The agents in containers of this deployment."""
        return [f"agent-{number}" for number in range(1, self.num_agents + 1)]

    @property
    def remote_agent_ids(self) -> list[str]:
        """The agents that join from other machines."""
        return [f"host-{number}" for number in range(1, self.num_remote_agents + 1)]

    @property
    def agent_ids(self) -> list[str]:
        """All agents that have a user at the broker."""
        return [*self.local_agent_ids, *self.remote_agent_ids]

    @property
    def names(self) -> list[str]:
        """The names and addresses that a certificate is good for."""
        return list(dict.fromkeys([*self.nats_nodes, "localhost", "127.0.0.1", "::1", self.host, *self.more_names]))

    @property
    def public_nats(self) -> str:
        """Where other machines find the broker: host:port."""
        return f"{_in_url(self.host)}:{self.nats_port}"

    @property
    def public_s3(self) -> str:
        """Where other machines find the object store: a URL."""
        return f"https://{_in_url(self.host)}:{self.s3_port}"


def _number(environment: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    text = environment.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and lowest <= int(text) <= highest):
        raise SystemExit(f"{name} is {text!r}; it must be a number, {lowest} to {highest}")
    return int(text)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
