"""Why an agent is up, closed, lost or gone, what it runs and for whom: pure, from the read model and its events."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from services.gateway.views.agents import Agent, AgentState, Availability
from services.gateway.views.view import View
from services.gateway.views.why import Explanation
from services.gateway.why import words
from services.gateway.why.trial import cause_in_words
from shared.events import (
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    AgentJoined,
    AgentLeaving,
    AgentLeft,
    AgentLost,
    AgentRefused,
    GPUAllocated,
    SlotRecovered,
    SlotUnhealthy,
)
from shared.log import Recorded

MAX_LAST = 5  # of what it ran before, the newest

_CLOSURES = (AgentDrainRequested, AgentDisabled, AgentEnabled)


class Tenant(View, frozen=True, kw_only=True):
    """A trial on an agent's slots, and for whom."""

    trial_id: str
    experiment_id: str
    experiment_name: str
    user: str | None
    slots: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of an agent. `names` and `users` are of the experiments that it runs or ran."""

    agent: Agent
    events: list[Recorded]
    names: Mapping[str, str]
    users: Mapping[str, str]

    def tenant(self, trial_id: str, slots: list[int]) -> Tenant:
        """Return a trial with for whom it runs."""
        experiment_id = trial_id.rpartition("-")[0]
        return Tenant(
            trial_id=trial_id,
            experiment_id=experiment_id,
            experiment_name=self.names.get(experiment_id, experiment_id),
            user=self.users.get(experiment_id),
            slots=slots,
        )


def running(agent: Agent) -> dict[str, list[int]]:
    """Return the trials on an agent's slots."""
    held: dict[str, list[int]] = {}
    for slot in agent.slots:
        if slot.trial_id:
            held.setdefault(slot.trial_id, []).append(slot.number)
    return held


def head(standing: Standing) -> str:
    """Answer in a sentence how the agent is."""
    agent, held = standing.agent, running(standing.agent)
    if agent.state is not AgentState.UP:
        gone = _newest(standing, AgentLost, AgentLeft, AgentRefused)
        return f"It is {agent.state}: {cause_in_words(gone)}" if gone else f"It is {agent.state}"
    runs = _runs(agent, held)
    sick = [f"slot {slot.number} is unhealthy: {slot.unhealthy}" for slot in agent.slots if slot.unhealthy]
    runs = "; ".join([runs, *sick])
    if agent.availability is Availability.ENABLED:
        return f"It is up; {runs}"
    closed = _newest_whole_closure(standing)
    because = f": {cause_in_words(closed)}" if closed else ""
    return f"It is up but takes no new work{because}; {runs}"


def _runs(agent: Agent, held: Mapping[str, list[int]]) -> str:
    if not held:
        return f"nothing runs on its {words.counted(len(agent.slots), 'slot')}"
    used = sum(map(len, held.values()))
    return f"it runs {words.counted(len(held), 'trial')} on {used} of its {len(agent.slots)} slots"


def explanations(standing: Standing) -> list[Explanation]:
    """Return what it runs, what it ran last, and what has happened to it."""
    held = running(standing.agent)
    now = [
        _tenant("What it runs", standing.tenant(trial_id, slots), f"slot {', '.join(map(str, slots))}")
        for trial_id, slots in held.items()
    ]
    return [*now, *_last(standing, held), *_story(standing)]


def _last(standing: Standing, held: Mapping[str, list[int]]) -> list[Explanation]:
    told: list[Explanation] = []
    for recorded in reversed(standing.events):
        event = recorded.event
        if isinstance(event, GPUAllocated) and event.trial_id not in held and len(told) < MAX_LAST:
            slots = [slot for member in event.members if member.agent_id == standing.agent.id for slot in member.slots]
            tenant = standing.tenant(event.trial_id, slots)
            told.append(_tenant("What it ran before", tenant, f"attempt {event.epoch}", recorded))
    return told


def _tenant(question: str, tenant: Tenant, where: str, recorded: Recorded | None = None) -> Explanation:
    user = f" of {tenant.user}" if tenant.user else ""
    return Explanation(
        topic="trials",
        question=question,
        text=f"trial {tenant.trial_id} of experiment “{tenant.experiment_name}”{user}, {where}",
        seq=recorded.seq if recorded else None,
        time=recorded.envelope.time if recorded else None,
        detail=msgspec.Raw(msgspec.json.encode(tenant)),
    )


def _story(standing: Standing) -> list[Explanation]:
    told = []
    for recorded in standing.events:
        match recorded.event:
            case AgentJoined():
                question = "When it joined"
            case AgentLost():
                question = "Why it was lost"
            case AgentLeft() | AgentLeaving():
                question = "Why it left"
            case SlotUnhealthy() | SlotRecovered():
                question = "How its GPUs are"
            case AgentRefused():
                question = "Why it was refused"
            case AgentDrainRequested() | AgentDisabled() | AgentEnabled():
                question = "Who changed what"
            case _:
                continue
        told.append(
            Explanation(
                topic="agent",
                question=question,
                text=cause_in_words(recorded),
                seq=recorded.seq,
                time=recorded.envelope.time,
            )
        )
    return told


def _newest(standing: Standing, *types: type) -> Recorded | None:
    return next((recorded for recorded in reversed(standing.events) if isinstance(recorded.event, types)), None)


def _newest_whole_closure(standing: Standing) -> Recorded | None:
    """The newest word about the agent as a whole; about single slots there may be others."""
    for recorded in reversed(standing.events):
        event = recorded.event
        if isinstance(event, _CLOSURES) and not event.slots:
            return recorded
    return None
