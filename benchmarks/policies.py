"""The policies side by side on the same heavy-tailed workload: who waits how long under which, in virtual time.

    python -m benchmarks.policies [--trials N] [--seed S] [--chart FILE.svg] [--json]

Searches of a team come at random (a Poisson process, more than there is room for), of three importances, with gangs of
1 to 16 slots. Their trials run for times of a heavy tail: log-normal, as measured on GPU clusters (Jeon et al. 2019,
Microsoft's Philly: the median minutes, the 95th percentile hours), or Pareto. The decisions are the scheduler's own.
"""

import math
import random
from pathlib import Path

import click
import msgspec

from services.scheduler.charts import chart
from services.scheduler.measure import table
from services.scheduler.pool import pool_policy
from services.scheduler.scenario import Agent, Job, Scenario, Trial
from services.scheduler.simulate import run_trace

POLICIES = ("fifo", "priority", "priority reserve=3600", "priority preemption", "fair_share")
NUM_AGENTS, SLOTS = 16, 8
LOAD = 1.2  # more than there is: a queue builds up
GANGS, SHARES = (1, 2, 4, 8, 16), (50, 20, 15, 12, 3)
PRIORITIES, PARTS = (20, 42, 70), (10, 70, 20)
MEDIAN_S, SIGMA = 600.0, 1.6  # log-normal: 95 % below 2.3 h
SCALE_S, ALPHA = 240.0, 1.3  # Pareto
MAX_S = 24 * 3600.0


def workload(num_trials: int, seed: int, tail: str) -> Scenario:
    """Return a trace: a search's trials come together and share its priority."""
    draw = random.Random(seed)
    jobs: list[Job] = []
    trials: list[Trial] = []
    work = 0.0
    while len(trials) < num_trials:
        at_s = work / (LOAD * NUM_AGENTS * SLOTS) + draw.expovariate(1 / 600)
        (priority,), (gang,) = draw.choices(PRIORITIES, PARTS), draw.choices(GANGS, SHARES)
        job = Job(id=f"job{len(jobs)}", priority=priority, submitted_at=at_s)
        jobs.append(job)
        for _ in range(draw.choice((1, 1, 2, 4, 8, 16))):
            duration_s = _duration_s(draw, tail)
            work += duration_s * gang
            name = f"t{len(trials)}"
            trials.append(Trial(id=name, job=job.id, slots=gang, submit_s=at_s, duration_s=duration_s))
    agents = tuple(Agent(id=f"a{number:02}", slots=SLOTS) for number in range(NUM_AGENTS))
    return Scenario(agents=agents, jobs=tuple(jobs), trials=tuple(trials))


def _duration_s(draw: random.Random, tail: str) -> float:
    if tail == "pareto":
        return min(MAX_S, SCALE_S * draw.paretovariate(ALPHA))
    return min(MAX_S, draw.lognormvariate(math.log(MEDIAN_S), SIGMA))


@click.command()
@click.option("--trials", "num_trials", type=click.IntRange(10, 20_000), default=1000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--tail", type=click.Choice(["lognormal", "pareto"]), default="lognormal", show_default=True)
@click.option("--chart", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg|png")
@click.option("--json", "as_json", is_flag=True)
def main(num_trials: int, seed: int, tail: str, path: Path | None, *, as_json: bool) -> None:
    """Run one workload under every policy."""
    asked = workload(num_trials, seed, tail)
    traces = {policy: run_trace(asked, pool_policy(policy)) for policy in POLICIES}
    figures = {policy: trace.figures() for policy, trace in traces.items()}
    if path is not None:
        title = f"{len(asked.trials)} trials with {tail} durations on {NUM_AGENTS} agents of {SLOTS} slots"
        chart.write(path, figures, {policy: trace.waits_s() for policy, trace in traces.items()}, title)
    click.echo(msgspec.json.encode(figures).decode() if as_json else "\n".join(table(figures)))


if __name__ == "__main__":
    main()
