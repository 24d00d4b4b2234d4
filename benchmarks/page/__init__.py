"""The page in headless Chromium: what is loaded first and when it can be used, lists of 100,000, 20 trials that report.

The lists are put into the read model as the tracker would have folded them. The reporting trials are an agent's of the
benchmark's own, which says what an agent says; all else is real, on the same machine.
"""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.page import reporting
from benchmarks.page.frames import WATCH, Motion, motion
from benchmarks.platform import Platform, platform
from benchmarks.report import Row, show
from benchmarks.stub_trials import POOL
from tests.page import crowd
from tests.support.eventually import eventually_sync
from tests.support.platform import RunningPlatform
from trainmaster.cli.options import json_option
from trainmaster.client import Client

CROWD = 100_000
RUNS = 3
WATCHED_MS = 10_000
SIZE = {"width": 1360, "height": 900}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHART_LIBRARY = "uplot"
FIRST_ROW = "() => window.firstRowMs !== undefined"
TRANSFERRED = """() => performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
    .filter(({name}) => !name.includes('/api/') && !name.includes(LIBRARY))
    .reduce((sum, {transferSize}) => sum + transferSize, 0)""".replace("LIBRARY", f"'{CHART_LIBRARY}'")


@click.command()
@json_option
def main(*, as_json: bool) -> None:
    """Measure and print the table."""
    with platform("cpu:1") as running, _browser() as browser:
        url, token = _address(running)
        with Client(url, token) as client:
            site = RunningPlatform(url=url, data=running.data)
            rows = [*_small(browser, client, url)]
            experiment_id = reporting.search_of_one(running)
            crowd.add_trials(crowd.url_of(site), experiment_id, CROWD)
            rows += _list(browser, client, url, f"experiments/{experiment_id}", "Trials", f"list of {CROWD:,} trials")
            rows += _live(browser, client, url, running)
            crowd.add_experiments(crowd.url_of(site), experiment_id, CROWD)
            rows += _list(browser, client, url, "", "Experiments", f"list of {CROWD:,} experiments")
    show("the page in headless Chromium", rows, as_json=as_json)


@contextmanager
def _browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is on the PATH")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def _address(running: Platform) -> tuple[str, str]:
    port = json.loads((running.data / "ports.json").read_text())["gateway"]
    return f"http://127.0.0.1:{port}", json.loads((running.data / "credentials.json").read_text())["admin_token"]


@contextmanager
def _tab(browser: Browser, client: Client, url: str) -> Iterator[Page]:
    """A browser that was never here: nothing is in its cache."""
    context = browser.new_context(base_url=url, viewport={"width": SIZE["width"], "height": SIZE["height"]})
    code = client.access.login_code()["code"]
    assert context.request.post("/api/v1/session", data={"code": code}).ok
    page = context.new_page()
    page.add_init_script(WATCH)
    yield page
    context.close()


def _first_row_ms(page: Page, address: str) -> float:
    page.goto(f"/#/{address}")
    page.wait_for_function(FIRST_ROW)
    return float(page.evaluate("window.firstRowMs"))


def _small(browser: Browser, client: Client, url: str) -> Iterator[Row]:
    """The cluster's page of a platform that does nothing: what the page itself costs."""
    loads, sizes = [], []
    for _ in range(RUNS):
        with _tab(browser, client, url) as page:
            loads.append(_first_row_ms(page, "cluster"))
            sizes.append(page.evaluate(TRANSFERRED) / 1000)
    yield Row(what="first load without the chart library, compressed", unit="kB", values=tuple(sizes))
    yield Row(what="from the address to the first rows, empty cache", unit="ms", values=tuple(loads))


def _list(browser: Browser, client: Client, url: str, address: str, label: str, what: str) -> Iterator[Row]:
    """When the first rows of a list are there, and how it scrolls from one end to the other."""
    shown, moved = [], list[Motion]()
    for _ in range(RUNS):
        with _tab(browser, client, url) as page:
            shown.append(_first_row_ms(page, address))
            page.wait_for_load_state("networkidle")
            moved.append(motion(page, scrolling=label))
    yield Row(what=f"{what}: first rows", unit="ms", values=tuple(shown))
    yield from _moving(what + ", scrolled", moved)


def _live(browser: Browser, client: Client, url: str, running: Platform) -> Iterator[Row]:
    """An experiment's page while its 20 trials validate four times a second each."""
    ended = threading.Event()
    speaker = threading.Thread(target=reporting.speak, args=(running.data, ended))
    speaker.start()
    try:
        eventually_sync(lambda: POOL in [pool["id"] for pool in client.pools()])
        experiment_id = reporting.begin(running)
        with _tab(browser, client, url) as page:
            page.goto(f"/#/experiments/{experiment_id}")
            page.wait_for_function("() => /, 20 trials/.test(document.querySelector('.plot')?.ariaLabel ?? '')")
            moved = [motion(page, lasting_ms=WATCHED_MS) for _ in range(2)]
        client.cancel(experiment_id)
    finally:
        ended.set()
        speaker.join()
    yield from _moving(f"{reporting.TRIALS} trials report", moved)


def _moving(what: str, moved: list[Motion]) -> Iterator[Row]:
    yield Row(what=f"{what}: 95 % of frames within", unit="ms", values=tuple(each.frame_p95_ms for each in moved))
    yield Row(what=f"{what}: longest task", unit="ms", values=tuple(each.longest_task_ms for each in moved))
    yield Row(what=f"{what}: tasks over 50 ms", unit="", values=tuple(float(each.num_long_tasks) for each in moved))


if __name__ == "__main__":
    main()
