"""What the page's tables and pictures go by: columns of trials, code, times, slots over time, windows of output."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime

import pytest

from services.gateway.columns import flat
from services.gateway.routes.code import MAX_READS_EACH
from services.gateway.turns import MAX_WAITING_EACH
from shared import subjects, volume
from shared.ids import AllocationId, TrialId
from shared.volume import LogBatch, LogLine
from tests.gateway.conftest import Api, archive
from tests.tracker import story

START = datetime(2026, 1, 31, tzinfo=UTC)
TRIAL = f"/api/v1/trials/{story.trial()}"


def test_nested_hyperparameters_become_dotted_names() -> None:
    found = flat('{"lr": 0.1, "net": {"width": [1, 2], "act": {"name": "relu"}}}')
    assert [(name, bytes(value)) for name, value in found] == [
        ("lr", b"0.1"),
        ("net.width", b"[1, 2]"),
        ("net.act.name", b'"relu"'),
    ]


async def test_trials_are_columns_and_only_what_changed_is_read_again(api: Api) -> None:
    last = await story.tell(api.log, story.whole_search())
    path = f"/api/v1/experiments/{story.EXPERIMENT}/trials"
    listed = (await api.get(path, min_seq=last))["items"]
    columns = await api.get(f"{path}/columns")
    for field in ("index", "state", "metric", "step", "slots", "ended_at"):
        assert columns[field] == [trial[field] for trial in listed], field
    assert columns["hyperparameters"]["lr"] == [trial["hyperparameters"]["lr"] for trial in listed]
    assert (await api.get(f"{path}/columns", since=last))["index"] == []
    first = await api.get(f"{path}/columns", limit=1)
    rest = await api.get(f"{path}/columns", cursor=first["next_cursor"])
    assert first["index"] + rest["index"] == columns["index"]


async def test_the_code_of_an_experiment_can_be_read(api: Api) -> None:
    shown = await api.submit(code=archive("train.py", b"print('one')\n"))
    path = f"/api/v1/experiments/{shown['id']}/code"
    assert (await api.get(path))["items"] == [{"path": "train.py", "size_bytes": 13}]
    async with api.http.get(f"{api.url}{path}/train.py") as response:
        assert await response.text() == "print('one')\n"
        assert response.content_type == "text/plain"
    assert (await api.get(f"{path}/other.py", 404))["status"] == 404


async def test_so_many_reads_of_code_at_once_that_memory_holds_them(api: Api) -> None:
    shown = await api.submit(code=archive("data.bin", random.Random(0).randbytes(8 * 1024 * 1024)))
    url = f"{api.url}/api/v1/experiments/{shown['id']}/code"

    async def read(path: str) -> tuple[int, str | None]:
        async with api.http.get(url + path) as response:
            await response.read()
            return response.status, response.headers.get("Retry-After")

    answers = await asyncio.gather(*(read(path) for path in ["", "/data.bin"] * 50))
    assert set(answers) == {(200, None), (503, "1")}
    assert Counter(answers)[200, None] >= MAX_WAITING_EACH + MAX_READS_EACH
    assert (await read("/data.bin"))[0] == 200


async def test_slots_and_times_are_summed(api: Api) -> None:
    last = await story.tell(api.log, story.whole_search())
    path = f"/api/v1/experiments/{story.EXPERIMENT}"
    usage = await api.get(f"{path}/usage", min_seq=last)
    assert usage["slot_seconds"] >= 0 and usage["allocations"] > 0 and usage["slots_held"] == 0
    occupancy = await api.get("/api/v1/usage/occupancy", stretches=10, seconds=3600)
    assert all(len(pool["held"]) == 10 for pool in occupancy["pools"]) and occupancy["stretch_s"] == pytest.approx(360)
    times = (await api.get(f"{path}/times"))["items"]
    assert times == [*(await api.get(f"/api/v1/trials/{times[0]['trial_id']}/times"))["items"], *times[1:]]
    steps = [step for step, _ in times[0]["points"]]
    assert steps == sorted(set(steps)) and steps


async def test_output_is_read_from_either_end_and_searched(api: Api) -> None:
    last = await story.tell(api.log, story.whole_search())
    for number in range(100):
        await write(api, [f"line {2 * number}", f"Line {2 * number + 1}"], story.trial())
        await write(api, ["elsewhere"], TrialId("k3f9x2ab-9"))
    newest = await api.get(f"{TRIAL}/logs/page", limit=10, min_seq=last)
    texts = [line["text"] for line in newest["items"]]
    assert texts[-1] == "Line 199" and len(texts) >= 10
    while newest["before"] is not None:
        newest = await api.get(f"{TRIAL}/logs/page", limit=10, before=newest["before"])
        texts = [line["text"] for line in newest["items"]] + texts
    assert [text.lower() for text in texts] == [f"line {number}" for number in range(200)]
    oldest = await api.get(f"{TRIAL}/logs/page", limit=2, after=0)
    assert [line["text"] for line in oldest["items"]] == ["line 0", "Line 1"]
    found = await api.get(f"{TRIAL}/logs/page", search="LINE 14", rank=0)
    assert [line["text"].lower() for line in found["items"]] == ["line 14", *(f"line {n}" for n in range(140, 150))]
    assert (await api.get(f"{TRIAL}/logs/page", rank=7))["items"] == []


async def write(api: Api, texts: list[str], trial_id: TrialId) -> None:
    """Write lines as an agent would."""
    lines = tuple(LogLine(time=START, stream="stdout", text=text) for text in texts)
    batch = LogBatch(trial_id=trial_id, allocation_id=AllocationId("x"), epoch=1, rank=0, lines=lines)
    await api.log.jetstream().publish(subjects.logs_subject("a1", trial_id, 0), volume.encode(batch))


async def test_the_log_is_verified_on_request(api: Api) -> None:
    last = await story.tell(api.log, story.whole_search())
    report = await api.get("/api/v1/audit")
    assert (report["ok"], report["events"] >= last, report["findings"]) == (True, True, [])
