"""The rows that a batch of events is about: trials, allocations, checkpoints; and what they go by of experiments."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from services.tracker.beginnings import begun
from services.tracker.bulk import MAX_REMEMBERED, Connection, Row, Shape, Table
from services.tracker.statement import At
from shared.events import Event

TRIALS = Shape(
    name="trials",
    born="requested_seq",
    changing=(
        "state", "restarts", "epoch", "allocation_id", "outcome", "waiting_since", "started_at", "ended_at", "step",
        "metric", "best_step", "best_epoch", "reason", "error",
    ),
)  # fmt: skip
ALLOCATIONS = Shape(name="allocations", born="allocated_seq", changing=("released_at",))
CHECKPOINTS = Shape(name="checkpoints", born="saved_seq", changing=("state", "reason"))
SHAPES = (TRIALS, ALLOCATIONS, CHECKPOINTS)

_SEARCHES = """
SELECT id, metric, smaller_is_better,
       config->'searcher' ? 'divisor' AND jsonb_typeof(config->'searcher'->'max_length') = 'object' AS has_rungs
FROM experiments WHERE id = ANY ($1)
"""
_METRICS = """
INSERT INTO metrics (trial_id, "group", name, step, epoch, value, time)
SELECT trial_id, 'validation', name, step, epoch, value, time
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[], $6::timestamptz[])
     AS m (trial_id, name, step, epoch, value, time)
ON CONFLICT (trial_id, "group", name, step, epoch) DO UPDATE SET value = EXCLUDED.value, time = EXCLUDED.time
"""

Told: TypeAlias = tuple[Event, At]


class Search(NamedTuple):
    """What of an experiment its trials' rows depend on; nothing of it ever changes."""

    metric: str
    smaller_is_better: bool
    has_rungs: bool  # it trains a trial to one rung after the other

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether a validation is the best one yet: the first of equally good ones is."""
        return best is None or (value < best if self.smaller_is_better else value > best)


class Metric(NamedTuple):
    """What names a validation metric's value; a resumed trial repeats steps."""

    trial_id: str
    name: str
    step: int
    epoch: int


class Model:
    """The rows, once they are fetched, and what is reported."""

    def __init__(self) -> None:
        self.trials = Table(TRIALS)
        self.allocations = Table(ALLOCATIONS)
        self.checkpoints = Table(CHECKPOINTS)
        self.searches: dict[str, Search] = {}
        self.metrics: dict[Metric, tuple[float, datetime]] = {}

    @property
    def tables(self) -> dict[str, Table]:
        """The tables by name."""
        return {"trials": self.trials, "allocations": self.allocations, "checkpoints": self.checkpoints}

    def open_trial(self, trial_id: str, at: At) -> Row | None:
        """Return a trial that is not over."""
        trial = self.trials.get(trial_id, at)
        return None if trial is None or trial["ended_at"] is not None else trial

    def attempt(self, trial_id: str, epoch: int, at: At) -> Row | None:
        """Return a trial whose newest allocation is this one."""
        trial = self.trials.get(trial_id, at)
        return None if trial is None or trial["epoch"] != epoch else trial

    def forget(self, keys: Iterable[str]) -> None:
        """Ask the database again for what somebody else's statements were about."""
        for key in keys:
            self.searches.pop(key, None)
            for table in self.tables.values():
                table.forget(key)

    async def fetch(self, connection: Connection, run: Sequence[Told]) -> None:
        """Begin the rows that begin with one of the events, and know all that the events are about."""
        beginning: defaultdict[str, list[Row]] = defaultdict(list)
        for event, at in run:
            if found := begun(event, at):
                beginning[found[0]].append(found[1])
        for name, table in self.tables.items():
            field = name.removesuffix("s") + "_id"
            wanted = {key for event, _ in run if (key := getattr(event, field, None))}
            await table.fetch(connection, beginning[name], wanted)
        await self._fetch_searches(connection, run)

    async def _fetch_searches(self, connection: Connection, run: Sequence[Told]) -> None:
        if len(self.searches) > MAX_REMEMBERED:
            self.searches.clear()
        trials = (self.trials.get(event.trial_id, at) for event, at in run if hasattr(event, "trial_id"))
        if missing := {trial["experiment_id"] for trial in trials if trial} - self.searches.keys():
            for row in await connection.fetch(_SEARCHES, list(missing)):
                self.searches[row["id"]] = Search(*row[1:])

    async def write(self, connection: Connection) -> None:
        """Write what has come of the events."""
        for table in self.tables.values():
            await table.write(connection)
        if self.metrics:
            rows = [(*metric, *value) for metric, value in self.metrics.items()]
            await connection.execute(_METRICS, *map(list, zip(*rows, strict=True)))
            self.metrics.clear()
