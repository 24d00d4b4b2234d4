"""When trials were at which step: what a chart against time goes by."""

from services.gateway import queries
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.past import Database
from services.gateway.views.metrics import StepTimes, StepTimesList

MAX_POINTS = 200_000  # of all trials together; beyond, every trial has its first ones

_TIMES = """
SELECT trial_id, array_agg(step ORDER BY step) AS steps, array_agg(seconds ORDER BY step) AS seconds FROM (
    SELECT m.trial_id, m.step, max(extract(epoch FROM m.time - t.started_at))::float8 AS seconds
    FROM metrics m JOIN trials t ON t.id = m.trial_id
    WHERE {owner} = $1 AND m."group" = 'validation' AND t.started_at IS NOT NULL
    GROUP BY m.trial_id, m.step ORDER BY m.step LIMIT $2
) s GROUP BY trial_id
"""


async def of_trial(call: Call[Query]) -> StepTimesList:
    """When a trial validated."""
    trial_id = call.id("trial")
    await queries.trial_is_over(call.parts.database, trial_id)
    return await _read(call.parts.database, "t.id", trial_id)


async def of_experiment(call: Call[Query]) -> StepTimesList:
    """When the trials validated."""
    experiment_id = call.id("experiment")
    await queries.check_experiment(call.parts.database, experiment_id)
    return await _read(call.parts.database, "t.experiment_id", experiment_id)


async def _read(database: Database, owner: str, owner_id: str) -> StepTimesList:
    rows = await database.fetch(_TIMES.format(owner=owner), owner_id, MAX_POINTS)
    return StepTimesList(
        items=[
            StepTimes(trial_id=row["trial_id"], points=list(zip(row["steps"], row["seconds"], strict=True)))
            for row in rows
        ]
    )


ROUTES = (
    get(f"{PREFIX}/trials/{{id}}/times", of_trial, Query, StepTimesList, "When a trial validated at which step"),
    get(
        f"{PREFIX}/experiments/{{id}}/times", of_experiment, Query, StepTimesList,
        "When the trials of an experiment validated at which step",
    ),
)  # fmt: skip
