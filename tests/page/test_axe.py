"""Nobody is kept out: axe finds nothing serious on any page, in either theme; no page is wider than a phone."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.page.conftest import Begin
from tests.page.places import places

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
RUN = "axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})"
SERIOUS = {"serious", "critical"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, finished: str, theme: str) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    found = []
    for name, place in places(finished).items():
        _go(page, place)
        page.evaluate(AXE)
        found += [
            (name, violation["id"], [node["html"][:160] for node in violation["nodes"][:3]])
            for violation in page.evaluate(RUN)["violations"]
            if violation["impact"] in SERIOUS
        ]
    assert found == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_what_asks_back(page: Page, begin: Begin, theme: str) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    _go(page, f"experiments/{begin(f'asked-{theme}')}")
    page.evaluate(AXE)
    found = []
    for verb in ("Fork", "Change", "Move", "Pause", "Cancel"):
        page.get_by_role("button", name=f"{verb}…").click()
        dialog = page.get_by_role("dialog")
        dialog.locator(".same").wait_for()
        found += [(verb, each["id"]) for each in page.evaluate(RUN)["violations"] if each["impact"] in SERIOUS]
        dialog.get_by_role("button", name="Leave it").click()
    assert found == []


def _go(page: Page, place: str) -> None:
    page.goto("about:blank")  # else the page before would be looked at: another hash alone is no navigation
    page.goto(f"/#/{place}")
    page.locator("h1").wait_for()
    page.locator(".loading").first.wait_for(state="detached")


def test_no_page_is_wider_than_a_phone(page: Page, finished: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for name, place in places(finished).items():
        _go(page, place)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
