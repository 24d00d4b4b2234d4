"""A trace in virtual time: trials come, run for as long as they are said to, and go; the policy decides who runs when.

A preempted trial stops at once and loses nothing: it goes on where it was when it runs again.
"""

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

import msgspec

from services.scheduler import scenario
from services.scheduler.measure import Figures, jain, waits
from services.scheduler.simulated import SimulatedPool
from shared.errors import Problem, Rejected

MAX_PASSES = 1000  # at one moment; a policy settles in a few


@dataclass(slots=True, kw_only=True)
class _Run:
    """One trial's story so far. `generation` tells an end that is due from one that a preemption made void."""

    spec: scenario.Trial
    left_s: float
    first_started_s: float | None = None
    started_s: float | None = None
    ended_s: float | None = None
    generation: int = 0


@dataclass(slots=True, kw_only=True)
class Trace:
    """Runs a pool's trials to the end; see `report`."""

    pool: SimulatedPool
    runs: dict[str, _Run] = field(default_factory=dict)
    num_preemptions: int = 0
    num_passes: int = 0
    busy_slot_s: float = 0.0
    usage: list[tuple[float, int]] = field(default_factory=list)  # (time, slots in use from then on)
    _ends: list[tuple[float, str, int]] = field(default_factory=list)

    def run(self, trials: tuple[scenario.Trial, ...]) -> None:
        """Let everything happen."""
        for index, spec in enumerate(trials):
            if spec.duration_s is None:
                raise Rejected(
                    "the simulation file has a mistake",
                    (
                        Problem(
                            f"trials[{index}].duration_s", "a trace (a file without steps) needs it for every trial"
                        ),
                    ),
                )
        coming = deque(sorted(trials, key=lambda spec: spec.submit_s))
        while coming or self._ends:
            due_s = min(coming[0].submit_s if coming else inf, self._ends[0][0] if self._ends else inf)
            self.pool.now_s = due_s
            while self._ends and self._ends[0][0] <= due_s:
                self._end(*heappop(self._ends))
            arrived = []
            while coming and coming[0].submit_s <= due_s:
                arrived.append(coming.popleft())
            self._submit(arrived)
            self._settle()

    def _submit(self, arrived: list[scenario.Trial]) -> None:
        self.pool.add_jobs((), arrived, "jobs")
        self.pool.add_trials(arrived, "trials")
        for spec in arrived:
            if spec.id in self.pool.trials:
                self.runs[spec.id] = _Run(spec=spec, left_s=spec.duration_s or 0.0)
                if spec.running_on is not None:
                    self._begin(spec.id)

    def _settle(self) -> None:
        for _ in range(MAX_PASSES):
            plan = self.pool.run_silent_pass()
            self.num_passes += 1
            if not plan.allocate and not plan.release:
                break
            for trial_id in plan.release:
                self._interrupt(trial_id)
            self.pool.start()
            for trial_id in plan.allocate:
                self._begin(trial_id)
        in_use = sum(sum((trial.placement or {}).values()) for trial in self.pool.trials.values())
        self.usage.append((self.pool.now_s, in_use))

    def _begin(self, trial_id: str) -> None:
        run, now_s = self.runs[trial_id], self.pool.now_s
        run.started_s = now_s
        run.first_started_s = now_s if run.first_started_s is None else run.first_started_s
        heappush(self._ends, (now_s + run.left_s, trial_id, run.generation))

    def _interrupt(self, trial_id: str) -> None:
        run = self.runs[trial_id]
        assert run.started_s is not None, "only what runs is preempted"
        ran_s = self.pool.now_s - run.started_s
        self.busy_slot_s += ran_s * run.spec.slots
        run.left_s -= ran_s
        run.generation += 1
        run.started_s = None
        self.num_preemptions += 1

    def _end(self, due_s: float, trial_id: str, generation: int) -> None:
        run = self.runs[trial_id]
        if run.generation == generation and run.started_s is not None:
            self.busy_slot_s += (due_s - run.started_s) * run.spec.slots
            run.ended_s = due_s
            self.pool.finish([trial_id], "trials")

    def figures(self) -> Figures:
        """Return the whole in numbers, times from the first submission on."""
        done = [run for run in self.runs.values() if run.ended_s is not None]
        first_s = self.first_s
        makespan_s = max((run.ended_s or 0.0 for run in done), default=0.0) - first_s
        offered = sum(agent.slots for agent in self.pool.agents.values())
        by_job: dict[str, list[_Run]] = {}
        for run in done:
            by_job.setdefault(run.spec.job_id, []).append(run)
        return Figures(
            trials=len(self.runs),
            started=sum(run.first_started_s is not None for run in self.runs.values()),
            finished=len(done),
            makespan_s=makespan_s,
            utilisation=self.busy_slot_s / (makespan_s * offered) if makespan_s * offered else 0.0,
            wait_s=waits(_waits_s(done)),
            wait_s_by_job={job_id: waits(_waits_s(runs)) for job_id, runs in by_job.items()},
            preemptions=self.num_preemptions,
            stops=self.num_preemptions,
            jain_fairness=jain([_speed(runs) for runs in by_job.values()]),
            usage=[(at_s - first_s, used, offered) for at_s, used in self.usage],
        )

    def waits_s(self) -> list[float]:
        """Return how long each trial waited for its first start."""
        return _waits_s(list(self.runs.values()))

    @property
    def first_s(self) -> float:
        """When the first trial came."""
        return min((run.spec.submit_s for run in self.runs.values()), default=0.0)

    def report(self) -> dict[str, object]:
        """Return what a person wants to know of the whole."""
        figures = msgspec.to_builtins(self.figures())
        kept = ("trials", "finished", "makespan_s", "utilisation", "wait_s", "wait_s_by_job", "preemptions")
        return {
            **{name: figures[name] for name in kept},
            "jain_fairness": figures["jain_fairness"],
            "refused": dict(self.pool.refused),
            "never_started": [trial_id for trial_id, run in self.runs.items() if run.first_started_s is None],
            "passes": self.num_passes,
        }


def _waits_s(runs: list[_Run]) -> list[float]:
    """From submission to the first start."""
    return [run.first_started_s - run.spec.submit_s for run in runs if run.first_started_s is not None]


def _speed(runs: list[_Run]) -> float:
    """A job's mean progress: what its trials needed, as a part of what they took; 1 if they never waited."""
    parts = [
        (run.spec.duration_s or 0.0) / took_s if (took_s := (run.ended_s or 0.0) - run.spec.submit_s) > 0 else 1.0
        for run in runs
    ]
    return sum(parts) / len(parts)
