"""tm completion: the lines that make a shell complete tm's commands and options."""

import click
from click.shell_completion import get_completion_class

from trainmaster.cli.options import json_option
from trainmaster.cli.output import print_json

#: Where each shell reads them at its start.
PLACES = {
    "bash": '~/.bashrc:  eval "$(tm completion bash)"',
    "zsh": '~/.zshrc:  eval "$(tm completion zsh)"',
    "fish": "tm completion fish > ~/.config/fish/completions/tm.fish",
}


@click.command(epilog="\b\nInstall:\n" + "\n".join(f"  {place}" for place in PLACES.values()))
@click.argument("shell", type=click.Choice(sorted(PLACES)))
@json_option
@click.pass_context
def completion(ctx: click.Context, shell: str, *, as_json: bool) -> None:
    """Print what makes a shell complete tm: its commands, options and their values."""
    kind = get_completion_class(shell)
    assert kind is not None  # one of click's own
    script = kind(ctx.find_root().command, {}, "tm", "_TM_COMPLETE").source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
