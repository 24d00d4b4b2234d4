"""tm logs, why."""

import click

from trainmaster.cli.options import any_id, data_option, json_option, platform_client
from trainmaster.cli.output import clock, print_json, print_json_line


@click.command()
@click.argument("trial")
@click.option("-f", "--follow", is_flag=True, help="Go on until the trial is over.")
@click.option("--rank", type=int, help="Only what this rank wrote.")
@data_option
@json_option
def logs(trial: str, rank: int | None, data: str | None, *, follow: bool, as_json: bool) -> None:
    """Show what a trial wrote."""
    with platform_client(data) as client:
        for line in client.logs(any_id(client, trial), follow=follow, rank=rank):
            if as_json:
                print_json_line(line)
            else:
                click.echo(f"[rank={line['rank']}] {line['text']}")


@click.command()
@click.argument("trial")
@data_option
@json_option
def why(trial: str, data: str | None, *, as_json: bool) -> None:
    """Show the events that led to where a trial is, from submission on."""
    with platform_client(data) as client:
        whole = any_id(client, trial)
        chain = client.why(whole)
    if as_json:
        print_json({"trial_id": whole, "chain": chain})
        return
    for event in chain:
        causes = f"  (because of {', '.join(map(str, event['causes']))})" if event["causes"] else ""
        click.echo(f"{event['seq']:>6}  {clock(event['time'])}  {event['writer']:<14} {event['text']}{causes}")
