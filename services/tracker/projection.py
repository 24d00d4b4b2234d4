"""Experiments' events to rows: for every type of event one pure function, with its SQL beside it. Trials': trials.py.

A statement names the rows it depends on (`keys`), so that a batch can be reordered into few round trips. Every
statement may be run again with the same values and changes nothing then.
Whatever changes a row says in its `seq` by which event, and the database keeps the old version (0004_history.sql).
"""

from functools import singledispatch

from services.tracker import administration, filing, occupancy, rows
from services.tracker.statement import At, Statement
from shared.events import (
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
    SearchLimitsSet,
)


@singledispatch
def statements(event: Event, at: At) -> list[Statement]:
    """Return the writes that an event means; none for an event that no table shows."""
    return administration.statements(event, at)


_EXPERIMENT_SUBMITTED = """
INSERT INTO experiments (id, name, description, labels, state, config, searcher, metric, smaller_is_better, max_trials,
                         max_steps, slots_per_trial, pool_id, code_sha256, code_bytes, submitted_at, submitted_seq, seq,
                         workspace, priority, weight, max_slots, project, owner, forked_from, max_concurrent_trials)
VALUES ($1, $2, $3, $4, 'ACTIVE', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16, $17, $18, $19, $20, $21,
        $22, $23, $24)
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
        config.searcher.max_concurrent_trials,
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


_SEARCH_LIMITS_SET = """
UPDATE experiments SET max_trials = COALESCE($2, max_trials),
                       max_concurrent_trials = COALESCE($3, max_concurrent_trials), seq = $4
WHERE id = $1
"""


@statements.register
def _search_limits_set(event: SearchLimitsSet, at: At) -> list[Statement]:
    args = (event.experiment_id, event.max_trials, event.max_concurrent_trials, at.seq)
    return [Statement(_SEARCH_LIMITS_SET, args, (event.experiment_id,))]


# What the events of trials mean for tables that are not folded in memory.
@statements.register
def _gpu_allocated(event: GPUAllocated, at: At) -> list[Statement]:
    return [occupancy.held(event, at)]


@statements.register
def _gpu_released(event: GPUReleased, at: At) -> list[Statement]:
    return [occupancy.freed(event, at)]
