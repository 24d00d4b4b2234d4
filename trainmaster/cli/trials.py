"""tm logs."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus

import click

from trainmaster.cli.options import data_option, json_option, platform_client, trial_id
from trainmaster.cli.output import clock, print_json_line
from trainmaster.client import ApiError, Client
from trainmaster.client.shapes import LogLine

ENDS = ("ExperimentCompleted", "ExperimentFailed", "ExperimentCanceled")


@click.command()
@click.argument("trial")
@click.option("-f", "--follow", is_flag=True, help="Go on until the trial is over.")
@click.option("--rank", type=int, help="Only what this rank wrote.")
@data_option
@json_option
def logs(trial: str, rank: int | None, data: str | None, *, follow: bool, as_json: bool) -> None:
    """Show what a trial wrote, each line with its local time; --json has all fields.

    With -f a trial may also be one that its experiment has yet to begin.
    """
    with platform_client(data) as client:
        id_ = trial_id(client, trial)
        lines = _followed(client, id_, rank) if follow else client.logs(id_, follow=False, rank=rank)
        if as_json:
            for line in lines:
                print_json_line(line)
        else:
            for text in texts(lines):
                click.echo(text)


def _followed(client: Client, trial: str, rank: int | None) -> Iterator[LogLine]:
    try:
        yield from client.logs(trial, follow=True, rank=rank)
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        if (seq := _requested(client, trial)) is None:
            raise
        yield from client.logs(trial, follow=True, rank=rank, min_seq=seq)


def _requested(client: Client, trial: str) -> int | None:
    """Wait for the event that requests a trial and return its sequence; None if the experiment ends without it."""
    for event in client.follow_events({"experiment": trial.partition("-")[0], "after": 0}):
        if event["name"] == "TrialRequested" and event["event"]["trial_id"] == trial:
            return event["seq"]
        if event["name"] in ENDS:
            return None
    return None


def texts(lines: Iterable[LogLine]) -> Iterator[str]:
    """Yield a trial's output as people read it, with a line between two attempts."""
    epoch: int | None = None
    for line in lines:
        if epoch not in (None, line["epoch"]):
            yield f"──── attempt {line['epoch']} ────"
        epoch = line["epoch"]
        yield f"{clock(line['time'])} [rank={line['rank']}] {line['text']}"
