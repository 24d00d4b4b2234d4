"""One scene: how long decisions take after each kind of event. `python -m benchmarks.scheduler.decisions KIND POLICY
WAITING AGENTS` prints its figures as JSON."""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable

from benchmarks.scheduler.fleet import Figures, Fleet, part_filled, saturated
from services.scheduler.engine import Engine
from shared.events import GPUReleased, JobPrioritySet

TIMES = 40  # each
TRIALS_PER_JOB = 100


def measure(kind: str, policy: str, num_waiting: int, num_agents: int) -> Figures:
    """Make a scene and measure its decisions."""
    make = saturated if kind == "saturated" else part_filled
    fleet = make(policy, num_agents, num_waiting, TRIALS_PER_JOB)
    waiting, running = fleet.num_waiting, len(fleet.running)
    figures = {event: [_timed(fleet, act) for _ in range(TIMES)] for event, act in _acts(fleet).items()}
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    fleet.decide(Engine())
    full_pass_s = time.perf_counter() - started
    return Figures(
        kind=kind,
        policy=policy,
        waiting=waiting,
        running=running,
        median_ms={event: statistics.median(times) for event, times in figures.items()},
        slowest_ms=max(max(times) for times in figures.values()),
        full_pass_s=full_pass_s,
        memory_mb=memory_mb,
    )


def _acts(fleet: Fleet) -> dict[str, Callable[[], None]]:
    """What happens before the clock starts, last of all the event after which the decision is timed."""
    jobs, dice = list(fleet.sizes), fleet.dice

    def exit_one() -> None:
        fleet.end(dice.choice(list(fleet.running.values())))

    def release_one() -> None:
        exit_one()
        fleet.fold(*(event for event in fleet.decide() if isinstance(event, GPUReleased)))

    def set_priority() -> None:
        fleet.fold(JobPrioritySet(experiment_id=dice.choice(jobs), priority=dice.choice((10, 20, 42, 60, 80))))

    return {
        "trial requested": lambda: fleet.request(dice.choice(jobs)),
        "trial exited": exit_one,
        "slots released": release_one,
        "agent joined": fleet.join,
        "priority set": set_priority,
    }


def _timed(fleet: Fleet, act: Callable[[], None]) -> float:
    """Return how many milliseconds folding an event and the decision after it take; then let all come to rest."""
    act()
    started = time.perf_counter()
    decided = fleet.decide()
    took_s = fleet.last_fold_s + time.perf_counter() - started
    fleet.carry_out(decided)
    fleet.settle()
    return 1000 * took_s


if __name__ == "__main__":
    kind, policy, *numbers = sys.argv[1:]
    print(json.dumps(measure(kind, policy, *map(int, numbers))))
