"""tm logs."""

from collections.abc import Iterable, Iterator

import click

from trainmaster.cli.options import data_option, json_option, platform_client, trial_id
from trainmaster.cli.output import clock, print_json_line
from trainmaster.client.shapes import LogLine


@click.command()
@click.argument("trial")
@click.option("-f", "--follow", is_flag=True, help="Go on until the trial is over.")
@click.option("--rank", type=int, help="Only what this rank wrote.")
@data_option
@json_option
def logs(trial: str, rank: int | None, data: str | None, *, follow: bool, as_json: bool) -> None:
    """Show what a trial wrote, each line with its local time; --json has all fields."""
    with platform_client(data) as client:
        lines = client.logs(trial_id(client, trial), follow=follow, rank=rank)
        if as_json:
            for line in lines:
                print_json_line(line)
        else:
            for text in texts(lines):
                click.echo(text)


def texts(lines: Iterable[LogLine]) -> Iterator[str]:
    """Yield a trial's output as people read it, with a line between two attempts."""
    epoch: int | None = None
    for line in lines:
        if epoch not in (None, line["epoch"]):
            yield f"──── attempt {line['epoch']} ────"
        epoch = line["epoch"]
        yield f"{clock(line['time'])} [rank={line['rank']}] {line['text']}"
