"""Writes a picture of each page in both themes, and some on a phone: python -m tests.page.screenshots URL EXPERIMENT.

The platform runs already; TM_TOKEN is an administrator's. The pictures in docs/images are of a search on rungs.
"""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

from tests.page.conftest import ARGUMENTS, BROWSERS
from tests.page.places import places
from trainmaster.client import Client

IMAGES = Path(__file__).parents[2] / "docs" / "images" / "page"
SIZE: ViewportSize = {"width": 1100, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
ON_A_PHONE = ("experiments", "trial")
SETTLED_MS = 1200  # charts and fonts are drawn by then


def main(url: str, experiment_id: str, directory: Path = IMAGES) -> None:
    """Write the pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    with Client(url, os.environ["TM_TOKEN"]) as client:
        code = client.access.login_code()["code"]
        best = client.experiment(experiment_id)["best"]
    assert best is not None, "the experiment has a best trial"
    shown = places(experiment_id, int(best["trial_id"].rpartition("-")[2]))
    chromium = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        context = browser.new_context(base_url=url, viewport=SIZE, reduced_motion="reduce")
        assert context.request.post("/api/v1/session", data={"code": code}).ok
        page = context.new_page()
        for name, place in shown.items():
            for theme in ("light", "dark"):
                _take(page, place, theme, directory / f"{name}-{theme}.png")
        page.set_viewport_size(PHONE)
        for name in ON_A_PHONE:
            _take(page, shown[name], "light", directory / f"{name}-phone.png")
        browser.close()


def _take(page: Page, place: str, theme: str, path: Path) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.goto(f"/#/{place}")
    page.locator("h1").wait_for()
    page.locator(".loading").first.wait_for(state="detached")
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(Path, sys.argv[3:4]))
