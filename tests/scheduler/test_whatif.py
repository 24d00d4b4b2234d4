"""What if: recorded decisions come out again bit for bit, and another policy or more agents give what they must."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from services.scheduler.fidelity import Fidelity, Replay
from services.scheduler.whatif import Answer, Question, answer
from shared.events import (
    AgentDrainRequested,
    AgentLost,
    ExperimentCompleted,
    GPUAllocated,
    PoolPolicy,
    PreemptionReason,
    PreemptionRequested,
)
from shared.ids import AgentId, ExperimentId, TrialId
from shared.log import Recorded
from tests.scheduler.timeline import START, Timeline, lines
from tests.scheduler.world import closed, exited, joined, preempted, requested, submitted
from tests.simulation.cluster import Cluster

TWO = ExperimentId("two")


def fidelity(events: list[Recorded], batch_size: int = 500) -> Fidelity:
    replay = Replay(batch_size)
    for recorded in events:
        replay.read(recorded)
    return replay.finish()


def one_agent(*, then_complete: bool = True) -> Timeline:
    """Two trials of 100 s, one after the other, on an agent with one slot; the second is a search's answer to the
    first one's end."""
    log = Timeline()
    log.say(0, submitted(), joined("a", 1), requested(1))
    log.say(100, exited(log.running[TrialId("exp-1")]))
    log.say(100, closed(TrialId("exp-1")), requested(2), causes=(_seq(log, "TrialExited"),))
    log.say(200, exited(log.running[TrialId("exp-2")]))
    log.say(200, closed(TrialId("exp-2")))
    if then_complete:
        done = ExperimentCompleted(experiment_id=ExperimentId("exp"), best_trial_id=None, best_metric=None)
        log.say(200, done)
    return log


def _seq(log: Timeline, name: str) -> int:
    return max(recorded.seq for recorded in log.events if recorded.envelope.name == name)


def crowd(num_trials: int = 4) -> Timeline:
    """Trials of 100 s that all come at the beginning, on one slot."""
    log = Timeline()
    log.say(0, submitted(), joined("a", 1), *(requested(number) for number in range(1, num_trials + 1)))
    for number in range(1, num_trials + 1):
        trial_id = TrialId(f"exp-{number}")
        log.say(100 * number, exited(log.running[trial_id]), closed(trial_id))
    return log


def eventful() -> Timeline:
    """Preemptions, a drain with a grace period, a lost agent."""
    log = Timeline(PoolPolicy(preemption=True))
    log.say(0, submitted(priority=60), joined("a", 2), joined("b", 1), requested(1, slots=2), requested(2))
    log.say(10, submitted(TWO, priority=10), requested(1, slots=2, experiment_id=TWO))
    log.say(12, preempted(log.running[TrialId("exp-1")]))
    log.say(20, AgentDrainRequested(agent_id=AgentId("b"), grace_s=30.0))
    log.decide(50)
    log.say(52, preempted(log.running[TrialId("exp-2")]))
    log.say(80, exited(log.running[TrialId("two-1")]), closed(TrialId("two-1")))
    log.decide(120, silent_s=11.0)
    log.say(130, joined("c", 3, "i9"))
    log.say(200, exited(log.running[TrialId("exp-1")]), exited(log.running[TrialId("exp-2")]))
    log.say(201, closed(TrialId("exp-1")), closed(TrialId("exp-2")))
    return log


def test_every_decision_of_an_eventful_log_is_reproduced() -> None:
    log = eventful()
    reasons = {r.event.reason for r in log.events if isinstance(r.event, PreemptionRequested)}
    assert reasons == {PreemptionReason.PRIORITY, PreemptionReason.DRAINED}
    assert sum(isinstance(recorded.event, AgentLost) for recorded in log.events) == 2
    found = fidelity(log.events)
    assert found.num_decisions == found.num_reproduced > 10 and not found.differences


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_every_decision_of_simulated_clusters_is_reproduced(first: int) -> None:
    num_decisions = 0
    for seed in range(first, first + 10):
        cluster = Cluster(seed)
        cluster.run()
        found = fidelity(cluster.log.events, batch_size=1)  # the simulation loses parts of decisions
        assert found.num_reproduced == found.num_decisions, (seed, found.differences)
        num_decisions += found.num_decisions
    assert num_decisions > 100


def test_a_decision_that_does_not_follow_is_told() -> None:
    events = eventful().events
    number = next(n for n, recorded in enumerate(events) if isinstance(recorded.event, GPUAllocated))
    allocated = events[number].event
    assert isinstance(allocated, GPUAllocated)
    other = msgspec.structs.replace(events[number].envelope, event=msgspec.structs.replace(allocated, epoch=7))
    events[number] = Recorded(seq=events[number].seq, envelope=other)
    found = fidelity(events)
    assert found.num_reproduced < found.num_decisions
    (difference, *_) = found.differences
    assert difference.seq == events[number].seq and '"epoch":7' in str(difference.recorded)
    assert '"epoch":1' in str(difference.decided)


def test_what_an_older_program_decided_is_counted_apart() -> None:
    events = [
        Recorded(seq=recorded.seq, envelope=msgspec.structs.replace(recorded.envelope, position=None))
        for recorded in crowd().events
    ]
    found = fidelity(events)
    assert found.num_decisions == 0 and found.num_unplaced > 0


def test_nothing_different_gives_what_happened() -> None:
    told, _ = answer(one_agent().events, Question())
    assert told.actual.makespan_s == told.replayed.makespan_s == told.whatif.makespan_s == 200
    assert told.actual.utilisation == pytest.approx(told.whatif.utilisation) == 1.0
    assert told.actual.wait_s == told.replayed.wait_s


def test_more_agents_shorten_the_queue() -> None:
    told, waits_s = answer(crowd().events, Question(agents=1))
    assert told.actual.wait_s.max == told.replayed.wait_s.max == 300
    assert told.whatif.wait_s.max == 100 and told.whatif.makespan_s == 200
    assert sorted(waits_s["what if"]) == [0, 0, 100, 100]
    told, _ = answer(crowd().events, Question(agents=1, slots_per_agent=3))
    assert told.whatif.makespan_s == 100


def test_a_search_asks_for_more_when_its_trials_end_earlier_or_later() -> None:
    log = Timeline()
    log.say(0, submitted(TWO), submitted(), joined("a", 1), requested(1, experiment_id=TWO), requested(1))
    log.say(100, exited(log.running[TrialId("two-1")]), closed(TrialId("two-1")))
    log.say(200, exited(log.running[TrialId("exp-1")]))
    log.say(210, closed(TrialId("exp-1")), requested(2), causes=(_seq(log, "TrialExited"),))
    log.say(310, exited(log.running[TrialId("exp-2")]), closed(TrialId("exp-2")))
    told, _ = answer(log.events, Question(agents=1))
    assert told.replayed.makespan_s == 310
    assert told.whatif.makespan_s == 210, "its second trial comes 10 s after the first ends, which is at 100"


def test_another_policy_changes_who_waits() -> None:
    log = Timeline()
    log.say(0, submitted(priority=60), joined("a", 1), requested(1))
    log.say(10, submitted(TWO, priority=10), requested(1, experiment_id=TWO))
    log.say(100, exited(log.running[TrialId("exp-1")]), closed(TrialId("exp-1")))
    log.say(200, exited(log.running[TrialId("two-1")]), closed(TrialId("two-1")))
    told, _ = answer(log.events, Question(policy="priority preemption"))
    assert (told.actual.preemptions, told.actual.wait_s.max) == (0, 90)
    assert (told.whatif.preemptions, told.whatif.wait_s.max) == (1, 0)
    assert told.whatif.makespan_s == told.actual.makespan_s == 200, "nothing that was done is lost"


def test_a_stretch_begins_with_what_waited_and_ran_then() -> None:
    log = crowd()
    since = START.replace(minute=2, second=30)  # the second trial runs since 50 s
    told, _ = answer(log.events, Question(since=since))
    started = _seq_at(log, 200)
    assert told.since_seq == started
    assert told.replayed.makespan_s == told.actual.makespan_s == 200
    told, _ = answer(log.events, Question(since=since, agents=1))
    assert told.whatif.makespan_s == 100


def _seq_at(log: Timeline, at_s: float) -> int:
    return next(r.seq for r in log.events if (r.envelope.time - START).total_seconds() >= at_s)


def test_simulated_clusters_run_to_their_end_under_every_policy() -> None:
    for seed in range(8):
        cluster = Cluster(seed)
        cluster.run()
        for policy in ("priority preemption", "fair_share", "fifo"):
            told, _ = answer(cluster.log.events, Question(policy=policy, agents=1))
            assert told.whatif.finished == told.actual.finished == told.actual.trials, (seed, policy)


def test_the_program_reads_the_log_and_draws(tmp_path: Path) -> None:
    chart = tmp_path / "chart.svg"
    command = (sys.executable, "-m", "services.scheduler.whatif", "--agents=1", "--json", f"--chart={chart}")
    done = subprocess.run(command, input=lines(crowd().events), stdout=subprocess.PIPE, check=True)
    told = msgspec.json.decode(done.stdout, type=Answer)
    assert told.fidelity.num_decisions == told.fidelity.num_reproduced > 0
    assert told.whatif.makespan_s == 200
    svg = ET.parse(chart).getroot()
    drawn = svg.findall("{http://www.w3.org/2000/svg}polyline")
    assert len([line for line in drawn if line.get("stroke-width") == "1.5"]) == 6 and chart.stat().st_size < 500_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--policy=lottery"], "'lottery' is not known"),
        (["--since=99999"], "the log holds nothing"),
        (["--agents=2", "--pool=empty"], "say of which pool"),
    ],
)
def test_a_question_that_makes_no_sense_is_an_error_in_words(words: list[str], message: str) -> None:
    command = (sys.executable, "-m", "services.scheduler.whatif", *words)
    done = subprocess.run(command, input=lines(crowd().events), capture_output=True, check=False)
    assert done.returncode == 2 and message in done.stderr.decode()
