"""How a rank is started: its number in the gang, its command line, its environment."""

import fcntl
import ipaddress
import json
import re
import shlex
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.worker import leftovers
from services.worker.allocation import Allocation, Rendezvous
from shared.config.launcher import Launcher
from shared.errors import Rejected
from shared.events import Slot, SlotKind
from shared.ids import AgentId

_PYTHON = ("python", "python3")
_SIOCGIFADDR = 0x8915
MAX_VARIABLE_BYTES = 64 * 1024  # the kernel takes 128 KiB, name included

#: Variables that the interpreter, the loader or the libraries read only when they start: no fork would see them.
_READ_AT_START = re.compile(r"(PYTHON|LD_|TORCH|PYTORCH|DS_|OMP_|GOMP_|KMP_|MKL_|OPENBLAS_).*")

#: What ranks do not inherit. There are headers of all signals, and of traces, metrics and logs.
_OURS_ALONE = re.compile(r"TM_.*|OTEL_EXPORTER_OTLP_(\w+_)?HEADERS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An agent's share of a gang: its ranks are first_rank, first_rank + 1, … on `slots` in that order. A trial without
    slots has one rank, on none."""

    first_rank: int
    world_size: int
    slots: tuple[Slot, ...]

    @property
    def ranks(self) -> range:
        """The ranks on this agent."""
        return range(self.first_rank, self.first_rank + max(1, len(self.slots)))

    @property
    def kind(self) -> SlotKind:
        """What its slots are made of; without slots it has the processor."""
        return self.slots[0].kind if self.slots else SlotKind.CPU


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a rank runs. If `warm`, argv is what follows `python`."""

    argv: tuple[str, ...]
    warm: bool


def place_of(allocation: Allocation, agent_id: AgentId, slots: Mapping[int, Slot]) -> Place:
    """Number the gang's ranks over its members in order and return this agent's."""
    first_rank = 0
    for member in allocation.members:
        if member.agent_id == agent_id:
            break
        first_rank += len(member.slots)
    return Place(
        first_rank=first_rank,
        world_size=allocation.world_size,
        slots=tuple(slots[number] for number in member.slots),
    )


def command(entrypoint: str | Sequence[str], variables: Mapping[str, str], *, may_fork: bool) -> Command:
    """Return how to run an entrypoint: in a fork of the warm interpreter where that is the same.

    It is the same for `python [-u] SCRIPT …` and `python -m MODULE …`, unless the user sets variables that only a new
    interpreter would see. Raises Rejected when the text has no words.
    """
    try:
        words = shlex.split(entrypoint) if isinstance(entrypoint, str) else list(entrypoint)
    except ValueError as error:
        raise Rejected(f"the entrypoint cannot be split into words: {error}") from error
    if not words:
        raise Rejected("the entrypoint is empty")
    if words[0] not in _PYTHON:
        return Command(argv=tuple(words), warm=False)
    argv = words[2:] if words[1:2] == ["-u"] else words[1:]
    is_program = bool(argv) and (not argv[0].startswith("-") or (argv[0] == "-m" and len(argv) > 1))
    if may_fork and is_program and not any(map(_needs_new_interpreter, variables.items())):
        return Command(argv=tuple(argv), warm=True)
    return Command(argv=(sys.executable, *words[1:]), warm=False)


def base_environment(agent_environment: Mapping[str, str], work_directory: Path) -> dict[str, str]:
    """Return what ranks inherit: the agent's own environment without the platform's settings and credentials, and
    without those for OpenTelemetry's collector, which have their place in its headers.

    Programs beside our interpreter (python, torchrun, deepspeed) are found first. What they start can be told by the
    agent's directory, a resolved path (services.worker.leftovers).
    """
    inherited = {name: value for name, value in agent_environment.items() if not _OURS_ALONE.fullmatch(name)}
    path = inherited.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return inherited | {"PATH": f"{Path(sys.executable).parent}:{path}", leftovers.VARIABLE: str(work_directory)}


def interface_variables(address: str) -> dict[str, str]:
    """Return by which network interface the ranks on this machine talk to other agents': the one that has its address.

    Left to themselves gloo and NCCL guess, by what the machine's name resolves to or by the order of interfaces.
    """
    if _is_loopback(address):
        return {}
    found = next((name for _, name in socket.if_nameindex() if _address_of(name) == address), None)
    return {} if found is None else {"GLOO_SOCKET_IFNAME": found, "NCCL_SOCKET_IFNAME": found}


def _address_of(interface: str) -> str | None:
    """Return an interface's IPv4 address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError:  # it has none
            return None
    return socket.inet_ntoa(answer[20:24])


def parent_environment(base: Mapping[str, str], kind: SlotKind) -> dict[str, str]:
    """Return the environment of the warm parent: its libraries must start no threads, and on a GPU machine ask NVML
    rather than CUDA how many GPUs there are: CUDA cannot be used in the fork of a process that has used it."""
    on_gpus = {"DS_ACCELERATOR": "cuda", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    return {**base, **_threads(), **({"DS_ACCELERATOR": "cpu"} if kind is SlotKind.CPU else on_gpus)}


def told_to_plain_scripts(hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what a script that does not use the SDK reads its hyperparameters from; nothing if they are longer than
    the kernel takes in one variable."""
    text = json.dumps(dict(hyperparameters), default=str)
    return {"TM_HYPERPARAMETERS": text} if len(text.encode()) <= MAX_VARIABLE_BYTES else {}


def environment(
    base: Mapping[str, str],
    variables: Mapping[str, str],
    place: Place,
    rank: int,
    rendezvous: Rendezvous,
    identity: Mapping[str, str],
    launcher: Launcher = Launcher.DEEPSPEED,
    num_threads: int = 1,
) -> dict[str, str]:
    """Return the whole environment of a rank. The user's variables replace defaults, ours replace the user's.

    A plain script is told nothing of ranks: some frameworks would look for others where they find RANK.
    """
    gang = {} if launcher is Launcher.PLAIN else _gang(place, rank, rendezvous)
    defaults = _defaults(place, rendezvous, launcher, num_threads)
    return {**base, **defaults, **variables, **_devices(place), **gang, **identity}


def cpus_of(place: Place, rank: int, cpus_per_slot: int | None, available: Sequence[int]) -> tuple[int, ...] | None:
    """Return which of the agent's processors a rank may run on; None: all. Slots get them in turn, and share where
    there are not enough for all."""
    if cpus_per_slot is None or not place.slots:
        return None
    first = place.slots[rank - place.first_rank].number * cpus_per_slot
    return tuple(sorted({available[(first + n) % len(available)] for n in range(cpus_per_slot)}))


def _gang(place: Place, rank: int, rendezvous: Rendezvous) -> dict[str, str]:
    gang = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank - place.first_rank),
        "WORLD_SIZE": str(place.world_size),
        "LOCAL_WORLD_SIZE": str(len(place.ranks)),
        "MASTER_ADDR": rendezvous.address,
        "MASTER_PORT": str(rendezvous.port),
    }
    if place.world_size > 1:  # rank 0 must not host the store: the chief's agent does
        gang |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    return gang


def _defaults(place: Place, rendezvous: Rendezvous, launcher: Launcher, num_threads: int) -> dict[str, str]:
    defaults = {"PYTHONUNBUFFERED": "1"}
    if place.kind is SlotKind.CPU:
        defaults["OMP_NUM_THREADS"] = str(num_threads)
        if launcher is Launcher.DEEPSPEED:
            defaults["DS_ACCELERATOR"] = "cpu"
    if launcher is not Launcher.PLAIN and _is_loopback(rendezvous.address):
        defaults["GLOO_SOCKET_IFNAME"] = "lo"
    return defaults


def _devices(place: Place) -> dict[str, str]:
    """Let each rank see all GPUs of this agent's share; LOCAL_RANK chooses, and peers reach each other directly.
    A trial without slots sees none."""
    if place.slots and place.kind is SlotKind.CPU:
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(slot.device_uuid or str(slot.number) for slot in place.slots)}


def _threads() -> dict[str, str]:
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def _needs_new_interpreter(variable: tuple[str, str]) -> bool:
    name, value = variable
    if name == "OMP_NUM_THREADS" and value.isdecimal() and int(value) > 0:
        return False  # the fork sets it
    return _READ_AT_START.fullmatch(name) is not None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
