"""The parts of the pages that answer questions: the space, rungs, comparison, output, the past, changes from here."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page import crowd
from tests.page.conftest import LEARNING, Begin, Site
from tests.support.platform import RunningPlatform

CROWD = 100_000


def test_the_list_is_searched_gone_through_and_opened_by_keyboard(page: Page, finished: str) -> None:
    page.goto("/")
    rows = page.get_by_role("group", name="Experiments").locator("tbody tr")
    expect(rows.first).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next row")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type(finished)
    expect(rows).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(rows.first).to_have_attribute("aria-current", "true")
    page.keyboard.press("x")
    expect(page.get_by_text("1 chosen")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("learning")


@pytest.mark.parametrize("name", ["asha, num_rungs: 2, max_trials: 2", "hyperband, max_rungs: 1"])
def test_every_search_on_rungs_shows_them(page: Page, site: Site, tmp_path: Path, name: str) -> None:
    (tmp_path / "train.py").write_text(LEARNING)
    search = f"name: {name}, metric: accuracy, smaller_is_better: false, max_length: 20"
    space = "hyperparameters: {layers: {type: int, minval: 1, maxval: 4}}"
    (tmp_path / "search.yaml").write_text(f"entrypoint: python train.py\nsearcher: {{{search}}}\n{space}\n")
    experiment_id = site.client.submit(tmp_path / "search.yaml", tmp_path)["id"]
    page.goto(f"/#/experiments/{experiment_id}")
    page.get_by_role("link", name="Rungs", exact=True).click()
    assert site.wait(experiment_id) == "COMPLETED"
    expect(page.get_by_role("group", name=re.compile("Bracket 1: [12] rungs"))).to_be_visible()


def test_many_are_cancelled_at_once(page: Page, begin: Begin) -> None:
    ids = [begin(name) for name in ("batch-one", "batch-two")]
    page.goto("/#/?q=batch-")
    for experiment_id in ids:
        page.locator("tbody tr", has_text=experiment_id).get_by_role("checkbox").check()
    page.get_by_role("button", name="Cancel 2…").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel 2", exact=True).click()
    for experiment_id in ids:
        row = page.locator("tbody tr", has_text=experiment_id)
        expect(row.locator("[data-state=CANCELED]")).to_be_visible()


def test_the_space_is_drawn_and_says_how_far_it_is_to_be_believed(page: Page, finished: str) -> None:
    page.goto(f"/#/experiments/{finished}/hyperparameters")
    expect(page.get_by_role("img", name=re.compile("Parallel coordinates of 3 trials"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("accuracy against lr"))).to_be_visible()
    expect(page.get_by_text("It takes 10 trials with a validation")).to_be_visible()
    canvas = page.locator(".parallel canvas").bounding_box()
    assert canvas is not None
    x = canvas["x"] + canvas["width"] - 56
    page.mouse.move(x, canvas["y"] + 40)
    page.mouse.down()
    page.mouse.move(x, canvas["y"] + 60, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="Take away the brush on accuracy")).to_be_visible()
    expect(page.get_by_role("region", name="Trials").locator("tbody tr")).not_to_have_count(3)


def test_importance_finds_what_matters(page: Page) -> None:
    page.goto("/")
    found = page.evaluate(
        """async () => {
        const {importance} = await import('/assets/importance.js');
        const column = (seed) => Array.from({length: 200}, (_, n) => (n * seed) % 101);
        const [a, b] = [column(37), column(53)];
        const target = a.map((value, n) => 3 * value + 0.1 * b[n]);
        const dimension = (name, values) => ({name, kind: 'number', values});
        return importance([dimension('b', b), dimension('a', a)], target, a.map((_, n) => n));
    }"""
    )
    assert found["shares"][0]["name"] == "a" and found["explained"] > 0.8
    assert found["shares"][0]["share"] > 10 * found["shares"][1]["share"]


def test_what_it_trained_with_can_be_read(page: Page, finished: str) -> None:
    page.goto(f"/#/experiments/{finished}/files")
    expect(page.get_by_label("The configuration as YAML")).to_contain_text("max_trials: 3")
    expect(page.get_by_label("train.py", exact=True)).to_contain_text("trial.report_validation")


def test_trials_are_compared(page: Page, finished: str) -> None:
    page.goto(f"/#/experiments/{finished}")
    page.get_by_label("Choose trial 1", exact=True).check()
    page.get_by_label("Choose trial 3", exact=True).check()
    page.get_by_role("link", name="Compare").click()
    expect(page.locator("h1")).to_have_text("Compare 2 trials")
    expect(page.locator(".small-chart canvas")).to_have_count(2)
    table = page.get_by_role("region", name="Hyperparameters")
    expect(table).to_contain_text("lr")
    expect(table.locator("tbody th", has_text="width")).to_have_count(0)
    table.get_by_label(re.compile("with what is the same")).check()
    expect(table.locator("tbody th", has_text="width")).to_have_count(1)


def test_output_is_searched(page: Page, finished: str) -> None:
    page.goto(f"/#/trials/{finished}-1")
    lines = page.get_by_role("log").locator(".line")
    expect(lines.filter(has_text="learning begins")).to_have_count(1)
    page.get_by_label("Search the output").fill("VALIDATED at 1")
    expect(lines).to_have_count(2)
    expect(lines.first.locator("mark")).to_have_text("validated at 1")


def test_the_graph_shows_the_way_that_led_to_an_event(page: Page, finished: str) -> None:
    page.goto(f"/#/trials/{finished}-1")
    graph = page.get_by_role("group", name="What led to what")
    graph.get_by_role("button", name=re.compile("^TrialStarted")).click()
    chosen = page.locator(".chosen-fact")
    expect(chosen).to_contain_text("TrialStarted")
    chosen.get_by_role("button", name=re.compile("GPUAllocated")).click()
    expect(chosen).to_contain_text("was given slot")


def test_a_note_is_kept(page: Page, finished: str) -> None:
    page.goto(f"/#/experiments/{finished}")
    page.get_by_role("button", name=re.compile("Write a note|Edit")).click()
    page.locator("textarea").fill("the small one was enough")
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Write a note|Edit")).click()
    expect(page.get_by_text("the small one was enough")).to_be_visible()


def test_the_pages_can_be_put_to_an_earlier_moment(page: Page, finished: str) -> None:
    path = f"/api/v1/events?experiment={finished}&name=ExperimentCompleted"
    seq = page.request.get(path).json()["items"][0]["seq"]
    page.goto(f"/?as_of={seq - 1}#/experiments/{finished}")
    expect(page.get_by_text("As it was")).to_be_visible()
    expect(page.locator("h1 [data-state=ACTIVE]")).to_be_visible()
    expect(page.get_by_role("button", name="Fork…")).to_have_count(0)
    page.get_by_role("button", name="Back to now").click()
    expect(page.locator("h1 [data-state=COMPLETED]")).to_be_visible()


def test_an_agent_is_drained_and_enabled_from_the_map(page: Page) -> None:
    page.goto("/#/cluster")
    agent = page.get_by_role("article", name="Agent local", exact=True)
    agent.get_by_role("button", name="Drain…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("tm agents drain local")
    dialog.get_by_role("button", name="Drain", exact=True).click()
    expect(agent).to_contain_text("draining")
    agent.get_by_role("button", name="Enable…").click()
    dialog.get_by_role("button", name="Enable", exact=True).click()
    expect(agent.get_by_role("button", name="Drain…")).to_be_visible()


def test_the_log_is_verified_from_the_page(page: Page) -> None:
    page.goto("/#/events")
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_text("Nothing was changed")).to_be_visible()


def test_a_token_is_issued_shown_once_and_revoked(page: Page) -> None:
    page.goto("/#/admin")
    page.get_by_role("button", name="Issue a token…").click()
    page.get_by_label("For what").fill("nightly")
    page.get_by_role("dialog").get_by_role("button", name="Issue a token", exact=True).click()
    expect(page.locator(".secret")).to_be_visible()
    row = page.get_by_role("table", name="Tokens").locator("tr", has_text="nightly")
    row.get_by_role("button", name="Revoke…").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
    expect(row).to_have_count(0)


def test_a_hundred_thousand_experiments_are_listed_scrolled_and_searched(
    page: Page, finished: str, own_platform: RunningPlatform
) -> None:
    crowd.add_experiments(crowd.url_of(own_platform), finished, CROWD)
    page.goto("/#/?label=crowd")
    experiments = page.get_by_role("group", name="Experiments")
    expect(experiments.locator("tbody tr").first).to_contain_text("search 1")
    expect(page.get_by_text("200+ experiments")).to_be_visible()
    for seen in (400, 600):
        experiments.evaluate("frame => { frame.scrollTop = frame.scrollHeight; }")
        expect(page.get_by_text(f"{seen}+ experiments")).to_be_visible()
    assert experiments.locator("tbody tr").count() < 100
    page.get_by_label("Search experiments").fill("search 99999")
    expect(experiments.locator("tbody tr")).to_have_count(1)


def test_a_hundred_thousand_trials_are_listed_sorted_and_scrolled(
    page: Page, site: Site, own_platform: RunningPlatform
) -> None:
    experiment_id = site.submit("crowd", LEARNING)
    site.wait(experiment_id)
    crowd.add_trials(crowd.url_of(own_platform), experiment_id, CROWD)
    page.goto(f"/#/experiments/{experiment_id}")
    trials = page.get_by_role("region", name="Trials")
    expect(trials).to_contain_text("100,000")
    trials.get_by_role("button", name="Trial", exact=True).click()
    trials.get_by_role("button", name=re.compile("^Trial")).click()
    expect(trials.locator("tbody tr").first).to_contain_text("100000")
    trials.locator(".frame").evaluate("frame => { frame.scrollTop = frame.scrollHeight; }")
    expect(trials.locator("tbody tr").last).to_contain_text(re.compile("^1(best)?completed"))
    assert trials.locator("tbody tr").count() < 100
