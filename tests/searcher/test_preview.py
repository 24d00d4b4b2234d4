"""The preview: a search trained through without a cluster."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.searcher.preview import TRENDS, read_metrics, text
from services.searcher.simulate import Preview, Script, Scripted, preview
from shared.config import parse_experiment
from shared.errors import Rejected
from shared.events import Outcome, TrialClosed, TrialEnd, TrialExtended, TrialRequested
from tests.searcher.world import World, allocated, exited, released, reported, requests, submitted

HALVING = "name: async_halving, num_rungs: 2, divisor: 3, max_trials: 3, max_concurrent_trials: 1"
TARGETS = f"{HALVING}, max_length: {{batches: 900}}"
TIME = f"{HALVING}, max_time: 900, time_metric: batches"
SPACE = "hyperparameters: {lr: {type: log, minval: -4, maxval: -1}, n: {type: categorical, vals: [1, 2]}}"


def previewed(
    searcher: str, trials: list[Scripted] | None = None, *, trend: str = "random", every: int | None = None
) -> Preview:
    experiment = parse_experiment(f"entrypoint: x\nsearcher: {{metric: loss, {searcher}}}\n{SPACE}")
    smaller_is_better = experiment.searcher.smaller_is_better
    return preview(experiment, Script(trend=trend, seed=1, smaller_is_better=smaller_is_better, trials=trials), every)


def metrics(*values: float) -> list[Scripted]:
    return [Scripted(metric=value) for value in values]


def courses(found: Preview) -> list[tuple[list[int], str]]:
    return [(trial.targets, trial.end) for trial in found.trials]


def test_promotion_trains_first_in_first_out_and_resumes_the_best() -> None:
    found = previewed(TARGETS, metrics(0.3, 0.1, 0.2))
    assert courses(found) == [([300], "stopped"), ([300, 900], "completed"), ([300], "stopped")]
    assert found.total_units == 300 + 900 + 300
    assert found.as_json()["brackets"] == [
        {"rungs": [{"units": 300, "trials": 3}, {"units": 900, "trials": 1}], "max_concurrent_trials": 1}
    ]


@pytest.mark.parametrize("searcher", [TIME, f"{TARGETS}, stop_once: true"])
def test_stopping_lets_each_trial_go_on_that_is_the_best_so_far(searcher: str) -> None:
    found = previewed(searcher, metrics(0.3, 0.1, 0.2))
    assert courses(found) == [([300, 900], "completed"), ([300, 900], "completed"), ([300], "stopped")]
    assert found.total_units == 900 + 900 + 300


def test_larger_may_be_better() -> None:
    found = previewed(f"{TARGETS}, smaller_is_better: false", metrics(0.3, 0.1, 0.2))
    assert courses(found) == [([300, 900], "completed"), ([300], "stopped"), ([300], "stopped")]


def test_a_rare_report_is_judged_where_it_comes() -> None:
    found = previewed(TIME, metrics(0.1, 0.2, 0.3), every=400)
    assert [trial.units for trial in found.trials] == [900, 400, 400]


@pytest.mark.parametrize("every", [0, -1, -900])
@pytest.mark.parametrize("searcher", [TIME, "name: random, max_trials: 3"])
def test_reports_must_go_forward(searcher: str, every: int) -> None:
    with pytest.raises(Rejected, match=f"every {every} units; give 1 or more"):
        previewed(searcher, metrics(0.1, 0.2, 0.3), every=every)


def test_a_trial_that_reports_always_is_shown_at_once() -> None:
    endless = f"{HALVING}, max_time: 1000000000, time_metric: batches"
    trials = [Scripted(metric=0.1), Scripted(metric=0.2, exits_at=7), Scripted(metric=0.3)]
    found = previewed(endless, trials, every=2)
    assert [trial.units for trial in found.trials] == [1_000_000_000, 8, 333_333_334]
    assert [trial.end for trial in found.trials] == ["completed", "exited", "stopped"]


@pytest.mark.parametrize("searcher", [TIME, TARGETS])
def test_a_trial_that_exits_reports_nothing_and_holds_nobody_up(searcher: str) -> None:
    trials = [Scripted(metric=0.1, exits_at=300), Scripted(metrics={300: 0.5, 900: 0.4}), Scripted(metric=0.6)]
    assert courses(previewed(searcher, trials)) == [
        ([300], "exited"),
        ([300, 900], "completed"),
        ([300], "stopped"),
    ]


@pytest.mark.parametrize(
    "measure", ["max_length: 900", "max_length: 900, stop_once: true", "max_time: 900, time_metric: x"]
)
def test_an_exit_counts_as_the_experiment_file_says(measure: str) -> None:
    """Of four at a rung two go on, of three one: so that which exited makes another look good, if it counts."""
    search = f"name: asha, num_rungs: 2, divisor: 2, max_trials: 4, max_concurrent_trials: 1, {measure}"
    trials = [Scripted(metric=0.5), Scripted(metric=0.1, exits_at=1), Scripted(metric=0.7), Scripted(metric=0.6)]
    drawn = [trial.hyperparameters for trial in previewed(search, trials).trials]
    ends = {}
    for policy in ("worst", "ignore", "retry"):
        found = previewed(f"{search}, on_failure: {policy}", trials)
        ends[policy] = [trial.end for trial in found.trials]
        again = [drawn[0], drawn[1], drawn[1] if policy == "retry" else drawn[2], drawn[3]]
        assert [trial.hyperparameters for trial in found.trials] == again
    assert ends["worst"] == ["completed", "exited", "stopped", "completed"]
    assert ends["ignore"] == ends["retry"] == ["completed", "exited", "stopped", "stopped"]


@pytest.mark.parametrize("policy", ["worst", "ignore", "retry"])
def test_a_search_without_rungs_tries_once_more_what_exited(policy: str) -> None:
    search = f"name: random, max_trials: 6, max_concurrent_trials: 2, max_length: 5, on_failure: {policy}"
    exiting = [Scripted(metric=0.1, exits_at=1 if index in (1, 3) else None) for index in range(1, 7)]
    drawn = [trial.hyperparameters for trial in previewed(search).trials]
    found = previewed(search, exiting)
    assert [trial.end for trial in found.trials] == ["exited", "completed", "exited", *["completed"] * 3]
    once_more = [drawn[0], drawn[1], drawn[0], *drawn[3:]] if policy == "retry" else drawn
    assert [trial.hyperparameters for trial in found.trials] == once_more, "a second try that exits is not tried again"


def test_other_searches_train_every_trial_to_its_end() -> None:
    found = previewed("name: random, max_trials: 3, max_length: {epochs: 7}, max_concurrent_trials: 2")
    assert courses(found) == [([7], "completed")] * 3
    assert found.total_units == 21
    endless = previewed("name: bayesian, max_trials: 9, max_concurrent_trials: 2")
    assert endless.as_json()["total_units"] is None
    assert len(endless.trials) == 9
    assert "as long as the script trains" in text(endless)


@pytest.mark.parametrize("trend", TRENDS)
@pytest.mark.parametrize("measure", ["max_length: 900", "max_length: 900, stop_once: true",
                                     "max_time: 900, time_metric: batches"])  # fmt: skip
def test_every_trial_of_an_adaptive_search_ends(measure: str, trend: str) -> None:
    found = previewed(f"name: adaptive_asha, max_trials: 100, {measure}", trend=trend)
    assert [counts[0] for _, counts in found.brackets] == [70, 22, 8]
    assert len(found.trials) == 100
    assert "70 trials" in text(found)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("{", ""),
        ("[]", "trials"),
        ('{"trials": [{"metric": 1}, {"metric": NaN}]}', "trials[1]"),
        ('{"trials": [{"metric": 1, "metrics": {}}]}', "trials[0]"),
        ('{"trials": [{"metrics": {"a": 1}}]}', "trials[0]"),
        ('{"trials": [{"metric": 1, "exits_at": 0}]}', "trials[0]"),
        ('{"trials": [{"metrik": 1}]}', "trials[0]"),
    ],
)
def test_mistakes_in_a_metrics_file_are_named(written: str, path: str) -> None:
    with pytest.raises(Rejected) as rejected:
        read_metrics(written)
    assert [problem.path for problem in rejected.value.problems] == ([path] if path else [])


@pytest.mark.parametrize("trials", [metrics(0.1), [Scripted(metrics={400: 1.0})] * 3])
def test_a_metrics_file_must_reach(trials: list[Scripted]) -> None:
    with pytest.raises(Rejected, match="the metrics file"):
        previewed(TARGETS, trials)


LADDERS = (
    "name: asha, num_rungs: 2, divisor: 2, max_length: 4",
    "name: asha, num_rungs: 4, divisor: 4, max_length: 10",
    "name: asha, num_rungs: 4, divisor: 4, max_length: 10, stop_once: true",
    "name: adaptive_asha, mode: conservative, divisor: 2, max_length: 8",
)


@given(
    ladder=st.sampled_from(LADDERS),
    policy=st.sampled_from(["worst", "ignore", "retry"]),
    num_points=st.integers(0, 3),
    concurrent=st.integers(1, 6),
    courses=st.lists(st.tuples(st.integers(0, 20), st.sampled_from([None, None, 1, 4])), min_size=12, max_size=12),
)
def test_a_preview_is_what_the_search_does(
    ladder: str, policy: str, num_points: int, concurrent: int, courses: list[tuple[int, int | None]]
) -> None:
    """Trials that begin and train in the order in which they were told to, and come to a metric or exit at a length."""
    points = ", ".join(["{lr: 0.01}", "{lr: 0.02}", "{lr: 0.03}"][:num_points])
    search = (
        f"{ladder}, max_trials: 12, max_concurrent_trials: {concurrent}, on_failure: {policy},"
        f" points_to_evaluate: [{points}]"
    )
    scripted = [Scripted(metric=metric, exits_at=exits_at) for metric, exits_at in courses]
    shown = parse_experiment(f"entrypoint: x\nsearcher: {{metric: loss, {search}}}\n{SPACE}").with_seed(7)
    found = preview(shown, Script(trend="random", seed=7, smaller_is_better=True, trials=scripted))
    world = World(submitted(f"{{metric: loss, {search}}}", space=SPACE.removeprefix("hyperparameters: "),
                            more="max_restarts: 0"))  # fmt: skip
    live = lived(world, scripted)
    assert [trial.hyperparameters for trial in found.trials] == [one.hyperparameters for one in requests(world.events)]
    assert [sorted(set(trial.targets)) for trial in found.trials if trial.end == "exited"] == [
        targets for targets, end in live if end is TrialEnd.FAILED
    ]
    assert [trial.units for trial in found.trials] == [targets[-1] for targets, _ in live]


def lived(world: World, scripted: list[Scripted]) -> list[tuple[list[int], TrialEnd]]:
    """Train the trials of a search in the order of what they are told; return the targets and the end of each."""
    queue, targets, ends = world.settle(), {}, {}  # type: ignore[var-annotated]
    while queue:
        match queue.pop(0):
            case TrialRequested(trial_id=name, target=target) | TrialExtended(trial_id=name, target=target):
                targets.setdefault(name, []).append(target)
                index, epoch = int(name.rpartition("-")[2]), len(targets[name])
                course = scripted[index - 1]
                fails = target is not None and course.exits_at is not None and target >= course.exits_at
                reports = [] if fails or course.metric is None else [reported(index, course.metric, epoch=epoch)]
                outcome = Outcome.FAILED if fails else Outcome.COMPLETED
                queue += world.after(
                    allocated(index, epoch), *reports, exited(index, outcome, epoch=epoch), released(index, epoch)
                )
            case TrialClosed(trial_id=name, end=end):
                ends[name] = end
    return [(targets[name], ends[name]) for name in targets]


def run(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    command = (sys.executable, "-m", "services.searcher.preview", *words)
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_program_prints_json_that_depends_on_the_seed_alone(tmp_path: Path) -> None:
    file, metrics_file = tmp_path / "a.yaml", tmp_path / "metrics.json"
    file.write_text(f"entrypoint: x\nsearcher: {{metric: loss, {TARGETS}}}\n{SPACE}")
    metrics_file.write_text(
        '{"trials": [{"metric": 0.1}, {"metrics": {"300": 0.5}}, {"metric": 0.2, "exits_at": 300}]}'
    )
    words = (file, "--json", "--metrics", metrics_file, "--seed")
    one, again, other = (json.loads(run(*words, seed).stdout) for seed in ("1", "1", "2"))
    assert one == again
    assert one["trials"][0].keys() == {"hyperparameters", "targets", "end"}
    assert one["trials"][0]["hyperparameters"] != other["trials"][0]["hyperparameters"]
    assert [trial["end"] for trial in one["trials"]] == ["completed", "stopped", "exited"]


def test_the_program_names_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("entrypoint: x\nsearcher: {name: asha, metric: loss, max_trials: 3, num_rungs: 2}")
    done = run(file, "--report-every", "-1")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the experiment file has a mistake\nsearcher: does not say how far")
    file.write_text(f"entrypoint: x\nsearcher: {{metric: loss, {TIME}}}\n{SPACE}")
    done = run(file, "--report-every", "-1")
    assert (done.returncode, done.stderr) == (1, "Error: a trial cannot report every -1 units; give 1 or more\n")
