"""The async client is the sync one, and both ask for what the API has."""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.platform import RunningPlatform
from trainmaster.client import ApiError, AsyncClient, Client, Unreachable
from trainmaster.client.generate import SHAPES, SOURCE, TARGET, generated, modules, shapes

ROOT = Path(__file__).parents[2]
OPENAPI: dict[str, Any] = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text())
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
CONFIG = b"entrypoint: [cat, words.txt]\nsearcher: {name: single, metric: loss}\n"


def test_what_is_checked_in_is_what_would_be_made() -> None:
    for name, text in generated().items():
        assert (TARGET / f"{name}.py").read_text() == text, "run python trainmaster/client/generate.py"
    assert {path.stem for path in TARGET.glob("*.py")} == {*modules(), "__init__"}
    assert SOURCE != TARGET
    assert SHAPES.read_text() == shapes(), "run python trainmaster/client/generate.py"


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    names = {name for name in vars(Client) if not name.startswith("_")}
    assert names == {name for name in vars(AsyncClient) if not name.startswith("_")}
    for name in names:
        ours, theirs = getattr(Client, name), getattr(AsyncClient, name)
        if callable(ours):
            assert str(inspect.signature(ours)).split(") ->")[0] == str(inspect.signature(theirs)).split(") ->")[0]


def asked() -> Iterator[tuple[str, str]]:
    """Every method and path that the client's code calls, placeholders as `{}`."""
    for tree in modules().values():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            words = [_text(argument) for argument in call.args[:2]]
            if len(words) == 2 and words[0] in METHODS and words[1] and words[1].startswith("/"):
                yield words[0], words[1]


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


@pytest.mark.parametrize(("method", "path"), sorted(set(asked())))
def test_what_the_client_asks_for_is_described(method: str, path: str) -> None:
    pattern = re.compile("/api/v1" + re.escape(path).replace(r"\{\}", "[^/]+") + "$")
    found = [operations for known, operations in OPENAPI["paths"].items() if pattern.match(known)]
    assert any(method.lower() in operations for operations in found)


async def test_it_submits_follows_and_reads(platform: RunningPlatform, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("read by a coroutine\n")
    sent: list[tuple[int, int]] = []
    async with AsyncClient(platform.url, platform.token) as client:
        submitted = await client.submit(CONFIG, tmp_path, on_sent=lambda done, total: sent.append((done, total)))
        assert sent[-1][0] == sent[-1][1] > 0
        async for event in client.follow_events({"experiment": submitted["id"], "after": 0}):
            if event["name"] == "ExperimentCompleted":
                break
        lines = [line["text"] async for line in client.logs(f"{submitted['id']}-1", follow=True)]
        assert "read by a coroutine" in lines
        assert submitted["id"] in [experiment["id"] async for experiment in client.experiments()]
        assert (await client.access.session())["user_id"] == "admin"
        with pytest.raises(ApiError, match="no experiment"):
            await client.experiment("nosuchthing")


async def test_a_platform_that_is_not_there_is_said() -> None:
    async with AsyncClient("http://127.0.0.1:9", None) as client:
        with pytest.raises(Unreachable, match="does not answer"):
            await client.status()
