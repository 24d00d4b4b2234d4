"""Why a trial is the best of its experiment, and where its checkpoint is."""

import asyncpg
import msgspec

from services.gateway.past import ReadModel
from services.gateway.views.why import Explanation

# The same choice as in queries: what the searcher named, else the leader so far.
_LEADERS = """
WITH named AS (
    SELECT t.id, t.metric, t.best_step, e.metric AS metric_name, e.smaller_is_better, e.ended_at IS NOT NULL AS is_over,
           row_number() OVER (
               ORDER BY t.id = e.best_trial_id DESC NULLS LAST,
                        CASE WHEN e.smaller_is_better THEN t.metric ELSE -t.metric END, t.index
           ) AS place, count(*) OVER () AS total
    FROM trials t JOIN experiments e ON e.id = t.experiment_id
    WHERE e.id = (SELECT experiment_id FROM trials WHERE id = $1) AND t.metric IS NOT NULL AND t.state <> 'FAILED'
)
SELECT * FROM named WHERE place <= 2 ORDER BY place
"""
_CHECKPOINT = """
SELECT id, step FROM checkpoints WHERE trial_id = $1 AND state = 'ACTIVE'
ORDER BY step <= $2 DESC, CASE WHEN step > $2 THEN -step ELSE step END DESC, saved_seq DESC LIMIT 1
"""


class Lead(msgspec.Struct, frozen=True, kw_only=True):
    """How far the best trial is ahead."""

    metric: str
    smaller_is_better: bool
    value: float
    step: int | None
    trials_compared: int
    next_trial_id: str | None
    next_value: float | None
    checkpoint_id: str | None


async def answers(database: ReadModel, trial_id: str) -> list[Explanation]:
    """Return why a trial leads its experiment; nothing when it does not."""
    leaders = await database.fetch(_LEADERS, trial_id)
    if not leaders or leaders[0]["id"] != trial_id:
        return []
    first = leaders[0]
    checkpoint = await database.fetchrow(_CHECKPOINT, trial_id, first["best_step"] or 0)
    lead = _lead(leaders, checkpoint)
    word = "best" if first["is_over"] else "best so far"
    text = f"{_ahead(lead)}; {_kept(lead, checkpoint)}"
    return [
        Explanation(
            topic="best", question=f"Why it is the {word}", text=text, detail=msgspec.Raw(msgspec.json.encode(lead))
        )
    ]


def _lead(leaders: list[asyncpg.Record], checkpoint: asyncpg.Record | None) -> Lead:
    first, second = leaders[0], leaders[1] if len(leaders) > 1 else None
    return Lead(
        metric=first["metric_name"],
        smaller_is_better=first["smaller_is_better"],
        value=first["metric"],
        step=first["best_step"],
        trials_compared=first["total"],
        next_trial_id=second["id"] if second else None,
        next_value=second["metric"] if second else None,
        checkpoint_id=checkpoint["id"] if checkpoint else None,
    )


def _ahead(lead: Lead) -> str:
    reached = f"its {lead.metric} of {lead.value:.6g} at step {lead.step:,}" if lead.step is not None else ""
    reached = reached or f"its {lead.metric} of {lead.value:.6g}"
    if lead.next_trial_id is None or lead.next_value is None:
        return f"{reached} is the only one that was validated"
    extreme = "lowest" if lead.smaller_is_better else "highest"
    return (
        f"{reached} is the {extreme} of {lead.trials_compared:,} trials; "
        f"the next is {lead.next_trial_id} with {lead.next_value:.6g}"
    )


def _kept(lead: Lead, checkpoint: asyncpg.Record | None) -> str:
    if checkpoint is None:
        return "it has no checkpoint"
    near = "" if checkpoint["step"] == lead.step else f", saved at step {checkpoint['step']:,}"
    return f"its checkpoint is {lead.checkpoint_id}{near}"
