"""Sentences of agents, slots, pools, the queue and the log itself."""

from collections.abc import Iterable

from shared.events import (
    AgentAdmitted,
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    AgentIntent,
    AgentInvited,
    AgentJoined,
    AgentLeaving,
    AgentLeft,
    AgentLost,
    AgentRefused,
    AuditSealed,
    DefaultPolicySet,
    GangMember,
    GPUAllocated,
    GPUReleased,
    JobMaxSlotsSet,
    JobMoved,
    JobPoolSet,
    JobPrioritySet,
    JobWeightSet,
    LeaderElected,
    LimitCleared,
    LimitEvent,
    LimitSet,
    PoolConfigured,
    PoolPolicy,
    PreemptionRequested,
    SlotRecovered,
    SlotUnhealthy,
)
from shared.narrate.sentence import sentence
from shared.narrate.words import counted


@sentence.register
def _(event: JobPrioritySet) -> str:
    return f"experiment {event.experiment_id} has priority {event.priority} from here on"


@sentence.register
def _(event: JobWeightSet) -> str:
    return f"experiment {event.experiment_id} has weight {event.weight:g} from here on"


@sentence.register
def _(event: JobMaxSlotsSet) -> str:
    return f"experiment {event.experiment_id} holds at most {event.max_slots} slots from here on"


@sentence.register
def _(event: JobMoved) -> str:
    where = "ahead of" if event.ahead else "behind"
    return f"experiment {event.experiment_id} was moved {where} experiment {event.beside_id}"


@sentence.register
def _(event: JobPoolSet) -> str:
    return f"experiment {event.experiment_id} was moved to pool {event.pool_id}"


@sentence.register
def _(event: AgentDrainRequested) -> str:
    after = "" if event.grace_s is None else f"; what runs there has {event.grace_s:g} s"
    return f"{_whereon(event)} gets no new work from here on{after}"


@sentence.register
def _(event: AgentDisabled) -> str:
    return f"{_whereon(event)} was disabled"


@sentence.register
def _(event: AgentEnabled) -> str:
    return f"{_whereon(event)} takes work again"


@sentence.register
def _(event: AgentInvited) -> str:
    return f"a machine may join as agent {event.agent_id} until {event.expires_at:%Y-%m-%d %H:%M} UTC"


@sentence.register
def _(event: AgentAdmitted) -> str:
    return f"{event.machine} joined as agent {event.agent_id}"


@sentence.register
def _(event: PoolConfigured) -> str:
    return f"pool {event.pool_id} is scheduled by {_policy(event.policy)} from here on"


@sentence.register
def _(event: DefaultPolicySet) -> str:
    return f"pools that nobody configured are scheduled by {_policy(event.policy)} from here on"


@sentence.register
def _(event: LimitSet) -> str:
    limits = [f"at most {event.max_slots} slots"] if event.max_slots is not None else []
    limits += [f"priority {event.best_priority} at best"] if event.best_priority is not None else []
    return f"the limit of {_scope(event)} is {' and '.join(limits) or 'nothing'} from here on"


@sentence.register
def _(event: LimitCleared) -> str:
    return f"the limit of {_scope(event)} was lifted"


@sentence.register
def _(event: GPUAllocated) -> str:
    return f"trial {event.trial_id} was given {_members(event.members)} (allocation {event.epoch})"


@sentence.register
def _(event: PreemptionRequested) -> str:
    whom = f" (trial {event.for_trial_id})" if event.for_trial_id else ""
    return f"trial {event.trial_id} must stop within {event.timeout_s:g} s: {event.reason}{whom}"


@sentence.register
def _(event: GPUReleased) -> str:
    return f"the slots of trial {event.trial_id} (allocation {event.epoch}) are free again: {event.reason}"


@sentence.register
def _(event: AgentLost) -> str:
    return f"agent {event.agent_id} is lost after {event.silent_s:.1f} s of silence; what ran there is void"


@sentence.register
def _(event: AgentRefused) -> str:
    return f"agent {event.agent_id} may not join: {event.reason}"


@sentence.register
def _(event: AgentJoined) -> str:
    kinds = sorted({slot.kind for slot in event.slots})
    slots = counted(len(event.slots), f"{'/'.join(kinds)} slot".strip())
    return f"agent {event.agent_id} joined pool {event.pool_id} with {slots}"


@sentence.register
def _(event: AgentLeaving) -> str:
    return f"agent {event.agent_id} was told to end and takes no new work"


@sentence.register
def _(event: SlotUnhealthy) -> str:
    return f"slot {event.slot} of agent {event.agent_id} gets no new work: {event.fault} ({event.detail})"


@sentence.register
def _(event: SlotRecovered) -> str:
    return f"slot {event.slot} of agent {event.agent_id} is healthy again"


@sentence.register
def _(event: AgentLeft) -> str:
    return f"agent {event.agent_id} left: {event.reason}"


@sentence.register
def _(event: LeaderElected) -> str:
    return f"instance {event.instance} of the {event.service} decides from here on (term {event.term})"


@sentence.register
def _(event: AuditSealed) -> str:
    return f"the log up to event {event.last} was sealed with root {event.root.hex()[:16]}"


def _whereon(event: AgentIntent) -> str:
    slots = f"slot {', '.join(f'#{slot}' for slot in event.slots)} of " if event.slots else ""
    return f"{slots}agent {event.agent_id}"


def _policy(policy: PoolPolicy) -> str:
    words = [policy.type.value, *(["preemption"] if policy.preemption else []), f"{policy.fitting} fit"]
    words += ["unequal agents"] if policy.heterogeneous_fits else []
    words += [] if policy.reserve_after_s is None else [f"agents kept after {policy.reserve_after_s:g} s"]
    return ", ".join([*words, f"default priority {policy.default_priority}"])


def _scope(event: LimitEvent) -> str:
    if event.workspace is None:
        return "every workspace"
    return f"workspace “{event.workspace}”" if event.workspace else "experiments without a workspace"


def _members(members: Iterable[GangMember]) -> str:
    return " and ".join(f"slot {', '.join(f'#{slot}' for slot in m.slots)} of agent {m.agent_id}" for m in members)
