"""Questions about the past: each is answered as it was answered then, and a moment means one event."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from services.gateway import diff, past
from services.gateway.why import words
from services.tracker.rebuild import rebuild
from services.tracker.settings import Settings as TrackerSettings
from shared import log, positions, postgres
from shared.errors import Rejected
from shared.events import Event, ExperimentPaused, ExperimentResumed, JobPoolSet, TrialRetried
from shared.ids import ExperimentId, PoolId
from tests.gateway.conftest import Api
from tests.support.eventually import eventually
from tests.tracker import story
from tests.tracker.test_history import TRACKED

NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)
EXPERIMENT, TRIAL = f"experiments/{story.EXPERIMENT}", f"trials/{story.trial()}"
QUESTIONS = (
    "experiments",
    EXPERIMENT,
    f"{EXPERIMENT}/trials",
    f"{EXPERIMENT}/checkpoints",
    TRIAL,
    f"{TRIAL}/checkpoints",
    f"checkpoints/{story.trial()}-a1-s20",
    "agents",
    "queue",
    f"{TRIAL}/why",
    f"{EXPERIMENT}/why",
    f"agents/{story.AGENT}/why",
)
LIFE = [
    *story.whole_search()[:9],
    ExperimentPaused(experiment_id=story.EXPERIMENT),
    story.agent_joined(1, "ffffffffffff"),
    TrialRetried(experiment_id=story.EXPERIMENT, trial_id=story.trial(2), restarts=1, reason="lost"),
    *story.whole_search()[9:],
]


async def told(api: Api, events: list[Event]) -> int:
    """Append events, wait until the read model shows them, and return the last one's sequence."""
    seq = await story.tell(api.log, events)

    async def is_shown() -> bool:
        async with api.http.get(f"{api.url}/api/v1/agents", params={"min_seq": seq}) as response:
            return int(response.headers["TM-Seq"]) >= seq

    await eventually(is_shown, timeout_s=30)
    return seq


async def ask(api: Api, question: str, **query: object) -> Any:
    """An answer, or the status of a refusal."""
    parameters = {name: str(value) for name, value in query.items()}
    async with api.http.get(f"{api.url}/api/v1/{question}", params=parameters) as response:
        answer: Any = await response.json() if response.status == 200 else response.status
    if response.status != 200:
        return answer
    if question == "queue":  # why they wait, only the scheduler knows, of the present
        answer["items"] = [item | {"reason": ""} for item in answer["items"]]
    if question.endswith("/why"):
        answer["explanations"] = [one for one in answer["explanations"] if one["topic"] != "waiting"]
    return answer


async def answered(api: Api, seq: int) -> tuple[int, dict[str, Any]]:
    """All answers as of one event: this one, or where the gateway has deleted checkpoints meanwhile, its last."""
    while True:
        answers = {question: await ask(api, question, min_seq=seq) for question in QUESTIONS}
        before, seq = seq, (await api.get("/api/v1/status"))["log"]["last_seq"]
        if seq == before:
            return seq, answers


async def test_every_question_is_answered_as_it_was_answered_then(api: Api) -> None:
    then: dict[int, dict[str, Any]] = {0: {question: await ask(api, question) for question in QUESTIONS}}
    for event in LIFE:
        seq, answers = await answered(api, await told(api, [event]))
        then[seq] = answers
    assert then[0]["experiments"] == {"items": [], "next_cursor": None} and then[0][EXPERIMENT] == 404
    for seq, answers in then.items():
        assert {question: await ask(api, question, as_of=seq) for question in QUESTIONS} == answers, f"as of {seq}"


async def test_a_wait_of_the_past_is_told_by_who_was_there_before(api: Api) -> None:
    seq = await told(api, [story.submitted(), story.requested(1), story.requested(2)])
    await told(api, [story.agent_joined(), story.allocated(1)])
    why = await ask(api, f"trials/{story.trial(2)}/why", as_of=seq)
    async with api.http.get(f"{api.url}/api/v1/trials/{story.trial(2)}/why", params={"as_of": str(seq)}) as response:
        texts = [one["text"] for one in (await response.json())["explanations"] if one["topic"] == "waiting"]
    assert (why["state"], why["head"]) == ("WAITING", "It waits for slots")
    assert len(texts) == 1 and texts[0].startswith("for slots; 1 trial requested before it waited in its pool too")
    assert await ask(api, f"trials/{story.trial(2)}/why", as_of=2) == 404


async def test_a_trial_waits_in_the_pool_that_its_experiment_was_moved_to(api: Api) -> None:
    other = ExperimentId("other000")
    before = [
        story.submitted(other, resources={"resource_pool": "b"}),
        replace(story.requested(experiment_id=other), pool_id=PoolId("b")),
        story.submitted(resources={"resource_pool": "a"}),
        replace(story.requested(), pool_id=PoolId("a")),
    ]
    first = await told(api, before)
    last = await told(api, [JobPoolSet(experiment_id=story.EXPERIMENT, pool_id=PoolId("b"))])

    async def waiting(pool: str, **moment: int) -> list[tuple[str, str]]:
        return [(item["trial_id"], item["pool"]) for item in (await ask(api, "queue", pool=pool, **moment))["items"]]

    elsewhere, moved = story.trial(experiment_id=other), story.trial()
    assert await waiting("a", as_of=first) == [(moved, "a")] and await waiting("b", as_of=first) == [(elsewhere, "b")]
    for moment in ({"as_of": last}, {}):  # no scheduler answers: the present is told by the same tables
        assert await waiting("a", **moment) == []
        assert await waiting("b", **moment) == [(elsewhere, "b"), (moved, "b")]
    for seq, num_ahead in ((first, 0), (last, 1)):
        why = await api.get(f"/api/v1/trials/{moved}/why", as_of=seq)
        (text,) = [one["text"] for one in why["explanations"] if one["topic"] == "waiting"]
        assert text == words.waited(num_ahead), seq


async def test_a_time_means_the_last_event_stored_up_to_then(api: Api) -> None:
    before = datetime.now(UTC)
    seq = await told(api, LIFE)
    stored = {n: found.stored_at for n in range(1, seq + 1) if (found := await log.read_one(api.log, n))}
    assert await positions.seq_at(api.log, before) == 0
    for n, instant in stored.items():
        assert await positions.seq_at(api.log, instant) == n
        assert await positions.seq_at(api.log, instant - timedelta(microseconds=1)) == n - 1
    assert await positions.seq_at(api.log, datetime.now(UTC)) >= seq, "services go on meanwhile"
    async with api.http.get(f"{api.url}/api/v1/agents", params={"as_of": stored[5].isoformat()}) as response:
        assert response.headers["TM-Seq"] == "5"
    assert await ask(api, "experiments", as_of="1d") == {"items": [], "next_cursor": None}
    async with api.http.get(f"{api.url}/api/v1/experiments", params={"as_of": "0s"}) as response:
        assert await response.json() == await ask(api, "experiments", as_of=int(response.headers["TM-Seq"]))


async def test_the_next_page_is_of_the_same_moment(api: Api) -> None:
    seq = await told(api, LIFE)
    middle = seq // 2
    whole = await ask(api, f"{EXPERIMENT}/trials", as_of=middle)
    first = await ask(api, f"{EXPERIMENT}/trials", as_of=middle, limit=1)
    rest = await ask(api, f"{EXPERIMENT}/trials", as_of=middle, limit=1, cursor=first["next_cursor"])
    assert first["items"] + rest["items"] == whole["items"] and len(whole["items"]) == 2


async def test_what_is_not_on_the_log_yet_is_refused(api: Api) -> None:
    seq = await told(api, [story.submitted()])
    for moment in (seq + 1, 10**14, "2999-01-01T00:00:00Z"):
        problem = await api.get("/api/v1/queue", 400, as_of=moment)
        assert problem["errors"][0]["path"] == "as_of"
    assert f"ends with event {seq}" in (await api.get("/api/v1/queue", 400, as_of=seq + 1))["errors"][0]["message"]


async def test_a_read_model_that_is_behind_says_so_and_answers_when_it_has_caught_up(api: Api) -> None:
    seq = await told(api, LIFE)
    shown = await ask(api, EXPERIMENT, min_seq=seq)
    await rebuild(TrackerSettings(nats_url="", postgres_url=api.settings.postgres_url))

    async def answer() -> Any:
        found = await ask(api, EXPERIMENT, as_of=seq)
        assert found in (shown, 503)
        return found == shown

    await eventually(answer)


async def test_a_rebuild_waits_for_those_who_read(api: Api) -> None:
    """TRUNCATE empties a table for every snapshot, so a reader who has begun must have ended."""
    seq = await told(api, LIFE)
    settings = TrackerSettings(nats_url="", postgres_url=api.settings.postgres_url)
    async with postgres.pool(api.settings.postgres_url, max_size=1, settings=past.SESSION) as pool:
        async with past.as_of(pool, seq) as reading:
            rebuilding = asyncio.create_task(rebuild(settings))
            await eventually(lambda: _waits(api.settings.postgres_url))
            assert await reading.fetchval("SELECT count(*) FROM trials") == 2
        await rebuilding


async def _waits(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("moment", "instant"),
    [
        ("10m", NOW - timedelta(minutes=10)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-05-17T12:00:00Z", NOW),
        ("2026-05-17T14:00:00.5+02:00", NOW + timedelta(seconds=0.5)),
    ],
)
def test_a_moment_is_a_time_or_how_long_ago(moment: str, instant: datetime) -> None:
    assert past.instant_of("as_of", moment, NOW) == instant


@pytest.mark.parametrize("moment", ["", "yesterday", "10x", "-5m", "2026-05-17T12:00:00", "99999999d", "1e3", "٣"])
def test_what_is_no_moment_is_refused_with_the_forms(moment: str) -> None:
    with pytest.raises(Rejected) as refused:
        past.instant_of("from", moment, NOW)
    (problem,) = refused.value.problems
    assert problem.path == "from" and problem.suggestion


async def test_only_what_has_a_past_can_be_asked_about_it(api: Api) -> None:
    await told(api, LIFE)
    assert await ask(api, f"{EXPERIMENT}/metrics", as_of=3) == 400
    assert await ask(api, "status", as_of=3) == 400


def shown(answer: Any, kind: str) -> dict[str, dict[str, dict[str, Any]]]:
    """How the things of one kind differ: how -> id -> field -> [before, after]."""
    (part,) = [part for part in answer["parts"] if part["kind"] == kind]
    return {
        how: {row["id"]: {f["name"]: [f["before"], f["after"]] for f in row["fields"]} for row in part[how]}
        for how in ("came", "changed", "went")
    }


async def test_a_diff_tells_what_came_went_and_changed(api: Api) -> None:
    first = await told(api, [story.agent_joined(), story.submitted(), story.requested(1)])
    last = await told(
        api,
        [
            story.requested(2),
            story.allocated(),
            story.started(),
            story.reported(10, 0.5),
            story.saved(10),
            story.agent_joined(1, "ffffffffffff"),
            ExperimentPaused(experiment_id=story.EXPERIMENT),
            ExperimentResumed(experiment_id=story.EXPERIMENT),
        ],
    )
    await told(api, [story.exited(), story.released(), story.closed()])
    answer = await ask(api, "diff", **{"from": first, "to": last})
    assert (answer["from"]["seq"], answer["to"]["seq"]) == (first, last)
    trials = shown(answer, "trials")
    assert trials["came"].keys() == {story.trial(2)} and trials["went"] == {}
    changed = trials["changed"][story.trial(1)]
    assert changed["state"] == ["WAITING", "RUNNING"] and changed["metric"] == [None, 0.5]
    assert "hyperparameters" not in changed and "reason" not in changed
    assert shown(answer, "slots")["went"].keys() == {"a1 slot 1"} and not shown(answer, "slots")["changed"]
    assert shown(answer, "agents")["changed"]["a1"]["incarnation"] == [story.INCARNATION, "ffffffffffff"]
    assert shown(answer, "allocations")["came"].keys() == {f"{story.trial()}-a1"}
    assert shown(answer, "checkpoints")["came"].keys() == {f"{story.trial()}-a1-s10"}
    assert shown(answer, "experiments") == {"came": {}, "changed": {}, "went": {}}, "paused and resumed: as before"


async def test_a_diff_of_everything_is_what_there_is_and_of_nothing_is_nothing(api: Api) -> None:
    seq = await told(api, LIFE)
    answer = await ask(api, "diff", **{"from": 0})
    assert answer["to"]["seq"] >= seq and answer["from"]["time"] is None, "the gateway may have deleted a checkpoint"
    assert shown(answer, "experiments")["came"][story.EXPERIMENT]["state"] == [None, "COMPLETED"]
    counts = {part["kind"]: (part["num_came"], part["num_changed"], part["num_went"]) for part in answer["parts"]}
    assert counts["trials"] == (2, 0, 0) and counts["slots"] == (1, 0, 0)
    nothing = await ask(api, "diff", **{"from": seq, "to": seq})
    assert {part["num_came"] + part["num_changed"] + part["num_went"] for part in nothing["parts"]} == {0}


def test_a_diff_is_about_everything_that_has_a_history() -> None:
    assert {kind.table for kind in diff.KINDS} == set(TRACKED)


async def test_what_is_looked_up_is_what_comparing_everything_finds(api: Api) -> None:
    seq = await told(api, LIFE)
    async with (
        postgres.pool(api.settings.postgres_url, max_size=1, settings=past.SESSION) as pool,
        past.as_of(pool, seq) as reading,
    ):
        for first in range(seq + 1):
            for last in range(first, seq + 1):
                looked_up = await diff.between(reading, first, last, 100, head=10**9)
                assert looked_up == await diff.between(reading, first, last, 100, head=0), (first, last)


async def test_a_diff_is_bounded_and_counts_what_it_leaves_out(api: Api) -> None:
    await told(api, [story.submitted(), *(story.requested(n) for n in range(1, 8))])
    answer = await ask(api, "diff", **{"from": "1d", "limit": 3})
    (trials,) = [part for part in answer["parts"] if part["kind"] == "trials"]
    assert trials["num_came"] == 7 and [row["id"] for row in trials["came"]] == [story.trial(n) for n in (1, 2, 3)]


async def test_a_diff_needs_its_moments_in_order(api: Api) -> None:
    seq = await told(api, [story.submitted(), story.requested()])
    assert (await api.get("/api/v1/diff", 400))["errors"][0] == {
        "path": "from",
        "message": "is missing",
        "suggestion": None,
    }
    for query in ({"from": seq, "to": 1}, {"from": 0, "to": seq + 1}, {"from": "then"}):
        await api.get("/api/v1/diff", 400, **query)
