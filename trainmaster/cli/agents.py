"""tm agents: list them, and say which of them, or of their slots, take new work."""

import click

from trainmaster.cli.durations import Duration
from trainmaster.cli.moments import as_of_option
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import clock, print_json, print_table
from trainmaster.client.hints import command
from trainmaster.client.shapes import Agent, SlotView

slot_option = click.option(
    "--slot", "slots", type=click.IntRange(0), multiple=True, metavar="N", help="Only this slot; may be repeated."
)


@click.group(invoke_without_command=True)
@as_of_option
@data_option
@json_option
@click.pass_context
def agents(ctx: click.Context, data: str | None, as_of: str | int | None, *, as_json: bool) -> None:
    """List the agents and what runs in their slots; drain, disable, enable them."""
    if ctx.invoked_subcommand is not None:
        return
    with platform_client(data, as_of) as client:
        found = client.agents()
    if as_json:
        print_json(found)
        return
    rows = (
        (
            agent["id"], agent["state"], agent["pool"], slot["number"], slot["kind"], slot["name"],
            availability(agent, slot), slot["trial_id"],
        )
        for agent in found
        for slot in agent["slots"]
    )  # fmt: skip
    print_table(("AGENT", "STATE", "POOL", "SLOT", "KIND", "NAME", "WORK", "TRIAL"), rows)


def availability(agent: Agent, slot: SlotView) -> str:
    """Return whether a slot takes work: what is said of its agent, else of itself, its GPU's health first."""
    if slot["unhealthy"]:
        return f"UNHEALTHY: {slot['unhealthy']}"
    whose = agent if agent["availability"] != "ENABLED" else slot
    until = f" until {clock(whose['ends_at'])}" if whose["ends_at"] else ""
    return f"{whose['availability']}{until}"


@agents.command()
@click.argument("agent")
@slot_option
@click.option(
    "--grace",
    type=Duration(),
    metavar="TIME",
    help="What runs there stops after this long (90s, 10m, 2h).",
)
@data_option
@json_option
def drain(agent: str, slots: tuple[int, ...], grace: float | None, data: str | None, *, as_json: bool) -> None:
    """Give an agent, or slots of it, no new work. What runs there goes on; after the grace period it checkpoints, stops
    and waits at its old place in the queue."""
    _close(agent, "drain", slots, grace, data, as_json=as_json)


@agents.command()
@click.argument("agent")
@slot_option
@data_option
@json_option
def disable(agent: str, slots: tuple[int, ...], data: str | None, *, as_json: bool) -> None:
    """Take an agent, or slots of it, out of use; what runs there checkpoints and stops now."""
    _close(agent, "disable", slots, None, data, as_json=as_json)


@agents.command()
@click.argument("agent")
@slot_option
@data_option
@json_option
def enable(agent: str, slots: tuple[int, ...], data: str | None, *, as_json: bool) -> None:
    """Let an agent, or slots of it, take work again. An agent and each of its slots are closed and opened apart."""
    _close(agent, "enable", slots, None, data, as_json=as_json)


@agents.command()
@click.argument("agent", required=False)
@data_option
@json_option
def invite(agent: str | None, data: str | None, *, as_json: bool) -> None:
    """Let another machine join, as AGENT or as the first that is free, within a day."""
    with platform_client(data) as client:
        invitation = client.access.invite_machine(agent)
    if as_json:
        print_json(invitation)
        return
    click.echo(
        f"a machine may join as {invitation['agent_id']} until {clock(invitation['expires_at'])}, with", err=True
    )
    click.echo(f"  {command('agent join')} {client.url} {invitation['token']}")


def _close(
    agent_id: str, verb: str, slots: tuple[int, ...], grace_s: float | None, data: str | None, *, as_json: bool
) -> None:
    with platform_client(data) as client:
        agent = client.close_agent(agent_id, verb, slots=slots, grace_s=grace_s)
    if as_json:
        print_json(agent)
        return
    for slot in agent["slots"]:
        click.echo(f"{agent['id']} slot {slot['number']}: {availability(agent, slot)}")
