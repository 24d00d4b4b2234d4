"""tm webhook."""

import click

from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import clock, print_json, print_table
from trainmaster.client.hints import command


@click.group()
def webhook() -> None:
    """Have what happens posted to addresses, signed (administrators)."""


@webhook.command()
@data_option
@json_option
def ls(data: str | None, *, as_json: bool) -> None:
    """List the webhooks."""
    with platform_client(data) as client:
        found = client.webhooks.all()
    if as_json:
        print_json(found)
        return
    columns = ("WEBHOOK", "STATE", "AT EVENT", "EVENTS", "MADE", "ADDRESS", "REASON")
    rows = (
        (one["id"], one["state"], one["failed_seq"], ", ".join(one["events"]) or "all", clock(one["created_at"]),
         one["url"], one["reason"])
        for one in found
    )  # fmt: skip
    print_table(columns, rows)


@webhook.command()
@click.argument("url")
@click.option("--event", "events", multiple=True, metavar="NAME", help="Only events of this name; may be repeated.")
@data_option
@json_option
def create(url: str, events: tuple[str, ...], data: str | None, *, as_json: bool) -> None:
    """Post events to URL from now on. Prints the secret that they are signed with, this once."""
    with platform_client(data) as client:
        made = client.webhooks.create(url, events)
    if as_json:
        print_json(made)
        return
    click.echo(f"webhook {made['webhook']['id']} posts to {url}; its secret:", err=True)
    click.echo(made["secret"])


@webhook.command()
@click.argument("webhook_id", metavar="WEBHOOK")
@data_option
@json_option
def rm(webhook_id: str, data: str | None, *, as_json: bool) -> None:
    """Delete a webhook."""
    with platform_client(data) as client:
        gone = client.webhooks.delete(webhook_id)
    if as_json:
        print_json(gone)
    else:
        click.echo(f"webhook {gone['id']} posts nothing more")


@webhook.command()
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option("--from", "from_seq", type=click.IntRange(0), required=True, metavar="SEQ", help="The first event.")
@data_option
@json_option
def replay(webhook_id: str, from_seq: int, data: str | None, *, as_json: bool) -> None:
    """Post again from an event on; a dead webhook is alive after that."""
    with platform_client(data) as client:
        alive = client.webhooks.replay(webhook_id, from_seq)
    if as_json:
        print_json(alive)
    else:
        click.echo(f"webhook {alive['id']} posts again from event {from_seq}: {command('webhook ls', data)}")
