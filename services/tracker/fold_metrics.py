"""Writes a batch of METRICS: the training metrics, through COPY."""

from datetime import datetime

import asyncpg

from services.tracker.rows import text
from services.tracker.set_aside import Aside
from shared import volume
from shared.log import Message

_STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_metrics (
    trial_id text, name text, step bigint, epoch bigint, value double precision, time timestamptz
) ON COMMIT DELETE ROWS
"""
_MERGE = """
INSERT INTO metrics (trial_id, "group", name, step, epoch, value, time)
SELECT trial_id, 'training', name, step, epoch, value, time FROM staged_metrics
ON CONFLICT (trial_id, "group", name, step, epoch) DO UPDATE SET value = EXCLUDED.value, time = EXCLUDED.time
"""
_STEPPED = """
INSERT INTO training_steps (trial_id, step) SELECT trial_id, max(step) FROM staged_metrics GROUP BY trial_id
ON CONFLICT (trial_id) DO UPDATE SET step = GREATEST(training_steps.step, EXCLUDED.step)
"""

Rows = dict[tuple[str, str, int, int], tuple[float, datetime]]


class MetricFold:
    """What becomes of METRICS."""

    async def prepare(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Make the table that a batch is copied into."""
        await connection.execute(_STAGE)

    async def write(self, connection: "asyncpg.Connection[asyncpg.Record]", messages: list[Message]) -> list[Aside]:
        """Write the points of the messages, the last value of a step counts; return what are no points."""
        rows: Rows = {}
        asides: list[Aside] = []
        for message in messages:
            try:
                rows |= points(volume.decode_metrics(message.body))
            except Exception as error:  # noqa: BLE001 # one message must not stop the rest; it is logged and kept
                asides.append(Aside(message, error))
        if rows:
            await connection.copy_records_to_table(
                "staged_metrics", records=[(*key, *row) for key, row in rows.items()]
            )
            await connection.execute(_MERGE)
            await connection.execute(_STEPPED)
        return asides


def points(batch: volume.MetricBatch) -> Rows:
    """Return a batch's rows by their key: (trial, name, step, epoch) -> (value, time)."""
    return {
        (batch.trial_id, text(name), point.step, batch.epoch): (value, point.time)
        for point in batch.points
        for name, value in point.values.items()
    }
