"""What the pools need now: lost agents declared, finished gangs released, unwanted ones preempted, the queue served.

Who gets slots, and who must give some back for it, is the policy's to say (`policies/`): a pure function of the pool,
the same that `tm simulate` runs. Trials of a paused experiment are not in the queue that it sees. A trial that its
machines failed goes behind the others of its job, so that it cannot hold them up by failing again and again.

How a pool is scheduled, what is closed and which limits hold is on the log, and so in the state. Only what this process
alone knows is told besides: whom it has heard when, and the policy that its setting names for pools nobody configured;
of both it leaves word on the log before it goes by it.

This is the whole decision at once, from nothing but the state, looking at everyone who waits. The scheduler itself
decides by the same code without looking at everything again (`engine.py`).
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime

from services.scheduler.engine import Engine
from services.scheduler.memory import State
from shared.decisions import Decision
from shared.events import DEFAULT_POLICY, PoolPolicy
from shared.ids import AgentId


def decide(
    state: State,
    silent_s: Mapping[AgentId, float],
    *,
    now: datetime,
    agent_timeout_s: float,
    policy: PoolPolicy = DEFAULT_POLICY,
    contested: AbstractSet[str] = frozenset(),
) -> list[Decision]:
    """Return the events that are needed now, grouped by pool.

    `silent_s` is how long each agent's present incarnation has not been heard of; an agent missing from it was just
    heard. `policy` is the setting for pools that nobody configured. `contested` are the claimants (Claimant.name) of
    names whose owners were heard after the claim was folded. Slots that this very decision frees are given out by the
    next one.
    """
    engine = Engine(is_plain=True)
    return engine.decide(state, silent_s, now=now, agent_timeout_s=agent_timeout_s, policy=policy, contested=contested)
