"""One trial in full: where it is, its attempts, what it reported and saved, and why it failed."""

import click

from trainmaster.cli.output import clock, figures, number, print_json, print_table, size
from trainmaster.client import Client
from trainmaster.client.hints import command
from trainmaster.client.shapes import Checkpoint, EventItem, Series, Trial

MAX_ERROR_LINES = 15
MAX_CHECKPOINTS = 5
ATTEMPT_ENDS = ("TrialExited", "TrialPreempted")


def show_trial(client: Client, trial_id: str, data: str | None, *, as_json: bool) -> None:
    """Print a trial with its attempts, metrics and checkpoints; as JSON the trial alone.

    Of the past, the attempts are those that the log knew then; the metrics' series are left out, they have no past.
    """
    trial = client.trial(trial_id)
    if as_json:
        print_json(trial)
        return
    click.echo(f"{trial['id']}  {trial['state']}  {figures(trial['hyperparameters'])}")
    for name, text in _facts(trial):
        click.echo(f"  {name:<10} {text}")
    last = client.as_of_seq
    _print_attempts([event for event in client.why(trial_id)["chain"] if last is None or event["seq"] <= last])
    if last is None:
        _print_metrics(client.metrics(trial_id=trial_id, group="validation"))
    _print_checkpoints(client.checkpoints(trial_id=trial_id))
    if trial["error"]:
        lines = trial["error"].rstrip().splitlines()
        click.echo("\n" + "\n".join(lines[-MAX_ERROR_LINES:]))
    if trial["state"] == "FAILED" or trial["error"]:
        click.echo(f"\nall of its output: {command(f'logs {trial_id}', data)}")


def _facts(trial: Trial) -> list[tuple[str, str]]:
    agents = ", ".join(f"{held['agent_id']} slots {', '.join(map(str, held['slots']))}" for held in trial["agents"])
    best = f"{number(trial['metric'])} at step {trial['best_step']}" if trial["metric"] is not None else "-"
    facts = [
        ("step", number(trial["step"])),
        ("best", best),
        ("agents", agents or "-"),
        ("requested", f"{clock(trial['requested_at'])}  ({trial['origin']}, seed {trial['seed']})"),
        ("started", clock(trial["started_at"])),
        ("ended", clock(trial["ended_at"])),
        ("restarts", str(trial["restarts"])),
    ]
    return [*facts, ("reason", trial["reason"])] if trial["reason"] else facts


def _print_attempts(chain: list[EventItem]) -> None:
    attempts: dict[int, list[str]] = {}
    for event in chain:
        epoch = event["event"].get("epoch")
        if event["name"] == "GPUAllocated" and isinstance(epoch, int):
            agents = sorted({slot["agent_id"] for slot in event["event"]["members"]})
            attempts[epoch] = [clock(event["time"]), ", ".join(agents), "-", "-"]
        elif event["name"] in ATTEMPT_ENDS and epoch in attempts:
            attempts[epoch][2:] = [clock(event["time"]), event["text"]]
    if attempts:
        click.echo()
        print_table(("ATTEMPT", "BEGAN", "AGENTS", "ENDED", "HOW"), ((n, *row) for n, row in sorted(attempts.items())))


def _print_metrics(found: list[Series]) -> None:
    rows = [(series["name"], series["points"][-1][1], series["points"][-1][0]) for series in found if series["points"]]
    if rows:
        click.echo()
        print_table(("VALIDATION", "LAST", "AT"), rows)


def _print_checkpoints(found: list[Checkpoint]) -> None:
    if not found:
        return
    click.echo()
    newest = sorted(found, key=lambda checkpoint: checkpoint["saved_at"], reverse=True)
    rows = ((item["id"], item["step"], size(item["size_bytes"]), clock(item["saved_at"])) for item in newest)
    print_table(("CHECKPOINT", "STEP", "SIZE", "SAVED"), list(rows)[:MAX_CHECKPOINTS])
    if len(found) > MAX_CHECKPOINTS:
        click.echo(f"… and {len(found) - MAX_CHECKPOINTS} older")
