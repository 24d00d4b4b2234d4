"""tm demo: a platform, a real search on it, its result, and where to look next."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from trainmaster.cli.checkout import ROOT
from trainmaster.cli.experiments import print_experiment, warn_of_silence
from trainmaster.cli.follow import follow
from trainmaster.cli.login import login_address
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import figures, number, print_json
from trainmaster.client import Client
from trainmaster.client.hints import command
from trainmaster.client.shapes import Experiment
from trainmaster.embedded.directory import DataDirectory

EXPERIMENT = ROOT / "examples" / "digits" / "search.yaml"
SLOTS_PER_TRIAL = 2
MAX_SLOTS = 8


@click.command()
@click.option("--keep", is_flag=True, help="Leave the platform running.")
@data_option
@json_option
def demo(data: str | None, *, keep: bool, as_json: bool) -> None:
    """Start a platform, search the hyperparameters of a digit classifier with DeepSpeed, show the result."""
    started = time.monotonic()
    directory = DataDirectory.named(data)
    with _platform(directory, keep=keep) as stays, platform_client(str(directory.path)) as client:
        submitted = client.submit(EXPERIMENT, EXPERIMENT.parent)
        click.echo(f"experiment {submitted['id']} is submitted; look at it (the address logs you in once):", err=True)
        click.echo(f"  {login_address(client, 'experiments', submitted['id'])}", err=True)
        experiment = follow(client, submitted["id"])
        seconds = round(time.monotonic() - started, 1)
        if as_json:
            print_json(_summary(experiment, seconds, client.url))
        else:
            print_experiment(experiment, list(client.trials(experiment["id"])))
            _tell(experiment, seconds, client, directory, stays=stays)
        is_silent = warn_of_silence(client, experiment)
    if is_silent:
        raise SystemExit(1)
    if experiment["state"] != "COMPLETED":
        raise click.ClickException(f"experiment {experiment['id']} ended {experiment['state']}: {experiment['reason']}")


@contextmanager
def _platform(directory: DataDirectory, *, keep: bool) -> Iterator[bool]:
    """Use the platform that runs in the directory, or one of our own; yields whether it stays up afterwards."""
    if directory.cluster() is not None:
        yield True
        return

    from trainmaster.embedded.background import start_detached, stop_detached  # see tm up
    from trainmaster.embedded.supervisor import NotReady, Plan

    click.echo("starting the platform", err=True)
    try:
        try:
            start_detached(Plan(directory=directory, slots=(f"cpu:{_slots()}",)))
        except NotReady as error:
            raise click.ClickException(str(error)) from error
        yield keep
    finally:
        if not keep:
            click.echo("stopping the platform", err=True)
            stop_detached(directory)


def _slots() -> int:
    """Return whole gangs, one a pair of cores: at least one, even where there is a single core."""
    pairs = (os.cpu_count() or 1) // SLOTS_PER_TRIAL
    return min(max(pairs, 1) * SLOTS_PER_TRIAL, MAX_SLOTS)


def _summary(experiment: Experiment, seconds: float, url: str) -> dict[str, object]:
    best = experiment["best"]
    return {
        "experiment": experiment["id"],
        "state": experiment["state"],
        "trials": experiment["trials"]["total"],
        "best": best
        and {
            "trial": best["trial_id"],
            "metric": best["metric"],
            "hyperparameters": best["hyperparameters"],
            "checkpoint": best["checkpoint_id"],
        },
        "seconds": seconds,
        "url": url,
    }


def _tell(experiment: Experiment, seconds: float, client: Client, directory: DataDirectory, *, stays: bool) -> None:
    best = experiment["best"]
    click.echo(f"\n{experiment['trials']['completed']} trials completed in {seconds:.0f} s")
    if best is None:
        return
    metric = f"{experiment['searcher']['metric']} {number(best['metric'])} at step {best['step']}"
    click.echo(f"best: {best['trial_id']}, {metric}\n      {figures(best['hyperparameters'])}\n\nwhere to look:")
    data = str(directory.path)
    places = [
        (command("open", data), "the page, in a browser"),
        (command(f"why {best['trial_id']}", data), "every event that led to the best trial"),
        (command("tap --after 0", data), "the whole event log, live"),
        (command(f"checkpoint download {best['checkpoint_id']}", data), "the best trial's weights"),
    ]
    if not stays:
        places.insert(0, (command("up --detach", data), "the platform again, with this experiment in it"))
    width = max(len(place) for place, _ in places)
    for place, what in places:
        click.echo(f"  {place:<{width}}  {what}")
