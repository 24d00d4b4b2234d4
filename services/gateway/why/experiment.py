"""Where an experiment stands and why: pure, from the read model, the scheduler's answer and its own few events."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from services.gateway.views.experiments import ExperimentDetail, ExperimentState
from services.gateway.views.view import View
from services.gateway.views.why import Explanation, ReasonGroup
from services.gateway.why import words
from services.gateway.why.trial import cause_in_words
from shared.events import (
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentPaused,
    ExperimentStopped,
    ExperimentSubmitted,
)
from shared.log import Recorded
from shared.queue import QueueAnswer

NUM_NAMED = 3

_ENDS = (ExperimentCompleted, ExperimentFailed, ExperimentStopped)


class SearchView(View, frozen=True, kw_only=True):
    """How far the search is; `max_concurrent` None: it is not limited, or the brackets limit it."""

    requested: int
    planned: int | None
    open: int
    max_concurrent: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of an experiment. `queue` None: the scheduler says nothing, and `unexplained` why."""

    experiment: ExperimentDetail
    groups: list[ReasonGroup]  # of those that do not wait for slots
    queue: QueueAnswer | None
    unexplained: str
    events: list[Recorded]

    @property
    def num_open(self) -> int:
        """Its trials that are not over."""
        return self.experiment.trials.waiting + self.experiment.trials.running


def head(standing: Standing) -> str:
    """Answer in a sentence where it stands."""
    shown, counts = standing.experiment, standing.experiment.trials
    if shown.ended_at is not None:
        return _end(standing)
    if shown.state is ExperimentState.CANCELED:
        left = words.counted(standing.num_open, "trial")
        return f"It was canceled{_whose(standing, ExperimentCanceled)}; {left} yet to end"
    if shown.state is ExperimentState.PAUSED:
        left = words.counted(standing.num_open, "open trial")
        return f"It is paused{_whose(standing, ExperimentPaused)}, with {left}"
    if counts.running:
        done = counts.completed + counts.failed + counts.canceled
        running = words.counted(counts.running, "trial")
        return f"It trains: {running} on slots, {counts.waiting} waiting or parked, {done} over"
    if counts.waiting:
        first = standing.queue.items[0].text if standing.queue and standing.queue.items else "waits for slots"
        return f"Nothing of it runs: {words.counted(counts.waiting, 'trial')} waiting or parked; the first {first}"
    return f"Nothing of it runs: {_search_in_words(_search(standing))}"


def explanations(standing: Standing) -> list[Explanation]:
    """Return what holds it back, what its trials do, and who changed what."""
    told = [*_waits(standing), *(_group(group) for group in standing.groups)]
    if standing.experiment.ended_at is None and standing.experiment.state is ExperimentState.ACTIVE:
        search = _search(standing)
        detail = msgspec.Raw(msgspec.json.encode(search))
        question = "What the search waits for"
        told.append(Explanation(topic="search", question=question, text=_search_in_words(search), detail=detail))
    return [*told, *(_change(recorded) for recorded in standing.events if recorded.event is not None)]


def _waits(standing: Standing) -> Iterable[Explanation]:
    queue = standing.queue
    if queue is None:
        return [Explanation(topic="waiting", question="What holds its trials back", text=standing.unexplained)]
    by_kind: dict[str, ReasonGroup] = {}
    for item in queue.items:
        so_far = by_kind.get(item.reason.kind)
        named = so_far.trials if so_far else []
        by_kind[item.reason.kind] = ReasonGroup(
            state="WAITING",
            reason=so_far.reason if so_far else item.text,
            num_trials=1 + (so_far.num_trials if so_far else 0),
            trials=[*named, item.trial_id][:NUM_NAMED],
        )
    return [_group(group, topic="waiting") for group in by_kind.values()]


def _group(group: ReasonGroup, topic: str = "trials") -> Explanation:
    more = group.num_trials - len(group.trials)
    named = ", ".join(group.trials) + (f" and {more} more" if more > 0 else "")
    trials = words.counted(group.num_trials, "trial")
    text = f"{group.reason} ({named})" if group.reason else named
    detail = msgspec.Raw(msgspec.json.encode(group))
    return Explanation(topic=topic, question=f"{trials} {group.state}", text=text, detail=detail)


def _search(standing: Standing) -> SearchView:
    config: dict[str, Any] = msgspec.json.decode(standing.experiment.config)
    searcher = config.get("searcher", {})
    return SearchView(
        requested=standing.experiment.trials.total,
        planned=standing.experiment.searcher.max_trials,
        open=standing.num_open,
        max_concurrent=searcher.get("max_concurrent_trials") or None,
    )


def _search_in_words(search: SearchView) -> str:
    planned = "" if search.planned is None else f" of {search.planned}"
    so_far = f"{search.requested}{planned} trials were requested, {search.open} of them are open"
    if search.planned is not None and search.requested >= search.planned:
        return f"{so_far}; no more will come, and it ends when they are over"
    if search.max_concurrent is not None and search.open >= search.max_concurrent:
        return f"{so_far}, as many as max_concurrent_trials ({search.max_concurrent}) allows: the next when one is over"
    if search.open:
        return f"{so_far}; the next are requested when the search has worked them out or has room for them"
    return f"{so_far}; the search is working out the next"


def _change(recorded: Recorded) -> Explanation:
    event = recorded.event
    question = "Who changed what"
    if isinstance(event, ExperimentSubmitted):
        question = "Where it came from"
    elif isinstance(event, _ENDS):
        question = "Why it is over"
    return Explanation(
        topic="end" if isinstance(event, _ENDS) else "change",
        question=question,
        text=cause_in_words(recorded),
        seq=recorded.seq,
        time=recorded.envelope.time,
    )


def _whose(standing: Standing, event_type: type[ExperimentPaused | ExperimentCanceled]) -> str:
    for recorded in reversed(standing.events):
        if isinstance(recorded.event, event_type):
            return f" by {recorded.envelope.actor}"
    return ""


def _end(standing: Standing) -> str:
    shown, counts = standing.experiment, standing.experiment.trials
    completed = words.counted(counts.completed, "trial")
    ended = f"It is {shown.state}: {completed} completed, {counts.failed} failed, {counts.canceled} canceled"
    if shown.state is ExperimentState.CANCELED:
        return f"{ended}; canceled{_whose(standing, ExperimentCanceled)}"
    if shown.reason:
        return f"{ended}; {shown.reason}"
    best = shown.best
    return f"{ended}; the best is {best.trial_id} with {shown.searcher.metric} {best.metric:.6g}" if best else ended
