"""What reporting costs a training loop: the same steps bare, and with everything that the platform keeps about them.

One trial on a real platform trains in blocks of steps, by turns bare and inside `trial.steps` with a metric reported at
every step: then its sign of life, its profile and its metrics travel through agent, log and tables meanwhile. Short
block stands beside short block, each first as often as the other, so that what else the machine does meets both, and
there are many pairs. What our own threads in the process do beside the loop is measured as a whole.
"""

import json
import tempfile
from pathlib import Path

import click

from benchmarks.platform import platform
from benchmarks.report import Row, show
from trainmaster.cli.options import json_option

SCRIPT = Path(__file__).parent / "scripts" / "overhead.py"


@click.command()
@click.option("--blocks", default=800, show_default=True, help="Pairs of blocks.")
@json_option
def main(blocks: int, *, as_json: bool) -> None:
    """Measure and print the table."""
    config = {
        "name": "overhead",
        "entrypoint": f"python {SCRIPT.name}",
        "launcher": "torch",
        "searcher": {"name": "single", "metric": "loss"},
        "hyperparameters": {"blocks": blocks},
    }
    with platform("cpu:1") as running, tempfile.TemporaryDirectory() as directory:
        (Path(directory) / SCRIPT.name).write_text(SCRIPT.read_text())
        experiment_id = running.submit(config, Path(directory))
        running.wait_for(experiment_id)
        lines = running.log_lines(f"{experiment_id}-1")
    pairs = [json.loads(line) for line in lines if line.startswith("{")]
    rows: list[Row] = []
    for number, what in enumerate(("time", "processor time of the loop's thread")):
        bare = tuple(pair["bare_ms"][number] for pair in pairs)
        reported = tuple(pair["reported_ms"][number] for pair in pairs)
        difference = tuple(100 * (more / less - 1) for less, more in zip(bare, reported, strict=True))
        rows += [
            Row(what=f"{what} of a step, bare", unit="ms", values=bare),
            Row(what=f"{what} of a step, reported", unit="ms", values=reported),
            Row(what=f"{what}: the difference, of pairs", unit="%", values=difference),
        ]
    beside = tuple(pair["beside_ms"] for pair in pairs[:1])
    rows.append(Row(what="processor time of our threads beside it, a reported step", unit="ms", values=beside))
    show("what reporting costs a training loop", rows, as_json=as_json)
