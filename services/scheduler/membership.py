"""Agents come, go, and are closed and opened: what that changes of the scheduler's memory."""

from collections.abc import Iterable

from msgspec.structs import replace

from services.scheduler import closures
from services.scheduler.memory import State, update_allocation
from services.scheduler.records import Agent, Claimant
from shared.events import (
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    AgentJoined,
    AgentLeaving,
    AgentLeft,
    AgentLost,
    AgentRefused,
    Slot,
    SlotRecovered,
    SlotUnhealthy,
)
from shared.ids import AgentId, AllocationId


def joined(event: AgentJoined, seq: int, state: State) -> None:
    """It is in, unless another process may be alive under its name, or it wants other slots while some are held."""
    present = state.agents.get(event.agent_id)
    slots = frozenset(slot.number for slot in event.slots)
    is_known = present is not None and present.incarnation == event.incarnation
    if present is not None and is_known and present.slots == slots:
        return
    is_rival = present is not None and not is_known and event.succeeds not in (None, present.incarnation)
    is_busy = present is not None and is_known and state.free[event.agent_id] != present.slots
    if is_rival or is_busy:
        claimant = Claimant(
            agent_id=event.agent_id,
            pool_id=event.pool_id,
            incarnation=event.incarnation,
            joined_seq=seq,
            is_other=is_rival,
        )
        state.claimants[claimant.name] = claimant
        return
    _forget_agent(state, event.agent_id, seq)
    state.agents[event.agent_id] = Agent(
        agent_id=event.agent_id,
        incarnation=event.incarnation,
        pool_id=event.pool_id,
        slots=slots,
        kinds=_kinds(event.slots),
        joined_seq=seq,
        host=event.address,
        switch=event.labels.get("switch", ""),
        zero_slot_limit=event.zero_slot_limit,
        closed=closures.closed_slots(state.closures, state.faults, event.agent_id, slots),
        is_open=closures.is_open(state.closures, event.agent_id),
    )
    state.free[event.agent_id] = set(slots)
    state.freed_seq[event.agent_id] = seq
    state.waiting.setdefault(event.pool_id, {})


def left(event: AgentLeft | AgentLost, seq: int, state: State) -> None:
    """An agent is gone, if it is that incarnation which is in."""
    agent = state.agents.get(event.agent_id)
    if agent and agent.incarnation == event.incarnation:
        _forget_agent(state, event.agent_id, seq)


def refused(event: AgentRefused, seq: int, state: State) -> None:
    """A process that was in and wanted other slots is gone: it must end, and what it runs with it."""
    state.claimants.pop(f"{event.agent_id}/{event.incarnation}", None)
    agent = state.agents.get(event.agent_id)
    if agent and agent.incarnation == event.incarnation:
        _forget_agent(state, event.agent_id, seq)


def closed_or_opened(event: AgentDrainRequested | AgentDisabled | AgentEnabled, seq: int, state: State) -> None:
    """An administrator has closed an agent or some of its slots, or opened them again."""
    closures.note(state.closures, event, seq, state.time)
    if isinstance(event, AgentEnabled):
        closures.note_fault(state.faults, event)
    _open_or_close(state, event.agent_id, seq)


def health_changed(event: SlotUnhealthy | SlotRecovered, seq: int, state: State) -> None:
    """An agent has found a slot's GPU unhealthy, or healthy again."""
    closures.note_fault(state.faults, event)
    _open_or_close(state, event.agent_id, seq)


def leaving(event: AgentLeaving, seq: int, state: State) -> None:
    """An agent was told to end, if it is that incarnation which is in."""
    agent = state.agents.get(event.agent_id)
    if agent and agent.incarnation == event.incarnation:
        closures.leave(state.closures, event.agent_id, seq, state.time)
        _open_or_close(state, event.agent_id, seq)


def _open_or_close(state: State, agent_id: AgentId, seq: int) -> None:
    """What is said of an agent or its slots has changed; some of what they hold may have to stop."""
    if agent := state.agents.get(agent_id):
        state.agents[agent_id] = replace(
            agent,
            closed=closures.closed_slots(state.closures, state.faults, agent_id, agent.slots),
            is_open=closures.is_open(state.closures, agent_id),
        )
        state.freed_seq[agent_id] = seq
    state.unsettled.update(state.held_on.get(agent_id, {}))


def _forget_agent(state: State, agent_id: AgentId, seq: int) -> None:
    """An incarnation is gone: its slots with it, and its part of every gang."""
    agent = state.agents.pop(agent_id, None)
    for name in [name for name, claimant in state.claimants.items() if claimant.agent_id == agent_id]:
        del state.claimants[name]  # a rival joins again once the name is free
    closures.forget(state.closures, agent_id)
    if agent is None:
        return
    del state.free[agent_id], state.freed_seq[agent_id]
    for allocation in [state.allocations[allocation_id] for allocation_id in state.held_on.get(agent_id, ())]:
        for member in allocation.members:
            if (member.agent_id, member.incarnation) == (agent_id, agent.incarnation):
                lose_member(state, allocation.allocation_id, agent_id, seq)


def lose_member(state: State, allocation_id: AllocationId, agent_id: AgentId, seq: int) -> None:
    """Count a gang's part on an agent as gone, unless its ranks had exited before."""
    allocation = state.allocations[allocation_id]
    if agent_id not in allocation.exited:
        update_allocation(state, allocation_id, lost=allocation.lost | {agent_id}, lost_seq=allocation.lost_seq or seq)


def _kinds(slots: Iterable[Slot]) -> dict[str, frozenset[int]]:
    kinds: dict[str, set[int]] = {}
    for slot in slots:
        kinds.setdefault(str(slot.kind), set()).add(slot.number)
    return {kind: frozenset(numbers) for kind, numbers in kinds.items()} or {"none": frozenset()}
