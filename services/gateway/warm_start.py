"""What an experiment is to learn from others: read at its submission and recorded with it, so that nothing but the
experiment's own event is needed to make its decisions again."""

import msgspec

from services.gateway.access import permit
from services.gateway.api import Parts
from shared.errors import Problem, Rejected
from shared.events import Role

MAX_READ = 20_000  # trials of one experiment

_TRIALS = """
SELECT t.hyperparameters, t.metric FROM trials t
WHERE t.experiment_id = $1 AND t.metric IS NOT NULL AND t.state = 'COMPLETED' ORDER BY t.index LIMIT $2
"""
_GOAL = "SELECT metric, smaller_is_better FROM experiments WHERE id = $1"


async def with_observations(parts: Parts, config: dict[str, object]) -> dict[str, object]:
    """Return a config whose warm start, if it has one, holds what the experiments that it names have shown.

    Raises Rejected when one of them is not known to who asks, or has another metric.
    """
    searcher = config["searcher"]
    assert isinstance(searcher, dict)
    warm_start = searcher.get("warm_start")
    if not warm_start:
        return config
    observations = list(warm_start["observations"])
    known = {_written(one) for one in observations}  # a config that was recorded before holds some
    for number, experiment_id in enumerate(warm_start["experiments"]):
        await _check(parts, experiment_id, searcher, f"searcher.warm_start.experiments[{number}]")
        for row in await parts.database.fetch(_TRIALS, experiment_id, MAX_READ):
            hyperparameters = msgspec.json.decode(row["hyperparameters"])
            observation = {"hyperparameters": hyperparameters, "metric": row["metric"]}
            if _written(observation) not in known:
                observations.append(observation)
    told = most_telling(observations, warm_start["max_observations"], smaller_is_better=searcher["smaller_is_better"])
    return config | {"searcher": searcher | {"warm_start": warm_start | {"observations": told}}}


def _written(observation: dict[str, object]) -> bytes:
    return msgspec.json.encode(observation, order="deterministic")


async def _check(parts: Parts, experiment_id: str, searcher: dict[str, object], path: str) -> None:
    row = await parts.database.fetchrow(_GOAL, experiment_id)
    if row is None or not await permit.may(parts, Role.VIEWER, "experiments", experiment_id):
        problem = Problem(path, f"there is no experiment {experiment_id}")
    elif (row["metric"], row["smaller_is_better"]) != (searcher["metric"], searcher["smaller_is_better"]):
        goal = "smaller" if row["smaller_is_better"] else "larger"
        problem = Problem(path, f"its metric is {row['metric']}, of which {goal} is better: not the same thing")
    else:
        return
    raise Rejected("the experiment file has a mistake", (problem,))


def most_telling(
    observations: list[dict[str, object]], at_most: int, *, smaller_is_better: bool
) -> list[dict[str, object]]:
    """Return at most so many: half of them the best, the others spread evenly over the rest."""
    if len(observations) <= at_most:
        return observations
    by_cost = sorted(observations, key=lambda one: float(str(one["metric"])), reverse=not smaller_is_better)
    num_best = (at_most + 1) // 2
    rest, num_rest = by_cost[num_best:], at_most - num_best
    return by_cost[:num_best] + [rest[number * len(rest) // num_rest] for number in range(num_rest)]
