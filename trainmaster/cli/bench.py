"""tm bench."""

import sys
from importlib import import_module

import click

from trainmaster.cli.checkout import ROOT
from trainmaster.cli.options import json_option

NOT_BENCHMARKS = ("__init__", "platform", "report")


@click.command()
@click.argument("name", required=False)
@json_option
def bench(name: str | None, *, as_json: bool) -> None:
    """Run a benchmark; without a NAME, list them."""
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in NOT_BENCHMARKS)
    if name is None:
        click.echo("\n".join(names))
        return
    wanted = name.replace("-", "_")
    if wanted not in names:
        raise click.UsageError(f"there is no benchmark {name!r}; there are {', '.join(names)}")
    sys.path.insert(0, str(ROOT))
    import_module(f"benchmarks.{wanted}").main(as_json=as_json)
