"""Events to rows: for every type of event one pure function, with its SQL beside it.

A statement names the rows it depends on (`keys`), so that a batch can be reordered into few round trips. Every
statement may be run again with the same values and changes nothing then. An event of a void epoch matches no row.
Whatever changes a row says in its `seq` by which event, and the database keeps the old version (0004_history.sql).
"""

from functools import singledispatch

import msgspec

from services.tracker import administration, filing, occupancy, rows
from services.tracker.statement import At, Statement
from shared.events import (
    CheckpointDeleted,
    CheckpointDeletionRequested,
    CheckpointRefused,
    CheckpointSaved,
    Event,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentStopped,
    ExperimentSubmitted,
    GPUAllocated,
    GPUReleased,
    MetricReported,
    PreemptionRequested,
    SearchLimitsSet,
    TrialCanceled,
    TrialClosed,
    TrialExited,
    TrialExtended,
    TrialPreempted,
    TrialRequested,
    TrialRetried,
    TrialStarted,
    TrialStopped,
)
from shared.events.checkpoint import CheckpointEvent


@singledispatch
def statements(event: Event, at: At) -> list[Statement]:
    """Return the writes that an event means; none for an event that no table shows."""
    return administration.statements(event, at)


_EXPERIMENT_SUBMITTED = """
INSERT INTO experiments (id, name, description, labels, state, config, searcher, metric, smaller_is_better, max_trials,
                         max_steps, slots_per_trial, pool_id, code_sha256, code_bytes, submitted_at, submitted_seq, seq,
                         workspace, priority, weight, max_slots, project, owner, forked_from)
VALUES ($1, $2, $3, $4, 'ACTIVE', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16, $17, $18, $19, $20, $21,
        $22, $23)
ON CONFLICT (id) DO NOTHING
"""


@statements.register
def _experiment_submitted(event: ExperimentSubmitted, at: At) -> list[Statement]:
    config = rows.read_config(event.config)
    args = (
        event.experiment_id,
        rows.text(event.name),
        rows.text(config.description),
        [rows.text(label) for label in config.labels],
        rows.json(event.config),
        config.searcher.name,
        rows.text(config.searcher.metric),
        config.searcher.smaller_is_better,
        rows.num_trials(event.config),
        config.max_steps,
        config.resources.slots_per_trial,
        config.resources.resource_pool,
        event.code_sha256,
        event.code_bytes,
        at.time,
        at.seq,
        rows.text(config.workspace),
        config.resources.priority,
        config.resources.weight,
        config.resources.max_slots,
        rows.text(config.project),
        at.actor,
        event.forked_from,
    )
    places = filing.named(config.workspace, config.project, at)
    return [*places, Statement(_EXPERIMENT_SUBMITTED, args, (event.experiment_id,))]


_EXPERIMENT_MOVED = "UPDATE experiments SET state = $2, seq = $4 WHERE id = $1 AND state = $3"


def _experiment_moved(experiment_id: str, state: str, was: str, at: At) -> Statement:
    return Statement(_EXPERIMENT_MOVED, (experiment_id, state, was, at.seq), (experiment_id,))


@statements.register
def _experiment_paused(event: ExperimentPaused, at: At) -> list[Statement]:
    return [_experiment_moved(event.experiment_id, "PAUSED", "ACTIVE", at)]


@statements.register
def _experiment_resumed(event: ExperimentResumed, at: At) -> list[Statement]:
    return [_experiment_moved(event.experiment_id, "ACTIVE", "PAUSED", at)]


_EXPERIMENT_CANCELED = """
UPDATE experiments SET state = 'CANCELED', reason = 'canceled by a user', seq = $2
WHERE id = $1 AND state IN ('ACTIVE', 'PAUSED')
"""


@statements.register
def _experiment_canceled(event: ExperimentCanceled, at: At) -> list[Statement]:
    return [Statement(_EXPERIMENT_CANCELED, (event.experiment_id, at.seq), (event.experiment_id,))]


# A search may complete while a user cancels it: what came first counts.
_EXPERIMENT_ENDED = """
UPDATE experiments SET ended_at = $5, best_trial_id = $4, seq = $6,
                       state = CASE WHEN state = 'CANCELED' THEN state ELSE $2 END,
                       reason = CASE WHEN state = 'CANCELED' THEN reason ELSE $3 END
WHERE id = $1 AND ended_at IS NULL
"""


def _experiment_ended(experiment_id: str, state: str, reason: str | None, best: str | None, at: At) -> Statement:
    args = (experiment_id, state, rows.text(reason), best, at.time, at.seq)
    return Statement(_EXPERIMENT_ENDED, args, (experiment_id,))


@statements.register
def _experiment_completed(event: ExperimentCompleted, at: At) -> list[Statement]:
    return [_experiment_ended(event.experiment_id, "COMPLETED", event.reason or None, event.best_trial_id, at)]


@statements.register
def _experiment_failed(event: ExperimentFailed, at: At) -> list[Statement]:
    return [_experiment_ended(event.experiment_id, "FAILED", event.reason, None, at)]


@statements.register
def _experiment_stopped(event: ExperimentStopped, at: At) -> list[Statement]:
    return [_experiment_ended(event.experiment_id, "CANCELED", None, None, at)]


_SEARCH_LIMITS_SET = "UPDATE experiments SET max_trials = COALESCE($2, max_trials), seq = $3 WHERE id = $1"


@statements.register
def _search_limits_set(event: SearchLimitsSet, at: At) -> list[Statement]:
    return [Statement(_SEARCH_LIMITS_SET, (event.experiment_id, event.max_trials, at.seq), (event.experiment_id,))]


_TRIAL_REQUESTED = """
INSERT INTO trials (id, experiment_id, index, state, hyperparameters, seed, slots, pool_id, origin, requested_at,
                    requested_seq, waiting_since, seq)
VALUES ($1, $2, $3, 'WAITING', $4, $5, $6, $7, $8, $9, $10, $9, $10) ON CONFLICT (id) DO NOTHING
"""


@statements.register
def _trial_requested(event: TrialRequested, at: At) -> list[Statement]:
    args = (
        event.trial_id,
        event.experiment_id,
        event.index,
        rows.json(event.hyperparameters),
        event.seed,
        event.slots,
        event.pool_id,
        rows.text(event.origin),
        at.time,
        at.seq,
    )
    return [Statement(_TRIAL_REQUESTED, args, (event.trial_id, event.experiment_id))]


# The retry may stand before or after the release of the slots of the attempt that failed.
_TRIAL_RETRIED = """
UPDATE trials SET restarts = $2, reason = $3, outcome = NULL, waiting_since = $4, seq = $5,
                  state = CASE WHEN allocation_id IS NULL THEN 'WAITING' ELSE state END
WHERE id = $1 AND ended_at IS NULL
"""


@statements.register
def _trial_retried(event: TrialRetried, at: At) -> list[Statement]:
    args = (event.trial_id, event.restarts, rows.text(event.reason), at.time, at.seq)
    return [Statement(_TRIAL_RETRIED, args, (event.trial_id,))]


_TRIAL_EXTENDED = """
UPDATE trials SET reason = $2, outcome = NULL, waiting_since = $3, seq = $4,
                  state = CASE WHEN allocation_id IS NULL THEN 'WAITING' ELSE state END
WHERE id = $1 AND ended_at IS NULL
"""


@statements.register
def _trial_extended(event: TrialExtended, at: At) -> list[Statement]:
    args = (event.trial_id, rows.text(event.reason), at.time, at.seq)
    return [Statement(_TRIAL_EXTENDED, args, (event.trial_id,))]


_TRIAL_STOPPED = "UPDATE trials SET reason = $2, seq = $3 WHERE id = $1 AND ended_at IS NULL"


@statements.register
def _trial_canceled(event: TrialCanceled, at: At) -> list[Statement]:
    return [Statement(_TRIAL_STOPPED, (event.trial_id, "canceled by a user", at.seq), (event.trial_id,))]


@statements.register
def _trial_stopped(event: TrialStopped, at: At) -> list[Statement]:
    return [Statement(_TRIAL_STOPPED, (event.trial_id, rows.text(event.reason), at.seq), (event.trial_id,))]


_TRIAL_CLOSED = "UPDATE trials SET state = $2, reason = $3, ended_at = $4, seq = $5 WHERE id = $1 AND ended_at IS NULL"


@statements.register
def _trial_closed(event: TrialClosed, at: At) -> list[Statement]:
    args = (event.trial_id, event.end.value, rows.text(event.reason), at.time, at.seq)
    return [Statement(_TRIAL_CLOSED, args, (event.trial_id,))]


_ALLOCATED = """
INSERT INTO allocations (id, trial_id, experiment_id, pool_id, epoch, members, allocated_at, allocated_seq, seq)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (id) DO NOTHING
"""
_TRIAL_ALLOCATED = """
UPDATE trials SET state = 'RUNNING', epoch = $2, allocation_id = $3, outcome = NULL, seq = $4
WHERE id = $1 AND epoch < $2 AND ended_at IS NULL
"""


@statements.register
def _gpu_allocated(event: GPUAllocated, at: At) -> list[Statement]:
    keys = (event.trial_id,)
    members = rows.json(msgspec.to_builtins(event.members))
    whose = (event.allocation_id, event.trial_id, event.experiment_id, event.pool_id)
    allocated = (*whose, event.epoch, members, at.time, at.seq)
    return [
        Statement(_ALLOCATED, allocated, keys),
        Statement(_TRIAL_ALLOCATED, (event.trial_id, event.epoch, event.allocation_id, at.seq), keys),
        occupancy.held(event, at),
    ]


_TRIAL_STOPPING = (
    "UPDATE trials SET state = 'STOPPING', seq = $3 WHERE id = $1 AND allocation_id = $2 AND ended_at IS NULL"
)


@statements.register
def _preemption_requested(event: PreemptionRequested, at: At) -> list[Statement]:
    return [Statement(_TRIAL_STOPPING, (event.trial_id, event.allocation_id, at.seq), (event.trial_id,))]


_RELEASED = "UPDATE allocations SET released_at = $2, seq = $3 WHERE id = $1 AND released_at IS NULL"
# A trial that exited by itself is about to be retried or closed, unless the search trains it to one rung after the
# other: then it waits for its rung. Any other one waits for slots again.
_TRIAL_RELEASED = """
UPDATE trials t SET allocation_id = NULL, waiting_since = $3, seq = $4, state = s.state,
                    reason = CASE WHEN s.state = 'PARKED' THEN 'trained to its target; waits for its rung'
                                  ELSE t.reason END
FROM trials b JOIN experiments e ON e.id = b.experiment_id CROSS JOIN LATERAL (
    SELECT CASE WHEN b.ended_at IS NOT NULL THEN b.state
                WHEN b.outcome = 'completed' AND e.config->'searcher' ? 'divisor'
                     AND jsonb_typeof(e.config->'searcher'->'max_length') = 'object' THEN 'PARKED'
                WHEN b.outcome IN ('completed', 'failed') THEN 'STOPPING' ELSE 'WAITING' END AS state
) s
WHERE t.id = $1 AND b.id = t.id AND t.allocation_id = $2
"""


@statements.register
def _gpu_released(event: GPUReleased, at: At) -> list[Statement]:
    keys = (event.trial_id,)
    return [
        Statement(_RELEASED, (event.allocation_id, at.time, at.seq), keys),
        Statement(_TRIAL_RELEASED, (event.trial_id, event.allocation_id, at.time, at.seq), keys),
        occupancy.freed(event, at),
    ]


_TRIAL_STARTED = "UPDATE trials SET started_at = COALESCE(started_at, $3), seq = $4 WHERE id = $1 AND epoch = $2"


@statements.register
def _trial_started(event: TrialStarted, at: At) -> list[Statement]:
    return [Statement(_TRIAL_STARTED, (event.trial_id, event.epoch, at.time, at.seq), (event.trial_id,))]


# The first of equally good validations is the best one.
_METRIC_REPORTED = """
WITH reported AS (
    SELECT t.id, v.value,
           v.value IS NOT NULL AND (t.metric IS NULL OR CASE WHEN e.smaller_is_better THEN v.value < t.metric
                                                             ELSE v.value > t.metric END) AS is_best
    FROM trials t JOIN experiments e ON e.id = t.experiment_id
    CROSS JOIN LATERAL (SELECT ($6::float8[])[array_position($5::text[], e.metric)] AS value) v
    WHERE t.id = $1 AND t.epoch = $2
), best AS (
    UPDATE trials t
    SET step = GREATEST(t.step, $3), seq = $7,
        metric = CASE WHEN r.is_best THEN r.value ELSE t.metric END,
        best_step = CASE WHEN r.is_best THEN $3 ELSE t.best_step END
    FROM reported r WHERE t.id = r.id
)
INSERT INTO metrics (trial_id, "group", name, step, epoch, value, time)
SELECT r.id, 'validation', m.name, $3, $2, m.value, $4
FROM reported r, unnest($5::text[], $6::float8[]) AS m (name, value)
ON CONFLICT (trial_id, "group", name, step, epoch) DO UPDATE SET value = EXCLUDED.value, time = EXCLUDED.time
"""


@statements.register
def _metric_reported(event: MetricReported, at: At) -> list[Statement]:
    metrics = {rows.text(name): value for name, value in event.metrics.items()}
    args = (event.trial_id, event.epoch, event.step, at.time, [*metrics], [*metrics.values()], at.seq)
    return [Statement(_METRIC_REPORTED, args, (event.trial_id,))]


_CHECKPOINT_SAVED = """
INSERT INTO checkpoints (id, trial_id, experiment_id, step, saved_at, world_size, zero_stage, size_bytes, files,
                         saved_seq, seq)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10) ON CONFLICT (id) DO NOTHING
"""


@statements.register
def _checkpoint_saved(event: CheckpointSaved, at: At) -> list[Statement]:
    """A checkpoint of a void epoch is whole all the same, and a trial may resume from it: it is listed."""
    args = (
        event.checkpoint_id,
        event.trial_id,
        event.experiment_id,
        event.step,
        at.time,
        event.world_size,
        event.zero_stage,
        sum(file.size_bytes for file in event.files),
        rows.json(msgspec.to_builtins(event.files)),
        at.seq,
    )
    stepped = _trial_stepped(event.trial_id, event.epoch, event.step, at)
    return [Statement(_CHECKPOINT_SAVED, args, (event.trial_id,)), stepped]


_CHECKPOINT_MOVED = """
UPDATE checkpoints SET state = $2, reason = COALESCE($3, reason), seq = $4
WHERE id = $1 AND state <> 'DELETED' AND ($2::text <> 'DAMAGED' OR state = 'ACTIVE')
"""


def _checkpoint_moved(event: CheckpointEvent | CheckpointRefused, state: str, reason: str | None, at: At) -> Statement:
    args = (event.checkpoint_id, state, rows.text(reason), at.seq)
    return Statement(_CHECKPOINT_MOVED, args, (event.trial_id,))


@statements.register
def _checkpoint_refused(event: CheckpointRefused, at: At) -> list[Statement]:
    return [_checkpoint_moved(event, "DAMAGED", event.reason, at)]


@statements.register
def _checkpoint_deletion_requested(event: CheckpointDeletionRequested, at: At) -> list[Statement]:
    return [_checkpoint_moved(event, "DELETING", event.reason, at)]


@statements.register
def _checkpoint_deleted(event: CheckpointDeleted, at: At) -> list[Statement]:
    return [_checkpoint_moved(event, "DELETED", None, at)]


_TRIAL_EXITED = "UPDATE trials SET outcome = $3, error = $4, seq = $5 WHERE id = $1 AND epoch = $2"


@statements.register
def _trial_exited(event: TrialExited, at: At) -> list[Statement]:
    args = (event.trial_id, event.epoch, event.outcome.value, rows.text(event.error), at.seq)
    return [Statement(_TRIAL_EXITED, args, (event.trial_id,))]


_TRIAL_STEPPED = "UPDATE trials SET step = GREATEST(step, $3::bigint), seq = $4 WHERE id = $1 AND epoch = $2"


def _trial_stepped(trial_id: str, epoch: int, step: int | None, at: At) -> Statement:
    return Statement(_TRIAL_STEPPED, (trial_id, epoch, step, at.seq), (trial_id,))


@statements.register
def _trial_preempted(event: TrialPreempted, at: At) -> list[Statement]:
    return [_trial_stepped(event.trial_id, event.epoch, event.step, at)]
