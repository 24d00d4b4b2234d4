"""Logins, passwords and tokens by tm: what is printed, what is kept, what opens nothing any more."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.platform import RunningPlatform, run_tm
from trainmaster.cli.app import tm
from trainmaster.client import Client

pytestmark = pytest.mark.timeout(300)

PASSWORD = "a password of some length"


@pytest.fixture
def ada(platform: RunningPlatform, tmp_path: Path) -> dict[str, str]:
    """A person with a password; the environment of a shell of hers."""
    with Client(platform.url, platform.token) as client:
        if "ada" not in {user["user_id"] for user in client.access.users()}:
            client.access.create_user("ada", full_name="Ada", is_service=False)
        client.access.set_password("ada", PASSWORD)
        client.access.grant("ada", "editor", None)
    return {"TM_URL": platform.url, "XDG_CONFIG_HOME": str(tmp_path), "TM_DATA": str(tmp_path / "none")}


def test_a_login_opens_and_a_logout_closes(ada: dict[str, str], tmp_path: Path) -> None:
    told = _json(ada | {"TM_PASSWORD": PASSWORD}, "login", "--user", "ada")
    assert (told["url"], told["session"]["user_id"]) == (ada["TM_URL"], "ada")
    kept = Path(told["kept_in"])
    (token,) = json.loads(kept.read_text()).values()
    assert kept.is_relative_to(tmp_path) and token not in json.dumps(told)
    assert _json(ada, "whoami")["user_id"] == "ada"
    assert _json(ada, "logout") == {"url": ada["TM_URL"]}
    assert run_tm("whoami", env=ada | {"TM_TOKEN": token}).returncode == 1  # it opens nothing any more
    again = run_tm("logout", "--json", env=ada)
    assert again.returncode == 1 and again.stdout == "" and "nobody is logged in" in again.stderr


def test_a_wrong_password_keeps_nothing(ada: dict[str, str], tmp_path: Path) -> None:
    refused = run_tm("login", "--user", "ada", "--json", env=ada | {"TM_PASSWORD": "a wrong one altogether"})
    assert refused.returncode == 1 and refused.stdout == "" and "wrong user or password" in refused.stderr
    assert not (tmp_path / "trainmaster").exists()


def test_questions_of_a_login_are_no_part_of_its_json(ada: dict[str, str]) -> None:
    asked = CliRunner(env=ada).invoke(tm, ["login", "--json"], input=f"ada\n{PASSWORD}\n")
    assert asked.exit_code == 0, asked.stderr
    assert json.loads(asked.stdout)["session"]["user_id"] == "ada"
    assert "User: " in asked.stderr and PASSWORD not in asked.output


def test_a_changed_password_is_told_as_json(ada: dict[str, str]) -> None:
    assert run_tm("login", "--user", "ada", env=ada | {"TM_PASSWORD": PASSWORD}).returncode == 0
    new = f"{PASSWORD}, anew"
    changed = CliRunner(env=ada).invoke(tm, ["user", "password", "ada", "--json"], input=f"{PASSWORD}\n{new}\n{new}\n")
    assert changed.exit_code == 0, changed.stderr
    assert json.loads(changed.stdout)["user_id"] == "ada"
    assert run_tm("login", "--user", "ada", env=ada | {"TM_PASSWORD": new}).returncode == 0


def test_a_revoked_token_opens_nothing(platform: RunningPlatform) -> None:
    made = json.loads(platform.tm("token", "create", "a program", "--json").stdout)
    program = {"TM_URL": platform.url, "TM_TOKEN": made["token"]}
    assert _json(program, "whoami")["at_most"] == "editor"
    gone = json.loads(platform.tm("token", "revoke", made["token_id"], "--json").stdout)
    assert (gone["token_id"], gone["label"]) == (made["token_id"], "a program")
    assert run_tm("whoami", env=program).returncode == 1


def _json(env: dict[str, str], *words: str) -> Any:
    done = run_tm(*words, "--json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
