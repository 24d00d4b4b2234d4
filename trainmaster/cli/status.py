"""tm status."""

import time
from http import HTTPStatus
from typing import Any

import click

from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import clock, print_json, print_table, size
from trainmaster.client import ApiError, Client
from trainmaster.client.shapes import Agent, ServiceStatus, SetAsideItem, SetAsideList, Status
from trainmaster.embedded.directory import DataDirectory
from trainmaster.embedded.memory import pss_bytes

MAX_SET_ASIDE = 5  # shown to people; programs get as many as the API gives at once


@click.command()
@data_option
@json_option
def status(data: str | None, *, as_json: bool) -> None:
    """Show processes with their memory, services with their place on the log, agents, slots."""
    with platform_client(data) as client:
        platform, agents, url = client.status(), client.agents(), client.url
        aside = _set_aside(client, 500 if as_json else MAX_SET_ASIDE)
    processes = _processes(DataDirectory.named(data), url)
    if as_json:
        print_json({"url": url, "processes": processes} | platform | {"agents": agents, "set_aside": aside})
    else:
        _print(url, processes, platform, agents, aside)


def _set_aside(client: Client, limit: int) -> SetAsideList | None:
    """Return what was set aside; None to those who may not look everywhere."""
    try:
        return client.set_aside(limit)
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return None


def _processes(directory: DataDirectory, url: str) -> list[dict[str, Any]]:
    """Return the programs of a platform on this machine; nothing for one elsewhere."""
    cluster = directory.cluster()
    if cluster is None or cluster["url"] != url:
        return []
    supervisor = {"pid": cluster["pid"], "restarts": 0, "started_at": cluster["since"]}
    found = {"supervisor": supervisor} | directory.processes()
    others = {name: int(process["pid"]) for name, process in found.items() if name != "supervisor"}
    memory = pss_bytes(others)
    memory["supervisor"] = pss_bytes({"supervisor": cluster["pid"]})["supervisor"] - sum(memory.values())
    return [{"name": name, **process, "pss_bytes": memory[name]} for name, process in found.items()]


def _print(
    url: str, processes: list[dict[str, Any]], platform: Status, agents: list[Agent], aside: SetAsideList | None
) -> None:
    log = platform["log"]
    click.echo(f"{url}  log: {log['events']} events, {size(log['bytes'])}, last {log['last_seq']}")
    click.echo()
    columns = ("SERVICE", "INSTANCE", "ALIVE", "POSITION", "LAG")
    print_table(columns, (_service_row(service) for service in platform["services"]))
    click.echo()
    print_table(("AGENT", "STATE", "SLOTS", "BUSY"), (_agent_row(agent) for agent in agents))
    if aside is not None:
        _print_set_aside(aside)
    if processes:
        click.echo()
        print_table(("PROCESS", "PID", "RESTARTS", "UP", "MEMORY"), (_process_row(process) for process in processes))
        click.echo(f"memory together: {size(sum(process['pss_bytes'] for process in processes))}")


def _print_set_aside(aside: SetAsideList) -> None:
    if not aside["total"]:
        return
    click.echo()
    columns = ("SET ASIDE", "SEQ", "SUBJECT", "STORED", "SIZE", "REASON")
    print_table(columns, (_aside_row(item) for item in aside["items"]))
    if aside["total"] > len(aside["items"]):
        click.echo(f"… and {aside['total'] - len(aside['items'])} more; see --json")


def _service_row(service: ServiceStatus) -> tuple[object, ...]:
    alive = "yes" if service["alive"] else "NO"
    return service["name"], service["instance"], alive, service["position"], service["lag"]


def _aside_row(item: SetAsideItem) -> tuple[object, ...]:
    stored, amount = clock(item["stored_at"]), size(item["size_bytes"])
    return item["stream"], item["seq"], item["subject"], stored, amount, item["reason"]


def _agent_row(agent: Agent) -> tuple[object, ...]:
    busy = sum(slot["trial_id"] is not None for slot in agent["slots"])
    return agent["id"], agent["state"], len(agent["slots"]), busy


def _process_row(process: dict[str, Any]) -> tuple[object, ...]:
    up_s = int(time.time() - process["started_at"])
    up = f"{up_s // 3600}:{up_s // 60 % 60:02}:{up_s % 60:02}"
    return process["name"], process["pid"], process["restarts"], up, size(process["pss_bytes"])
