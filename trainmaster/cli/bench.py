"""tm bench: the benchmarks beside the packages, each a command of its own."""

import sys
from importlib import import_module

import click

from trainmaster.cli.checkout import ROOT

NOT_BENCHMARKS = ("peers", "platform", "report", "virtual")


class Benchmarks(click.Group):
    """Every module and package of `benchmarks/` that has a `main` command; imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        directory = ROOT / "benchmarks"
        names = {path.stem for path in directory.glob("[!_]*.py")} | {
            path.parent.name for path in directory.glob("*/__init__.py")
        }
        return sorted(names.difference(NOT_BENCHMARKS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a benchmark."""
        name = cmd_name.replace("-", "_")
        if name not in self.list_commands(ctx):
            return None
        if str(ROOT) not in sys.path:
            sys.path.insert(0, str(ROOT))
        main: click.Command = import_module(f"benchmarks.{name}").main
        return main

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names, importing nothing."""
        with formatter.section("Benchmarks"):
            formatter.write_text(", ".join(self.list_commands(ctx)))


@click.command(cls=Benchmarks, name="bench", invoke_without_command=True)
@click.pass_context
def bench(ctx: click.Context) -> None:
    """Run a benchmark; without a name, list them."""
    if ctx.invoked_subcommand is None:
        click.echo("\n".join(Benchmarks.list_commands(bench, ctx)))
