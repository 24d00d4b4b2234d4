"""tm usage: who used how many slot-hours."""

import click

from trainmaster.cli.moments import Instant
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import print_json, print_table

_BY = ("user", "workspace", "project", "experiment", "pool")
_HOUR_S = 3600.0


@click.command()
@click.option("--since", type=Instant(), metavar="TIME", help="From then on: 7d ago (the default), 14:30, 2026-01-31.")
@click.option("--until", type=Instant(), metavar="TIME", help="Up to then; by default now.")
@click.option("--by", type=click.Choice(_BY), default="user", show_default=True, help="Summed by this.")
@json_option
@data_option
def usage(*, since: str | None, until: str | None, by: str, as_json: bool, data: str | None) -> None:
    """Show who held how many slots for how long, in slot-hours."""
    with platform_client(data) as client:
        found = client.usage(since=since, until=until, by=by)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            item["experiment_id"] or item["name"] or item["workspace"] or "(none)",
            item["name"] if item["experiment_id"] else "",
            item["workspace"],
            item["num_trials"],
            item["num_allocations"],
            f"{item['slot_s'] / _HOUR_S:,.2f}",
            f"{item['slot_s'] / found['slot_s']:.0%}" if found["slot_s"] else "",
        )
        for item in found["items"]
    ]
    print_table((by.upper(), "NAME", "WORKSPACE", "TRIALS", "ALLOCATIONS", "SLOT-HOURS", "SHARE"), rows)
    click.echo(f"{found['slot_s'] / _HOUR_S:,.2f} slot-hours from {found['since']} to {found['until']}")
