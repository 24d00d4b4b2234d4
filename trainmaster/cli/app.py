"""The table of commands. Each is imported only when it is asked for, so that `tm` answers at once."""

import os
import signal
import sys
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from shared.errors import Rejected
from trainmaster.client.hints import command

#: name -> (module in trainmaster.cli, what it does); in the order of `tm --help`.
COMMANDS = {
    "demo": ("demo", "Start a platform, run a real search, show the result"),
    "up": ("platform", "Start the platform on this machine"),
    "down": ("platform", "Stop the platform"),
    "open": ("login", "Open the page in a browser, logged in"),
    "status": ("status", "Show the platform's processes, agents and log"),
    "submit": ("submit", "Submit an experiment"),
    "run": ("run", "Run a command on the cluster; show its output, end with its exit code"),
    "validate": ("validate", "Check an experiment file"),
    "preview": ("preview", "Show the trials that a search would have"),
    "ls": ("experiments", "List the experiments"),
    "show": ("experiments", "Show one experiment with its trials, or one trial"),
    "pause": ("experiments", "Have an experiment's trials checkpoint and wait"),
    "resume": ("experiments", "Let a paused experiment go on"),
    "cancel": ("experiments", "End an experiment or a trial"),
    "change": ("experiments", "Change an experiment's place in the queue or its search's limits"),
    "move": ("experiments", "Move an experiment in the queue, or to another project"),
    "fork": ("filing", "Submit an experiment again with changes, perhaps from a checkpoint"),
    "archive": ("filing", "Put experiments that are over out of the lists"),
    "unarchive": ("filing", "Put archived experiments back into the lists"),
    "delete": ("filing", "Delete experiments that are over, with their checkpoints"),
    "label": ("filing", "Add labels to experiments, or take them away"),
    "note": ("filing", "Write notes on an experiment; name or describe it anew"),
    "workspace": ("workspaces", "Manage workspaces"),
    "project": ("workspaces", "Manage the projects of a workspace"),
    "search": ("search", "Make a search's decisions again from the log"),
    "logs": ("trials", "Show what a trial wrote"),
    "metrics": ("metrics", "Write what a trial or an experiment reported to a file"),
    "tensorboard": ("tensorboard", "Look at experiments and trials with TensorBoard"),
    "why": ("why", "Show why a trial, an experiment or an agent is as it is"),
    "diff": ("diff", "Show what changed between two moments"),
    "tap": ("tap", "Follow the event log"),
    "checkpoint": ("checkpoints", "List and download checkpoints"),
    "export": ("export", "Write the log to a file, JSON lines or Parquet"),
    "audit": ("audit", "Verify the log, prove an event, check a proof"),
    "queue": ("cluster", "List the trials that wait for slots"),
    "agents": ("agents", "List the agents and their slots; drain, disable, enable them"),
    "agent": ("agent", "Have this machine be an agent of a platform elsewhere"),
    "pools": ("pools", "List the resource pools; set how one is scheduled"),
    "limits": ("pools", "List what workspaces are limited to; change it"),
    "usage": ("usage", "Show who used how many slot-hours"),
    "simulate": ("simulate", "Run the scheduler on a pool described in a file"),
    "whatif": ("whatif", "Replay the log under another policy or on more agents"),
    "login": ("login", "Log in at a platform of others"),
    "logout": ("login", "End a login"),
    "whoami": ("login", "Show who you are to the platform"),
    "user": ("users", "Manage users and their roles"),
    "token": ("users", "Manage tokens of programs"),
    "completion": ("completion", "Print what makes a shell complete tm's commands"),
    "webhook": ("webhooks", "Have what happens posted to addresses, signed"),
    "rebuild": ("rebuild", "Fold the read model again from the log"),
    "check": ("testing", "Check format, lint, types and import rules"),
    "test": ("testing", "Run the checks and all tests"),
    "simulate-faults": ("simulate", "Try the deciders in simulated clusters under faults"),
    "bench": ("bench", "Run a benchmark"),
}

#: The first command of each part of the help, and what the part is about.
PARTS = {
    "demo": "A platform",
    "submit": "Experiments",
    "logs": "What came of them",
    "queue": "The cluster",
    "login": "Who may do what",
    "completion": "More",
}


class LazyGroup(click.Group):
    """The commands of the table; their errors become one sentence on stderr and exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"trainmaster.cli.{COMMANDS[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        found: click.Command = getattr(module, f"{name}_" if name == "open" else name)
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete from the table, importing nothing."""
        own = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return [*own, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was asked for; name the nearest one if there is none such."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib  # only for a typing mistake

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean `{command(near[0])}`?" if near else f"see {command('--help')}"
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, importing nothing."""
        parts: dict[str, list[tuple[str, str]]] = {}
        title, width = "", max(map(len, COMMANDS))
        for name, (_, text) in COMMANDS.items():
            title = PARTS.get(name, title)
            parts.setdefault(title, []).append((name.ljust(width), text))
        for title, commands in parts.items():
            with formatter.section(title):
                formatter.write_dl(commands)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # nobody reads any more; that is no error, and the interpreter's last flush is silent
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(128 + signal.SIGPIPE) from None
        except (Rejected, OSError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trainmaster", message="trainmaster %(version)s")
def tm() -> None:
    """Trainmaster: queue, search, train, track; every fact on one log."""
