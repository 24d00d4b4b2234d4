"""tm search: what can be asked of a search that is over or under way."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from trainmaster.cli.checkout import ROOT
from trainmaster.cli.options import data_option, experiment_id, json_option, platform_client

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True)


@click.group()
def search() -> None:
    """Look at a search's decisions."""


@search.command()
@click.argument("experiment")
@click.option("--log", "exported", type=_FILE, help="A log that `tm export` wrote (.jsonl), instead of the platform's.")
@data_option
@json_option
def replay(experiment: str, exported: Path | None, data: str | None, *, as_json: bool) -> None:
    """Make the search's decisions again from the log, and say whether each is what was recorded.

    Exit code 1: something does not follow.
    """
    if exported is not None:
        with exported.open("rb") as lines:
            raise SystemExit(_replay(experiment, (line.rstrip(b"\n") for line in lines), as_json=as_json))
    with platform_client(data) as client:
        whole = experiment_id(client, experiment)
        raise SystemExit(_replay(whole, client.raw_events({"experiment": whole}), as_json=as_json))


def _replay(experiment: str, lines: Iterable[bytes], *, as_json: bool) -> int:
    words = [sys.executable, "-m", "services.searcher.replay", experiment, *(["--json"] if as_json else [])]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.writelines(_whole_lines(lines))
        process.stdin.close()
        return process.wait()


def _whole_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield line + b"\n"
