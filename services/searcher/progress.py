"""When a search ends before all its trials are requested: its goal was reached, or its patience ran out."""

from dataclasses import dataclass

from shared.config.searcher import SearchCommon


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The search is over, and why; `seq` is the event that made it so. What still runs is to stop."""

    reason: str
    seq: int


@dataclass(slots=True, kw_only=True)
class Progress:
    """How long ago something got better. Costs are metrics turned so that less is better."""

    best_cost: float | None = None  # which the next must beat by more than min_delta
    best_index: int = 0  # the trial that came to it
    num_since: int = 0  # trials that counted since then

    def validated(self, searcher: SearchCommon, index: int, metric: float) -> str | None:
        """Take note of a validation; return why the search is over, if it is."""
        sign = 1 if searcher.smaller_is_better else -1
        cost, min_delta = sign * metric, searcher.patience.min_delta if searcher.patience else 0.0
        if self.best_cost is None or cost < self.best_cost - min_delta:
            self.best_cost, self.best_index, self.num_since = cost, index, 0
        if searcher.goal is not None and cost <= sign * searcher.goal:
            return f"trial {index} reached the goal: {searcher.metric} {metric:g}, of {searcher.goal:g} asked for"
        return None

    def counted(self, searcher: SearchCommon, index: int) -> str | None:
        """Take note of a trial that counts: it was closed, or parked at its first rung. Return why the search is over,
        if it is."""
        self.num_since += index != self.best_index
        patience = searcher.patience
        if patience is None or self.num_since < patience.trials:
            return None
        by = f" by more than {patience.min_delta:g}" if patience.min_delta else ""
        return f"no progress: {self.num_since} trials were tried and {searcher.metric} got no better{by}"
