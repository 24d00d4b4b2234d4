"""The scheduler's decisions with 80,000 slots and up to 100,000 waiting trials, and durable gang admissions.

First part, a process for each scene: the median time from an event to the decision that it calls for, folding included,
by kind of event; how it grows with the queue; a full pass, made from nothing but the state (what a start costs); the
memory of the process. Gangs of 1 to 64 slots, jobs of 100 trials, of several priorities and weights. *Saturated*: no
slot is free that anybody could use. *Part-filled*: a third of the slots is free, and nobody who waits may use it, for
their jobs hold their max_slots.

Second part, through the real log on this machine: a scheduler process, and agents that say at once that a gang's ranks
have exited. Others say of theirs: Kueue's own tests about 42 workloads a second, Slurm 500 jobs.
"""

import json
import subprocess
import sys

import click
from rich.console import Console
from rich.table import Table

from benchmarks.scheduler import admissions
from benchmarks.scheduler.fleet import EVENTS, Figures
from trainmaster.cli.options import json_option

POLICIES = ("priority", "priority preemption", "fair_share", "fifo")
WAITING = (1_000, 3_000, 10_000, 30_000, 100_000)
AGENTS = 10_000


@click.command()
@json_option
@click.option("--waiting", type=int, multiple=True, help="Only queues of this length (repeatable).")
@click.option("--agents", type=int, default=AGENTS, show_default=True, help="Agents of 8 slots.")
@click.option("--part", type=click.Choice(["decisions", "admissions"]), help="Only this part.")
def main(*, as_json: bool, waiting: tuple[int, ...], agents: int, part: str | None) -> None:
    """Measure and print the tables."""
    if part != "admissions":
        scenes = [("saturated", policy, number) for policy in POLICIES for number in waiting or WAITING]
        scenes += [("part_filled", policy, max(waiting or WAITING)) for policy in POLICIES]
        _show([_measure(*scene, agents) for scene in scenes], agents, as_json=as_json)
    if part != "decisions":
        admissions.measure(as_json=as_json)


def _measure(kind: str, policy: str, num_waiting: int, num_agents: int) -> Figures:
    command = (sys.executable, "-m", "benchmarks.scheduler.decisions", kind, policy, str(num_waiting), str(num_agents))
    sys.stderr.write(f"{kind}, {policy}, {num_waiting:,} waiting …\n")
    figures: Figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return figures


def _show(found: list[Figures], num_agents: int, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"benchmark": "decisions of the scheduler", "scenes": found}))
        return
    title = f"decisions with {num_agents:,} agents: median ms from event to decision"
    table = Table("pool", "policy", "waiting", "running", *EVENTS, "slowest", "full pass, s", "memory, MB", title=title)
    for one in found:
        medians = [f"{one['median_ms'][event]:.2f}" for event in EVENTS]
        table.add_row(
            one["kind"], one["policy"], f"{one['waiting']:,}", f"{one['running']:,}", *medians,
            f"{one['slowest_ms']:.0f}", f"{one['full_pass_s']:.2f}", f"{one['memory_mb']:.0f}",
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 150).print(table)
