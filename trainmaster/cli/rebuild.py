"""tm rebuild."""

import os
import subprocess
import sys
import time
from datetime import datetime

import click

from shared.subjects import TRACKER
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import print_json
from trainmaster.client import Client
from trainmaster.client.hints import command
from trainmaster.embedded.directory import DataDirectory

CATCH_UP_S = 600.0
POLL_S = 0.25
NOTICE_S = 1.5  # until the tracker's beats are about the new read model


@click.command()
@data_option
@json_option
def rebuild(data: str | None, *, as_json: bool) -> None:
    """Empty the read model and have the tracker fold it again from the log; returns when it has caught up."""
    with platform_client(data) as client:
        environment = os.environ | ({} if "TM_POSTGRES_URL" in os.environ else _settings(data, client.url))
        words = (sys.executable, "-P", "-m", "services.tracker", "rebuild")
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
            raise click.ClickException(f"the read model could not be rebuilt: {last}")
        started = time.time()
        last_seq = client.status()["log"]["last_seq"]
        _wait_caught_up(client, last_seq, started, data)
    duration_s = time.time() - started
    if as_json:
        print_json({"last_seq": last_seq, "duration_s": round(duration_s, 3)})
    else:
        click.echo(f"the read model is rebuilt: {last_seq} events folded in {duration_s:.1f} s")


def _wait_caught_up(client: Client, last_seq: int, started: float, data: str | None) -> None:
    while time.time() - started < CATCH_UP_S:
        for service in client.status()["services"]:
            heard, position = service["last_heard"], service["position"]
            if service["name"] != TRACKER or heard is None or position is None:
                continue
            if datetime.fromisoformat(heard).timestamp() > started + NOTICE_S and position >= last_seq:
                return
        time.sleep(POLL_S)
    raise click.ClickException(f"the tracker has not caught up in {CATCH_UP_S:.0f} s; see {command('status', data)}")


def _settings(data: str | None, url: str) -> dict[str, str]:
    """Return the tracker's settings in the platform at `url`, which must be one on this machine."""
    directory = DataDirectory.named(data)
    cluster = directory.cluster()
    if cluster is None or cluster["url"] != url:
        raise click.ClickException(
            f"{url} is no platform of {directory.path}: only the tracker's own machine reaches its database."
            " There, with compose: docker compose run --rm tracker python -P -m services.tracker rebuild"
        )

    from trainmaster.embedded.credentials import ensure_credentials  # only this command needs it
    from trainmaster.embedded.services import service_programs

    credentials = ensure_credentials(directory.credentials_file, ())
    programs = service_programs(directory.ports(), credentials, directory.path / "state")
    return dict(next(program.env for program in programs if program.name == "tracker"))
