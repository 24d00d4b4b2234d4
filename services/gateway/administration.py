"""Questions about what administrators set, and the events that grant their wishes."""

from collections.abc import Sequence

import msgspec

from services.gateway import cluster
from services.gateway.admission import DEFAULT_POOL, Limit, Pool, Submitted
from services.gateway.past import ReadModel
from services.gateway.problems import not_found
from services.gateway.views import pools as views
from services.gateway.views.agents import Agent, AgentState, Availability
from shared.capacity import AgentSize
from shared.errors import Problem, Rejected
from shared.events import AgentDisabled, AgentDrainRequested, AgentEnabled, AgentIntent, PoolConfigured, PoolPolicy
from shared.ids import AgentId

WHOLE_AGENT = -1  # in place of a slot's number
_UNCONFIGURED = ""  # in place of a pool's id: the scheduler's setting

_POOLS = """
SELECT p.id, q.policy, count(t.id) FILTER (WHERE t.state = 'WAITING') AS waiting,
       count(t.id) FILTER (WHERE t.state IN ('RUNNING', 'STOPPING')) AS running
FROM (SELECT $1 AS id UNION SELECT pool_id FROM agents UNION SELECT pool_id FROM pool_policies WHERE pool_id <> ''
      UNION SELECT pool_id FROM experiments WHERE ended_at IS NULL) p
LEFT JOIN pool_policies q ON q.pool_id = p.id
LEFT JOIN experiments e ON e.pool_id = p.id AND e.ended_at IS NULL
LEFT JOIN trials t ON t.experiment_id = e.id AND t.ended_at IS NULL
GROUP BY p.id, q.policy ORDER BY p.id
"""
_LIMITS = """
SELECT l.workspace, l.max_slots, l.best_priority, COALESCE(sum(jsonb_array_length(m -> 'slots')), 0)::bigint AS held
FROM limits l
LEFT JOIN experiments e ON e.workspace = l.workspace AND e.ended_at IS NULL
LEFT JOIN allocations a ON a.experiment_id = e.id AND a.released_at IS NULL
LEFT JOIN LATERAL jsonb_array_elements(a.members) m ON true
WHERE l.max_slots IS NOT NULL OR l.best_priority IS NOT NULL
GROUP BY l.workspace, l.max_slots, l.best_priority ORDER BY l.workspace NULLS FIRST
"""
_SUBMITTED = "SELECT id, workspace, pool_id, slots_per_trial, priority FROM experiments WHERE id = $1"


async def default_policy(database: ReadModel) -> PoolPolicy:
    """Return the policy of pools that nobody configured."""
    found = await database.fetchval("SELECT policy FROM pool_policies WHERE pool_id = $1", _UNCONFIGURED)
    return PoolPolicy() if found is None else msgspec.json.decode(found, type=PoolPolicy)


async def pools(database: ReadModel, agents: Sequence[Agent]) -> list[views.Pool]:
    """Return every pool that has, or had, agents, experiments or a policy of its own."""
    unconfigured = await default_policy(database)
    rows = await database.fetch(_POOLS, DEFAULT_POOL)
    return [_pool(row["id"], row["policy"], unconfigured, row["waiting"], row["running"], agents) for row in rows]


async def configured(database: ReadModel, event: PoolConfigured) -> views.Pool:
    """Return a pool as it is with a policy, which the read model need not show yet."""
    agents = await cluster.agents(database)
    found = next((pool for pool in await pools(database, agents) if pool.id == event.pool_id), None)
    pool = _pool(event.pool_id, None, event.policy, 0, 0, agents) if found is None else found
    return msgspec.structs.replace(pool, is_configured=True, policy=views.policy(event.policy))


def _pool(
    name: str, policy: str | None, unconfigured: PoolPolicy, waiting: int, running: int, agents: Sequence[Agent]
) -> views.Pool:
    up = [agent for agent in agents if agent.pool == name and agent.state is AgentState.UP]
    slots = [(agent, slot) for agent in up for slot in agent.slots]
    is_open = Availability.ENABLED
    return views.Pool(
        id=name,
        is_configured=policy is not None,
        policy=views.policy(unconfigured if policy is None else msgspec.json.decode(policy, type=PoolPolicy)),
        agents=len(up),
        slots=len(slots),
        held=sum(slot.trial_id is not None for _, slot in slots),
        closed=sum(
            agent.availability is not is_open or slot.availability is not is_open or slot.unhealthy is not None
            for agent, slot in slots
        ),
        waiting=waiting,
        running=running,
    )


def admission_pools(found: Sequence[views.Pool], agents: Sequence[Agent]) -> dict[str, Pool]:
    """Return the pools as admission sees them."""
    return {
        pool.id: Pool(
            name=pool.id,
            agents=tuple(
                AgentSize(
                    slots=len(agent.slots),
                    kind=agent.slots[0].kind if agent.slots else "none",
                    zero_slot_limit=agent.zero_slot_limit,
                )
                for agent in agents
                if agent.pool == pool.id and agent.state is AgentState.UP
            ),
            policy=msgspec.convert(msgspec.to_builtins(pool.policy), PoolPolicy),
        )
        for pool in found
    }


async def limits(database: ReadModel) -> list[views.Limit]:
    """Return what is limited, and how many slots each limited workspace holds."""
    return [
        views.Limit(
            workspace=row["workspace"],
            max_slots=row["max_slots"],
            best_priority=row["best_priority"],
            held=None if row["workspace"] is None else row["held"],
        )
        for row in await database.fetch(_LIMITS)
    ]


async def admission_limits(database: ReadModel) -> list[Limit]:
    """Return the limits as admission sees them."""
    return [
        Limit(workspace=limit.workspace, max_slots=limit.max_slots, best_priority=limit.best_priority)
        for limit in await limits(database)
    ]


async def submitted(database: ReadModel, experiment_id: str) -> Submitted:
    """Return what of an experiment bears on its place in the queue. Raises Rejected (404)."""
    row = await database.fetchrow(_SUBMITTED, experiment_id)
    if row is None:
        raise not_found("experiment", experiment_id)
    return Submitted(
        experiment_id=row["id"],
        workspace=row["workspace"],
        pool=row["pool_id"],
        slots_per_trial=row["slots_per_trial"],
        priority=row["priority"],
    )


def agent_intent(
    intent: type[AgentIntent],
    agent_id: str,
    slots: tuple[int, ...],
    grace_s: float | None,
    known: Sequence[Agent],
) -> AgentIntent:
    """Return the event that closes or opens an agent. Raises Rejected when there is no such agent or slot."""
    found = next((agent for agent in known if agent.id == agent_id), None)
    if found is None:
        names = ", ".join(agent.id for agent in known) or "none ever joined"
        raise Rejected(f"there is no agent {agent_id}; known agents: {names}", status=404)
    offered = {slot.number for slot in found.slots}
    if unknown := sorted(set(slots) - offered):
        numbers = ", ".join(map(str, sorted(offered))) or "none"
        mistake = Problem("slots", f"agent {agent_id} has no slot {unknown[0]}", f"its slots: {numbers}")
        raise Rejected("an unknown slot", (mistake,))
    if intent is AgentDrainRequested:
        return AgentDrainRequested(agent_id=AgentId(agent_id), slots=slots, grace_s=grace_s)
    assert intent in (AgentDisabled, AgentEnabled)
    return intent(agent_id=AgentId(agent_id), slots=slots)
