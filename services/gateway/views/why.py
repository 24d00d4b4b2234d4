"""Why things are as they are."""

from datetime import datetime

from services.gateway.views.events import EventItem
from services.gateway.views.view import Object, View


class Explanation(View, frozen=True, kw_only=True):
    """Why one thing is so: a question, its answer in a sentence, and what was gone by as structure. `seq` is the event
    that tells the decision; without it the answer is about now."""

    topic: str
    question: str
    text: str
    seq: int | None = None
    time: datetime | None = None
    detail: Object | None = None


class Why(View, frozen=True, kw_only=True):
    """Why a trial, an experiment or an agent is as it is now (`head`), the decisions that led there with what each
    went by, and the events, by sequence."""

    kind: str
    id: str
    state: str
    head: str
    explanations: list[Explanation]
    chain: list[EventItem]
    trial_id: str | None = None  # of a trial's


class ReasonGroup(View, frozen=True, kw_only=True):
    """Trials of one state with the same reason."""

    state: str
    reason: str
    num_trials: int
    trials: list[str]
