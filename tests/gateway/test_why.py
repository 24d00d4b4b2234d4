"""Why: what each decision went by, in words and as structure; pure parts first, then over real servers."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from services.gateway.why import trial, words
from shared import log, subjects
from shared.events import (
    AgentDrainRequested,
    AgentLost,
    Claim,
    Event,
    ExperimentPaused,
    Failure,
    Fit,
    GPUReleased,
    Judgement,
    Origin,
    OriginKind,
    Outcome,
    PreemptionReason,
    PreemptionRequested,
    ReleaseReason,
    Share,
    TrialClosed,
    TrialEnd,
    TrialExited,
    TrialRetried,
    TrialStopped,
)
from shared.ids import AgentId, AllocationId, ExperimentId
from shared.log import Recorded, envelope_of
from tests.gateway.conftest import Api
from tests.gateway.test_access import as_, make_user
from tests.support.eventually import eventually
from tests.tracker import story

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
TRIAL = story.trial(1)
OTHER = ExperimentId("m4p8q1cd")


def recorded(*events: Event, causes: tuple[int, ...] = (), actor: str = "anna") -> dict[int, Recorded]:
    """Events at sequences from 1, a second apart; the causes are those of the last one."""
    known = {}
    for seq, event in enumerate(events, start=1):
        envelope = envelope_of(
            event,
            writer=event.rightful_writer,
            actor=actor if event.rightful_writer == "gateway" else event.rightful_writer,
            correlation="x",
            causes=causes if seq == len(events) else (),
            time=BEGIN + timedelta(seconds=seq),
        )
        known[seq] = Recorded(seq=seq, envelope=envelope)
    return known


def told(known: dict[int, Recorded]) -> list[tuple[str, str]]:
    """The explanations' topics and texts."""
    found = trial.explanations(TRIAL, trial.Told(known=known, metric="accuracy"))
    return [(one.topic, one.text) for one in found]


def asked(reason: PreemptionReason, claim: Claim | None = None, by: str | None = None) -> PreemptionRequested:
    return PreemptionRequested(
        pool_id=story.POOL,
        allocation_id=AllocationId(f"{TRIAL}-a1"),
        trial_id=TRIAL,
        reason=reason,
        timeout_s=60,
        for_trial_id=story.trial(1, OTHER) if by else None,
        claim=claim,
    )


def head(events: Iterable[Event]) -> tuple[str, str]:
    life = trial.life_of(recorded(*events).values())
    return trial.state(life), trial.head(life, None)


def test_where_hyperparameters_come_from() -> None:
    cases = {
        "the search has one trial; what has a range was drawn at random": Origin(kind=OriginKind.ONLY),
        "drawn at random, draw 3 of 10": Origin(kind=OriginKind.RANDOM, number=3, of=10),
        "point 3 of 12 of the grid": Origin(kind=OriginKind.GRID, number=3, of=12),
        "point 2 of 5 of the initial design (Sobol), which covers the space before anything is known": Origin(
            kind=OriginKind.INITIAL_DESIGN, number=2, of=5, design="Sobol"
        ),
        "given by the experiment file, 1 of 2": Origin(kind=OriginKind.GIVEN, number=1, of=2),
        "proposed by the Gaussian process; the acquisition function EI is best there (0.0125); "
        "it predicts 0.93 ± 0.02; it knew 6 results and 2 pending trials": Origin(
            kind=OriginKind.MODEL, model="Gaussian process", acquisition="EI", mean=0.93, std=0.02, value=0.0125,
            num_observed=6, num_pending=2,
        ),
    }  # fmt: skip
    for sentence, origin in cases.items():
        assert words.origin(origin) == sentence


def test_an_older_event_without_structure_is_told_by_its_sentence() -> None:
    assert told(recorded(story.requested(1))) == [("hyperparameters", "random")]


def test_a_stop_tells_the_rung_the_place_and_the_threshold() -> None:
    judgement = Judgement(
        bracket=0, rung=1, num_rungs=3, units=100, place=3, num_entered=4, num_kept=1, metric=0.5, threshold=0.75
    )
    stopped = TrialStopped(experiment_id=story.EXPERIMENT, trial_id=TRIAL, rung=1, reason="…", judgement=judgement)
    text = "place 3 of 4 that had come to rung 1 of 3 (100 units), with accuracy 0.5; the best 1 goes on, down to 0.75"
    assert told(recorded(stopped)) == [("stop", text)]


def test_a_failure_tells_the_rank_and_the_restarts_left() -> None:
    failure = Failure(restarts_left=2, agent_id=AgentId("a1"), rank=3, exit_code=-9, line="ValueError: no")
    retried = TrialRetried(experiment_id=story.EXPERIMENT, trial_id=TRIAL, restarts=1, reason="…", failure=failure)
    text = "rank 3 on agent a1 failed first with signal 9 (SIGKILL): ValueError: no; 2 restarts left"
    assert told(recorded(retried)) == [("restart", text)]


def test_a_placement_tells_the_others_that_had_room() -> None:
    fit = Fit(policy="priority", fitting="best", rule="one agent", num_roomy=2, others={AgentId("b"): 4})
    text = "agent a1 was the fullest of 2 agents with room (priority policy, best fit; also b with 4 free)"
    assert words.fit(fit, ["a1"]) == text
    whole = Fit(policy="fifo", fitting="best", rule="equal idle agents", num_roomy=0)
    assert words.fit(whole, ["a", "b"]).startswith("no single agent had room; a, b were idle and are of equal size")


def test_a_preemption_by_priority_tells_by_whom_and_by_which_rule() -> None:
    claim = Claim(priority=50, for_experiment_id=OTHER, for_priority=10, for_slots=2, num_victims=2)
    ((topic, text),) = told(recorded(asked(PreemptionReason.PRIORITY, claim, by="other")))
    assert topic == "preemption"
    assert "trial m4p8q1cd-1 (priority 10) needs 2 slots; this one has priority 50" in text
    assert text.endswith("2 trials were asked to stop for it")


def test_a_preemption_by_fair_share_tells_the_shares() -> None:
    own = Share(experiment_id=story.EXPERIMENT, weight=1, offered=4, held=8, demand=16)
    short = Share(experiment_id=OTHER, weight=1, offered=4, held=0, demand=4)
    ((_, text),) = told(recorded(asked(PreemptionReason.FAIR_SHARE, Claim(share=own, short=(short,)))))
    assert "its experiment was beyond its fair share: held 8 of 4 slots (weight 1, asked for 16)" in text
    assert "experiment m4p8q1cd was short: held 0 of 4 slots" in text


def test_a_preemption_by_a_person_or_a_loss_tells_its_cause() -> None:
    pause = ExperimentPaused(experiment_id=story.EXPERIMENT)
    ((_, text),) = told(recorded(pause, asked(PreemptionReason.PAUSED), causes=(1,)))
    assert text == f"experiment paused: experiment {story.EXPERIMENT} was paused by anna"
    lost = AgentLost(pool_id=story.POOL, agent_id=story.AGENT, incarnation="i", silent_s=10.5)
    ((_, text),) = told(recorded(lost, asked(PreemptionReason.AGENT_LOST), causes=(1,)))
    assert "agent a1 is lost after 10.5 s of silence" in text


def test_the_head_answers_where_the_trial_is_now() -> None:
    request, allocation = story.requested(1), story.allocated(1)
    exit_ = story.exited(1)
    assert isinstance(exit_, TrialExited)
    release = GPUReleased(
        pool_id=story.POOL, allocation_id=exit_.allocation_id, trial_id=TRIAL, epoch=1, reason=ReleaseReason.EXITED
    )
    closed = TrialClosed(
        experiment_id=story.EXPERIMENT, trial_id=TRIAL, end=TrialEnd.COMPLETED, reason="done", metric=None, step=None
    )
    assert head([request]) == ("WAITING", "It waits for slots")
    assert head([request, allocation]) == ("RUNNING", "It runs on a1, attempt 1")
    assert head([request, allocation, asked(PreemptionReason.PAUSED)])[0] == "STOPPING"
    state, parked = head([request, allocation, exit_, release])
    assert (state, parked.startswith("It has trained as far as it was told to")) == ("PARKED", True)
    assert head([request, allocation, exit_, release, closed]) == ("COMPLETED", "It is COMPLETED: done")
    interrupted = story.exited(1, outcome=Outcome.INTERRUPTED)
    assert head([request, allocation, interrupted, release]) == ("WAITING", "It waits for slots")


async def _why(api: Api, kind: str, name: str, seq: int = 0, *, topic: str = "") -> Any:
    """The answer about an entity, once it has an explanation on a topic."""

    async def explained() -> Any:
        found = await api.get(f"/api/v1/{kind}/{name}/why", min_seq=seq)
        return found if not topic or topic in {one["topic"] for one in found["explanations"]} else None

    return await eventually(explained)


def _by_topic(why: Any) -> dict[str, Any]:
    return {one["topic"]: one for one in why["explanations"]}


async def test_a_waiting_trial_is_explained_by_the_scheduler(scheduled: Api) -> None:
    seq = await story.tell(
        scheduled.log, [story.agent_joined(1), story.submitted(), story.requested(1), story.requested(2)]
    )
    await eventually(lambda: log.last_of(scheduled.log, subjects.event_filter("scheduler", name="GPUAllocated")))
    why = await _why(scheduled, "trials", story.trial(2), seq, topic="expected")
    assert (why["kind"], why["state"], why["trial_id"]) == ("trial", "WAITING", story.trial(2))
    assert why["head"] == "It waits: needs 1 slot; 0 of 1 are free"
    waits = _by_topic(why)["waiting"]
    assert "place 1 in the queue of pool default, nobody ahead" in waits["text"]
    assert waits["detail"]["reason"]["kind"] == "no_room"
    assert waits["detail"]["needs"] == {"slots": 1, "num_agents": 1, "kinds": ["cpu"]}
    assert _by_topic(why)["expected"]["time"] is None
    ran = await _why(scheduled, "trials", story.trial(1), seq, topic="placement")
    assert ran["state"] == "RUNNING"
    assert _by_topic(ran)["placement"]["detail"]["rule"] == "one agent"


async def test_without_the_scheduler_a_wait_is_not_explained_but_told(api: Api) -> None:
    seq = await story.tell(api.log, [story.submitted(), story.requested(1)])
    why = await api.get(f"/api/v1/trials/{story.trial(1)}/why", min_seq=seq)
    assert _by_topic(why)["waiting"]["text"] == "the scheduler does not answer"


async def test_an_experiment_tells_what_its_trials_do_and_who_changed_what(scheduled: Api) -> None:
    shown = await scheduled.submit()
    experiment_id = shown["id"]
    await scheduled.post(f"/api/v1/experiments/{experiment_id}/queue", params={"priority": "7"})
    paused = await scheduled.post(f"/api/v1/experiments/{experiment_id}/pause")
    why = await _why(scheduled, "experiments", experiment_id, paused["seq"])
    assert (why["kind"], why["state"]) == ("experiment", "PAUSED")
    assert why["head"] == "It is paused by admin, with 0 open trials"
    changes = [one["text"] for one in why["explanations"] if one["topic"] == "change"]
    assert changes[0].startswith(f"experiment {experiment_id} “digits” was submitted")
    assert changes[1] == f"experiment {experiment_id} has priority 7 from here on by admin"
    assert changes[2] == f"experiment {experiment_id} was paused by admin"
    assert [item["name"] for item in why["chain"]] == ["ExperimentSubmitted", "JobPrioritySet", "ExperimentPaused"]


async def test_an_experiment_tells_why_its_trials_wait_and_what_the_search_waits_for(scheduled: Api) -> None:
    seq = await story.tell(scheduled.log, [story.submitted(), story.requested(1), story.requested(2)])
    why = await _why(scheduled, "experiments", story.EXPERIMENT, seq)
    assert why["head"].startswith("Nothing of it runs")
    by_topic = _by_topic(why)
    assert by_topic["waiting"]["question"] == "2 trials WAITING"
    assert "its pool has no agent" in by_topic["waiting"]["text"]
    assert by_topic["waiting"]["detail"]["num_trials"] == 2
    assert by_topic["search"]["detail"] == {"requested": 2, "planned": 2, "open": 2, "max_concurrent": None}


async def test_a_finished_experiment_tells_how_it_ended(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    why = await api.get(f"/api/v1/experiments/{story.EXPERIMENT}/why", min_seq=seq)
    assert why["head"].startswith("It is COMPLETED: 2 trials completed, 0 failed")
    assert _by_topic(why)["end"]["question"] == "Why it is over"


async def test_the_best_trial_tells_by_how_much_and_where_its_checkpoint_is(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    why = await api.get(f"/api/v1/trials/{story.trial(1)}/why", min_seq=seq)
    best = _by_topic(why)["best"]
    assert best["question"] == "Why it is the best"
    assert best["text"] == (
        f"its accuracy of 0.9 at step 20 is the highest of 2 trials; the next is {story.trial(2)} with 0.6;"
        f" its checkpoint is {best['detail']['checkpoint_id']}"
    )
    assert best["detail"]["checkpoint_id"].endswith("-s20")
    assert "best" not in _by_topic(await api.get(f"/api/v1/trials/{story.trial(2)}/why"))
    then = await api.get(f"/api/v1/trials/{story.trial(2)}/why", as_of=10)
    assert _by_topic(then)["best"]["question"] == "Why it is the best so far"


async def test_an_agent_tells_what_it_runs_for_whom_and_why_it_is_gone(api: Api) -> None:
    seq = await story.tell(api.log, [story.agent_joined(2), story.submitted(), story.requested(1), story.allocated(1)])
    why = await api.get(f"/api/v1/agents/{story.AGENT}/why", min_seq=seq)
    assert (why["state"], why["head"]) == ("UP", "It is up; it runs 1 trial on 1 of its 2 slots")
    runs = _by_topic(why)["trials"]
    assert runs["detail"]["trial_id"] == story.trial(1)
    assert "of experiment “digits”" in runs["text"]
    drained = AgentDrainRequested(agent_id=story.AGENT)
    lost = AgentLost(pool_id=story.POOL, agent_id=story.AGENT, incarnation=story.INCARNATION, silent_s=10.5)
    seq = await story.tell(api.log, [drained])
    why = await api.get(f"/api/v1/agents/{story.AGENT}/why", min_seq=seq)
    assert why["head"].startswith("It is up but takes no new work")
    seq = await story.tell(api.log, [lost])
    why = await api.get(f"/api/v1/agents/{story.AGENT}/why", min_seq=seq)
    assert (why["state"], why["head"]) == (
        "LOST", "It is LOST: agent a1 is lost after 10.5 s of silence; what ran there is void"
    )  # fmt: skip
    assert {one["question"] for one in why["explanations"] if one["topic"] == "agent"} == {
        "When it joined", "Why it was lost", "Who changed what"
    }  # fmt: skip


async def test_nothing_is_made_up_of_what_nobody_knows(api: Api) -> None:
    for kind in ("trials", "experiments", "agents"):
        await api.get(f"/api/v1/{kind}/nobody/why", 404)


async def test_no_explanation_tells_what_happens_in_other_workspaces(api: Api) -> None:
    told = [story.agent_joined(2), story.submitted(workspace="vision"), story.requested(1), story.allocated(1)]
    seq = await story.tell(api.log, told)
    hidden = [story.submitted(OTHER, "secret", workspace="speech"), story.requested(1, experiment_id=OTHER)]
    cause = await story.tell(api.log, hidden)
    preempted = asked(PreemptionReason.FAIR_SHARE, by="secret")
    seq = await story.tell(api.log, [preempted], causes=(cause,))
    outsider = await make_user(api, "outsider", "viewer", "speech")
    insider = await make_user(api, "insider", "viewer", "vision")
    everything = await _why(api, "trials", TRIAL, seq)
    assert [item["event"]["hyperparameters"] for item in everything["chain"] if item["seq"] == cause] == [{"lr": 0.1}]

    async def ask(token: str, path: str) -> Any:
        async with as_(token) as http, http.get(f"{api.url}/api/v1/{path}") as response:
            assert response.status == 200, await response.text()
            assert token == outsider or "secret" not in await response.text()
            return await response.json()

    why = await ask(insider, f"trials/{TRIAL}/why?min_seq={seq}")
    veiled = next(item for item in why["chain"] if item["seq"] == cause)
    assert (veiled["event"], veiled["text"], veiled["actor"]) == ({}, "an event of another workspace", "")
    assert veiled["aggregate_id"] == "" and veiled["correlation"] == ""
    assert "lr" not in _by_topic(why)["preemption"]["text"]
    agent = await ask(outsider, f"agents/{story.AGENT}/why")
    assert "digits" not in _by_topic(agent)["trials"]["text"]
    assert _by_topic(agent)["trials"]["detail"]["user"] is None
    assert [item["event"] for item in agent["chain"] if item["name"] == "GPUAllocated"] == [{}]
    queue = await ask(insider, f"queue?as_of={seq}")
    assert [item["experiment_name"] for item in queue["items"]] == [""]
    assert [item["experiment_name"] for item in (await ask(outsider, f"queue?as_of={seq}"))["items"]] == ["secret"]
