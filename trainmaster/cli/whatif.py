"""tm whatif: the log's workload under another policy or on more agents."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from trainmaster.cli.checkout import ROOT
from trainmaster.cli.moments import Place
from trainmaster.cli.options import data_option, json_option, platform_client

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True)
_MORE = re.compile(r"\+?([0-9]{1,5})")


class More(click.ParamType[int]):
    """A number of agents to add: +2."""

    name = "more"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        match = _MORE.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r}: write how many agents more, such as +2", param, ctx)
        return int(match[1])


@click.command()
@click.option("--policy", metavar="POLICY", help="A type (priority, fair_share, fifo), then words for what differs: "
              "'priority preemption worst heterogeneous_fits reserve=600'.")  # fmt: skip
@click.option("--agents", type=More(), default=0, metavar="+N", help="So many agents more, like most of the pool's.")
@click.option("--slots-per-agent", type=click.IntRange(1, 1024), help="Slots of each of these.")
@click.option("--pool", metavar="NAME", help="Of this resource pool; without it the policy is every pool's.")
@click.option("--since", type=Place(), metavar="TIME|SEQ", help="Begin here, with what waited and ran then.")
@click.option("--until", type=Place(), metavar="TIME|SEQ", help="End here.")
@click.option("--chart", type=click.Path(dir_okay=False, path_type=Path, resolve_path=True), metavar="FILE.svg|png",
              help="Also draw the slots in use and the waits.")  # fmt: skip
@click.option("--log", "exported", type=_FILE, help="A log that `tm export` wrote (.jsonl), instead of the platform's.")
@data_option
@json_option
def whatif(
    chart: Path | None, exported: Path | None, data: str | None, *, as_json: bool, **asked: str | int | None
) -> None:
    """Replay the log through the scheduler under another policy or on more agents, beside what really happened.

    First every recorded decision is made again; exit code 1 says that one does not come out as it was recorded.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    words += [*(["--json"] if as_json else []), *([f"--chart={chart}"] if chart else [])]
    if exported is not None:
        with exported.open("rb") as lines:
            raise SystemExit(_ask(words, (line.rstrip(b"\n") for line in lines)))
    with platform_client(data) as client:
        raise SystemExit(_ask(words, client.raw_events({})))


def _ask(words: list[str], lines: Iterable[bytes]) -> int:
    command = [sys.executable, "-m", "services.scheduler.whatif", *words]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            process.stdin.writelines(_whole_lines(lines))
            process.stdin.close()
        except BrokenPipeError:  # it did not like the question, and said why
            pass
        return process.wait()


def _whole_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield line + b"\n"
