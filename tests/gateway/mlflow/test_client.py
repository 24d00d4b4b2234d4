"""The unmodified MLflow client against the gateway, as a process of its own."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import ADMIN_TOKEN, Api
from tests.gateway.test_access import make_user
from tests.tracker import story

SCRIPTS = Path(__file__).parent / "scripts"
TIMEOUT_S = 120.0


async def run_client(api: Api, script: str, token: str = ADMIN_TOKEN, **environment: str) -> Any:
    """Return what a script of MLflow's client prints."""
    told = {
        "MLFLOW_TRACKING_URI": api.url,
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPTS / script),
        env=os.environ | told | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(TIMEOUT_S):
        printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-4000:]
    return json.loads(printed.splitlines()[-1])


@pytest.mark.timeout(180)
async def test_a_team_works_with_mlflow(api: Api) -> None:
    read = await run_client(api, "client.py")
    assert read["twice"] == "RESOURCE_ALREADY_EXISTS" and read["missing"] is None
    assert read["active"] == ["Default", "digits"] and read["deleted"] == ["signs"] and read["by_tag"] == ["digits"]
    assert read["experiment"] == {"tags": {"team": "vision", "stage": "draft"}, "stage": "active", "same": True}
    assert read["status"] == ["FINISHED", "active", "first", "admin"] and read["ended"]
    assert read["params"] == {"lr": "0.1", "model-type": "mlp"} and read["tag"] == ["v", None]
    assert read["other_value"] == "INVALID_PARAMETER_VALUE"
    assert read["metrics"] == {"loss": "0.2", "accuracy": "0.5", "unstepped": "2.0", "broken": "nan"}
    assert read["history"] == [[step, 1 / step] for step in range(1, 6)] and read["unstepped"] == [2.0, 3.0]
    assert read["artifacts"] == [["large.bin", False], ["notes", True]]
    assert (
        read["nested"] == [["notes/config.json", len('{\n  "a": 1\n}')]]
        and read["config"] == {"a": 1}
        and read["same_bytes"]
    )
    assert read["tags_together"] == 16, "whoever changes a run at the same time is not lost"
    assert list(read["searched"].values()) == [
        ["run-8", "run-7", "run-6"], ["run-3", "run-1"], ["run-7"], ["run-1", "run-0"], ["run-4"], ["first"],
    ]  # fmt: skip
    assert read["pages"] == [4, 4, 2] and read["nonsense"] == "INVALID_PARAMETER_VALUE" and read["long_history"] == 800
    assert read["put_aside"] == [0, 1] and read["taken_back"] == 1
    assert read["model"] == ["net", "READY", {"layers": "2"}, "best", True] and read["models"] == [True]
    assert read["model_metrics"] == [["accuracy", 0.75]] and read["datasets"] == ["mnist"]
    assert read["unsupported"] == "ENDPOINT_NOT_FOUND" and read["default"] == {"x": 1.0}
    events = await api.get("/api/v1/events", limit=500)
    assert {"RunCreated", "RunAnnotated", "RunChanged", "ModelLogged"} <= {item["name"] for item in events["items"]}


async def test_trials_are_runs_that_only_the_platform_changes(api: Api) -> None:
    await story.tell(api.log, story.whole_search())
    read = await run_client(api, "trials.py")
    assert read["experiments"] == [f"digits [{story.EXPERIMENT}]"] and read["same"]
    assert {run["status"] for run in read["runs"]} <= {"FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED"}
    assert all("lr" in run["params"] for run in read["runs"])
    assert any("accuracy" in run["metrics"] for run in read["runs"]) and read["history"]
    assert read["written"] == ["INVALID_PARAMETER_VALUE"] * 4


async def test_roles_hold_for_mlflow_too(api: Api) -> None:
    await make_user(api, "watcher", "viewer")
    await make_user(api, "insider", "editor", "vision")
    viewer = (await api.post("/api/v1/tokens", 201, json={"label": "t", "role": "viewer", "user": "watcher"}))["token"]
    insider = (await api.post("/api/v1/tokens", 201, json={"label": "t", "role": "editor", "user": "insider"}))["token"]
    await run_client(api, "write.py")
    assert await run_client(api, "write.py", viewer) == {"refused": "PERMISSION_DENIED", "seen": ["Default", "mine"]}
    assert await run_client(api, "write.py", insider) == {"refused": "PERMISSION_DENIED", "seen": []}
    own = await run_client(api, "write.py", insider, MLFLOW_WORKSPACE="vision")
    assert own == {"refused": None, "seen": ["mine"]}


@pytest.mark.timeout(180)
async def test_autologging_logs_a_model_that_is_loaded_again(api: Api) -> None:
    read = await run_client(api, "autolog.py")
    assert read["C"] == "0.5" and read["status"] == "FINISHED" and read["estimator"] == "LogisticRegression"
    assert read["score"] > 0.8 and "training_score" in read["model_metrics"] and read["datasets"]
    assert read["model"] == "READY" and read["predicts_the_same"]
    assert "estimator.html" in read["artifacts"]
