"""Questions to the read model: SQL, and rows turned into views."""

import asyncpg
import msgspec

from services.gateway import lists
from services.gateway.lists import ListQuery
from services.gateway.past import ReadModel
from services.gateway.problems import not_found
from services.gateway.views.checkpoints import Checkpoint, CheckpointPage, CheckpointState, File
from services.gateway.views.experiments import (
    BestTrial,
    Deletion,
    Experiment,
    ExperimentDetail,
    ExperimentPage,
    ExperimentState,
    SearcherView,
    TrialCounts,
)
from services.gateway.views.status import SetAsideItem, SetAsideList
from services.gateway.views.trials import AgentSlots, Trial, TrialPage, TrialState

# Steps come from two folds: validations and checkpoints from EVENTS, training metrics from METRICS. All trials of these
# experiments are read in one pass: `best` is the least of (is not the one that the search named, cost, index).
_EXPERIMENTS = """
WITH e AS ({which}), c AS (
    SELECT t.experiment_id,
           count(*) AS total,
           count(*) FILTER (WHERE t.state IN ('WAITING', 'PARKED')) AS waiting,
           count(*) FILTER (WHERE t.state IN ('RUNNING', 'STOPPING')) AS running,
           count(*) FILTER (WHERE t.state = 'COMPLETED') AS completed,
           count(*) FILTER (WHERE t.state = 'FAILED') AS failed,
           count(*) FILTER (WHERE t.state = 'CANCELED') AS canceled,
           sum(LEAST(1, COALESCE(GREATEST(t.step, s.step)::float8 / e.max_steps, 0)))
               FILTER (WHERE t.ended_at IS NULL) AS begun,
           max(t.seq) AS newest_seq,
           min(ARRAY[CASE WHEN t.id = e.best_trial_id THEN 0 ELSE 1 END,
                     CASE WHEN e.smaller_is_better THEN t.metric ELSE -t.metric END, t.index])
               FILTER (WHERE t.metric IS NOT NULL AND t.state <> 'FAILED') AS best
    FROM e JOIN trials t ON t.experiment_id = e.id LEFT JOIN training_steps s ON s.trial_id = t.id
    GROUP BY t.experiment_id
)
SELECT e.*, COALESCE(c.total, 0) AS total, COALESCE(c.waiting, 0) AS waiting, COALESCE(c.running, 0) AS running,
       COALESCE(c.completed, 0) AS completed, COALESCE(c.failed, 0) AS failed, COALESCE(c.canceled, 0) AS canceled,
       COALESCE(c.begun, 0) AS begun, GREATEST(e.seq, c.newest_seq) AS newest_seq,
       b.id AS best_id, b.metric AS best_metric, b.best_step, b.hyperparameters, k.id AS best_checkpoint
FROM e
LEFT JOIN c ON c.experiment_id = e.id
LEFT JOIN trials b ON b.experiment_id = e.id AND b.index = c.best[3]::bigint
"""
# Of a trial's checkpoints: the newest at or before the best step, else the first one after it, else the newest. Of
# several of one step that of the attempt that was best there.
BEST_CHECKPOINT = """
LEFT JOIN LATERAL (
    SELECT k.id, k.step FROM checkpoints k WHERE k.trial_id = {0}.id AND k.state = 'ACTIVE'
    ORDER BY k.step <= {0}.best_step DESC,
             CASE WHEN k.step > {0}.best_step THEN -k.step ELSE k.step END DESC,
             k.epoch = {0}.best_epoch DESC NULLS LAST, k.epoch DESC, k.saved_seq DESC
    LIMIT 1
) k ON true
"""
_EXPERIMENTS += BEST_CHECKPOINT.format("b") + "ORDER BY e.submitted_seq DESC"

_TRIALS = (
    """
SELECT t.*, GREATEST(t.step, s.step) AS newest_step, k.id AS best_checkpoint, l.id AS latest_checkpoint, a.members
FROM ({which}) t
LEFT JOIN training_steps s ON s.trial_id = t.id
LEFT JOIN LATERAL (
    SELECT id FROM checkpoints l WHERE l.trial_id = t.id AND l.state = 'ACTIVE'
    ORDER BY l.epoch DESC, l.saved_seq DESC LIMIT 1
) l ON true
LEFT JOIN LATERAL (
    SELECT members FROM allocations a WHERE a.trial_id = t.id AND t.state <> 'WAITING' ORDER BY a.epoch DESC LIMIT 1
) a ON true
"""
    + BEST_CHECKPOINT.format("t")
    + "ORDER BY t.index"
)


async def experiments(
    database: ReadModel, query: ListQuery, show: lists.Show, workspaces: frozenset[str] | None
) -> ExperimentPage:
    """Return a page of the experiments that are now in these workspaces (None: of all). Raises Rejected (400)."""
    mine = (f"{lists.SHOWN[show]} AND ({{0}} IS NULL OR {lists.IN_WORKSPACES})", workspaces, "text[]")
    page = await lists.page(database, lists.experiments(query), "e", [mine], query)
    which = "SELECT * FROM experiments WHERE id = ANY($1)"
    rows = {row["id"]: row for row in await database.fetch(_EXPERIMENTS.format(which=which), page.ids)}
    items = [_experiment(rows[id_]) for id_ in page.ids if id_ in rows]
    return ExperimentPage(items=items, next_cursor=page.next_cursor)


async def experiment(database: ReadModel, experiment_id: str) -> ExperimentDetail:
    """Return one experiment. Raises Rejected (404)."""
    row = await database.fetchrow(_EXPERIMENTS.format(which="SELECT * FROM experiments WHERE id = $1"), experiment_id)
    if row is None:
        raise not_found("experiment", experiment_id)
    shown = _experiment(row)
    values = {name: getattr(shown, name) for name in shown.__struct_fields__}
    return ExperimentDetail(**values, notes=row["notes"], config=_raw(row["config"]))


async def check_experiment(database: ReadModel, experiment_id: str) -> None:
    """Raise Rejected (404) unless the experiment exists."""
    if not await database.fetchval("SELECT 1 FROM experiments WHERE id = $1", experiment_id):
        raise not_found("experiment", experiment_id)


def _experiment(row: asyncpg.Record) -> Experiment:
    planned = row["max_trials"] or row["total"] or 1
    closed = row["completed"] + row["failed"] + row["canceled"]
    return Experiment(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        labels=row["labels"],
        state=ExperimentState(row["state"]),
        searcher=SearcherView(
            name=row["searcher"],
            metric=row["metric"],
            smaller_is_better=row["smaller_is_better"],
            max_trials=row["max_trials"],
            max_concurrent_trials=row["max_concurrent_trials"],
        ),
        slots_per_trial=row["slots_per_trial"],
        workspace=row["workspace"],
        project=row["project"],
        owner=row["owner"],
        archived=row["archived"],
        deletion=None if row["deletion"] is None else Deletion(row["deletion"]),
        forked_from=row["forked_from"],
        pool=row["pool_id"],
        priority=row["priority"],
        weight=row["weight"],
        max_slots=row["max_slots"],
        progress=1.0 if row["state"] == "COMPLETED" else min(1.0, (closed + row["begun"]) / planned),
        submitted_at=row["submitted_at"],
        ended_at=row["ended_at"],
        reason=row["reason"],
        trials=TrialCounts(**{name: row[name] for name in TrialCounts.__struct_fields__}),
        best=None if row["best_id"] is None else _best(row),
        seq=row["newest_seq"],
    )


def _best(row: asyncpg.Record) -> BestTrial:
    return BestTrial(
        trial_id=row["best_id"],
        metric=row["best_metric"],
        step=row["best_step"],
        hyperparameters=_raw(row["hyperparameters"]),
        checkpoint_id=row["best_checkpoint"],
    )


async def trials(database: ReadModel, experiment_id: str, query: ListQuery) -> TrialPage:
    """Return a page of an experiment's trials. Raises Rejected (400)."""
    fixed: list[lists.Condition] = [("t.experiment_id = {0}", experiment_id, "text")]
    page = await lists.page(database, lists.OF_TRIALS, "t", fixed, query)
    rows = await database.fetch(_TRIALS.format(which="SELECT * FROM trials WHERE id = ANY($1)"), page.ids)
    found = {row["id"]: row for row in rows}
    items = [_trial(found[id_]) for id_ in page.ids if id_ in found]
    return TrialPage(items=items, next_cursor=page.next_cursor)


async def trial(database: ReadModel, trial_id: str) -> Trial:
    """Return one trial. Raises Rejected (404)."""
    row = await database.fetchrow(_TRIALS.format(which="SELECT * FROM trials WHERE id = $1"), trial_id)
    if row is None:
        raise not_found("trial", trial_id)
    return _trial(row)


async def trial_is_over(database: ReadModel, trial_id: str) -> bool:
    """Say whether a trial is closed. Raises Rejected (404)."""
    row = await database.fetchrow("SELECT ended_at FROM trials WHERE id = $1", trial_id)
    if row is None:
        raise not_found("trial", trial_id)
    return row["ended_at"] is not None


def _trial(row: asyncpg.Record) -> Trial:
    members = [] if row["members"] is None else msgspec.json.decode(row["members"], type=list[AgentSlots])
    return Trial(
        id=row["id"],
        experiment_id=row["experiment_id"],
        index=row["index"],
        state=TrialState(row["state"]),
        hyperparameters=_raw(row["hyperparameters"]),
        seed=int(row["seed"]),
        slots=row["slots"],
        origin=row["origin"],
        restarts=row["restarts"],
        requested_at=row["requested_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        step=row["newest_step"],
        metric=row["metric"],
        best_step=row["best_step"],
        latest_checkpoint_id=row["latest_checkpoint"],
        best_checkpoint_id=row["best_checkpoint"],
        agents=members,
        reason=row["reason"],
        error=row["error"],
    )


async def trial_events(database: ReadModel, trial_id: str) -> list[tuple[int, str]]:
    """Return the sequence and name of every event about a trial. Raises Rejected (404) when there is none."""
    rows = await database.fetch("SELECT seq, name FROM trial_events WHERE trial_id = $1 ORDER BY seq", trial_id)
    if not rows:
        raise not_found("trial", trial_id)
    return [(row["seq"], row["name"]) for row in rows]


async def checkpoints(
    database: ReadModel, query: ListQuery, *, trial_id: str = "", experiment_id: str = ""
) -> CheckpointPage:
    """Return a page of the checkpoints of a trial or of an experiment. Raises Rejected (400)."""
    column, value = ("trial_id", trial_id) if trial_id else ("experiment_id", experiment_id)
    fixed: list[lists.Condition] = [(f"k.{column} = {{0}}", value, "text")]
    page = await lists.page(database, lists.OF_CHECKPOINTS, "k", fixed, query)
    rows = await database.fetch("SELECT * FROM checkpoints WHERE id = ANY($1)", page.ids)
    found = {row["id"]: row for row in rows}
    items = [_checkpoint(found[id_]) for id_ in page.ids if id_ in found]
    return CheckpointPage(items=items, next_cursor=page.next_cursor)


async def checkpoint(database: ReadModel, checkpoint_id: str) -> Checkpoint:
    """Return one checkpoint. Raises Rejected (404)."""
    found = await find_checkpoint(database, checkpoint_id)
    if found is None:
        raise not_found("checkpoint", checkpoint_id)
    return found


async def find_checkpoint(database: ReadModel, checkpoint_id: str) -> Checkpoint | None:
    """Return one checkpoint, None if there is none."""
    row = await database.fetchrow("SELECT * FROM checkpoints WHERE id = $1", checkpoint_id)
    return None if row is None else _checkpoint(row)


async def starts_from(database: ReadModel, checkpoint_id: str) -> str | None:
    """Return an experiment that starts its trials from a checkpoint and is not over, or None."""
    sql = "SELECT id FROM experiments WHERE ended_at IS NULL AND config ->> 'resume_from' = $1 LIMIT 1"
    found: str | None = await database.fetchval(sql, checkpoint_id)
    return found


async def starts_from_any(database: ReadModel, experiment_id: str) -> str | None:
    """Return an experiment that starts its trials from a checkpoint of this one and is not over, or None."""
    sql = """
    SELECT e.id FROM checkpoints k JOIN experiments e ON e.config ->> 'resume_from' = k.id
    WHERE k.experiment_id = $1 AND e.ended_at IS NULL LIMIT 1
    """
    found: str | None = await database.fetchval(sql, experiment_id)
    return found


def _checkpoint(row: asyncpg.Record) -> Checkpoint:
    return Checkpoint(
        id=row["id"],
        trial_id=row["trial_id"],
        experiment_id=row["experiment_id"],
        step=row["step"],
        saved_at=row["saved_at"],
        world_size=row["world_size"],
        zero_stage=row["zero_stage"],
        size_bytes=int(row["size_bytes"]),
        files=msgspec.json.decode(row["files"], type=list[File]),
        state=CheckpointState(row["state"]),
        reason=row["reason"],
    )


_SET_ASIDE = """
SELECT stream, seq, subject, stored_at, size_bytes, reason, (SELECT count(*) FROM set_aside) AS total
FROM set_aside ORDER BY stored_at DESC, seq DESC LIMIT $1
"""


async def set_aside(database: ReadModel, limit: int) -> SetAsideList:
    """Return the messages that were set aside last, newest first, and how many there are."""
    rows = await database.fetch(_SET_ASIDE, limit)
    items = [SetAsideItem(**{name: row[name] for name in SetAsideItem.__struct_fields__}) for row in rows]
    return SetAsideList(items=items, total=rows[0]["total"] if rows else 0)


def _raw(json: str) -> msgspec.Raw:
    return msgspec.Raw(json.encode())
