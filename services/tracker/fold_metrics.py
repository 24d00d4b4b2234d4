"""Writes a batch of METRICS: the training metrics, by attempt and name."""

import math
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping

import asyncpg

from services.tracker import run_metrics
from services.tracker.attempts import Attempts, Key
from services.tracker.rows import text
from services.tracker.set_aside import Aside
from shared import volume
from shared.log import Message
from shared.series import Points, joined
from shared.volume import RUN, MetricBatch, MetricPoint

_STEPPED = """
INSERT INTO training_steps (trial_id, step) SELECT * FROM unnest($1::text[], $2::bigint[])
ON CONFLICT (trial_id) DO UPDATE SET step = GREATEST(training_steps.step, EXCLUDED.step)
"""


class MetricFold:
    """What becomes of METRICS."""

    def __init__(self) -> None:
        self._attempts = Attempts()

    async def prepare(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Remember nothing: what was written last may not be there, or somebody else has written."""
        self._attempts.forget()

    async def write(self, connection: "asyncpg.Connection[asyncpg.Record]", messages: list[Message]) -> list[Aside]:
        """Write the points of the messages; return what are no points."""
        parts: defaultdict[Key, list[Points]] = defaultdict(list)
        asides: list[Aside] = []
        of_runs: list[MetricBatch] = []
        for message in messages:
            try:
                batch = volume.decode_metrics(message.body)
                for key, points in reports(run_metrics.finite(batch) if batch.group == RUN else batch):
                    parts[key].append(points)
                if batch.group == RUN:
                    of_runs.append(batch)
            except Exception as error:  # noqa: BLE001 # one message must not stop the rest; it is logged and kept
                asides.append(Aside(message, error))
        if parts:
            found = {key: joined(points) for key, points in parts.items()}
            await self._attempts.write(connection, found)
            await connection.execute(_STEPPED, *_newest_steps(found))
        if of_runs:
            await run_metrics.write(connection, of_runs)
        return asides


def reports(batch: MetricBatch) -> list[tuple[Key, Points]]:
    """Return a batch's points by attempt and name. Raises ValueError when a value is not finite."""
    found = [
        (Key(batch.trial_id, text(batch.group), text(name), batch.epoch), points)
        for name, points in _by_name(batch.points)
    ]
    for key, points in found:
        if not all(map(math.isfinite, points.values)):
            raise ValueError(f"{key.name} has values that are not finite")
    return found


def _by_name(points: tuple[MetricPoint, ...]) -> Iterator[tuple[str, Points]]:
    """Points mostly have the same names: then their steps and times are the same arrays."""
    if not points:
        return
    names = points[0].values.keys()
    if all(point.values.keys() == names for point in points):
        steps, times_us = _steps_and_times(points)
        for name in names:
            yield name, Points(steps=steps, times_us=times_us, values=array("d", [p.values[name] for p in points]))
        return
    for name in sorted({name for point in points for name in point.values}):
        having = tuple(point for point in points if name in point.values)
        steps, times_us = _steps_and_times(having)
        yield name, Points(steps=steps, times_us=times_us, values=array("d", [p.values[name] for p in having]))


def _steps_and_times(points: tuple[MetricPoint, ...]) -> "tuple[array[int], array[int]]":
    times_us = array("q", [round(point.time.timestamp() * 1e6) for point in points])
    return array("q", [point.step for point in points]), times_us


def _newest_steps(found: Mapping[Key, Points]) -> tuple[list[str], list[int]]:
    newest: dict[str, int] = {}
    for key, points in found.items():
        if key.group == RUN:
            continue
        newest[key.trial_id] = max(newest.get(key.trial_id, 0), points.steps[-1])
    return list(newest), list(newest.values())
