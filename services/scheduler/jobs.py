"""A job as a pool's books keep it: its place and rights in the queue, and what it holds."""

from msgspec import Struct
from msgspec.structs import replace

from services.scheduler.pool import Request
from shared.ids import ExperimentId, TrialId


class Terms(Struct, frozen=True, kw_only=True):
    """What the trials of a job share. See Request."""

    position: float
    priority: int
    weight: float
    max_slots: int | None
    workspace: str


class Job:
    """An experiment with trials in the pool."""

    __slots__ = (
        "firm",
        "going",
        "held",
        "is_changed",
        "job_id",
        "num_stopping",
        "running",
        "stopping",
        "terms",
        "waiting",
    )

    def __init__(self, job_id: ExperimentId, terms: Terms) -> None:
        self.job_id, self.terms = job_id, terms
        self.is_changed = True  # since fair share last noted what it claims
        self.running: dict[TrialId, Request] = {}
        self.waiting: dict[int, int] = {}  # how many of its trials wait, by size
        self.held = 0  # slots of all its trials
        self.stopping: dict[TrialId, Request] = {}  # of those with slots, who was asked to stop
        self.num_stopping = 0  # slots of these
        self.going: dict[int, int] = {}  # of the others with slots, how many there are by size
        self.firm = 0  # of the others, slots of those that may not be preempted

    def add(self, request: Request) -> None:
        """Count a trial that holds slots."""
        self.running[request.trial_id] = request
        if request.is_stopping and request.slots:
            self.stopping[request.trial_id] = request
        self._count(request, 1)

    def subtract(self, request: Request) -> None:
        """Count it no more."""
        del self.running[request.trial_id]
        self.stopping.pop(request.trial_id, None)
        self._count(request, -1)

    def _count(self, request: Request, sign: int) -> None:
        self.is_changed = True
        self.held += sign * request.slots
        if request.is_stopping:
            self.num_stopping += sign * request.slots
        elif request.slots:
            self.going[request.slots] = self.going.get(request.slots, 0) + sign
            if not self.going[request.slots]:
                del self.going[request.slots]
            self.firm += 0 if request.preemptible else sign * request.slots

    def admits(self, slots: int) -> bool:
        """Say whether it may hold so many slots more."""
        limit = self.terms.max_slots
        return limit is None or slots == 0 or self.held + slots <= limit

    def retold(self, request: Request) -> Request:
        """Return one of its requests with its terms of now."""
        terms = self.terms
        return replace(
            request,
            position=terms.position,
            priority=terms.priority,
            weight=terms.weight,
            max_slots=terms.max_slots,
            workspace=terms.workspace,
        )

    def request(self, trial_id: TrialId, slots: int, number: int, *, preemptible: bool, is_overdue: bool) -> Request:
        """Return one of its waiting trials as a policy sees it."""
        terms = self.terms
        return Request(
            trial_id=trial_id,
            job_id=self.job_id,
            slots=slots,
            position=terms.position,
            number=number,
            priority=terms.priority,
            weight=terms.weight,
            max_slots=terms.max_slots,
            workspace=terms.workspace,
            preemptible=preemptible,
            is_overdue=is_overdue,
        )


def terms_of(request: Request) -> Terms:
    """Return the terms that a request of a job tells."""
    return Terms(
        position=request.position,
        priority=request.priority,
        weight=request.weight,
        max_slots=request.max_slots,
        workspace=request.workspace,
    )
