"""tm run: a command on the cluster as if it ran here: its output, its exit code."""

import json
import shlex
import signal
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

from shared.config import parse_experiment
from shared.errors import Rejected
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import print_json
from trainmaster.cli.transfer import sending
from trainmaster.client import ApiError, Client
from trainmaster.client.hints import command
from trainmaster.client.shapes import Experiment, LogLine

#: Exit codes besides the command's own, as of `docker run` and shells.
PLATFORM_FAILED = 125
DETACHED = 130
LAUNCHERS = ("plain", "deepspeed", "torch")


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--slots", type=click.IntRange(0), default=1, show_default=True, help="Slots that it gets, all or none.")
@click.option("--launcher", type=click.Choice(LAUNCHERS), help="One process, or one a slot. Not given: as needed.")
@click.option("--name", help="What people see; the command itself if not given.")
@click.option("--code", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Code folder (this one).")
@click.option("--env", "variables", metavar="KEY=VALUE", multiple=True, help="A variable that it sees.")
@click.option("--pool", help="Resource pool.")
@click.option("--priority", type=click.IntRange(1, 99), help="Lower goes first.")
@click.option("--workspace", help="Workspace that it belongs to.")
@click.option("--project", help="Project that it belongs to.")
@click.option("--restarts", type=click.IntRange(0, 1000), default=0, show_default=True, help="How often it may fail.")
@click.option("--metric", default="loss", show_default=True, help="The validation metric to show, if it reports any.")
@click.option("--detach", is_flag=True, help="Do not wait for it; print its trial.")
@data_option
@json_option
def run(
    words: tuple[str, ...], code: Path | None, data: str | None, *, detach: bool, as_json: bool, **options: Any
) -> None:
    """Run a command on the cluster with the code of this folder; show its output and end with its exit code.

    On a terminal Ctrl-C asks whether to cancel it or to leave it running. Elsewhere it goes on without you.
    """
    config = configuration(words, **options)
    try:
        parse_experiment(json.dumps(config))  # tells its mistakes even without a platform
    except Rejected as error:
        raise click.UsageError("\n  ".join([error.title, *map(str, error.problems)])) from error
    with platform_client(data) as client:
        with sending("code") as on_sent:
            experiment = client.submit(json.dumps(config).encode(), code or Path.cwd(), on_sent=on_sent)
        if detach:
            _tell_detached(client, experiment, data, as_json=as_json)
            return
        code_ = _Following(client, experiment, data, show_ranks=options["slots"] > 1, as_json=as_json).exit_code()
    raise SystemExit(code_)


def configuration(  # noqa: PLR0913 # one for each option
    words: tuple[str, ...],
    *,
    slots: int,
    launcher: str | None,
    name: str | None,
    variables: tuple[str, ...],
    pool: str | None,
    priority: int | None,
    workspace: str | None,
    project: str | None,
    restarts: int,
    metric: str,
) -> dict[str, Any]:
    """Return the experiment file that a command stands for: a search of one trial."""
    resources = {"slots_per_trial": slots, "resource_pool": pool, "priority": priority}
    whole = {
        "name": (name or shlex.join(words))[:256],
        "workspace": workspace,
        "project": project,
        "entrypoint": list(words),
        "launcher": launcher,
        "searcher": {"name": "single", "metric": metric},
        "resources": {key: value for key, value in resources.items() if value is not None},
        "max_restarts": restarts,
        "environment": {"environment_variables": list(variables)},
    }
    return {key: value for key, value in whole.items() if value is not None}


class _Following:
    """One command that runs, watched."""

    def __init__(
        self, client: Client, experiment: Experiment, data: str | None, *, show_ranks: bool, as_json: bool
    ) -> None:
        self._client = client
        self._id = experiment["id"]
        self._data = data
        self._show_ranks = show_ranks
        self._as_json = as_json
        self._num_shown = 0  # lines; an interruption does not show them again

    def exit_code(self) -> int:
        """Show the output until the trial is over; return its exit code, or why there is none."""
        click.echo(f"{self._id}: {self._client.url}/#/experiments/{self._id}", err=True)
        is_over = False
        while not is_over:
            try:
                self._show()
                is_over = True
            except KeyboardInterrupt:
                if not self._goes_on():
                    click.echo(f"it goes on: {command(f'logs -f {self._id}-1', self._data)}", err=True)
                    return DETACHED
        return self._outcome()

    def _show(self) -> None:
        """Wait for the trial, and show its output to its end."""
        begins = {"TrialRequested", "ExperimentFailed", "ExperimentCanceled"}
        events = self._client.follow_events({"experiment": self._id, "after": 0})
        begun = next(event for event in events if event["name"] in begins)
        if begun["name"] == "TrialRequested":
            lines = self._client.logs(f"{self._id}-1", follow=True, min_seq=begun["seq"])
            for number, line in enumerate(lines, start=1):
                if number > self._num_shown:
                    self._num_shown = number
                    self._print(line)

    def _print(self, line: LogLine) -> None:
        if self._as_json:
            return
        rank = f"[rank={line['rank']}] " if self._show_ranks else ""
        click.echo(f"{rank}{line['text']}", err=line["stream"] != "stdout")

    def _goes_on(self) -> bool:
        """Ask a person; without one, leave it running. Say whether there is still something to wait for."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        try:
            answer = click.prompt(
                "\ncancel it, detach from it, or go on", type=click.Choice(["cancel", "detach", "go on"]),
                default="cancel", err=True,
            )  # fmt: skip
        except (KeyboardInterrupt, click.Abort):
            return False
        if answer == "cancel":
            try:
                self._client.cancel(self._id)
            except ApiError as error:
                if error.status != HTTPStatus.CONFLICT:  # it has just ended by itself
                    raise
        return bool(answer != "detach")

    def _outcome(self) -> int:
        last = None
        ends = {"ExperimentCompleted", "ExperimentFailed", "ExperimentCanceled"}
        experiment: Experiment | None = None
        for event in self._client.follow_events({"experiment": self._id, "after": 0}):
            if event["name"] == "TrialExited":
                last = event["event"]
            if event["name"] in ends:
                experiment = self._client.experiment(self._id, min_seq=event["seq"])
                break
        assert experiment is not None  # the stream of events ends with the experiment only
        code = _code_of(None if last is None else last.get("exit_code"), experiment)
        if self._as_json:
            print_json({"experiment": experiment, "trial_id": f"{self._id}-1", "exit_code": code})
        elif experiment["state"] != "COMPLETED":
            why = command(f"why {self._id}-1", self._data)
            click.echo(f"{self._id} ended {experiment['state']}: {experiment['reason']} ({why})", err=True)
        return code


def _code_of(exit_code: int | None, experiment: Experiment) -> int:
    """Return the command's exit code; 128 and more for a signal, as shells do; 125 if it did not come to an end."""
    if experiment["state"] == "COMPLETED":
        return 0
    if experiment["state"] == "CANCELED":
        return 128 + signal.SIGINT
    if exit_code:
        return exit_code if exit_code > 0 else 128 - exit_code
    return PLATFORM_FAILED


def _tell_detached(client: Client, experiment: Experiment, data: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json(experiment)
        return
    trial = f"{experiment['id']}-1"
    click.echo(trial)
    click.echo(f"its output: {command(f'logs -f {trial}', data)}", err=True)
    click.echo(f"its page:   {client.url}/#/trials/{trial}", err=True)
