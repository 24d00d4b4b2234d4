"""Why a trial, an experiment or an agent is, or was, as it is: its life, what made that necessary, what was gone by."""

import msgspec

from services.gateway import cluster, queries, sight, waiting
from services.gateway.api import PREFIX, Call, PastQuery, get
from services.gateway.problems import not_found
from services.gateway.views.why import Explanation, Why
from services.gateway.why import agent, best, experiment, reading, trial, words
from shared.errors import Unavailable
from shared.events import (
    CheckpointDeleted,
    CheckpointDeletionRequested,
    CheckpointSaved,
    CheckpointShardUploaded,
    ExperimentSubmitted,
    GangMemberExited,
    GPUAllocated,
    MetricReported,
    RendezvousOpened,
)
from shared.log import Recorded
from shared.queue import MAX_LIMIT, QueueAnswer, QueueQuestion, WaitingTrial

MAX_AGENT_EVENTS = 200

#: What happens over and over in a trial's life and explains nothing by itself.
_TELEMETRY = frozenset(
    event.__name__
    for event in (
        MetricReported,
        CheckpointSaved,
        CheckpointShardUploaded,
        CheckpointDeletionRequested,
        CheckpointDeleted,
        RendezvousOpened,
        GangMemberExited,
    )
)


async def explain_trial(call: Call[PastQuery]) -> Why:
    """The trial's life from its request to its end, with all causes, and every decision with what it went by."""
    trial_id = call.id("trial")
    told = [
        (seq, name)
        for seq, name in await queries.trial_events(call.parts.database, trial_id)
        if call.as_of is None or seq <= call.as_of
    ]
    if not told:
        raise not_found("trial", trial_id)
    life = [seq for seq, name in told if name not in _TELEMETRY]
    chain = await reading.chain(sight.of(call.parts), [*life[:1], *life[1 - reading.MAX_EVENTS :]], trial_id)
    known = chain.known
    ours = trial.life_of(known[seq] for seq in sorted(known) if getattr(known[seq].event, "trial_id", "") == trial_id)
    item = None
    now: list[Explanation] = []
    if ours.waits:
        item, now = await _waits(call, trial_id)
    answers = trial.explanations(trial_id, trial.Told(known=known, metric=_metric(known)))
    async with call.reading() as database:
        answers = [*await best.answers(database, trial_id), *answers]
    return Why(
        kind="trial",
        id=trial_id,
        trial_id=trial_id,
        state=trial.state(ours),
        head=trial.head(ours, item),
        explanations=[*now, *answers],
        chain=chain.items,
    )


async def _waits(call: Call[PastQuery], trial_id: str) -> tuple[WaitingTrial | None, list[Explanation]]:
    """Return what the scheduler says of a trial's wait; of an earlier one, who was there before it."""
    if call.as_of is not None:
        async with call.reading() as database:
            ahead = await reading.num_ahead(database, trial_id)
        text = words.waited(ahead)
        return None, [Explanation(topic="waiting", question="Why it waited", text=text)]
    try:
        item = await waiting.of_trial(call.parts, trial_id, call.query.min_seq)
    except Unavailable:
        return None, [Explanation(topic="waiting", question="Why it waits", text=waiting.UNEXPLAINED)]
    if item is None:
        return None, []
    detail = msgspec.Raw(msgspec.json.encode(item))
    return item, [
        Explanation(topic="waiting", question="Why it waits", text=words.waiting(item), detail=detail),
        Explanation(topic="expected", question="When it will start", text=item.expected_why, time=item.expected_start),
    ]


def _metric(known: dict[int, Recorded]) -> str:
    """The name of the metric that the search goes by."""
    for recorded in known.values():
        if isinstance(recorded.event, ExperimentSubmitted):
            return str(recorded.event.config.get("searcher", {}).get("metric", "metric"))
    return "metric"


async def explain_experiment(call: Call[PastQuery]) -> Why:
    """Where an experiment stands: its trials with the reason of each group, the search, and who changed what."""
    parts, experiment_id = call.parts, call.id("experiment")
    async with call.reading() as database:
        shown = await queries.experiment(database, experiment_id)
        groups = await reading.trial_groups(database, experiment_id)
    life = await reading.events_of(parts.database, "experiment", experiment_id, until=call.as_of)
    chain = await reading.chain(sight.of(parts), life)
    standing = experiment.Standing(
        experiment=shown,
        groups=groups,
        queue=None if call.as_of is not None else await _queue(call, experiment_id),
        unexplained=waiting.UNEXPLAINED if call.as_of is None else waiting.PAST,
        events=list(chain.known.values()),
    )
    return Why(
        kind="experiment",
        id=experiment_id,
        state=shown.state,
        head=experiment.head(standing),
        explanations=experiment.explanations(standing),
        chain=chain.items,
    )


async def _queue(call: Call[PastQuery], experiment_id: str) -> QueueAnswer | None:
    """Return what the scheduler says of the first of an experiment's waiting trials."""
    question = QueueQuestion(min_position=call.query.min_seq, experiment_id=experiment_id, limit=MAX_LIMIT)
    try:
        async for answer in waiting.explained(call.parts, question):
            return answer
    except Unavailable:
        return None
    return None


async def explain_agent(call: Call[PastQuery]) -> Why:
    """What an agent runs and for whom, who closed it, and why it is gone."""
    parts, agent_id = call.parts, call.id("agent")
    async with call.reading() as database:
        shown = next((one for one in await cluster.agents(database) if one.id == agent_id), None)
    if shown is None:
        raise not_found("agent", agent_id)
    life = await reading.events_of(parts.database, "agent", agent_id, MAX_AGENT_EVENTS, until=call.as_of)
    sighted = sight.of(parts)
    chain = await reading.chain(sighted, life)
    events = list(chain.known.values())
    ran = [recorded.event.experiment_id for recorded in events if isinstance(recorded.event, GPUAllocated)]
    experiment_ids = {*(trial_id.rpartition("-")[0] for trial_id in agent.running(shown)), *ran[-agent.MAX_LAST :]}
    standing = agent.Standing(
        agent=shown,
        events=events,
        names=await waiting.names(parts.database, experiment_ids, sighted.workspaces),
        users=await reading.submitters(parts.client, await sighted.experiments(experiment_ids)),
    )
    return Why(
        kind="agent",
        id=agent_id,
        state=shown.state,
        head=agent.head(standing),
        explanations=agent.explanations(standing),
        chain=chain.items,
    )


ROUTES = (
    get(f"{PREFIX}/trials/{{id}}/why", explain_trial, PastQuery, Why, "Why a trial is where it is"),
    get(f"{PREFIX}/experiments/{{id}}/why", explain_experiment, PastQuery, Why, "Where an experiment stands, and why"),
    get(f"{PREFIX}/agents/{{id}}/why", explain_agent, PastQuery, Why, "Why an agent is as it is, and what it runs"),
)
