"""`tm preview` as people type it: every option, and exactly the JSON that docs/preview.md states."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from trainmaster.cli.app import tm

LADDER = "metric: loss, num_rungs: 2, divisor: 3, max_trials: 3, max_concurrent_trials: 3"
TARGETS = f"name: asha, {LADDER}, max_length: {{batches: 300}}"
TIME = f"name: asha, {LADDER}, max_time: 300, time_metric: batches"
METRICS = '{"trials": [{"metric": 0.1}, {"metrics": {"100": 0.5, "300": 0.4}}, {"metric": 0.2, "exits_at": 300}]}'
MODEL = "name: bayesian_asha, metric: accuracy, smaller_is_better: false, max_trials: 9, divisor: 3"
SPACE = "hyperparameters: {x: {type: double, minval: 0, maxval: 1}, group: {n: {type: int, minval: 1, maxval: 9}}}"


@pytest.fixture
def preview(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run the command on a file with a search; return what it printed, and its exit code with the error."""

    def run(searcher: str, *words: str, metrics: str | None = None, space: str = SPACE) -> Any:
        file, metrics_file = tmp_path / "search.yaml", tmp_path / "metrics.json"
        file.write_text(f"entrypoint: x\nsearcher: {{{searcher}}}\n{space}")
        if metrics is not None:
            metrics_file.write_text(metrics)
            words = (*words, "--metrics", str(metrics_file))
        done = CliRunner().invoke(tm, ["preview", str(file), *words], prog_name="tm")
        out, err = capfd.readouterr()
        if "--json" in words and done.exit_code == 0:
            return json.loads(out)
        return (done.exit_code, out if done.exit_code == 0 else err or done.output)

    return run


def test_the_json_is_what_is_stated_and_nothing_else(preview: Any) -> None:
    found = preview(TARGETS, "--json", "--seed", "4", metrics=METRICS)
    drawn = [trial.pop("hyperparameters") for trial in found["trials"]]
    assert found == {
        "brackets": [
            {"rungs": [{"units": 100, "trials": 3}, {"units": 300, "trials": 1}], "max_concurrent_trials": 3},
        ],
        "trials": [
            {"targets": [100, 300], "end": "completed"},
            {"targets": [100], "end": "stopped"},
            {"targets": [100], "end": "stopped"},
        ],
        "total_units": 100 + 100 + 300,
    }
    assert all(set(one) == {"x", "group"} and set(one["group"]) == {"n"} for one in drawn)


def test_a_trial_that_exits_leaves_at_that_target(preview: Any) -> None:
    two = '{"trials": [{"metric": 0.3}, {"metrics": {"100": 0.2, "300": 0.4}}, {"metric": 0.1, "exits_at": 300}]}'
    found = preview(TARGETS, "--json", metrics=two)
    assert [(trial["targets"], trial["end"]) for trial in found["trials"]] == [
        ([100], "stopped"),
        ([100], "stopped"),
        ([100, 300], "exited"),
    ]
    assert found["total_units"] == 500
    at_once = preview(TARGETS, "--json", metrics=two.replace("300}", "100}"))
    assert [trial["end"] for trial in at_once["trials"]] == ["stopped", "completed", "exited"]


def test_metrics_may_differ_from_length_to_length(preview: Any) -> None:
    crossing = (
        '{"trials": [{"metrics": {"100": 0.9, "300": 0.1}}, {"metrics": {"100": 0.5, "300": 0.6}}, {"metric": 1}]}'
    )
    ends = [trial["end"] for trial in preview(TARGETS, "--json", metrics=crossing)["trials"]]
    assert ends == ["stopped", "completed", "stopped"]


@pytest.mark.parametrize(
    ("every", "units"),
    [(None, [300, 300, 100]), ("50", [300, 300, 100]), ("70", [300, 300, 140]), ("1000", [300, 300, 300])],
)
def test_trials_that_are_only_stopped_report_as_often_as_asked(
    preview: Any, every: str | None, units: list[int]
) -> None:
    """One after another, in the order of creation, to the first report at or after a rung, but not beyond the end."""
    words = () if every is None else ("--report-every", every)
    metrics = '{"trials": [{"metric": 0.2}, {"metric": 0.1}, {"metric": 0.3}]}'
    found = preview(TIME, "--json", *words, metrics=metrics)
    assert found["total_units"] == sum(units)
    assert [trial["targets"] for trial in found["trials"]] == [[100, 300], [100, 300], [100]]


@pytest.mark.parametrize("trend", ["improving", "worsening", "constant", "random"])
def test_a_trend_says_who_goes_on(preview: Any, trend: str) -> None:
    ends = [trial["end"] for trial in preview(TIME, "--json", "--trend", trend)["trials"]]
    expected = {
        "improving": ["completed", "completed", "completed"],
        "worsening": ["completed", "stopped", "stopped"],
        "constant": ["completed", "completed", "completed"],  # a newcomer stands before its equals
    }
    assert ends == expected.get(trend, ends)
    better = preview(f"{TIME}, smaller_is_better: false", "--json", "--trend", trend)
    assert [trial["end"] for trial in better["trials"]] == ends, "a trend is of what is better, not of what is less"


def test_the_seed_settles_everything(preview: Any) -> None:
    one, again, other = (preview(TIME, "--json", "--seed", seed) for seed in ("1", "1", "2"))
    assert one == again
    assert one["trials"][0]["hyperparameters"] != other["trials"][0]["hyperparameters"]
    in_the_file = preview(TIME, "--json", space=f"{SPACE}\nreproducibility: {{experiment_seed: 2}}")
    assert in_the_file["trials"] == other["trials"]


def test_people_see_brackets_rungs_and_a_picture(preview: Any) -> None:
    code, told = preview(TARGETS, "--trend", "worsening")
    assert code == 0
    assert told.splitlines() == [
        "bracket 1 of 1: 3 trials, 3 at a time",
        f"         100 units  {'█' * 40}  3 trials",
        f"         300 units  {'█' * 13:<40}  1 trial",
        "3 trials: 1 completed, 2 stopped",
        "500 units of training in all",
    ]


@pytest.mark.parametrize("measure", ["max_length: 9", "max_time: 9, time_metric: epochs"])
def test_that_a_prediction_would_judge_is_said_plainly(preview: Any, measure: str) -> None:
    _, by_metric = preview(f"{MODEL}, {measure}")
    _, by_prediction = preview(f"{MODEL}, {measure}, judge_by: prediction")
    (said,) = set(by_prediction.splitlines()) - set(by_metric.splitlines())
    assert said.startswith("Rungs judge trials by their accuracy here.")
    assert "predicts (judge_by: prediction)" in said
    same = [preview(f"{MODEL}, {measure}, judge_by: {judge}", "--json") for judge in ("metric", "prediction")]
    assert same[0] == same[1]


def test_what_a_model_would_have_learned_is_not_shown(preview: Any) -> None:
    warm = "warm_start: {observations: [{hyperparameters: {x: 0.5}, metric: 1.0}]}"
    search = "name: bayesian, metric: loss, max_trials: 12, max_length: {epochs: 5}"
    cold = preview(search, "--json")
    assert cold == preview(f"{search}, {warm}", "--json")
    assert cold["total_units"] == 60
    assert "Trials are those of the initial design" in preview(f"{search}, {warm}")[1]
    assert "initial design" not in preview(TARGETS)[1]


@pytest.mark.parametrize("ending", ["goal: 0.1", "patience: {trials: 1}"])
def test_that_a_search_is_shown_to_its_end_is_said(preview: Any, ending: str) -> None:
    assert preview(f"{TARGETS}, {ending}")[1].splitlines()[-1].startswith("The search is shown to its end: ")


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ('{"trials": [{"metric": ' + "9" * 400 + "}]}", "trials[0]: a trial is"),
        ('{"trials": [{"metric": 1e999}]}', "trials[0]: a trial is"),
        ('{"trials": [{"metric": null}]}', "trials[0]: a trial is"),
        ('{"trials": [{}]}', "trials[0]: a trial is"),
        ('{"trials": [{"metric": 1, "metrics": {"1": 2}}]}', "trials[0]: a trial is"),
        ('{"trials": [{"metric": 1}]}', "the metrics file ends with trial 1, but the search needs trial 2 too"),
        ('{"trials": [{"metrics": {"200": 1}}]}', "trials[0].metrics: has no metric up to 100 units"),
        ("[" * 100_000, "the metrics file is no JSON"),
    ],
)
def test_a_metrics_file_that_cannot_be_used_is_told(preview: Any, metrics: str, said: str) -> None:
    code, told = preview(TARGETS, metrics=metrics)
    assert code == 1
    assert told.startswith("Error: ")
    assert said in told
    assert "Traceback" not in told


@pytest.mark.parametrize(("option", "value"), [("--seed", "-1"), ("--report-every", "0"), ("--trend", "sideways")])
def test_an_option_out_of_its_range_is_refused(preview: Any, option: str, value: str) -> None:
    code, told = preview(TIME, option, value)
    assert code == 2
    assert option in told
