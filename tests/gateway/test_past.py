"""Questions about the past: each is answered as it was answered then, and a moment means one event."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.gateway import past
from services.tracker.rebuild import rebuild
from services.tracker.settings import Settings as TrackerSettings
from shared import log
from shared.errors import Rejected
from shared.events import ExperimentPaused, TrialRetried
from tests.gateway.conftest import Api
from tests.support.eventually import eventually
from tests.tracker import story

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
)
LIFE = [
    *story.whole_search()[:9],
    ExperimentPaused(experiment_id=story.EXPERIMENT),
    story.agent_joined(1, "ffffffffffff"),
    TrialRetried(experiment_id=story.EXPERIMENT, trial_id=story.trial(2), restarts=1, reason="lost"),
    *story.whole_search()[9:],
]


async def ask(api: Api, question: str, **query: object) -> Any:
    """An answer, or the status of a refusal."""
    parameters = {name: str(value) for name, value in query.items()}
    async with api.http.get(f"{api.url}/api/v1/{question}", params=parameters) as response:
        return await response.json() if response.status == 200 else response.status


async def test_every_question_is_answered_as_it_was_answered_then(api: Api) -> None:
    then: dict[int, dict[str, Any]] = {0: {question: await ask(api, question) for question in QUESTIONS}}
    for event in LIFE:
        seq = await story.tell(api.log, [event])
        then[seq] = {question: await ask(api, question, min_seq=seq) for question in QUESTIONS}
    assert then[0]["experiments"] == {"items": [], "next_cursor": None} and then[0][EXPERIMENT] == 404
    for seq, answers in then.items():
        assert {question: await ask(api, question, as_of=seq) for question in QUESTIONS} == answers, f"as of {seq}"


async def test_a_time_means_the_last_event_stored_up_to_then(api: Api) -> None:
    before = datetime.now(UTC)
    seq = await story.tell(api.log, LIFE)
    stored = {n: found.stored_at for n in range(1, seq + 1) if (found := await log.read_one(api.log, n))}
    assert await log.seq_at(api.log, before) == 0
    for n, instant in stored.items():
        assert await log.seq_at(api.log, instant) == n
        assert await log.seq_at(api.log, instant - timedelta(microseconds=1)) == n - 1
    assert await log.seq_at(api.log, datetime.now(UTC)) == seq
    async with api.http.get(f"{api.url}/api/v1/agents", params={"as_of": stored[5].isoformat()}) as response:
        assert response.headers["TM-Seq"] == "5"
    assert await ask(api, "experiments", as_of="1d") == {"items": [], "next_cursor": None}
    assert await ask(api, "experiments", as_of="0s") == await ask(api, "experiments", as_of=seq)


async def test_the_next_page_is_of_the_same_moment(api: Api) -> None:
    seq = await story.tell(api.log, LIFE)
    middle = seq // 2
    whole = await ask(api, f"{EXPERIMENT}/trials", as_of=middle)
    first = await ask(api, f"{EXPERIMENT}/trials", as_of=middle, limit=1)
    rest = await ask(api, f"{EXPERIMENT}/trials", as_of=middle, limit=1, cursor=first["next_cursor"])
    assert first["items"] + rest["items"] == whole["items"] and len(whole["items"]) == 2


async def test_what_is_not_on_the_log_yet_is_refused(api: Api) -> None:
    seq = await story.tell(api.log, [story.submitted()])
    for moment in (seq + 1, 10**14, "2999-01-01T00:00:00Z"):
        problem = await api.get("/api/v1/queue", 400, as_of=moment)
        assert problem["errors"][0]["path"] == "as_of"
    assert f"ends with event {seq}" in (await api.get("/api/v1/queue", 400, as_of=seq + 1))["errors"][0]["message"]


async def test_a_read_model_that_is_behind_says_so_and_answers_when_it_has_caught_up(api: Api) -> None:
    seq = await story.tell(api.log, LIFE)
    shown = await ask(api, EXPERIMENT, min_seq=seq)
    await rebuild(TrackerSettings(nats_url="", postgres_url=api.settings.postgres_url))

    async def answer() -> Any:
        found = await ask(api, EXPERIMENT, as_of=seq)
        assert found in (shown, 503)
        return found == shown

    await eventually(answer)


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
    await story.tell(api.log, LIFE)
    assert await ask(api, f"{EXPERIMENT}/metrics", as_of=3) == 400
    assert await ask(api, "status", as_of=3) == 400
