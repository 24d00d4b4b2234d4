"""The queue, as the scheduler explains it; where it does not answer, who waits according to the read model."""

from collections.abc import AsyncIterator

from services.gateway import cluster
from services.gateway.access.access import principal
from services.gateway.api import Parts
from services.gateway.past import Database
from services.gateway.views.queue import QueueItem, QueueView
from shared import subjects
from shared.errors import Unavailable
from shared.events import Role
from shared.questions import ask
from shared.queue import QueueAnswer, QueueQuestion, WaitingTrial

TIMEOUT_S = 3.0
UNEXPLAINED = "the scheduler does not answer"
PAST = "the scheduler explains only the present"

_NAMES = """
SELECT id, CASE WHEN $2::text[] IS NULL OR workspace = ANY($2) THEN name ELSE '' END AS name
FROM experiments WHERE id = ANY($1)
"""


async def explained(parts: Parts, question: QueueQuestion) -> AsyncIterator[QueueAnswer]:
    """Yield answers until as many trials are told as the question wants. Raises Unavailable."""
    after, after_trial, left = question.after, question.after_trial, question.limit
    while True:
        page = QueueQuestion(
            min_position=question.min_position,
            pool_id=question.pool_id,
            experiment_id=question.experiment_id,
            trial_id=question.trial_id,
            after=after,
            after_trial=after_trial,
            limit=left,
        )
        answer = await ask(parts.client, subjects.QUEUE_QUESTION, page, QueueAnswer, TIMEOUT_S)
        yield answer
        left -= len(answer.items)
        if answer.next_after is None or left <= 0:
            return
        after = answer.next_after
        after_trial = answer.items[-1].trial_id if answer.items else after_trial


async def queue(parts: Parts, question: QueueQuestion) -> QueueView:
    """Return a page of the queue in the order of service, and why each trial waits."""
    try:
        answers = [answer async for answer in explained(parts, question)]
    except Unavailable:
        return await cluster.waiting(parts.database, question, UNEXPLAINED)
    items = [item for answer in answers for item in answer.items]
    named = await names(parts.database, {item.experiment_id for item in items}, principal.get().workspaces(Role.VIEWER))
    last = answers[-1]
    return QueueView(
        items=[_item(item, named.get(item.experiment_id, item.experiment_id)) for item in items],
        next_cursor=None if last.next_after is None else cluster.place_in_queue(last.next_after, items),
        num_waiting=last.num_waiting,
        position=last.position,
        pools=list(last.pools),
    )


async def of_trial(parts: Parts, trial_id: str, min_seq: int) -> WaitingTrial | None:
    """Return why a trial waits, None if it does not. Raises Unavailable."""
    question = QueueQuestion(min_position=min_seq, trial_id=trial_id, limit=1)
    async for answer in explained(parts, question):
        return next(iter(answer.items), None)
    return None


async def names(
    database: Database, experiment_ids: set[str], workspaces: frozenset[str] | None = None
) -> dict[str, str]:
    """Return the names of experiments; of those in other workspaces than these (None: in none) they are empty."""
    rows = await database.fetch(_NAMES, list(experiment_ids), workspaces) if experiment_ids else []
    return {row["id"]: row["name"] for row in rows}


def _item(item: WaitingTrial, name: str) -> QueueItem:
    return QueueItem(
        position=item.position,
        trial_id=item.trial_id,
        experiment_id=item.experiment_id,
        experiment_name=name,
        slots=item.slots,
        pool=item.pool_id,
        priority=item.priority,
        waiting_since=item.waiting_since,
        reason=item.text,
        detail=item.reason,
        ahead=item.ahead,
        needs=item.needs,
        victims=list(item.victims),
        expected_start=item.expected_start,
        expected_why=item.expected_why,
    )
