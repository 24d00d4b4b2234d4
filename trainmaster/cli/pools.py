"""tm pools, limits: how resource pools are scheduled, and what workspaces may have."""

from typing import Any, cast

import click

from trainmaster.cli.durations import Duration
from trainmaster.cli.moments import as_of_option
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import print_json, print_table
from trainmaster.client.shapes import Limit, Policy, Pool


@click.group(invoke_without_command=True)
@as_of_option
@data_option
@json_option
@click.pass_context
def pools(ctx: click.Context, data: str | None, as_of: str | int | None, *, as_json: bool) -> None:
    """List the resource pools, or set how one is scheduled."""
    if ctx.invoked_subcommand is not None:
        return
    with platform_client(data, as_of) as client:
        found = client.pools()
    if as_json:
        print_json(found)
    else:
        _print_pools(found)


@pools.command("set")
@click.argument("pool")
@click.option("--policy", "type_", type=click.Choice(["priority", "fair_share", "fifo"]), help="By which rules.")
@click.option("--preemption/--no-preemption", default=None, help="May running trials be asked to stop for others.")
@click.option("--fitting", type=click.Choice(["best", "worst"]), help="best packs agents, worst spreads over them.")
@click.option("--heterogeneous-fits/--no-heterogeneous-fits", default=None, help="Gangs on agents of unequal size.")
@click.option("--reserve-after", type=Duration(), metavar="TIME", help="Keep agents for a gang that waited so long.")
@click.option("--no-reserve", is_flag=True, help="Keep agents for nobody.")
@click.option("--default-priority", type=click.IntRange(1, 99), help="Of experiments that name none.")
@data_option
@json_option
def set_pool(pool: str, type_: str | None, data: str | None, *, no_reserve: bool, as_json: bool, **values: Any) -> None:
    """Set how a pool is scheduled, for what waits and what runs; what is not given stays as it is."""
    given = {name: value for name, value in values.items() if value is not None}
    if "reserve_after" in given:
        given["reserve_after_s"] = given.pop("reserve_after")
    if type_ is not None:
        given["type"] = type_
    if type_ == "fair_share":  # which is nothing without preemption
        given.setdefault("preemption", True)
    if no_reserve:
        given["reserve_after_s"] = None
    if not given:
        raise click.UsageError("say what to set; see --help")
    with platform_client(data) as client:
        before = next((found for found in client.pools() if found["id"] == pool), None)
        policy = (dict(before["policy"]) if before else {}) | given
        changed = client.configure_pool(pool, cast("Policy", policy))
    if as_json:
        print_json(changed)
    else:
        _print_pools([changed])


def _print_pools(found: list[Pool]) -> None:
    columns = ("POOL", "POLICY", "AGENTS", "SLOTS", "HELD", "CLOSED", "WAITING", "RUNNING")
    rows = (
        (
            pool["id"], describe(pool), pool["agents"], pool["slots"], pool["held"], pool["closed"], pool["waiting"],
            pool["running"],
        )
        for pool in found
    )  # fmt: skip
    print_table(columns, rows)


def describe(pool: Pool) -> str:
    """Return a policy in words; one that nobody set for this pool is the default."""
    policy = pool["policy"]
    words = [policy["type"], *(["preemption"] if policy["preemption"] else []), f"{policy['fitting']} fit"]
    words += ["unequal agents"] if policy["heterogeneous_fits"] else []
    words += [f"reserve after {policy['reserve_after_s']:g} s"] if policy["reserve_after_s"] is not None else []
    words += [f"default priority {policy['default_priority']}"] if policy["default_priority"] != 42 else []
    return ", ".join(words) + ("" if pool["is_configured"] else " (default)")


@click.group(invoke_without_command=True)
@as_of_option
@data_option
@json_option
@click.pass_context
def limits(ctx: click.Context, data: str | None, as_of: str | int | None, *, as_json: bool) -> None:
    """List what workspaces are limited to, or change it."""
    if ctx.invoked_subcommand is not None:
        return
    with platform_client(data, as_of) as client:
        _tell(client.limits(), as_json=as_json)


workspace_option = click.option("--workspace", metavar="NAME", help="This workspace; '' for experiments without one.")
all_option = click.option("--all", "is_for_all", is_flag=True, help="Every workspace, each by itself.")


@limits.command("set")
@workspace_option
@all_option
@click.option("--max-slots", type=click.IntRange(0), help="How many slots its trials hold together, at most.")
@click.option("--best-priority", type=click.IntRange(1, 99), help="The lowest priority number allowed.")
@data_option
@json_option
def set_limit(
    workspace: str | None,
    max_slots: int | None,
    best_priority: int | None,
    data: str | None,
    *,
    is_for_all: bool,
    as_json: bool,
) -> None:
    """Set a workspace's limit, or that of every workspace; it replaces the one before. What runs beyond it goes on."""
    _check_scope(workspace, is_for_all=is_for_all)
    if max_slots is None and best_priority is None:
        raise click.UsageError("give --max-slots, --best-priority or both")
    with platform_client(data) as client:
        _tell(client.set_limit(workspace, max_slots=max_slots, best_priority=best_priority), as_json=as_json)


@limits.command("clear")
@workspace_option
@all_option
@data_option
@json_option
def clear_limit(workspace: str | None, data: str | None, *, is_for_all: bool, as_json: bool) -> None:
    """Lift a limit."""
    _check_scope(workspace, is_for_all=is_for_all)
    with platform_client(data) as client:
        _tell(client.clear_limit(workspace), as_json=as_json)


def _check_scope(workspace: str | None, *, is_for_all: bool) -> None:
    if (workspace is None) is not is_for_all:
        raise click.UsageError("give either --workspace NAME or --all")


def _tell(found: list[Limit], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows = (
        ("(each)" if limit["workspace"] is None else limit["workspace"] or "(none)", limit["max_slots"], limit["held"],
         limit["best_priority"])
        for limit in found
    )  # fmt: skip
    print_table(("WORKSPACE", "MAX SLOTS", "HELD", "BEST PRIORITY"), rows)
