"""What people do to experiments from the page: fork, continue, label, archive, delete; the queue; a slot; the past."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from shared import codec
from shared.events import SlotFault, SlotUnhealthy
from shared.ids import AgentId
from shared.log import envelope_of
from tests.page.conftest import LEARNING, Begin, Complaints, Site
from tests.support.platform import RunningPlatform


def _confirm(page: Page, verb: str, command: str | re.Pattern[str]) -> None:
    """The dialog shows the command that asks for the same; then it is done."""
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".same code")).to_have_text(command)
    dialog.get_by_role("button", name=verb, exact=True).click()
    expect(dialog).to_have_count(0)


def _row(page: Page, experiment_id: str) -> Locator:
    return (
        page.get_by_role("group", name="Experiments")
        .locator("tbody tr")
        .filter(has=page.locator(".mono", has_text=re.compile(f"^{experiment_id}$")))
    )


def _incarnation(page: Page) -> str:
    agents = page.request.get("/api/v1/agents").json()["items"]
    return str(next(agent["incarnation"] for agent in agents if agent["id"] == "local"))


@pytest.fixture
def spare(site: Site) -> str:
    """A search that a test may do away with."""
    experiment_id = site.submit("spare", LEARNING)
    assert site.wait(experiment_id) == "COMPLETED"
    return experiment_id


def test_an_experiment_is_forked_with_changes(page: Page, site: Site, finished: str) -> None:
    page.goto(f"/#/experiments/{finished}")
    page.get_by_role("button", name="Fork…").click()
    page.get_by_label("Called").fill("a fork of it")
    page.get_by_role("spinbutton", name="Trials").fill("1")
    _confirm(page, "Fork", f"tm fork {finished} --name 'a fork of it' --set searcher.max_trials=1")
    expect(page.locator("h1")).to_contain_text("a fork of it")
    forked = page.evaluate("location.hash").rsplit("/", 1)[-1]
    assert site.wait(forked) == "COMPLETED" and site.client.experiment(forked)["trials"]["total"] == 1


def test_a_trial_is_trained_on_from_its_checkpoint(page: Page, site: Site, finished: str) -> None:
    page.goto(f"/#/trials/{finished}-1")
    page.get_by_role("button", name="Continue…").click()
    page.get_by_label(re.compile("Train until")).fill("25")
    _confirm(page, "Continue", f"tm fork {finished}-1 --set searcher.max_length.batches=25")
    expect(page.locator("h1 [data-state=COMPLETED]")).to_be_visible(timeout=60_000)
    page.get_by_role("region", name="Trials").get_by_role("link", name="1", exact=True).click()
    expect(page.get_by_role("log")).to_contain_text("starting from checkpoint")
    expect(page.get_by_role("log")).to_contain_text("validated at 25")


def test_experiments_are_labelled_archived_and_found_again_and_deleted(page: Page, site: Site, spare: str) -> None:
    page.goto(f"/#/?q={spare}")
    choice = _row(page, spare).get_by_role("checkbox")
    choice.check()
    page.get_by_role("button", name="Label…").click()
    page.get_by_label("Add", exact=True).fill("keep me")
    _confirm(page, "Label", f"tm label {spare} --add 'keep me'")
    expect(_row(page, spare)).to_contain_text("keep me")
    choice.check()
    page.get_by_role("button", name="Archive 1…").click()
    _confirm(page, "Archive 1", f"tm archive {spare}")
    expect(_row(page, spare)).to_have_count(0)
    page.get_by_label("archived ones").check()
    _row(page, spare).get_by_role("link").first.click()
    page.get_by_role("button", name="Unarchive…").click()
    _confirm(page, "Unarchive", f"tm unarchive {spare}")
    page.get_by_role("button", name="Delete…").click()
    _confirm(page, "Delete", f"tm delete {spare}")
    expect(page.locator(".label.bad", has_text="deleted")).to_be_visible()
    page.goto(f"/#/?q={spare}")
    expect(page.get_by_text("No experiment is like that.")).to_be_visible()


def test_the_queue_is_reordered_and_tells_why_each_waits(page: Page, site: Site, begin: Begin) -> None:
    """Two slots, six trials: the second experiment's three trials are moved ahead of the first one's."""
    first, second = (begin(name) for name in ("queued-first", "queued-second"))
    page.goto("/#/cluster")
    rows = page.get_by_role("table", name="Queue").locator("tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("queued-first")
    mine = rows.filter(has_text="queued-second")
    expect(mine.last.locator("td.text")).to_contain_text(re.compile("slot"))
    mine.first.get_by_role("button", name="Move…").click()
    page.get_by_role("dialog").locator("select[name=other]").select_option(first)
    _confirm(page, "Move", f"tm move {second} --ahead-of {first}")
    expect(rows.first).to_contain_text("queued-second")
    rows.last.get_by_role("button", name="Move…").click()
    page.get_by_label(re.compile("or with priority")).fill("7")
    _confirm(page, "Move", f"tm change {first} --priority 7")
    expect(rows.first).to_contain_text("queued-first")
    for experiment_id in (first, second):
        site.client.cancel(experiment_id)
    expect(page.get_by_text("Nothing waits")).to_be_visible()


def test_a_running_searchs_limits_are_changed(
    page: Page, site: Site, finished: str, begin: Begin, complaints: Complaints
) -> None:
    complaints.expected = "400"  # the browser notes the refusal below, too
    running = begin("limited")
    page.goto(f"/#/experiments/{running}")
    change = page.get_by_role("button", name="Change…")
    change.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("spinbutton", name="Trials")).to_have_attribute("placeholder", "3")
    dialog.get_by_role("button", name="Change", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("give max_trials, max_concurrent_trials, or both")
    dialog.get_by_role("spinbutton", name="Trials").fill("5")
    dialog.get_by_role("spinbutton", name="At a time").fill("1")
    _confirm(page, "Change", f"tm change {running} --max-trials 5 --max-concurrent-trials 1")
    facts = page.locator(".facts")
    expect(facts).to_contain_text("of 5 completed")
    expect(facts).to_contain_text("1 at a time")
    change.click()
    expect(dialog.get_by_role("spinbutton", name="At a time")).to_have_attribute("placeholder", "1")
    dialog.get_by_role("button", name="Leave it").click()
    searcher = site.client.experiment(running)["searcher"]
    assert (searcher["max_trials"], searcher["max_concurrent_trials"]) == (5, 1)
    site.client.cancel(running)
    expect(change).to_have_count(0)
    page.goto(f"/#/experiments/{finished}")
    expect(page.get_by_role("button", name="Fork…")).to_be_visible()
    expect(change).to_have_count(0)


def test_how_an_experiment_is_scheduled_is_changed(
    page: Page, site: Site, begin: Begin, complaints: Complaints
) -> None:
    complaints.expected = "422"  # the browser notes the refusal below, too
    running = begin("rescheduled")
    page.goto(f"/#/experiments/{running}")
    schedule, dialog, facts = (
        page.get_by_role("button", name="Schedule…"),
        page.get_by_role("dialog"),
        page.locator(".facts"),
    )
    expect(facts).to_contain_text("default priority")

    def ask(what: str, value: str) -> None:
        schedule.click()
        dialog.get_by_role("combobox", name="Change").select_option(what)
        dialog.locator("input[name=value]").fill(value)

    ask("priority", "7")
    _confirm(page, "Schedule", f"tm change {running} --priority 7")
    expect(facts).to_contain_text("priority 7")
    ask("priority", "8")
    dialog.get_by_role("combobox", name="Change").select_option("weight")
    expect(dialog.locator(".same code")).to_have_text(f"tm change {running} --weight VALUE")
    dialog.locator("input[name=value]").fill("2.5")
    _confirm(page, "Schedule", f"tm change {running} --weight 2.5")
    expect(facts).to_contain_text("weight 2.5")
    ask("max_slots", "1")
    _confirm(page, "Schedule", f"tm change {running} --max-slots 1")
    expect(facts).to_contain_text("at most 1 slot")
    ask("pool", "nowhere")
    dialog.get_by_role("button", name="Schedule", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("there is no pool nowhere")
    dialog.get_by_role("button", name="Leave it").click()
    shown = site.client.experiment(running)
    assert (shown["priority"], shown["weight"], shown["max_slots"], shown["pool"]) == (7, 2.5, 1, "default")
    site.client.cancel(running)
    expect(schedule).to_have_count(0)


def test_the_list_is_narrowed_to_a_workspace_and_a_project(page: Page, site: Site, finished: str, crashed: str) -> None:
    site.client.filing.ask_many("move", [crashed], workspace="lenses", project="coated")
    page.goto("/#/")
    page.get_by_role("combobox", name="Any workspace").select_option("lenses")
    expect(_row(page, crashed)).to_be_visible()
    expect(_row(page, finished)).to_have_count(0)
    page.goto(f"/#/experiments/{crashed}")
    page.get_by_role("link", name="lenses / coated").click()
    expect(page.get_by_role("combobox", name="Any project")).to_have_value("coated")
    expect(_row(page, crashed)).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    expect(_row(page, finished)).to_be_visible()
    site.client.filing.ask_many("move", [crashed], workspace="", project="")


def test_an_experiment_moves_to_another_project_and_when_it_is_over_to_another_workspace(
    page: Page, site: Site, begin: Begin
) -> None:
    for path, name in (("workspaces", "optics"), ("workspaces/optics/projects", "letters")):
        assert page.request.post(f"/api/v1/{path}", data={"name": name}, headers={"Origin": site.url}).ok
    moved = begin("moving")
    page.goto(f"/#/experiments/{moved}")
    move, dialog, facts = page.get_by_role("button", name="Move…"), page.get_by_role("dialog"), page.locator(".facts")
    move.click()
    expect(dialog).to_contain_text("stays in the workspace without a name until it is over")
    expect(dialog.get_by_role("combobox", name="Workspace")).to_have_count(0)
    dialog.locator("[name=project]").fill("first tries")
    _confirm(page, "Move", f"tm move {moved} --project 'first tries'")
    expect(facts).to_contain_text("first tries")
    site.client.cancel(moved)
    expect(page.locator("h1 [data-state=CANCELED]")).to_be_visible()
    expect(facts).to_contain_text("Took")
    move.click()
    dialog.locator("[name=workspace]").fill("optics")
    expect(page.locator("#project-names option[value=letters]")).to_have_count(1)
    dialog.locator("[name=project]").fill("letters")
    expect(dialog.locator("[name=workspace]")).to_have_value("optics")
    _confirm(page, "Move", f"tm move {moved} --workspace optics --project letters")
    expect(facts).to_contain_text("optics / letters")
    shown = site.client.experiment(moved)
    assert (shown["workspace"], shown["project"]) == ("optics", "letters")


def test_many_move_to_another_project_at_once(page: Page, site: Site, finished: str, crashed: str) -> None:
    page.goto("/#/")
    for experiment_id in (finished, crashed):
        _row(page, experiment_id).get_by_role("checkbox").check()
    page.get_by_role("button", name="Move…").click()
    page.get_by_role("dialog").locator("[name=project]").fill("kept")
    _confirm(page, "Move", re.compile(r"^for id in (\w+ \w+); do tm move \$id --project kept; done$"))
    expect(page.get_by_role("button", name="Move…")).to_have_count(0)
    assert {site.client.experiment(one)["project"] for one in (finished, crashed)} == {"kept"}
    for experiment_id in (finished, crashed):
        site.client.filing.ask_many("move", [experiment_id])


def test_one_slot_is_drained_and_enabled(page: Page) -> None:
    page.goto("/#/agents/local")
    slot = page.get_by_role("table", name="Slots").locator("tbody tr").nth(1)
    slot.get_by_role("button", name="Drain…").click()
    page.get_by_role("dialog").locator("input[name=grace]").fill("30")
    _confirm(page, "Drain", "tm agents drain local --slot 1 --grace 30s")
    expect(slot).to_contain_text("draining")
    slot.get_by_role("button", name="Enable…").click()
    _confirm(page, "Enable", "tm agents enable local --slot 1")
    expect(slot).to_contain_text("yes")


def test_an_unhealthy_slot_tells_what_is_wrong_and_is_enabled(page: Page, own_platform: RunningPlatform) -> None:
    fault_ = SlotUnhealthy(
        agent_id=AgentId("local"), incarnation=_incarnation(page), slot=0, fault=SlotFault.XID, detail="79"
    )
    told = envelope_of(fault_, writer="worker-local", actor="worker-local", correlation="local")
    own_platform.publish("worker-local", str(told.subject), codec.encode(told))
    page.goto("/#/cluster")
    agent = page.get_by_role("article", name="Agent local", exact=True)
    expect(agent.locator(".slot.sick")).to_contain_text("unhealthy")
    fault = agent.locator(".fault")
    expect(fault).to_contain_text("Slot 0 is unhealthy and gets no work: critical error told by the driver (79)")
    fault.get_by_role("button", name="Enable…").click()
    _confirm(page, "Enable", "tm agents enable local --slot 0")
    expect(fault).to_have_count(0)


def test_experiments_are_compared_by_curves_and_configuration(page: Page, finished: str, crashed: str) -> None:
    page.goto("/")
    for experiment_id in (finished, crashed):
        _row(page, experiment_id).get_by_role("checkbox").check()
    page.get_by_role("link", name="Compare").click()
    expect(page.locator("h1")).to_have_text("Compare 2 experiments")
    expect(page.locator(".small-chart canvas").first).to_be_visible()
    expect(page.get_by_role("region", name="How they went")).to_contain_text("failed")
    table = page.get_by_role("region", name="Configuration")
    expect(table.locator("tbody tr", has_text="name")).to_contain_text("crashing")
    expect(table.locator("tbody th", has_text="searcher.max_trials")).to_have_count(0)
    table.get_by_role("checkbox").check()
    expect(table.locator("tbody th", has_text="searcher.max_trials")).to_have_count(1)


def test_charts_output_and_why_are_those_of_an_earlier_moment(page: Page, finished: str) -> None:
    path = f"/api/v1/events?trial={finished}-1&name=MetricReported"
    second = page.request.get(path).json()["items"][1]
    page.goto(f"/?as_of={second['seq']}#/trials/{finished}-1")
    expect(page.get_by_text("As it was")).to_be_visible()
    expect(page.locator(".fact", has_text="Step").last).to_contain_text("10")
    why = page.get_by_role("region", name="Why")
    expect(why.locator(".reason")).to_contain_text("It runs on local")
    expect(why.locator(".answer", has_text="Why it is COMPLETED")).to_have_count(0)
    output = page.get_by_role("log")
    expect(output).not_to_contain_text("validated at 20")
    expect(page.get_by_role("img", name="accuracy of this trial up to step 10")).to_be_visible()


def test_metrics_of_a_group_that_the_script_names_are_drawn(page: Page, site: Site) -> None:
    script = LEARNING.replace("trial.report(step, loss=1 / step)", 'trial.report("ema", step, loss=2 / step)')
    experiment_id = site.submit("grouped", script)
    assert site.wait(experiment_id) == "COMPLETED"
    page.goto(f"/#/trials/{experiment_id}-1")
    expect(page.locator(".small-chart", has_text="loss").locator(".legend")).to_have_text("ema")
    page.goto(f"/#/experiments/{experiment_id}")
    page.get_by_label("Metric to draw").select_option("ema loss")
    expect(page.locator(".plot")).to_have_attribute("aria-label", re.compile("^ema loss.* 3 trials"))
