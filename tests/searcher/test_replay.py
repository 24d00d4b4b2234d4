"""A search's decisions follow from its log, for every method, whatever the parallelism and after any restart."""

import json
import math
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.virtual import EXPERIMENT, VirtualCluster
from services.searcher import suggestions
from services.searcher.decide import decide, question
from services.searcher.reproduction import Compute, Findings, Reproduction
from services.searcher.snapshot import snapshots
from services.searcher.state import State, evolve
from shared import codec
from shared.config import Experiment, parse_experiment
from shared.decisions import Memory
from shared.events import (
    ExperimentFailed,
    SearchLimitsSet,
    TrialCanceled,
    TrialClosed,
    TrialExtended,
    TrialRequested,
    TrialStopped,
)
from shared.ids import ExperimentId
from shared.log import Recorded
from tests.simulation.cluster import Cluster

NUM_EPOCHS = 9
RUNGS = "divisor: 3, max_trials: 12"
LENGTH, TIME = "max_length: {epochs: 9}", "max_time: 9, time_metric: epochs"
METHODS = {
    "single": "{name: single, metric: loss}",
    "random": "{name: random, metric: loss, max_trials: 12, max_concurrent_trials: N}",
    "grid": "{name: grid, metric: loss, max_concurrent_trials: N}",
    "bayesian": "{name: bayesian, metric: loss, max_trials: 14, max_concurrent_trials: N, initial_trials: 4}",
    "bayesian_asha": f"{{name: bayesian_asha, metric: loss, {RUNGS}, max_concurrent_trials: N, initial_trials: 4,"
    f" {LENGTH}}}",
    "bayesian_asha by prediction": f"{{name: bayesian_asha, metric: loss, {RUNGS}, max_concurrent_trials: N,"
    f" initial_trials: 4, judge_by: prediction, {LENGTH}}}",
    "bayesian_asha by prediction in time": f"{{name: bayesian_asha, metric: loss, {RUNGS}, max_concurrent_trials: N,"
    f" initial_trials: 4, judge_by: prediction, {TIME}}}",
    "bayesian_asha in time": f"{{name: bayesian_asha, metric: loss, {RUNGS}, max_concurrent_trials: N,"
    f" initial_trials: 4, {TIME}}}",
    "async_halving": f"{{name: asha, metric: loss, num_rungs: 3, {RUNGS}, max_concurrent_trials: N, {TIME}}}",
    "promotion": f"{{name: asha, metric: loss, num_rungs: 3, {RUNGS}, max_concurrent_trials: N, {LENGTH}}}",
    "stop_once": f"{{name: asha, metric: loss, num_rungs: 3, {RUNGS}, max_concurrent_trials: N, {LENGTH},"
    " stop_once: true}",
    "adaptive_asha": f"{{name: adaptive_asha, mode: conservative, metric: loss, {RUNGS}, max_concurrent_trials: N,"
    f" {LENGTH}}}",
    "hyperband": f"{{name: hyperband, metric: loss, divisor: 3, max_concurrent_trials: N, {LENGTH}}}",
}
SPACE = "{x: {type: double, minval: 0, maxval: 1, count: 4}, y: {type: int, minval: 1, maxval: 3, count: 3}}"


def experiment(method: str, parallelism: int, extra: str = "") -> Experiment:
    searcher = METHODS[method].replace("N", str(parallelism)).removesuffix("}") + extra + "}"
    return parse_experiment(f"entrypoint: x\nsearcher: {searcher}\nhyperparameters: {SPACE}").with_seed(11)


def curves(hyperparameters: dict[str, Any]) -> Any:
    x, y = hyperparameters["x"], hyperparameters["y"]
    return lambda epoch: (x - 0.3) ** 2 + 1 / (y + epoch) + 0.01 * math.sin(97 * x + epoch)


def ran(method: str, parallelism: int, compute: Compute, extra: str = "") -> list[Recorded]:
    cluster = VirtualCluster(
        experiment(method, parallelism, extra), parallelism, NUM_EPOCHS, curves, compute=compute, keep=True
    )
    cluster.run()
    assert EXPERIMENT not in cluster.state.searches, "the search never ended"
    return cluster.log


def replayed(log: Iterable[Recorded], compute: Compute, experiment_id: ExperimentId = EXPERIMENT) -> Findings:
    reproduction = Reproduction(experiment_id, compute)
    for recorded in log:
        reproduction.read(recorded)
    return reproduction.finish()


def nobody(question: object) -> str:
    raise AssertionError("a method without a model asked something")


@pytest.mark.parametrize("parallelism", [1, 3, 8])
@pytest.mark.parametrize("method", METHODS)
def test_every_decision_follows_again_from_the_log(method: str, parallelism: int) -> None:
    with suggestions.computing() as compute:
        log = ran(method, parallelism, compute)
        found = replayed(log, compute)
    assert found.first_difference is None
    assert found.num_reproduced == found.num_decisions > 1
    assert (found.num_suggestions > 0) == method.startswith("bayesian")


@pytest.mark.parametrize("method", [method for method in METHODS if not method.startswith("bayesian")])
def test_without_a_model_trials_are_the_same_at_any_parallelism(method: str) -> None:
    def trials(parallelism: int) -> dict[int, object]:
        events = [recorded.event for recorded in ran(method, parallelism, nobody)]
        return {event.index: event.hyperparameters for event in events if isinstance(event, TrialRequested)}

    assert trials(1) == trials(3) == trials(8)


@pytest.mark.parametrize("method", METHODS)
def test_a_search_goes_on_from_a_snapshot_as_if_nothing_had_happened(method: str, tmp_path: Path) -> None:
    with suggestions.computing() as compute:
        log = ran(method, 3, compute, ", on_failure: ignore, patience: {trials: 99}")
    kept = snapshots(tmp_path, "searcher")
    lived = State()
    for recorded in log[: len(log) // 2]:
        evolve(lived, recorded)
    kept.save("stream", 1, Memory(state=lived))
    found = kept.load("stream")
    assert found is not None
    restarted = found[1].state
    for recorded in log[len(log) // 2 :]:
        lived.due = restarted.due = {EXPERIMENT: None}
        assert decide(restarted, {}) == decide(lived, {})
        for state in (lived, restarted):
            evolve(state, recorded)
        search, again = lived.searches.get(EXPERIMENT), restarted.searches.get(EXPERIMENT)
        assert (search and question(search, {})) == (again and question(again, {}))
    assert restarted == lived == State()


@pytest.mark.parametrize(("max_trials", "max_concurrent"), [(5, 1), (20, 6)])
@pytest.mark.parametrize("method", METHODS)
def test_any_search_may_be_changed_under_way_and_follows_again(
    method: str, max_trials: int, max_concurrent: int
) -> None:
    with suggestions.computing() as compute:
        cluster = VirtualCluster(experiment(method, 3), 3, NUM_EPOCHS, curves, compute=compute, keep=True)
        cluster.run(until=lambda running: running.now >= NUM_EPOCHS + 2)
        limits = {"max_trials": max_trials, "max_concurrent_trials": max_concurrent}
        if EXPERIMENT in cluster.state.searches:
            cluster.ask(SearchLimitsSet(experiment_id=EXPERIMENT, **limits))
            trial = next(iter(cluster.state.searches[EXPERIMENT].open))
            cluster.ask(TrialCanceled(trial_id=trial, experiment_id=EXPERIMENT))
        cluster.run()
        assert EXPERIMENT not in cluster.state.searches, "the search never ended"
        found = replayed(cluster.log, compute)
    assert found.first_difference is None
    requested = sum(isinstance(recorded.event, TrialRequested) for recorded in cluster.log)
    assert requested == max_trials or limit_is_fixed(method) or requested > max_trials == 5


@pytest.mark.parametrize("method", ["bayesian", "bayesian_asha", "bayesian_asha by prediction"])
def test_the_end_of_a_search_whose_model_fails_follows_again(method: str) -> None:
    log = ran(method, 3, lambda _: "LinAlgError: no")
    assert isinstance(log[-1].event, ExperimentFailed)
    parked = [one.event for one in log if isinstance(one.event, TrialClosed) and "LinAlgError" in one.event.reason]
    assert bool(parked) == method.startswith("bayesian_asha")
    found = replayed(log, nobody)
    assert found.first_difference is None
    assert found.num_reproduced == found.num_decisions


def limit_is_fixed(method: str) -> bool:
    return method in ("single", "grid", "hyperband")


def test_decisions_of_a_cluster_under_faults_follow_again() -> None:
    decisions = crashes = 0
    for seed in range(60):
        cluster = Cluster(seed)
        cluster.run()
        found = replayed(cluster.log.events, nobody, ExperimentId("sim"))
        assert found.first_difference is None, f"seed {seed}: {found.first_difference}"
        assert found.num_reproduced == found.num_decisions
        decisions, crashes = decisions + found.num_decisions, crashes + cluster.num_faults
    assert decisions > 300 and crashes > 300


def forged(log: list[Recorded], kind: type, **changes: object) -> tuple[list[Recorded], int]:
    """The log with the second event of a kind changed, and its sequence."""
    seq = [recorded.seq for recorded in log if isinstance(recorded.event, kind)][1]
    recorded = log[seq - 1]
    assert recorded.event is not None
    event = msgspec.structs.replace(recorded.event, **changes)
    envelope = msgspec.structs.replace(recorded.envelope, event=event)
    return [*log[: seq - 1], msgspec.structs.replace(recorded, envelope=envelope), *log[seq:]], seq


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (TrialRequested, {"hyperparameters": {"x": 0.5, "y": 2}}, "its hyperparameters.x is 0.5 on the log, and 0."),
        (TrialRequested, {"seed": 7}, "its seed is 7 on the log"),
        (TrialClosed, {"metric": 0.0}, "its metric is 0.0 on the log"),
        (TrialExtended, {"target": 5}, "its target is 5 on the log, and 3 when it is decided again"),
        (TrialExtended, {"trial_id": "virtual-12"}, "its trial_id is 'virtual-12' on the log, and 'virtual-3'"),
    ],
)
def test_a_forged_event_is_found_and_told(kind: type, changes: dict[str, object], said: str) -> None:
    log, seq = forged(ran("promotion", 3, nobody), kind, **changes)
    found = replayed(log, nobody)
    assert found.num_reproduced < found.num_decisions
    assert found.first_difference is not None
    assert (found.first_difference.seq, found.first_difference.name) == (seq, kind.__name__)
    assert said in found.first_difference.text


def test_a_suggestion_that_the_model_never_made_is_found() -> None:
    with suggestions.computing() as compute:
        log = ran("bayesian", 2, compute)
        suggested = [r for r in log if isinstance(r.event, TrialRequested) and r.event.origin.startswith("Gaussian")]
        index = log.index(suggested[-1])
        event = msgspec.structs.replace(suggested[-1].event, hyperparameters={"x": 0.123, "y": 2})  # type: ignore[type-var]
        log[index] = msgspec.structs.replace(
            log[index], envelope=msgspec.structs.replace(log[index].envelope, event=event)
        )
        found = replayed(log, compute)
    assert found.first_difference is not None and found.first_difference.seq == index + 1


def test_an_event_that_is_missing_is_noticed() -> None:
    log = ran("promotion", 3, nobody)
    stopped = next(recorded for recorded in log if isinstance(recorded.event, TrialClosed))
    found = replayed([recorded for recorded in log if recorded is not stopped], nobody)
    assert found.first_difference is not None


def test_an_event_without_a_position_is_counted_as_such() -> None:
    log = ran("random", 2, nobody)
    old = [msgspec.structs.replace(r, envelope=msgspec.structs.replace(r.envelope, position=None)) for r in log]
    found = replayed(old, nobody)
    assert found.num_unplaced == found.num_decisions > 0 == found.num_reproduced


def test_a_search_that_ended_early_follows_again() -> None:
    log = ran("async_halving", 3, nobody, ", goal: 0.2, on_failure: ignore")
    assert any(isinstance(recorded.event, TrialStopped) for recorded in log)
    assert not any(isinstance(recorded.event, ExperimentFailed) for recorded in log)
    found = replayed(log, nobody)
    assert found.first_difference is None and found.num_reproduced == found.num_decisions


def lines(log: Iterable[Recorded]) -> bytes:
    raw = [{"seq": r.seq, "subject": str(r.envelope.subject), "body": codec.encode(r.envelope)} for r in log]
    return b"".join(msgspec.json.encode(one) + b"\n" for one in raw)


@pytest.mark.parametrize("is_forged", [False, True])
def test_the_command_reads_the_log_as_the_api_gives_it(is_forged: bool) -> None:  # noqa: FBT001
    log = ran("promotion", 3, nobody)
    if is_forged:
        log, _ = forged(log, TrialRequested, seed=7)
    words = (sys.executable, "-m", "services.searcher.replay", EXPERIMENT)
    done = subprocess.run(words, input=lines(log), capture_output=True, check=False)
    assert done.returncode == is_forged, done.stderr
    told = "the first that is not: event" if is_forged else "are reproduced, byte for byte"
    assert told in done.stdout.decode()
    done = subprocess.run((*words, "--json"), input=lines(log), capture_output=True, check=False)
    assert (json.loads(done.stdout)["first_difference"] is not None) == is_forged
