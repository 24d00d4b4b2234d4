"""What a platform on one machine shows of itself: it is reached from that machine only, and tells no secret."""

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.platform import RunningPlatform, run_tm
from trainmaster.client import Client
from trainmaster.embedded.directory import DataDirectory

pytestmark = pytest.mark.timeout(240)

LISTENS = "0A"  # the state of a socket, as in /proc/net/tcp
PASSWORD = "a password of some length"
WRONG = "a password that is wrong"


def test_it_listens_on_the_loopback_only(platform: RunningPlatform) -> None:
    inodes = {inode for pid in _processes(platform) for inode in _sockets(pid)}
    found = {address for inode, address in _listening() if inode in inodes}
    assert len(found) > 5
    assert {str(address) for address in found if not address[0].is_loopback} == set()


def test_no_secret_is_in_its_output_or_on_a_command_line(platform: RunningPlatform) -> None:
    shell = {"TM_URL": platform.url, "TM_TOKEN": platform.token}
    with Client(platform.url, platform.token) as client:
        client.access.create_user("eve", full_name="", is_service=False)
        client.access.set_password("eve", PASSWORD)
        made = client.access.new_token("a secret of its own", role="viewer", days=1)["token"]
        code = client.access.login_code()["code"]
    assert run_tm("login", "--user", "eve", env=shell | {"TM_PASSWORD": WRONG}).returncode == 1
    assert run_tm("whoami", env=shell | {"TM_TOKEN": made[:-1]}).returncode == 1
    secrets = {*_texts(json.loads(DataDirectory(platform.data).credentials_file.read_text()))}
    secrets |= {PASSWORD, WRONG, made.split("_", 2)[2], code}
    assert all(len(secret) > 15 for secret in secrets)
    told = {path.name: path.read_text(errors="replace") for path in (platform.data / "logs").iterdir()}
    told |= {f"process {pid}": (Path("/proc") / pid / "cmdline").read_text() for pid in _processes(platform)}
    assert "intent appended" in told["gateway.log"]
    assert [name for name, text in told.items() if any(secret in text for secret in secrets)] == []


def _processes(platform: RunningPlatform) -> list[str]:
    """Return the supervisor's process and all that come from it."""
    parents: dict[str, str] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[path.parent.name] = path.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue  # it ended just now
    cluster = DataDirectory(platform.data).cluster()
    assert cluster is not None
    found = [str(cluster["pid"])]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _sockets(pid: str) -> Iterator[str]:
    for path in (Path("/proc") / pid / "fd").iterdir():
        try:
            name = str(path.readlink())
        except OSError:
            continue  # it was closed just now
        if name.startswith("socket:"):
            yield name.removeprefix("socket:[").removesuffix("]")


def _listening() -> Iterator[tuple[str, tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]]:
    """Yield the inode and the address of each socket of this machine that listens."""
    for table in ("tcp", "tcp6"):
        for line in (Path("/proc/net") / table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTENS:
                words, port = local.split(":")
                packed = b"".join(bytes.fromhex(words[at : at + 8])[::-1] for at in range(0, len(words), 8))
                yield rest[5], (ipaddress.ip_address(packed), int(port, 16))


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _texts(each)
