"""The claims of a pool's jobs, kept from pass to pass: only of jobs that have changed they are made anew."""

from bisect import bisect_left, insort

from services.scheduler.books import Books
from services.scheduler.jobs import Job
from services.scheduler.policies.shares import Claim, in_order
from services.scheduler.pool import Request
from shared.ids import ExperimentId
from shared.queue import Reason

#: By job and size: how many of these trials the workspace's limit lets start, and what it says to the others.
HeldBack = dict[tuple[ExperimentId, int], tuple[int, Reason]]


class Roll:
    """The claims of all jobs of a pool that want or hold something, in order, as of its last pass."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self._by_job: dict[ExperimentId, Claim] = {}
        self._possible: dict[int, bool] | None = None  # what can ever fit

    def bring_up_to_date(self, books: Books) -> None:
        """Make the claims anew that may have changed: of jobs that did, or of all, when what can ever fit did."""
        if self._possible is not books.fleet.possible:
            self._possible = books.fleet.possible
            self.claims.clear()
            self._by_job.clear()
            changed = list(books.jobs.values())
        else:
            changed = [job for job in books.jobs.values() if job.is_changed]
            for job_id in self._by_job.keys() - books.jobs.keys():
                self._strike(job_id)
        for job in changed:
            self._strike(job.job_id)
            job.is_changed = False
            if claim := _claim(books, job, {}, None):
                self._by_job[job.job_id] = claim
                insort(self.claims, claim, key=in_order)

    def _strike(self, job_id: ExperimentId) -> None:
        if claim := self._by_job.pop(job_id, None):
            del self.claims[bisect_left(self.claims, claim.order, key=in_order)]


def of_all(books: Books, held_back: HeldBack, overdue: Request | None, *, is_plain: bool) -> list[Claim]:
    """Return the claims of a pool's jobs, in order. A plain pass takes none from the one before."""
    if is_plain:
        made = (_claim(books, job, held_back, overdue) for job in books.jobs.values())
        return sorted((claim for claim in made if claim), key=in_order)
    if not isinstance(books.memo, Roll):
        books.memo = Roll()
    books.memo.bring_up_to_date(books)
    special = {job_id for job_id, _ in held_back} | ({overdue.job_id} if overdue else set())
    if not special:
        return books.memo.claims
    made = (_claim(books, books.jobs[job_id], held_back, overdue) for job_id in special)
    others = (claim for claim in books.memo.claims if claim.job.job_id not in special)
    return sorted([*others, *(claim for claim in made if claim)], key=in_order)


def _claim(books: Books, job: Job, held_back: HeldBack, overdue: Request | None) -> Claim | None:
    """Return what a job wants; None if that is nothing. The trial that is overdue is offered its slots beforehand."""
    fits = books.fleet.can_ever_fit
    waiting = {
        size: min(count, held_back.get((job.job_id, size), (count,))[0])
        for size, count in job.waiting.items()
        if size and fits(size)
    }
    if not waiting and not job.held:
        return None
    firm = job.firm if books.policy.preemption else job.held - job.num_stopping
    beforehand = overdue.slots if overdue is not None and overdue.job_id == job.job_id else 0
    queue, job_id = books.queue, job.job_id
    return Claim(job, waiting, firm + beforehand, lambda passed: queue.walk_job(job_id, passed=passed, asked=()))
