"""What administrators do on the page: users with roles, workspaces, limits; and what others see instead."""

from playwright.sync_api import Browser, Locator, Page, expect

from tests.page.conftest import Site

PASSWORD = "correct horse battery"


def _ask(page: Page, button: Locator, fields: dict[str, str], verb: str, command: str) -> None:
    """Press a button, fill in its dialog, see the command that does the same, and have it done."""
    button.click()
    dialog = page.get_by_role("dialog")
    for name, value in fields.items():
        field = dialog.locator(f"[name={name}]")
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    expect(dialog.locator(".same code")).to_have_text(command)
    dialog.get_by_role("button", name=verb, exact=True).click()
    expect(dialog).to_have_count(0)


def test_a_user_is_let_in_with_a_role_and_kept_out(page: Page, browser: Browser, page_url: str) -> None:
    page.goto("/#/admin")
    users = page.get_by_role("region", name="Users")
    fields = {"name": "bea", "full_name": "Bea B", "password": PASSWORD, "role": "viewer"}
    command = "tm user create bea --full-name 'Bea B' --role viewer"
    _ask(page, users.get_by_role("button", name="Add a user…"), fields, "Add a user", command)
    row = users.locator("tbody tr", has_text="bea")
    expect(row).to_contain_text("viewer everywhere")
    grant = {"role": "editor", "workspace": "vision"}
    _ask(page, row.get_by_role("button", name="Grant…"), grant, "Grant", "tm user grant bea editor --workspace vision")
    expect(row).to_contain_text("editor in vision")
    other = browser.new_context(base_url=page_url)
    hers = other.new_page()
    hers.goto("/#/admin")
    hers.get_by_label("User").fill("bea")
    hers.get_by_label("Password").fill(PASSWORD)
    hers.keyboard.press("Enter")
    expect(hers.get_by_text("Users and roles are an administrator's")).to_be_visible()
    expect(hers.get_by_role("button", name="Add a user…")).to_have_count(0)
    _ask(page, row.get_by_role("button", name="Disable…"), {}, "Disable", "tm user disable bea")
    expect(row).to_contain_text("disabled")
    hers.reload()
    expect(hers.get_by_role("button", name="Log in")).to_be_visible()
    other.close()
    _ask(page, row.get_by_role("button", name="Revoke…").first, {}, "Revoke", "tm user revoke bea")
    expect(row).not_to_contain_text("viewer everywhere")


def test_a_workspace_is_opened_limited_closed_and_the_limit_lifted(page: Page) -> None:
    page.goto("/#/admin")
    workspaces, limits = (page.get_by_role("region", name=name) for name in ("Workspaces", "Limits"))
    add = workspaces.get_by_role("button", name="Add a workspace…")
    made = "tm workspace create acoustics --description 'words and sounds'"
    _ask(page, add, {"name": "acoustics", "description": "words and sounds"}, "Add a workspace", made)
    row = workspaces.locator("tbody tr", has_text="acoustics")
    expect(row).to_contain_text("words and sounds")
    set_limit = limits.get_by_role("button", name="Set a limit…")
    command = "tm limits set --workspace acoustics --max-slots 4"
    _ask(page, set_limit, {"workspace": "acoustics", "max_slots": "4"}, "Set a limit", command)
    limit = limits.locator("tbody tr", has_text="acoustics")
    expect(limit).to_contain_text("4")
    _ask(page, limit.get_by_role("button", name="Lift…"), {}, "Lift", "tm limits clear --workspace acoustics")
    expect(limit).to_have_count(0)
    _ask(page, row.get_by_role("button", name="Archive…"), {}, "Archive", "tm workspace archive acoustics")
    expect(row).to_contain_text("archived")


def test_a_pool_is_scheduled_otherwise(page: Page) -> None:
    page.goto("/#/cluster")
    row = page.get_by_role("table", name="Pools").locator("tbody tr", has_text="default")
    expect(row).to_contain_text("0 of 2")
    change = row.get_by_role("button", name="Change…")
    command = "tm pools set default --policy priority --no-preemption --fitting worst"
    _ask(page, change, {"fitting": "worst"}, "Change", command)
    expect(row).to_contain_text("spreads over agents")
    _ask(page, change, {"fitting": "best"}, "Change", command.replace("worst", "best"))
    expect(row).to_contain_text("packs agents")


def test_somebody_of_one_workspace_sees_theirs_live(page: Page, browser: Browser, site: Site) -> None:
    """Who may not read the whole log is told of changes all the same."""
    site.client.access.create_user("cyd", full_name="Cyd", is_service=False)
    site.client.access.set_password("cyd", PASSWORD)
    site.client.access.grant("cyd", "viewer", "vision")
    context = browser.new_context(base_url=site.url)
    theirs = context.new_page()
    theirs.goto("/")
    theirs.get_by_label("User").fill("cyd")
    theirs.get_by_label("Password").fill(PASSWORD)
    theirs.keyboard.press("Enter")
    expect(theirs.locator("[data-connection=open]")).to_be_visible()
    context.close()
