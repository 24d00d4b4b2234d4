"""Fair share: a pool's slots divided among jobs by weight, max-min fair; after Determined's, its quirks mended.

1. A job's demand is what its trials ask for, at most its max_slots. Gangs that the agents which take new work could
   never hold do not count. Running trials that cannot be preempted are offered their slots beforehand. Those that were
   asked to stop count as if they waited again already, lest the shares swing to and fro.
2. Progressive filling: in rounds, jobs in order of (demand, position), each job that wants more is offered
   min(max(1, floor(S * w / W)), what is left, what it still wants); S is what was left when the round began, w its
   weight, W the weights of all jobs that want more.
3. A gang counts whole: of the jobs whose offer is too small for any of their trials, the latest gives all of it back
   and asks for no more, and the filling goes on; so two gangs never block each other with half an offer each. In the
   end each offer is cut to what whole gangs can use, and what is over goes, gang by gang, to the job that has least for
   its weight (Determined leaves it idle).
4. A job that runs more than its offer stops its newest preemptible trials, and no more than needed; one that runs less
   starts its trials in order, as far as they fit the offer and the agents. What a preemption frees is given out by
   a later pass.
5. Trials that the limit of their workspace holds back are no demand: the shares are filled again without them.
6. One gang that has waited longer than `reserve_after_s` is offered its slots beforehand, and agents are kept for it.

Tasks without slots are served first come, first served. A job without weight (0) gets one slot a round at most.
"""

from collections.abc import Iterator

from services.scheduler import reasons
from services.scheduler.books import Books, Quota
from services.scheduler.policies.claims import HeldBack, of_all
from services.scheduler.policies.shares import Claim, fill
from services.scheduler.pool import Asked, Plan, Request
from services.scheduler.waiting import ONE_LANE, Passed
from shared.ids import ExperimentId


def schedule(books: Books, asked: Asked, *, is_plain: bool) -> Plan:
    """Return the plan of one pass."""
    held_back: HeldBack = {}
    while True:
        passing = _Pass(books, asked, held_back, is_plain=is_plain)
        if not passing.share():
            break
        books.close()
    passing.start_tasks()
    books.close()
    return passing.plan


class _Pass:
    """One division of the slots among all trials but those who are held back."""

    def __init__(self, books: Books, asked: Asked, held_back: HeldBack, *, is_plain: bool) -> None:
        self.books, self.plan, self.quota = books, Plan(asked=asked), Quota(books)
        self._is_plain = is_plain
        self._held_back = held_back
        self._crowded: set[int] = set()  # sizes that do not fit now
        self._overdue = self._first_overdue()

    def share(self) -> bool:
        """Divide the slots; say whether more turned out to be held back."""
        claims = of_all(self.books, self._held_back, self._overdue, is_plain=self._is_plain)
        fill(claims, self.books.capacity())
        allowed = {key: count for key, (count, _) in self._held_back.items()}
        for claim in sorted(self._active(claims), key=self._turn):
            if not self._stop_excess(claim):
                self._start(claim)
        self._tell_shares(claims)
        return allowed != {key: count for key, (count, _) in self._held_back.items()}

    def start_tasks(self) -> None:
        """Start tasks without slots, first come, first served."""
        passed = self._passed()
        for request in self.books.queue.walk(ONE_LANE, with_slots=False, passed=passed, asked=self.plan.asked):
            if not self.books.fleet.can_ever_fit(0):
                self.plan.wait(request, reasons.never_fits, self.books.fleet)
                passed.everyone = True
            elif placement := self.books.fleet.fit(0):
                self.plan.start(request, placement, self.books.fleet.roomy(0))
                self.books.fleet.take(placement)
            else:
                self.plan.wait(request, reasons.no_room, self.books.fleet)
                passed.everyone = True

    def _first_overdue(self) -> Request | None:
        """Return the first gang that waited too long and could start, if others ended."""
        passed = self._passed()
        for request in self.books.queue.walk(ONE_LANE, with_slots=True, passed=passed, asked=()):
            if not request.is_overdue:
                return None  # those that are stand first
            if not self.books.fleet.can_ever_fit(request.slots):
                passed.sizes.add(request.slots)
            elif self.quota.refusal(request):
                passed.lines.add((request.job_id, request.slots))
            else:
                return request
        return None

    def _passed(self) -> Passed:
        return Passed(is_plain=self._is_plain)

    def _active(self, claims: list[Claim]) -> list[Claim]:
        """Return the jobs that may start or must stop trials, and those that somebody asked about."""
        if self.plan.asked is None:
            return claims
        asked = self.books.queue.jobs_of(self.plan.asked)
        return [claim for claim in claims if claim.offered != claim.held or claim.job.job_id in asked]

    def _turn(self, claim: Claim) -> tuple[bool, int, tuple[float, ExperimentId]]:
        is_overdue = self._overdue is not None and self._overdue.job_id == claim.job.job_id
        return not is_overdue, claim.demand, claim.place

    def _stop_excess(self, claim: Claim) -> bool:
        """Stop the newest until the job is within its offer; say whether it was beyond."""
        excess = claim.held - claim.offered
        if excess <= 0:
            return False
        victims = []
        for request in reversed(claim.running()):
            if excess > 0 and request.preemptible:
                victims.append(request)
                excess -= request.slots
        for request in reversed(victims):  # whoever is not needed after all, the oldest first
            if excess + request.slots <= 0:
                excess += request.slots
                victims.remove(request)
        self.plan.release |= {request.trial_id: None for request in victims}
        for request in self._walk_job(claim, Passed(is_plain=self._is_plain, everyone=True)):
            self.plan.wait(request, reasons.over_share, claim.offered, claim.held)
        return True

    def _start(self, claim: Claim) -> None:
        room, passed, started = claim.offered - claim.held, self._passed(), dict[int, int]()
        for request in self._walk_job(claim, passed):
            size = request.slots
            if self._is_held_back(request, started.get(size, 0)):
                passed.lines.add((request.job_id, size))
            elif size > room:
                self.plan.wait(request, reasons.over_share, claim.offered, claim.held)
                passed.sizes.add(size)
            elif refusal := self.quota.job_refusal(request):
                self.plan.note(request, refusal)
                passed.lines.add((request.job_id, size))
            elif refusal := self.quota.workspace_refusal(request):
                self._held_back[request.job_id, size] = (started.get(size, 0), refusal)
                self.plan.note(request, refusal)
                passed.lines.add((request.job_id, size))
            elif self._place(request):
                started[size] = started.get(size, 0) + 1
                room -= size
            elif self._overdue is not None and request.trial_id == self._overdue.trial_id:
                self._keep(request)
                room -= size
            else:
                self.plan.wait(request, reasons.no_room, self.books.fleet)
                if size in self._crowded:
                    passed.sizes.add(size)

    def _is_held_back(self, request: Request, num_started: int) -> bool:
        allowed, reason = self._held_back.get((request.job_id, request.slots), (num_started + 1, None))
        if reason is None or num_started < allowed:
            return False
        self.plan.note(request, reason)
        return True

    def _place(self, request: Request) -> bool:
        """Give a request its place if there is one; say whether there was."""
        fleet = self.books.fleet
        is_crowded = request.slots in self._crowded and not self._is_plain
        placement = None if is_crowded else fleet.fit(request.slots)
        if placement is None:
            if fleet.stays_unfit(request.slots):
                self._crowded.add(request.slots)
            return False
        self.plan.start(request, placement, fleet.roomy(request.slots))
        fleet.take(placement)
        self.quota.add(request)
        return True

    def _keep(self, request: Request) -> None:
        kept = self.books.fleet.reservation(request.slots)
        self.plan.wait(request, reasons.reserved, self.books.fleet, kept)
        self.books.fleet.hold(kept)

    def _walk_job(self, claim: Claim, passed: Passed) -> Iterator[Request]:
        """Yield a job's trials that the agents could hold, in order, without those passed over by then."""
        job_id, fits = claim.job.job_id, self.books.fleet.can_ever_fit
        for request in self.books.queue.walk_job(job_id, passed=passed, asked=self.plan.asked):
            if fits(request.slots):
                yield request
            else:
                passed.sizes.add(request.slots)

    def _tell_shares(self, claims: list[Claim]) -> None:
        """Put down the shares that a preemption goes by, and for whoever asks everyone's, and the order of service."""
        if self.plan.asked is None or self.plan.asked:
            self.plan.shares = {claim.job.job_id: claim.share for claim in claims}
            self._tell_order(claims)
        elif self.plan.release:
            told = [claim for claim in claims if claim.offered != claim.held]
            self.plan.shares = {claim.job.job_id: claim.share for claim in told}

    def _tell_order(self, claims: list[Claim]) -> None:
        """List who waits: the jobs in the order served; after them what could never start, then tasks without slots."""
        place = {claim.job.job_id: number for number, claim in enumerate(sorted(claims, key=self._turn))}
        last = len(place)
        waiting = self.books.queue.in_order(self.plan.asked)
        for request in waiting:
            if request.slots and not self.books.fleet.can_ever_fit(request.slots):
                self.plan.wait(request, reasons.never_fits, self.books.fleet)
        waiting.sort(key=lambda request: last + 1 if request.slots == 0 else place.get(request.job_id, last))
        self.plan.queue = waiting
