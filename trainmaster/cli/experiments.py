"""tm ls, show, pause, resume, cancel, change, move."""

from collections.abc import Callable
from itertools import islice

import click

from trainmaster.cli.filing import ask_many
from trainmaster.cli.moments import as_of_option
from trainmaster.cli.one_trial import show_trial
from trainmaster.cli.options import data_option, experiment_id, json_option, platform_client, trial_id
from trainmaster.cli.output import clock, figures, number, print_json, print_table
from trainmaster.client import Client
from trainmaster.client.shapes import Experiment, ExperimentDetail, Trial

TRIAL_COLUMNS = ("TRIAL", "STATE", "STEP", "BEST", "AT", "RESTARTS", "ORIGIN", "HYPERPARAMETERS")


@click.command()
@click.option("-n", "--limit", default=50, show_default=True, help="At most so many, newest first.")
@click.option("--filter", "where", default="", help="Which: 'state = FAILED and metric < 0.1' (docs/api.md).")
@click.option("--sort", default="", help="By fields, a minus before one for high to low: -metric,name.")
@click.option("--show", "shown", type=click.Choice(["live", "archived", "all"]), default="live", show_default=True)
@as_of_option
@data_option
@json_option
def ls(
    data: str | None, limit: int, where: str, sort: str, shown: str, as_of: str | int | None, *, as_json: bool
) -> None:
    """List the experiments, newest first."""
    with platform_client(data, as_of) as client:
        found = list(islice(client.experiments(where=where, sort=sort, show=shown), limit))
    if as_json:
        print_json(found)
        return
    columns = ("EXPERIMENT", "NAME", "STATE", "SEARCH", "TRIALS", "BEST", "SUBMITTED")
    print_table(columns, (_line(experiment) for experiment in found))


@click.command()
@click.argument("id_", metavar="ID")
@as_of_option
@data_option
@json_option
def show(id_: str, data: str | None, as_of: str | int | None, *, as_json: bool) -> None:
    """Show an experiment with its trials, or one trial."""
    with platform_client(data, as_of) as client:
        if "-" in id_:
            show_trial(client, trial_id(client, id_), data, as_json=as_json)
            return
        whole = experiment_id(client, id_)
        experiment, trials = client.experiment(whole), list(client.trials(whole))
        if as_json:
            print_json({"experiment": experiment, "trials": trials})
        else:
            print_experiment(experiment, trials)
            if as_of is None:
                warn_of_silence(client, experiment)


def print_experiment(experiment: Experiment, trials: list[Trial]) -> None:
    """Print an experiment with the table of its trials."""
    print_table(("EXPERIMENT", "NAME", "STATE", "SEARCH", "TRIALS", "BEST", "SUBMITTED"), [_line(experiment)])
    if experiment["reason"]:
        click.echo(f"\n{experiment['reason']}")
    click.echo()
    print_table(TRIAL_COLUMNS, (trial_row(trial) for trial in trials))


def warn_of_silence(client: Client, experiment: ExperimentDetail) -> bool:
    """Say so on stderr when no trial reports what the search goes by. Return whether none reported its metric."""
    time_metric = experiment["config"]["searcher"].get("time_metric")
    is_silent = experiment["best"] is None and experiment["trials"]["completed"] > 0
    if not is_silent and time_metric in (None, "batches"):
        return False
    reported = {series["name"] for series in client.metrics(experiment_id=experiment["id"], group="validation")}
    instead = f"they reported: {', '.join(sorted(reported))}" if reported else "they reported no validation at all"
    if is_silent:
        click.echo(
            f"WARNING: no trial reported a validation of {experiment['searcher']['metric']}; {instead}", err=True
        )
    elif reported and time_metric not in reported:
        click.echo(f"WARNING: no trial reported the time_metric {time_metric}, so none is stopped; {instead}", err=True)
    return is_silent


def trial_row(trial: Trial) -> tuple[object, ...]:
    """Return a trial as a row below TRIAL_COLUMNS."""
    hyperparameters = figures(trial["hyperparameters"])
    progress = (trial["step"], trial["metric"], trial["best_step"], trial["restarts"] or None)
    return (trial["id"], trial["state"], *progress, trial["origin"], hyperparameters)


def _line(experiment: Experiment) -> tuple[object, ...]:
    searcher, trials, best = experiment["searcher"], experiment["trials"], experiment["best"]
    wanted = searcher["max_trials"] or trials["total"]
    closed = trials["completed"] + trials["failed"] + trials["canceled"]
    return (
        experiment["id"],
        experiment["name"],
        experiment["state"],
        f"{searcher['name']} on {searcher['metric']}",
        f"{closed}/{wanted}",
        f"{number(best['metric'])} ({best['trial_id']})" if best else None,
        clock(experiment["submitted_at"]),
    )


def _change(name: str, change: Callable[[Client, str], Experiment], text: str) -> click.Command:
    @click.command(name=name, help=text)
    @click.argument("experiment")
    @data_option
    @json_option
    def command(experiment: str, data: str | None, *, as_json: bool) -> None:
        with platform_client(data) as client:
            changed = change(client, experiment_id(client, experiment))
        if as_json:
            print_json(changed)
        else:
            click.echo(f"{changed['id']} is {changed['state']}")

    return command


pause = _change("pause", Client.pause, "Have an experiment's trials checkpoint, give their slots back and wait.")
resume = _change("resume", Client.resume, "Let a paused experiment go on.")


@click.command()
@click.argument("id_", metavar="ID")
@data_option
@json_option
def cancel(id_: str, data: str | None, *, as_json: bool) -> None:
    """End an experiment, or one trial of a search that goes on; what runs checkpoints and stops."""
    with platform_client(data) as client:
        is_trial = "-" in id_
        canceled = client.cancel_trial(trial_id(client, id_)) if is_trial else client.cancel(experiment_id(client, id_))
    if as_json:
        print_json(canceled)
    else:
        click.echo(f"{canceled['id']} is {'canceled' if is_trial else canceled['state']}")


@click.command()
@click.argument("experiment")
@click.option("--priority", type=click.IntRange(1, 99), help="Lower goes first.")
@click.option("--weight", type=click.FloatRange(0), help="Its part where the pool shares fairly.")
@click.option("--max-slots", type=click.IntRange(1), help="How many slots all its trials hold together, at most.")
@click.option("--max-trials", type=click.IntRange(1), help="How many trials its search has in all.")
@click.option("--max-concurrent-trials", type=click.IntRange(1), help="How many of them train at a time, at most.")
@click.option("--pool", metavar="NAME", help="Another resource pool; what runs checkpoints and waits there.")
@data_option
@json_option
def change(
    experiment: str,
    data: str | None,
    max_trials: int | None,
    max_concurrent_trials: int | None,
    *,
    as_json: bool,
    **changes: float | None,
) -> None:
    """Change an experiment while it waits or runs: its priority, weight, max_slots or pool (one at a time), or its
    search's max_trials and max_concurrent_trials."""
    limits = {"max_trials": max_trials, "max_concurrent_trials": max_concurrent_trials}
    is_search = any(limit is not None for limit in limits.values())
    if is_search and any(value is not None for value in changes.values()):
        raise click.UsageError("change the search's limits and the place in the queue one after the other")
    with platform_client(data) as client:
        whole = experiment_id(client, experiment)
        changed = client.change_search(whole, **limits) if is_search else client.change_job(whole, **changes)
    if is_search and not as_json:
        click.echo(f"{changed['id']}: the search was changed")
    else:
        _tell_changed(changed, as_json=as_json)


@click.command()
@click.argument("experiment")
@click.option("--ahead-of", metavar="OTHER", help="Directly ahead of this experiment, with its priority.")
@click.option("--behind", metavar="OTHER", help="Directly behind this experiment, with its priority.")
@click.option("--workspace", metavar="NAME", help="Into this workspace, when it is over; without --project, into none.")
@click.option("--project", metavar="NAME", help="Into this project, of its workspace or of --workspace.")
@data_option
@json_option
def move(
    experiment: str,
    data: str | None,
    ahead_of: str | None,
    behind: str | None,
    workspace: str | None,
    project: str | None,
    *,
    as_json: bool,
) -> None:
    """Move an experiment in the queue, directly ahead of another or behind it; or to another project."""
    if workspace is not None or project is not None:
        if ahead_of or behind:
            raise click.UsageError("move it in the queue and to a project one after the other")
        ask_many("move", (experiment,), data, as_json=as_json, workspace=workspace, project=project or "")
        return
    with platform_client(data) as client:
        others = {"ahead_of": ahead_of, "behind": behind}
        found = {name: None if other is None else experiment_id(client, other) for name, other in others.items()}
        changed = client.change_job(experiment_id(client, experiment), **found)
    _tell_changed(changed, as_json=as_json)


def _tell_changed(changed: Experiment, *, as_json: bool) -> None:
    if as_json:
        print_json(changed)
    else:
        click.echo(f"{changed['id']}: the queue was changed")
