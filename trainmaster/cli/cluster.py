"""tm queue."""

import click

from trainmaster.cli.moments import as_of_option
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import clock, print_json, print_table


@click.command()
@as_of_option
@data_option
@click.option("--pool", help="Only of this resource pool.")
@json_option
def queue(data: str | None, as_of: str | int | None, *, pool: str | None, as_json: bool) -> None:
    """List the trials that wait for slots, in the order they will be served, and why."""
    with platform_client(data, as_of) as client:
        found = list(client.queue(pool=pool))
    if as_json:
        print_json(found)
        return
    rows = (
        (
            item["position"],
            item["trial_id"],
            item["experiment_name"],
            item["slots"],
            item["pool"],
            clock(item["waiting_since"]),
            clock(item["expected_start"]),
            item["reason"],
        )
        for item in found
    )
    print_table(("#", "TRIAL", "EXPERIMENT", "SLOTS", "POOL", "WAITING SINCE", "EXPECTED", "WHY"), rows)
