"""The trials of an experiment as columns: a table of a hundred thousand of them in one small answer a page."""

import msgspec

from services.gateway import cursor
from services.gateway.past import ReadModel
from services.gateway.views.trials import TrialColumns

MAX_ROWS = 20_000

# What is open may have trained on without an event of its own: it is always among the changed ones.
_COLUMNS = """
SELECT t.index, t.state, t.metric, t.best_step, GREATEST(t.step, s.step) AS step, t.slots, t.restarts, t.started_at,
       t.ended_at, t.hyperparameters
FROM trials t LEFT JOIN training_steps s ON s.trial_id = t.id
WHERE t.experiment_id = $1 AND t.index > $2 AND (t.seq > $3 OR t.ended_at IS NULL)
ORDER BY t.index LIMIT $4
"""
_FIELDS = ("index", "state", "metric", "best_step", "step", "slots", "restarts", "started_at", "ended_at")
_NULL = msgspec.Raw(b"null")

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def trials(
    database: ReadModel, experiment_id: str, *, since: int, after: int, limit: int = MAX_ROWS
) -> TrialColumns:
    """Return the trials that are open or changed after event `since`, by index, of those after an index."""
    rows = await database.fetch(_COLUMNS, experiment_id, after, since, limit + 1)
    end = cursor.write(rows[limit - 1]["index"]) if len(rows) > limit else None
    rows = rows[:limit]
    found = {name: [row[name] for row in rows] for name in _FIELDS}
    given = [dict(flat(row["hyperparameters"])) for row in rows]
    names = sorted({name for values in given for name in values})
    hyperparameters = {name: [values.get(name, _NULL) for values in given] for name in names}
    return TrialColumns(**found, hyperparameters=hyperparameters, next_cursor=end)


def flat(tree: str | msgspec.Raw, prefix: str = "") -> list[tuple[str, msgspec.Raw]]:
    """Return nested hyperparameters (JSON) as dotted names with their values; lists are values."""
    pairs: list[tuple[str, msgspec.Raw]] = []
    for name, value in _decoder.decode(tree).items():
        text = bytes(value)
        if text.startswith(b"{"):
            pairs += flat(value, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, msgspec.Raw(text)))
    return pairs
