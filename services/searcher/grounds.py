"""What the search's decisions went by, as the events tell it: costs turned back into metrics, places counted from 1."""

import math

from services.searcher.exits import Exit
from services.searcher.rungs import Standing
from services.searcher.search import Search
from shared.events import Failure, Judgement


def judgement(search: Search, standing: Standing) -> Judgement | None:
    """Return the newest judgement of a trial; None where there was none."""
    verdict, tournament = standing.verdict, search.tournament
    if verdict is None or tournament is None:
        return None
    plan = tournament.brackets[standing.bracket].plan
    return Judgement(
        bracket=standing.bracket,
        rung=verdict.rung + 1,
        num_rungs=len(plan.units),
        units=plan.units[verdict.rung],
        place=verdict.place + 1,
        num_entered=verdict.num_entered,
        num_kept=verdict.num_kept,
        metric=_metric(search, verdict.cost),
        threshold=_metric(search, verdict.threshold),
    )


def failure(search: Search, exit_: Exit, restarts: int) -> Failure:
    """Return what ended a trial's processes, after that many restarts."""
    return Failure(
        restarts_left=0 if exit_.is_final else max(0, search.config.max_restarts - restarts),
        agent_id=exit_.agent_id,
        rank=exit_.rank,
        exit_code=exit_.exit_code,
        line=exit_.line,
    )


def _metric(search: Search, cost: float | None) -> float | None:
    """The metric of a cost; none of the worst cost, which stands for a trial without a validation."""
    return None if cost is None or math.isinf(cost) else search.cost(cost)
