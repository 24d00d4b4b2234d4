"""Why a trial is the best of its experiment, and where its checkpoint is."""

import asyncpg
import msgspec

from services.gateway import queries
from services.gateway.past import ReadModel
from services.gateway.views.why import Explanation

# The same choice as in queries: what the searcher named, else the leader so far.
_LEADERS = """
WITH named AS (
    SELECT t.id, t.metric, t.best_step, t.best_epoch, e.metric AS metric_name, e.smaller_is_better,
           e.ended_at IS NOT NULL AS is_over,
           row_number() OVER (
               ORDER BY t.id = e.best_trial_id DESC NULLS LAST,
                        CASE WHEN e.smaller_is_better THEN t.metric ELSE -t.metric END, t.index
           ) AS place, count(*) OVER () AS total
    FROM trials t JOIN experiments e ON e.id = t.experiment_id
    WHERE e.id = (SELECT experiment_id FROM trials WHERE id = $1) AND t.metric IS NOT NULL AND t.state <> 'FAILED'
)
SELECT n.*, k.id AS checkpoint_id, k.step AS checkpoint_step FROM named n
"""
_LEADERS += queries.BEST_CHECKPOINT.format("n") + "WHERE n.place <= 2 ORDER BY n.place"


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
    lead = _lead(leaders)
    word = "best" if first["is_over"] else "best so far"
    text = f"{_ahead(lead)}; {_kept(lead, first['checkpoint_step'])}"
    return [
        Explanation(
            topic="best", question=f"Why it is the {word}", text=text, detail=msgspec.Raw(msgspec.json.encode(lead))
        )
    ]


def _lead(leaders: list[asyncpg.Record]) -> Lead:
    first, second = leaders[0], leaders[1] if len(leaders) > 1 else None
    return Lead(
        metric=first["metric_name"],
        smaller_is_better=first["smaller_is_better"],
        value=first["metric"],
        step=first["best_step"],
        trials_compared=first["total"],
        next_trial_id=second["id"] if second else None,
        next_value=second["metric"] if second else None,
        checkpoint_id=first["checkpoint_id"],
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


def _kept(lead: Lead, step: int | None) -> str:
    if step is None:
        return "it has no checkpoint"
    near = "" if step == lead.step else f", saved at step {step:,}"
    return f"its checkpoint is {lead.checkpoint_id}{near}"
