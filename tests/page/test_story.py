"""A newcomer's way, with clicks only; with keys only; and through a restart of the server."""

import re

from playwright.sync_api import Page, expect

from tests.page.conftest import LEARNING, Complaints, Site
from tests.support.eventually import eventually_sync
from tests.support.platform import RunningPlatform
from trainmaster.client import Client, Unreachable


def test_from_the_list_to_why_a_trial_is_the_best_and_where_its_checkpoint_is(page: Page, finished: str) -> None:
    page.goto("/")
    page.get_by_role("group", name="Experiments").get_by_role("link", name="learning", exact=True).last.click()
    best = page.locator(".fact", has_text="Best accuracy")
    best.get_by_role("link", name=re.compile("trial")).click()
    expect(page.locator("h1")).to_contain_text("best")
    answer = page.get_by_role("region", name="Why").locator(".answer", has_text="Why it is the best").first
    expect(answer).to_contain_text(re.compile(r"its accuracy of 0\.\d+ at step 20 is the highest of 3 trials"))
    expect(answer).to_contain_text("its checkpoint is")
    fact = page.locator(".fact", has_text="Best checkpoint")
    with page.expect_download() as download:
        fact.get_by_role("link", name="download").click()
    checkpoint_id = fact.get_by_role("link").get_attribute("title") or ""
    assert checkpoint_id and checkpoint_id in (answer.text_content() or "")
    assert download.value.suggested_filename.endswith(".tar")
    row = page.get_by_role("region", name="Checkpoints").locator("tbody tr", has_text="best")
    row.locator("summary").click()
    expect(row.locator(".files a").first).to_be_visible()


def test_keys_go_to_every_page_and_the_help_follows(page: Page, finished: str) -> None:
    page.goto("/#/cluster")
    expect(page.locator("h1")).to_have_text("Cluster")
    page.keyboard.press("3")
    expect(page.locator("h1")).to_have_text("Events")
    page.keyboard.press("1")
    expect(page.get_by_role("group", name="Experiments").locator("tbody tr").first).to_be_visible()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("choose the row, or not")
    page.evaluate("location.hash = '#/cluster'")
    expect(dialog).not_to_contain_text("choose the row, or not")
    expect(dialog).to_contain_text("go to events")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.goto(f"/#/experiments/{finished}")
    expect(page.get_by_role("region", name="Trials").locator("tbody tr")).to_have_count(3)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Trial 2")


def test_a_page_survives_a_restart_of_the_server(
    page: Page, complaints: Complaints, site: Site, own_platform: RunningPlatform
) -> None:
    complaints.expected = "Failed to load resource"  # while the server is away
    page.goto("/")
    expect(page.locator("[data-connection=open]")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    own_platform.kill("gateway")
    eventually_sync(lambda: _answers(site.client), timeout_s=30)
    experiment_id = site.submit("after-the-restart", LEARNING)
    expect(page.locator("tbody tr", has_text=experiment_id)).to_be_visible(timeout=30_000)
    expect(page.locator("[data-connection=open]")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert page.evaluate("window.sameDocument") is True


def _answers(client: Client) -> bool:
    try:
        return bool(client.status())
    except Unreachable:
        return False
