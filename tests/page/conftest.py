"""A headless Chromium, the platform it looks at, and a search of each kind to look at."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, expect, sync_playwright

from tests.support.eventually import eventually_sync
from tests.support.platform import RunningPlatform
from trainmaster.client import ApiError, Client

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
WAIT_MS = 45_000.0  # a busy machine may take ten seconds for a page
SEARCH_S = 120.0
ENDS = {"COMPLETED", "FAILED", "CANCELED"}

expect.set_options(timeout=WAIT_MS)

CONFIG = """
name: {name}
description: a search for the page to show
labels: [page]
entrypoint: python train.py
hyperparameters:
  lr: {{type: log, base: 10, minval: -4, maxval: -1}}
  layers: {{type: int, minval: 1, maxval: 4}}
  width: 64
searcher:
  {{name: random, metric: accuracy, smaller_is_better: false, max_trials: 3, max_length: {{batches: {batches}}}}}
max_restarts: 0
reproducibility: {{experiment_seed: 5}}
"""

LEARNING = """
import trainmaster as tm

class Weights:
    def __init__(self): self.value = 0.0
    def state_dict(self): return {"value": self.value}
    def load_state_dict(self, state): self.value = state["value"]

weights = Weights()
with tm.trial() as trial:
    print("learning begins")
    for step in trial.steps(resume=weights):
        weights.value += 1 / (trial.hyperparameters.layers + step)
        trial.report(step, loss=1 / step)
        if step % 5 == 0:
            trial.report_validation(step, accuracy=1 - 1 / (1 + weights.value))
            print("validated at", step)
    trial.checkpoint(weights, trial.steps_completed)
"""

SLOW = """
import time
import trainmaster as tm

with tm.trial() as trial:
    for step in trial.steps():
        time.sleep(0.5)
"""

CRASHING = """
import trainmaster as tm

with tm.trial() as trial:
    print("about to divide")
    for step in trial.steps():
        1 / 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The platform as the tests reach it: its address, and a client that submits to it."""

    url: str
    client: Client
    directory: Path

    def submit(self, name: str, script: str, batches: int = 20) -> str:
        """Submit a search of three trials over a script; return the experiment's id."""
        code = self.directory / name
        code.mkdir()
        (code / "train.py").write_text(script)
        config = self.directory / f"{name}.yaml"
        config.write_text(CONFIG.format(name=name, batches=batches))
        return self.client.submit(config, code)["id"]

    def wait(self, experiment_id: str) -> str:
        """Wait until an experiment is over; return its state."""

        def state() -> str | None:
            now = str(self.client.experiment(experiment_id)["state"])
            return now if now in ENDS else None

        return eventually_sync(state, timeout_s=SEARCH_S) or ""


@dataclass  # without slots: Playwright keeps a note on the object whose method it calls
class Complaints:
    """What the browser complained about: errors on the console, violations of the security policy among them.

    A test that provokes a complaint names what it holds in `expected`, first: it may come at any time after.
    """

    messages: list[str] = field(default_factory=list)
    expected: str | None = None

    def hear(self, message: ConsoleMessage) -> None:
        """Note an error or a warning."""
        is_expected = self.expected is not None and self.expected in message.text
        if message.type in ("error", "warning") and not is_expected:
            self.messages.append(message.text)


@pytest.fixture(scope="session")
def page_url(request: pytest.FixtureRequest) -> str:
    """The address of the page: of the platform that TM_PAGE_URL names, else of one started for the tests."""
    given = os.environ.get("TM_PAGE_URL")
    return given or str(request.getfixturevalue("platform").url)


@pytest.fixture
def own_platform(request: pytest.FixtureRequest) -> RunningPlatform:
    """The platform that was started for the tests: its broker can be reached too."""
    if "TM_PAGE_URL" in os.environ:
        pytest.skip("the page belongs to another platform")
    running: RunningPlatform = request.getfixturevalue("platform")
    return running


@pytest.fixture(scope="session")
def site(page_url: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The platform under test."""
    token = os.environ.get("TM_TOKEN") or str(request.getfixturevalue("platform").token)
    with Client(page_url, token) as client:
        yield Site(url=page_url, client=client, directory=tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="session")
def finished(site: Site) -> str:
    """The id of a search that has completed."""
    experiment_id = site.submit("learning", LEARNING)
    assert site.wait(experiment_id) == "COMPLETED"
    return experiment_id


@pytest.fixture(scope="session")
def crashed(site: Site) -> str:
    """The id of a search whose trials all crashed."""
    experiment_id = site.submit("crashing", CRASHING)
    assert site.wait(experiment_id) == "FAILED"
    return experiment_id


Begin = Callable[[str], str]


@pytest.fixture
def begin(site: Site) -> Iterator[Begin]:
    """Submits a search of three trials that train for longer than any test; they are cancelled after it."""
    begun: list[str] = []

    def submit(name: str) -> str:
        begun.append(site.submit(name, SLOW, batches=100_000))
        return begun[-1]

    yield submit
    for experiment_id in begun:
        with contextlib.suppress(ApiError):  # the test has cancelled it
            site.client.cancel(experiment_id)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium. Without one the tests are skipped, unless TM_REQUIRE_BROWSER=1."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        reason = f"none of {', '.join(BROWSERS)} is on the PATH: the page is not tested"
        if os.environ.get("TM_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def browser(chromium: str, site: Site) -> Iterator[Browser]:
    """A headless browser; the platform is up before it starts, because its event loop occupies this thread."""
    playwright: Playwright
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture
def complaints() -> Complaints:
    """What the browser complains about."""
    return Complaints()


@pytest.fixture
def page(browser: Browser, page_url: str, site: Site, complaints: Complaints) -> Iterator[Page]:
    """A tab at the platform's address. Afterwards nothing may have been complained about."""
    context = browser.new_context(base_url=page_url, viewport={"width": 1360, "height": 900})
    context.set_default_timeout(WAIT_MS)
    code = site.client.access.login_code()["code"]
    assert context.request.post("/api/v1/session", data={"code": code}).ok  # the tab shares its cookies
    tab = context.new_page()
    tab.on("console", complaints.hear)
    tab.on("pageerror", lambda error: complaints.messages.append(str(error)))
    yield tab
    context.close()
    assert complaints.messages == []
